//! Sockets that are bound, listen and accept on the live kernel: every call that does it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use lavender_core::event::{EventData, EventKind, NetBind, NetListen, NetworkTransport};
use rustix::net::{AddressFamily, SocketType, sockopt};

use support::compat::{call_32, low_copy};
use support::{Group, Watch, builder, can_run, of_kind, process, temporary};

const KINDS: [EventKind; 3] = [EventKind::NetBind, EventKind::NetListen, EventKind::NetAccept];

/// Watches only what a child does with sockets. What was seen, in order.
fn seen(act: impl FnOnce()) -> Vec<EventData> {
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(act);
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(batch.lost, []);
    let sockets = batch.events.iter().filter(|event| KINDS.contains(&event.kind()));
    let sockets = sockets.inspect(|event| assert_eq!(process(event).pid, pid));
    sockets.map(|event| event.data.clone()).collect()
}

/// A port of loopback that is free, for a child that has to take one of which the test knows.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// `struct sockaddr_in` of loopback.
fn address(port: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&2_u16.to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&[127, 0, 0, 1]);
    bytes
}

fn socket(kind: SocketType) -> OwnedFd {
    rustix::net::socket(AddressFamily::INET, kind, None).unwrap()
}

fn bound(event: &EventData) -> (NetworkTransport, SocketAddr, i64) {
    match event {
        EventData::NetBind(NetBind { transport, local, result }) => (*transport, *local, result.0),
        other => panic!("{other:?}"),
    }
}

fn listening(event: &EventData) -> (SocketAddr, i32, i64) {
    match event {
        EventData::NetListen(NetListen { local, backlog, result, transport }) => {
            assert_eq!(*transport, NetworkTransport::Tcp);
            (*local, *backlog, result.0)
        }
        other => panic!("{other:?}"),
    }
}

fn accepted(event: &EventData) -> (SocketAddr, SocketAddr) {
    match event {
        EventData::NetAccept(accept) => {
            assert_eq!(accept.transport, NetworkTransport::Tcp);
            (accept.local, accept.peer)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_and_its_connections() {
    if !can_run() {
        return;
    }
    let (port, from) = (free_port(), free_port());
    let events = seen(|| {
        let listener = TcpListener::bind(loopback(port)).unwrap();
        assert!(TcpListener::bind(loopback(port)).is_err());
        let client = socket(SocketType::STREAM);
        sockopt::set_socket_reuseaddr(&client, true).unwrap();
        rustix::net::bind(&client, &loopback(from)).unwrap();
        rustix::net::connect(&client, &loopback(port)).unwrap();
        listener.accept().unwrap(); // accept4
        let _second = TcpStream::connect(loopback(port)).unwrap();
        // SAFETY: the test's own socket; the peer's address is not asked for.
        let stream = unsafe {
            libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut())
        };
        assert!(stream >= 0);
        listener.set_nonblocking(true).unwrap();
        listener.accept().unwrap_err();
    });
    let tcp = NetworkTransport::Tcp;
    assert_eq!(bound(&events[0]), (tcp, loopback(port), 0));
    assert_eq!(listening(&events[1]).0, loopback(port));
    assert_eq!(bound(&events[2]), (tcp, loopback(port), -98));
    assert_eq!(bound(&events[3]), (tcp, loopback(from), 0));
    assert_eq!(accepted(&events[4]), (loopback(port), loopback(from)));
    let (local, peer) = accepted(&events[5]);
    assert_eq!(local, loopback(port));
    assert!(peer.port() != 0 && peer.ip() == loopback(0).ip());
    assert_eq!(events.len(), 6, "an accept that brings nothing is no event: {events:?}");
}

#[test]
fn ports_that_the_kernel_chooses() {
    if !can_run() {
        return;
    }
    let events = seen(|| {
        let listener = socket(SocketType::STREAM);
        rustix::net::listen(&listener, 7).unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(listener) = TcpListener::bind("[::1]:0") {
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.accept().unwrap();
        }
        let datagrams = socket(SocketType::DGRAM);
        rustix::net::listen(&datagrams, -1).unwrap_err();
    });
    // Bound by listening.
    let (local, backlog, result) = listening(&events[0]);
    assert!(local.port() != 0 && local.ip().is_unspecified(), "{local}");
    assert_eq!((backlog, result), (7, 0));
    let (transport, local, result) = bound(&events[1]);
    assert_eq!((transport, result), (NetworkTransport::Udp, 0));
    assert!(local.port() != 0 && local.ip() == loopback(0).ip(), "{local}");
    let EventData::NetListen(refused) = events.last().unwrap() else { panic!("{events:?}") };
    assert_eq!((refused.backlog, refused.result.0), (-1, -95));
    assert_eq!((refused.transport, refused.local.port()), (NetworkTransport::Udp, 0));
    if events.len() == 3 {
        println!("skipped: no IPv6 here");
        return;
    }
    let (_, six, _) = bound(&events[2]);
    assert!(six.is_ipv6() && six.ip().is_loopback() && six.port() != 0);
    assert_eq!(listening(&events[3]).0, six);
    let (local, peer) = accepted(&events[4]);
    assert_eq!(local, six);
    assert!(peer.is_ipv6());
}

/// By the numbers of their own, and by `socketcall`.
#[test]
#[cfg(target_arch = "x86_64")]
fn sockets_by_calls_of_32_bits() {
    if !can_run() {
        return;
    }
    let (direct, multiplexed) = (free_port(), free_port());
    let events = seen(|| {
        let words = |words: &[u32]| {
            low_copy(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>())
        };
        let connect = |port| TcpStream::connect(loopback(port)).unwrap();
        let listener = socket(SocketType::STREAM);
        let fd = listener.as_raw_fd() as u32;
        if call_32(361, fd, low_copy(&address(direct)), 16) == -38 {
            println!("skipped: this kernel takes no 32-bit system calls");
            return;
        }
        assert_eq!(call_32(363, fd, 3, 0), 0); // listen
        let _stream = connect(direct);
        assert!(call_32(364, fd, 0, 0) >= 0); // accept4
        let listener = socket(SocketType::STREAM);
        let fd = listener.as_raw_fd() as u32;
        let bind = words(&[fd, low_copy(&address(multiplexed)), 16]);
        assert_eq!(call_32(102, 2, bind, 0), 0);
        assert_eq!(call_32(102, 4, words(&[fd, 5]), 0), 0);
        for call in [5, 18] {
            let _stream = connect(multiplexed);
            let stream = call_32(102, call, words(&[fd, 0, 0, 0]), 0);
            // SAFETY: a descriptor that nobody else has.
            drop(unsafe { OwnedFd::from_raw_fd(stream) });
        }
    });
    if events.is_empty() {
        return;
    }
    for (at, port, backlog) in [(0, direct, 3), (3, multiplexed, 5)] {
        assert_eq!(bound(&events[at]), (NetworkTransport::Tcp, loopback(port), 0));
        assert_eq!(listening(&events[at + 1]), (loopback(port), backlog, 0));
        assert_eq!(accepted(&events[at + 2]).0, loopback(port));
    }
    assert_eq!(accepted(&events[6]).0, loopback(multiplexed));
    assert_eq!(events.len(), 7);
}

#[test]
fn sockets_that_are_not_ip_are_not_reported() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let events = seen(|| {
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _stream = UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        // SAFETY: no socket behind this descriptor, and none that is open.
        unsafe {
            libc::listen(0, 1);
            libc::bind(-1, std::ptr::null(), 0);
        }
    });
    assert_eq!(events, []);
}

/// All of them share a number with others in the 32-bit table.
#[test]
fn only_the_kind_that_is_asked_for() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let asked = builder().with_included_cgroup(&group.folder).with_kinds([EventKind::NetAccept]);
    let mut watch = Watch::with(asked);
    let child = group.fork(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap();
        call_32(102, 4, low_copy(&[0; 8]), 0);
    });
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(of_kind(&batch.events, EventKind::NetAccept).count(), 1);
    for kind in [EventKind::NetBind, EventKind::NetListen, EventKind::NetConnect] {
        assert_eq!(of_kind(&batch.events, kind).count(), 0, "{kind}");
    }
}

//! Messages to new peers on the live kernel: every call that sends one.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use lavender_core::event::{EventData, EventKind, NetSend, NetworkTransport};

use support::compat::{call_32, low_copy};
use support::{Group, Watch, builder, can_run, of_kind, process};

/// Watches only what a child sends. What was seen, in order.
fn seen(act: impl FnOnce()) -> Vec<NetSend> {
    let (pid, events) = support::seen(act);
    of_kind(&events, EventKind::NetSend)
        .inspect(|event| assert_eq!(process(event).pid, pid))
        .map(|event| match &event.data {
            EventData::NetSend(send) => send.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A socket that messages may be sent to, and its port.
fn peer() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn address(family: u16, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: family,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// A header of a message of 3 bytes to this address.
fn header(to: &mut libc::sockaddr_in, piece: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all zeros are a header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = std::ptr::from_mut(to).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    header.msg_iov = piece;
    header.msg_iovlen = 1;
    header
}

fn piece() -> libc::iovec {
    libc::iovec { iov_base: c"abc".as_ptr().cast_mut().cast(), iov_len: 3 }
}

#[test]
fn every_call_that_sends() {
    if !can_run() {
        return;
    }
    let peers: Vec<_> = (0..6).map(|_| peer()).collect();
    let ports: Vec<u16> = peers.iter().map(|(_, port)| *port).collect();
    let sends = seen(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = socket.as_raw_fd();
        // A stream: one event.
        for _ in 0..50 {
            socket.send_to(b"x", loopback(ports[0])).unwrap();
        }
        let mut piece = piece();
        let mut to: Vec<_> = ports.iter().map(|port| address(2, *port)).collect();
        let message = header(&mut to[1], &mut piece);
        // SAFETY: a header, whose address and bytes live.
        assert_eq!(unsafe { libc::sendmsg(fd, &raw const message, 0) }, 3);
        let [.., three, four, _] = &mut to[..] else { unreachable!() };
        let mut messages =
            [three, four].map(|to| libc::mmsghdr { msg_hdr: header(to, &mut piece), msg_len: 0 });
        // SAFETY: two headers, whose addresses and bytes live.
        assert_eq!(unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), 2, 0) }, 2);
        // A family of nothing is IPv4 to the kernel.
        let odd = address(0, ports[2]);
        let (at, size) = ((&raw const odd).cast(), size_of_val(&odd) as u32);
        // SAFETY: an address, and bytes that live.
        assert_eq!(unsafe { libc::sendto(fd, c"abcd".as_ptr().cast(), 4, 0, at, size) }, 4);
        // Connected: the peer is the socket's.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(loopback(ports[5])).unwrap();
                socket.send(b"12345").unwrap();
                socket.send(b"12345").unwrap();
            });
        });
        // Known already, whichever socket it is from.
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", loopback(ports[1])).unwrap();
    });
    let shown: Vec<_> = sends.iter().map(|send| (send.destination.port(), send.result.0)).collect();
    let expected = [(0, 1), (1, 3), (3, 3), (4, 3), (2, 4), (5, 5)];
    assert_eq!(shown, expected.map(|(peer, bytes)| (ports[peer], bytes)));
    for send in &sends {
        assert_eq!(send.transport, NetworkTransport::Udp);
        assert_eq!(send.destination.ip(), loopback(0).ip());
        assert!(send.source.is_some_and(|source| source.port() != 0), "{send:?}");
    }
}

#[test]
fn a_failure_does_not_hide_what_is_sent_after_all() {
    if !can_run() {
        return;
    }
    let (_peer, port) = peer();
    let sends = seen(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // More than a datagram holds.
        socket.send_to(&[0; 70_000], loopback(port)).unwrap_err();
        socket.send_to(&[0; 70_000], loopback(port)).unwrap_err();
        socket.send_to(b"x", loopback(port)).unwrap();
        // Without a peer: no event.
        socket.send(b"x").unwrap_err();
        // SAFETY: nothing lies at this address.
        unsafe { libc::sendto(socket.as_raw_fd(), c"x".as_ptr().cast(), 1, 0, 8 as *const _, 16) };
    });
    let results: Vec<_> = sends.iter().map(|send| send.result.0).collect();
    assert_eq!(results, [-90, 1]);
}

/// Raw sockets have no ports, though the call names one.
#[test]
fn raw_sockets() {
    if !can_run() {
        return;
    }
    let sends = seen(|| {
        let to = address(2, 7);
        let (at, size) = ((&raw const to).cast(), size_of_val(&to) as u32);
        // An echo request, as `ping` sends it.
        let request = [8_u8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        // SAFETY: an address, and bytes that live.
        unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
            assert_eq!(libc::sendto(socket, request.as_ptr().cast(), 8, 0, at, size), 8);
        }
    });
    let [send] = &sends[..] else { panic!("{sends:?}") };
    assert_eq!(send.transport, NetworkTransport::Other(1));
    assert_eq!((send.source, send.destination, send.result.0), (None, loopback(0), 8));
}

/// A connection that no `connect` makes.
#[test]
fn tcp_fast_open() {
    if !can_run() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sends = seen(|| {
        let to = address(2, port);
        let (at, size) = ((&raw const to).cast(), size_of_val(&to) as u32);
        // SAFETY: an address, and bytes that live.
        let sent = unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
            libc::sendto(socket, c"x".as_ptr().cast(), 1, libc::MSG_FASTOPEN, at, size)
        };
        println!("sendto returns {sent}");
    });
    let [send] = &sends[..] else { panic!("{sends:?}") };
    assert_eq!(send.transport, NetworkTransport::Tcp);
    assert_eq!(send.destination, loopback(port));
}

#[test]
fn ipv6_and_addresses_that_are_ipv4_in_truth() {
    if !can_run() {
        return;
    }
    let Ok(six) = UdpSocket::bind("[::1]:0") else {
        println!("skipped: no IPv6 here");
        return;
    };
    let to = six.local_addr().unwrap();
    let (_four, port) = peer();
    let sends = seen(|| {
        UdpSocket::bind("[::1]:0").unwrap().send_to(b"x", to).unwrap();
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{port}").parse().unwrap();
        UdpSocket::bind("[::]:0").unwrap().send_to(b"x", mapped).unwrap();
    });
    let shown: Vec<_> = sends.iter().map(|send| send.destination).collect();
    assert_eq!(shown, [to, loopback(port)]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn messages_by_calls_of_32_bits() {
    if !can_run() {
        return;
    }
    let peers: Vec<_> = (0..4).map(|_| peer()).collect();
    let ports: Vec<u16> = peers.iter().map(|(_, port)| *port).collect();
    let sends = seen(|| {
        let words = |words: &[u32]| {
            low_copy(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>())
        };
        let to = |port: u16| {
            let port = port.to_be_bytes();
            low_copy(&[[2, 0, port[0], port[1]], [127, 0, 0, 1], [0; 4], [0; 4]].concat())
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = socket.as_raw_fd() as u32;
        let bytes = low_copy(b"abc");
        let piece = words(&[bytes, 3]);
        let header = |port| [to(port), 16, piece, 1, 0, 0, 0];
        if call_32(370, fd, words(&header(ports[0])), 0) == -38 {
            println!("skipped: this kernel takes no 32-bit system calls");
            return;
        }
        let several = [&header(ports[1])[..], &[0], &header(ports[2])[..], &[0]].concat();
        assert_eq!(call_32(345, fd, words(&several), 2), 2); // sendmmsg
        let arguments = words(&[fd, bytes, 3, 0, to(ports[3]), 16]);
        assert_eq!(call_32(102, 11, arguments, 0), 3); // sendto
    });
    if sends.is_empty() {
        return;
    }
    let shown: Vec<_> = sends.iter().map(|send| (send.destination, send.result.0)).collect();
    let expected: Vec<_> = ports.iter().map(|port| (loopback(*port), 3)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn connects_are_none_of_these() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let asked = builder().with_included_cgroup(&group.folder).with_kinds([EventKind::NetConnect]);
    let mut watch = Watch::with(asked);
    let (_peer, port) = peer();
    let child = group.fork(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", loopback(port)).unwrap();
        socket.connect(loopback(port)).unwrap();
    });
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(of_kind(&batch.events, EventKind::NetSend).count(), 0);
    assert_eq!(of_kind(&batch.events, EventKind::NetConnect).count(), 1);
}

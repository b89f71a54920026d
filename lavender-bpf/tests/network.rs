//! Connects on the live kernel.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "a socket that does not block")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};

use lavender_core::event::{EventKind, NetworkTransport};

use support::{Group, Watch, can_run, of_kind, process, temporary};

/// A port of loopback on which nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn tcp_accepted_and_refused() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (open, closed) = (listener.local_addr().unwrap().port(), closed_port());
    let mut watch = Watch::group(&group);
    let child = group.fork(move || {
        TcpStream::connect(("127.0.0.1", open)).unwrap();
        TcpStream::connect(("127.0.0.1", closed)).unwrap_err();
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let (event, connect) = watch.connect_to(open);
    assert_eq!(process(&event).pid, pid);
    assert_eq!(connect.transport, NetworkTransport::Tcp);
    assert_eq!(connect.destination, SocketAddr::from(([127, 0, 0, 1], open)));
    assert!(connect.result.is_ok());
    assert_eq!(connect.source.unwrap().ip().to_string(), "127.0.0.1");
    assert_eq!(connect.source.unwrap(), listener.accept().unwrap().1);
    let (_, refused) = watch.connect_to(closed);
    assert_eq!(refused.result.errno(), Some(111));
    assert_eq!(refused.destination, SocketAddr::from(([127, 0, 0, 1], closed)));
}

#[test]
fn udp_over_both_versions_of_ip() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        UdpSocket::bind("127.0.0.1:0").unwrap().connect("127.0.0.1:40001").unwrap();
        if let Ok(socket) = UdpSocket::bind("[::1]:0") {
            socket.connect("[::1]:40002").unwrap();
        }
    });
    assert_eq!(watch.until_ended(child), 0);
    let (_, connect) = watch.connect_to(40_001);
    assert_eq!(connect.transport, NetworkTransport::Udp);
    assert!(connect.source.is_some_and(|source| source.port() != 0));
    if UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 here");
        return;
    }
    let (_, connect) = watch.connect_to(40_002);
    assert_eq!(connect.destination, "[::1]:40002".parse().unwrap());
}

#[test]
fn ipv6_and_addresses_that_are_ipv4_in_truth() {
    if !can_run() {
        return;
    }
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("skipped: no IPv6 here");
        return;
    };
    let group = Group::new();
    let port = listener.local_addr().unwrap().port();
    let mapped = TcpListener::bind("127.0.0.1:0").unwrap();
    let mapped_port = mapped.local_addr().unwrap().port();
    let mut watch = Watch::group(&group);
    let child = group.fork(move || {
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        TcpStream::connect(("::ffff:127.0.0.1", mapped_port)).unwrap();
    });
    assert_eq!(watch.until_ended(child), 0);
    let (_, connect) = watch.connect_to(port);
    assert_eq!(connect.destination, SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let (_, connect) = watch.connect_to(mapped_port);
    assert_eq!(connect.destination, SocketAddr::from(([127, 0, 0, 1], mapped_port)));
}

#[test]
fn a_socket_that_does_not_block_is_under_way() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut watch = Watch::group(&group);
    let child = group.fork(move || {
        // SAFETY: a socket of this process, and an address of the right size.
        unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: port.to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be() },
                sin_zero: [0; 8],
            };
            let size = size_of_val(&address) as u32;
            libc::connect(socket, (&raw const address).cast(), size);
        }
    });
    assert_eq!(watch.until_ended(child), 0);
    let (_, connect) = watch.connect_to(port);
    assert!(connect.is_under_way(), "{connect:?}");
    assert_eq!(connect.result.errno(), Some(115));
    assert!(connect.source.is_some());
}

#[test]
fn what_is_not_ip_is_not_reported() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        UnixStream::connect(&path).unwrap();
        // SAFETY: no socket behind this descriptor.
        unsafe { libc::connect(0, std::ptr::null(), 0) };
    });
    assert_eq!(watch.until_ended(child), 0);
    let seen = watch.finish();
    assert_eq!(of_kind(&seen.events, EventKind::NetConnect).count(), 0);
    assert_eq!(seen.lost, []);
}

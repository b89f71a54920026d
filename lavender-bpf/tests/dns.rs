//! Look-ups in the DNS on the live kernel: every way to ask and to be answered, of a server of the test's own.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use lavender_core::event::{
    DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, EventData, EventKind,
    NetworkTransport,
};

use support::compat::{call_32, low_copy};
use support::{Group, Watch, builder, can_run, of_kind, process};

/// A server on loopback, of this test alone.
struct Server(SocketAddr);

/// An address of loopback that no other test has; `None` where port 53 cannot be had.
fn serve() -> Option<Server> {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) as u8;
    let [.., third, fourth] = std::process::id().to_be_bytes();
    let address = SocketAddr::from(([127, 64 | count, third, fourth], 53));
    let (Ok(datagrams), Ok(streams)) = (UdpSocket::bind(address), TcpListener::bind(address))
    else {
        println!("skipped: {address} cannot be bound");
        return None;
    };
    thread::spawn(move || {
        let mut bytes = [0; 2_048];
        while let Ok((length, from)) = datagrams.recv_from(&mut bytes) {
            if let Some(answer) = answer(&bytes[..length]) {
                datagrams.send_to(&answer, from).unwrap();
            }
        }
    });
    thread::spawn(move || {
        while let Ok((mut stream, _)) = streams.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut question).unwrap();
            let answer = answer(&question).unwrap();
            stream.write_all(&framed(&answer)).unwrap();
        }
    });
    Some(Server(address))
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// What the server says: nothing to `silent`, no such name to `missing`, an address to all others.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let mut answer = question.to_vec();
    let name = question.get(13..)?;
    answer[2] = 0x81;
    answer[3] = 0x80;
    if name.starts_with(b"silent") {
        return None;
    } else if name.starts_with(b"missing") {
        answer[3] |= 3;
    } else {
        answer[7] = 1;
        answer
            .extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07");
    }
    Some(answer)
}

/// A question for the address of a name of two labels, the second of which is `test`.
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00");
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\x04test\x00\x00\x01\x00\x01");
    bytes
}

/// Watches only what a child looks up. What was seen, in order.
fn seen(act: impl FnOnce()) -> Vec<DnsQuery> {
    let (pid, events) = support::seen(act);
    of_kind(&events, EventKind::DnsQuery)
        .inspect(|event| assert_eq!(process(event).pid, pid))
        .map(|event| match &event.data {
            EventData::DnsQuery(query) => query.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn found() -> Vec<DnsAnswer> {
    let data = DnsData::Address([192, 0, 2, 7].into());
    vec![DnsAnswer { record_type: DnsRecordType::A, data }]
}

fn assert_found(query: &DnsQuery, id: u16, name: &str, server: SocketAddr) {
    assert_eq!(query.name.value, *format!("{name}.test"));
    assert_eq!(query.transaction_id, Some(id), "{query:?}");
    assert_eq!(query.record_type, DnsRecordType::A);
    assert_eq!(query.response_code, Some(DnsResponseCode::NO_ERROR), "{query:?}");
    assert_eq!(query.answers.value, found());
    assert!(query.name.is_whole() && query.answers.is_whole());
    assert_eq!(query.server, Some(server));
}

fn connected(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket
}

#[test]
fn every_way_to_ask_over_udp() {
    if !can_run() {
        return;
    }
    let Some(Server(server)) = serve() else { return };
    let queries = seen(|| {
        let mut bytes = [0; 512];
        // To whom is said with each message.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&question(1, "sendto"), server).unwrap();
        // What is only looked at is not yet received.
        socket.peek_from(&mut bytes).unwrap();
        socket.recv_from(&mut bytes).unwrap();
        let socket = connected(server);
        socket.send(&question(2, "send")).unwrap();
        socket.recv(&mut bytes).unwrap();
        // As a file, in one piece and in several.
        let mut file = File::from(OwnedFd::from(connected(server)));
        file.write_all(&question(3, "write")).unwrap();
        assert!(file.read(&mut bytes).unwrap() > 12);
        let asked = question(4, "writev");
        let (first, rest) = asked.split_at(5);
        let pieces = [IoSlice::new(first), IoSlice::new(rest)];
        assert_eq!(file.write_vectored(&pieces).unwrap(), asked.len());
        let (first, rest) = bytes.split_at_mut(20);
        let mut pieces = [IoSliceMut::new(first), IoSliceMut::new(rest)];
        assert!(file.read_vectored(&mut pieces).unwrap() > 20);
    });
    let names = ["sendto", "send", "write", "writev"];
    for ((query, name), id) in queries.iter().zip(names).zip(1..) {
        assert_found(query, id, name, server);
        assert_eq!(query.transport, Some(NetworkTransport::Udp));
    }
    assert_eq!(queries.len(), 4, "{queries:?}");
}

/// As the C library asks for both addresses of a name.
#[test]
fn several_messages_in_one_call() {
    if !can_run() {
        return;
    }
    let Some(Server(server)) = serve() else { return };
    let queries = seen(|| {
        let socket = connected(server);
        let mut asked = [question(1, "first"), question(2, "second")];
        let mut answers = [[0_u8; 512]; 2];
        let call = |number: i64, bytes: [(*mut u8, usize); 2]| {
            let mut pieces =
                bytes.map(|(at, length)| libc::iovec { iov_base: at.cast(), iov_len: length });
            let [first, second] = &mut pieces;
            let mut messages = [first, second].map(|piece| {
                // SAFETY: all zeros are a header.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = piece;
                message.msg_hdr.msg_iovlen = 1;
                message
            });
            let fd = socket.as_raw_fd();
            // SAFETY: two headers whose bytes live.
            unsafe { libc::syscall(number, fd, messages.as_mut_ptr(), 2, 0, 0) }
        };
        let [first, second] = &mut asked;
        let bytes = [first, second].map(|bytes| (bytes.as_mut_ptr(), bytes.len()));
        assert_eq!(call(libc::SYS_sendmmsg, bytes), 2);
        let [first, second] = &mut answers;
        let bytes = [first, second].map(|bytes| (bytes.as_mut_ptr(), bytes.len()));
        assert_eq!(call(libc::SYS_recvmmsg, bytes), 2);
    });
    let [first, second] = &queries[..] else { panic!("{queries:?}") };
    assert_found(first, 1, "first", server);
    assert_found(second, 2, "second", server);
}

#[test]
fn over_tcp() {
    if !can_run() {
        return;
    }
    let Some(Server(server)) = serve() else { return };
    let queries = seen(|| {
        // Length and message apart, as the C library reads, and together.
        for (id, name) in [(1, "apart"), (2, "together")] {
            let mut stream = TcpStream::connect(server).unwrap();
            stream.write_all(&framed(&question(id, name))).unwrap();
            let mut bytes = [0; 512];
            if id == 1 {
                stream.read_exact(&mut bytes[..2]).unwrap();
            }
            assert!(stream.read(&mut bytes).unwrap() > 12);
        }
    });
    let [apart, together] = &queries[..] else { panic!("{queries:?}") };
    assert_found(apart, 1, "apart", server);
    assert_found(together, 2, "together", server);
    assert_eq!(apart.transport, Some(NetworkTransport::Tcp));
}

#[test]
fn what_is_not_answered_and_what_is_not_there() {
    if !can_run() {
        return;
    }
    let Some(Server(server)) = serve() else { return };
    let queries = seen(|| {
        let socket = connected(server);
        socket.send(&question(1, "silent")).unwrap();
        socket.send(&question(2, "missing")).unwrap();
        socket.recv(&mut [0; 512]).unwrap();
        // Not of the DNS, and not of its port.
        socket.send(b"silent, and no message of the DNS").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
        other.send_to(&question(3, "elsewhere"), elsewhere.local_addr().unwrap()).unwrap();
    });
    // Told of when it has waited for its answer.
    let [missing, silent] = &queries[..] else { panic!("{queries:?}") };
    assert_eq!(silent.name.value, *"silent.test");
    assert_eq!((silent.response_code, silent.answers.value.len()), (None, 0));
    assert_eq!(missing.response_code, Some(DnsResponseCode::NO_SUCH_NAME));
    assert_eq!(missing.transaction_id, Some(2));
}

/// It does not wait for the sensor's end.
#[test]
fn a_question_is_told_of_while_nothing_else_happens() {
    if !can_run() {
        return;
    }
    let Some(Server(server)) = serve() else { return };
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        connected(server).send(&question(1, "silent")).unwrap();
    });
    assert_eq!(watch.until_ended(child), 0);
    let event = watch.event("question", |event| event.kind() == EventKind::DnsQuery);
    let EventData::DnsQuery(query) = &event.data else { panic!("{event:?}") };
    assert_eq!((query.transaction_id, query.response_code), (Some(1), None));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn look_ups_by_calls_of_32_bits() {
    if !can_run() {
        return;
    }
    let Some(Server(server)) = serve() else { return };
    let queries = seen(|| {
        let words = |words: &[u32]| {
            low_copy(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>())
        };
        let socket = connected(server);
        let fd = socket.as_raw_fd() as u32;
        let room = low_copy(&[0; 512]);
        let asked = question(1, "write");
        if call_32(4, fd, low_copy(&asked), asked.len() as u32) == -38 {
            println!("skipped: this kernel takes no 32-bit system calls");
            return;
        }
        assert!(call_32(3, fd, room, 512) > 12); // read
        let asked = question(2, "socketcall");
        let arguments = [fd, low_copy(&asked), asked.len() as u32, 0];
        assert_eq!(call_32(102, 9, words(&arguments), 0), asked.len() as i32); // send
        assert!(call_32(102, 10, words(&[fd, room, 512, 0]), 0) > 12); // recv
        let asked = question(3, "sendmsg");
        let header = |at, length| words(&[0, 0, words(&[at, length]), 1, 0, 0, 0]);
        assert!(call_32(370, fd, header(low_copy(&asked), asked.len() as u32), 0) > 12);
        assert!(call_32(372, fd, header(room, 512), 0) > 12); // recvmsg
    });
    for ((query, name), id) in queries.iter().zip(["write", "socketcall", "sendmsg"]).zip(1..) {
        assert_found(query, id, name, server);
    }
    assert!(queries.is_empty() || queries.len() == 3, "{queries:?}");
}

#[test]
fn look_ups_are_none_of_the_messages_that_are_asked_for() {
    if !can_run() {
        return;
    }
    let Some(Server(server)) = serve() else { return };
    let group = Group::new();
    let asked = builder().with_included_cgroup(&group.folder).with_kinds([EventKind::DnsQuery]);
    let mut watch = Watch::with(asked);
    let child = group.fork(|| {
        let socket = connected(server);
        socket.send(&question(1, "a")).unwrap();
        socket.recv(&mut [0; 512]).unwrap();
    });
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(of_kind(&batch.events, EventKind::DnsQuery).count(), 1);
    for kind in [EventKind::NetSend, EventKind::NetConnect] {
        assert_eq!(of_kind(&batch.events, kind).count(), 0, "{kind}");
    }
}

//! A network of the test's own: two namespaces and a cable between them.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The host's own addresses, and those of the other end.
pub const HERE: [&str; 2] = ["10.99.0.1", "fd99::1"];
pub const THERE: [&str; 2] = ["10.99.0.2", "fd99::2"];

/// How long an answer may take; what is dropped takes that long.
const ANSWERS_WITHIN: Duration = Duration::from_millis(700);

pub struct Net {
    pub here: String,
    pub there: String,
}

impl Net {
    /// `None`, and why, where none can be made.
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("lavender-{}-{count}-{end}", std::process::id());
        let net = Self { here: name("here"), there: name("there") };
        if let Err(error) = Command::new("ip").arg("-V").output() {
            println!("skipped: ip cannot be run: {error}");
            return None;
        }
        let (here, there) = (&net.here, &net.there);
        ip(&format!("netns add {here}"));
        ip(&format!("netns add {there}"));
        ip(&format!("link add cable netns {here} type veth peer name cable netns {there}"));
        for (end, [ipv4, ipv6]) in [(here, HERE), (there, THERE)] {
            ip(&format!("-n {end} addr add {ipv4}/24 dev cable"));
            ip(&format!("-n {end} addr add {ipv6}/64 dev cable nodad"));
            ip(&format!("-n {end} link set lo up"));
            ip(&format!("-n {end} link set cable up"));
        }
        Some(net)
    }

    /// Answers at this port of the other end, over TCP and UDP, IPv4 and IPv6.
    pub fn answer_at(&self, port: u16) {
        let there = self.there.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            enter(&there);
            let listener = TcpListener::bind(("::", port)).unwrap();
            let socket = UdpSocket::bind(("::", port)).unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            });
            ready.send(()).unwrap();
            for stream in listener.incoming().flatten() {
                thread::spawn(move || echo(stream));
            }
        });
        is_ready.recv().unwrap();
        let here = self.here.clone();
        let reach = move || {
            enter(&here);
            // IPv6 takes a moment to come up.
            THERE.iter().all(|address| {
                let to = SocketAddr::new(address.parse().unwrap(), port);
                (0..40).any(|_| tcp(to))
            })
        };
        assert!(thread::spawn(reach).join().unwrap(), "the other end is not reached");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for end in [&self.here, &self.there] {
            let _ = Command::new("ip").args(["netns", "del", end]).status();
        }
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// The calling thread lives in that namespace from now on.
pub fn enter(namespace: &str) {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

pub fn is_answered(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(ANSWERS_WITHIN)).unwrap();
    stream.write_all(b"?").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

pub fn connect(to: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&to, ANSWERS_WITHIN).ok()
}

pub fn tcp(to: SocketAddr) -> bool {
    connect(to).is_some_and(|mut stream| is_answered(&mut stream))
}

/// Whether a datagram of this size comes back.
pub fn udp(to: SocketAddr, size: usize) -> bool {
    let socket = UdpSocket::bind((if to.is_ipv4() { "0.0.0.0" } else { "::" }, 0)).unwrap();
    socket.set_read_timeout(Some(ANSWERS_WITHIN)).unwrap();
    let sent = vec![7; size];
    let mut buffer = vec![0; size];
    socket.send_to(&sent, to).is_ok_and(|n| n == size)
        && socket.recv(&mut buffer).is_ok_and(|n| n == size)
}

/// Whether what listens on loopback, or on an own address, is reached by way of it.
pub fn loopback(address: &str) -> bool {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    thread::spawn(move || listener.accept().map(|(stream, _)| echo(stream)));
    tcp(to)
}

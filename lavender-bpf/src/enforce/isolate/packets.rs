//! What the programs decide about single packets, which the kernel runs them on without any being sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::thread;

use libbpf_rs::ProgramInput;
use rustix::thread::UnshareFlags;

use super::*;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// A packet on its way between the host and somebody.
#[derive(Clone)]
struct Packet {
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
    hop_limit: u8,
    /// Of IPv4: flags and offset.
    fragment: u16,
    /// Of IPv6: what stands before the payload, each with what it is and its content of whole 8 bytes.
    extensions: Vec<(u8, Vec<u8>)>,
    /// What comes after the ports; for ICMP, all.
    payload: Vec<u8>,
}

impl Packet {
    fn new(protocol: u8, source: &str, destination: &str) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            hop_limit: 64,
            fragment: 0x4000,
            extensions: Vec::new(),
            payload: vec![0; 32],
        }
    }

    /// As it would come back.
    fn answer(&self) -> Self {
        Self { source: self.destination, destination: self.source, ..self.clone() }
    }

    /// In an Ethernet frame, as test runs take it.
    fn frame(&self) -> Vec<u8> {
        let mut body = Vec::new();
        if matches!(self.protocol, TCP | UDP) {
            body.extend(self.source.port().to_be_bytes());
            body.extend(self.destination.port().to_be_bytes());
        }
        body.extend(&self.payload);
        let mut frame = vec![0; 12];
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00, 0x45, 0]);
                frame.extend((20 + body.len() as u16).to_be_bytes());
                frame.extend([0, 0]);
                frame.extend(self.fragment.to_be_bytes());
                frame.extend([self.hop_limit, self.protocol, 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).collect();
                let following = kinds.iter().copied().chain([self.protocol]);
                let mut headers = Vec::new();
                for ((_, content), next) in self.extensions.iter().zip(following.clone().skip(1)) {
                    headers.push(next);
                    headers.extend(content);
                }
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(((headers.len() + body.len()) as u16).to_be_bytes());
                frame.extend([following.clone().next().unwrap(), self.hop_limit]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                frame.extend(headers);
            }
            _ => panic!("of two families"),
        }
        frame.extend(body);
        frame
    }
}

/// An extension header of 8 bytes, or more, without its first: its length, and padding.
fn options(eights: u8) -> Vec<u8> {
    let mut content = vec![eights - 1, 1];
    content.resize(usize::from(eights) * 8 - 1, 0);
    content[2] = 0;
    content
}

/// The programs with one peer of each family, run in a network namespace of the thread's own.
fn decide(dhcp: bool, judge: impl FnOnce(&dyn Fn(&str, &[u8]) -> bool) + Send + 'static) {
    let missing = crate::support::check();
    if !missing.is_empty() {
        let why: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return println!("skipped: {}", why.join("; "));
    }
    let run = move || {
        // SAFETY: the thread shares nothing that it loses by this.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let link = ["link", "add", "veth-a", "index", "77", "type", "veth", "peer", "veth-b"];
        match Command::new("ip").args(link).status() {
            Ok(status) => assert!(status.success()),
            Err(error) => return println!("skipped: ip cannot be run: {error}"),
        }
        let allow = ["10.0.0.5:4222".parse().unwrap(), "[2001:db8::5]:4222".parse().unwrap()];
        let programs = load(&allow, dhcp).unwrap();
        judge(&|name, frame| {
            let program = programs.0.progs_mut().find(|p| p.name() == name).unwrap();
            // `struct __sk_buff`: the eleventh number is the interface.
            let mut context = [0_u8; 192];
            context[40..44].copy_from_slice(&77_u32.to_ne_bytes());
            let input = ProgramInput {
                context_in: Some(&mut context),
                data_in: Some(frame),
                ..Default::default()
            };
            program.test_run(input).unwrap().return_value == 1
        });
    };
    thread::spawn(run).join().unwrap();
}

const OUT: &str = "lavender_out";
const IN: &str = "lavender_in";
const HOST: [&str; 2] = ["10.0.0.9:50000", "[2001:db8::9]:50000"];
const PEER: [&str; 2] = ["10.0.0.5:4222", "[2001:db8::5]:4222"];

#[test]
fn only_the_very_address_and_port_of_a_peer_pass() {
    decide(false, |passes| {
        for protocol in [TCP, UDP] {
            for (host, peer) in HOST.into_iter().zip(PEER) {
                let packet = Packet::new(protocol, host, peer);
                assert!(passes(OUT, &packet.frame()), "{peer}");
                assert!(passes(IN, &packet.answer().frame()), "{peer}");
                // The other way round it would be the host that has the peer's address.
                assert!(!passes(IN, &packet.frame()), "{peer}");
                assert!(!passes(OUT, &packet.answer().frame()), "{peer}");
            }
        }
        for (host, other) in [
            (HOST[0], "10.0.0.5:4223"),
            (HOST[0], "10.0.0.6:4222"),
            (HOST[0], "127.0.0.1:4222"),
            (HOST[1], "[2001:db8::5]:80"),
            (HOST[1], "[2001:db8::6]:4222"),
            (HOST[1], "[::ffff:10.0.0.6]:4222"),
            (HOST[1], "[::1]:4222"),
        ] {
            let packet = Packet::new(TCP, host, other);
            assert!(!passes(OUT, &packet.frame()), "{other}");
            assert!(!passes(IN, &packet.answer().frame()), "{other}");
        }
        for protocol in [ICMP, 47, 50, 132] {
            assert!(!passes(OUT, &Packet::new(protocol, HOST[0], PEER[0]).frame()), "{protocol}");
            assert!(!passes(OUT, &Packet::new(protocol, HOST[1], PEER[1]).frame()), "{protocol}");
        }
    });
}

#[test]
fn pieces_and_what_cannot_be_parsed_are_dropped() {
    decide(false, |passes| {
        let ipv4 = Packet::new(UDP, HOST[0], PEER[0]);
        for fragment in [0x2000, 0x2001, 0x0001, 0x1fff, 0x0100] {
            assert!(!passes(OUT, &Packet { fragment, ..ipv4.clone() }.frame()), "{fragment:x}");
        }
        let mut too_short = ipv4.frame();
        too_short[14] = 0x44;
        assert!(!passes(OUT, &too_short));
        let mut without_ports = ipv4.frame();
        without_ports.truncate(14 + 20 + 3);
        assert!(!passes(OUT, &without_ports));
        let mut of_another_version = ipv4.frame();
        of_another_version[14] = 0x55;
        assert!(!passes(OUT, &of_another_version));
        // Its ports lie behind options, and in front of them stand a peer's.
        let mut with_options = Packet::new(UDP, HOST[0], "10.0.0.5:80").frame();
        with_options[14] = 0x46;
        let ports = [HOST[0], PEER[0]]
            .map(|text| text.parse::<SocketAddr>().unwrap().port().to_be_bytes())
            .concat();
        with_options.splice(34..34, ports);
        assert!(!passes(OUT, &with_options));

        let ipv6 = Packet::new(UDP, HOST[1], PEER[1]);
        let behind = |extensions: &[(u8, Vec<u8>)]| {
            passes(OUT, &Packet { extensions: extensions.to_vec(), ..ipv6.clone() }.frame())
        };
        assert!(behind(&[(HOP_BY_HOP, options(1))]));
        assert!(behind(&[(HOP_BY_HOP, options(2)), (DESTINATION_OPTIONS, options(3))]));
        assert!(!behind(&[(ROUTING, options(1))]));
        assert!(!behind(&[(FRAGMENT, options(1))]));
        assert!(!behind(&[(HOP_BY_HOP, options(1)), (FRAGMENT, options(1))]));
        assert!(!behind(&[(51, options(2))]));
        assert!(!behind(&vec![(DESTINATION_OPTIONS, options(1)); 5]));
        let mut beyond_its_end = Packet { extensions: vec![(0, options(1))], ..ipv6 }.frame();
        beyond_its_end[14 + 40 + 1] = 255;
        assert!(!passes(OUT, &beyond_its_end));
    });
}

#[test]
fn neighbours_are_found_on_the_link_and_nothing_else_of_icmp_passes() {
    decide(false, |passes| {
        let icmp = |kind: u8, hop_limit: u8, to: &str| Packet {
            hop_limit,
            payload: vec![kind; 24],
            ..Packet::new(ICMPV6, "[fe80::9]:0", to)
        };
        for kind in 133..=136 {
            for program in [IN, OUT] {
                assert!(passes(program, &icmp(kind, 255, "[ff02::1:ff00:5]:0").frame()));
                assert!(passes(program, &icmp(kind, 255, "[fe80::5]:0").frame()));
                assert!(!passes(program, &icmp(kind, 254, "[fe80::5]:0").frame()), "forwarded");
            }
        }
        for kind in [130, 131, 132, 143] {
            let mut report = icmp(kind, 1, "[ff02::16]:0");
            report.extensions = vec![(HOP_BY_HOP, options(1))];
            assert!(passes(OUT, &report.frame()), "{kind}");
            assert!(!passes(OUT, &icmp(kind, 2, "[ff02::16]:0").frame()), "{kind}");
            assert!(!passes(OUT, &icmp(kind, 1, "[ff05::16]:0").frame()), "{kind}");
        }
        for kind in [1, 2, 3, 128, 129, 137, 139] {
            assert!(!passes(OUT, &icmp(kind, 255, PEER[1]).frame()), "{kind}");
        }
    });
}

const LEASES: [(&str, &str); 2] =
    [("0.0.0.0:68", "255.255.255.255:67"), ("[fe80::9]:546", "[ff02::1:2]:547")];

#[test]
fn a_host_renews_its_lease_on_the_link() {
    decide(true, |passes| {
        for (client, server) in LEASES {
            assert!(passes(OUT, &Packet::new(UDP, client, server).frame()), "{server}");
            assert!(!passes(OUT, &Packet::new(TCP, client, server).frame()), "{server}");
        }
        for (server, client) in [("10.0.0.1:67", "10.0.0.9:68"), ("[fe80::1]:547", "[fe80::9]:546")]
        {
            let lease = Packet::new(UDP, server, client);
            assert!(passes(IN, &lease.frame()), "{server}");
            assert!(!passes(OUT, &lease.answer().frame()), "it leaves the link: {server}");
        }
        for (client, other) in [
            ("0.0.0.0:68", "255.255.255.255:53"),
            ("0.0.0.0:5353", "255.255.255.255:67"),
            ("[fe80::9]:546", "[ff02::1:3]:547"),
            ("[fe80::9]:546", "[ff05::1:2]:547"),
        ] {
            assert!(!passes(OUT, &Packet::new(UDP, client, other).frame()), "{client} {other}");
        }
    });
    decide(false, |passes| {
        for (client, server) in LEASES {
            assert!(!passes(OUT, &Packet::new(UDP, client, server).frame()), "{server}");
        }
    });
}

//! Many clients of the live stream over real connections, a tenth of which stop reading: the others get everything, those
//! are told what they missed, and memory stays where it was.
//!
//! 50 clients; for more, after `ulimit -n 4096`:
//!
//! ```text
//! LIVE_CLIENTS=1000 cargo nextest run -p lavender-control-plane --test live_clients --no-capture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(dead_code, reason = "of a module that is another test's too, some is not needed here")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lavender_control_plane::serve;
use lavender_core::conformance::sample::Sample;
use lavender_core::store::Role;
use lavender_core::{Alert, RuleMeta, Severity};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::plane::Plane;

#[path = "api/plane.rs"]
mod plane;

/// What is raised at once; nobody who reads may fall behind so far that something is skipped.
const AT_ONCE: usize = 100;

/// More than is on the way to one who does not read, and a thousand.
const ALERTS: usize = 2_800;

/// How long the name of a rule is: so that what is on the way is soon too much.
const TITLE: usize = 2_000;

/// What memory may grow by for each client that does not read: a third of what is raised meanwhile.
const STALLED_KIB: u64 = 2 << 10;

/// And for all else, however many clients there are: what the store's connections keep of the file (16 MiB and twice
/// 4 MiB), which fills while alerts are written, and the pages of the feed (64 of 256 KiB).
const GROWTH_KIB: u64 = (24 + 16) << 10;

struct Client(BufReader<TcpStream>);

#[derive(Debug, PartialEq)]
enum Heard {
    Alert,
    /// So many changes were skipped.
    Missed(u64),
    Other,
}

impl Client {
    /// Connects, with room for little on this side.
    async fn connect(to: SocketAddr, token: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        // By HTTP/1.0 a body is what comes until the end, without frames of its own.
        let request = format!("GET /api/v1/live HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut client = Self(BufReader::new(stream));
        assert!(client.line().await.contains("200"), "not admitted");
        while client.next().await != Heard::Other {}
        client
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let reading = self.0.read_line(&mut line);
        let read = tokio::time::timeout(Duration::from_secs(120), reading).await;
        assert_ne!(read.expect("nothing came").unwrap(), 0, "the stream has ended");
        line
    }

    async fn next(&mut self) -> Heard {
        loop {
            match self.line().await.trim_end() {
                "event: alert_raised" => return Heard::Alert,
                "event: missed" => {
                    let data = loop {
                        if let Some(data) = self.line().await.strip_prefix("data: ") {
                            break serde_json::from_str::<Value>(data).unwrap();
                        }
                    };
                    return Heard::Missed(data["changes"].as_u64().unwrap());
                }
                line if line.starts_with("event: ") => return Heard::Other,
                _ => {}
            }
        }
    }
}

fn alerts(sample: &mut Sample, count: usize) -> Vec<Arc<Alert>> {
    let process = sample.process();
    let title: Arc<str> = "long ".repeat(TITLE / 5).into();
    let raise = |_| {
        let event = sample.exec(&process);
        let alert = sample.alert(&event, "r", Severity::Low);
        let rule = RuleMeta { title: Arc::clone(&title), ..(*alert.rule).clone() };
        Arc::new(Alert { rule: Arc::new(rule), ..(*alert).clone() })
    };
    (0..count).map(raise).collect()
}

/// What this process has had in memory at the most since it was asked last, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = line.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_do_not_read_hold_up_nobody_and_take_no_memory() {
    let many = std::env::var("LIVE_CLIENTS").map_or(50, |text| text.parse().unwrap());
    let plane = Plane::with(|options| options.live_clients = many);
    let viewer = plane.token("acme", Role::Viewer).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(plane.plane.clone(), listener));

    let mut stalled = Vec::new();
    for _ in 0..many / 10 {
        stalled.push(Client::connect(address, &viewer).await);
    }
    let (raised, _) = watch::channel(0);
    let (heard, mut hearing) = tokio::sync::mpsc::channel(many);
    let mut reading = JoinSet::new();
    for _ in stalled.len()..many {
        let mut client = Client::connect(address, &viewer).await;
        let (heard, mut raised) = (heard.clone(), raised.subscribe());
        reading.spawn(async move {
            for alert in 1..=ALERTS {
                assert_eq!(client.next().await, Heard::Alert, "number {alert}");
                if alert % AT_ONCE == 0 {
                    heard.send(()).await.unwrap();
                }
            }
            // Nothing comes twice: what is raised last is next.
            raised.wait_for(|raised| *raised > ALERTS).await.unwrap();
            assert_eq!(client.next().await, Heard::Alert);
        });
    }
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut before = 0;
    for batch in 1..=ALERTS / AT_ONCE {
        plane.store.insert(&alerts(&mut sample, AT_ONCE)).await.unwrap();
        for _ in 0..reading.len() {
            hearing.recv().await.unwrap();
        }
        if batch == 1 {
            before = peak_kib();
        }
    }
    let grown = peak_kib().saturating_sub(before);
    let allowed = GROWTH_KIB + STALLED_KIB * stalled.len() as u64;
    assert!(grown < allowed, "{many} clients: grown by {grown} KiB");
    println!("{many} clients, {} of which did not read: grown by {grown} KiB", stalled.len());

    plane.store.insert(&alerts(&mut sample, 1)).await.unwrap();
    raised.send_replace(ALERTS + 1);
    while let Some(read) = reading.join_next().await {
        read.unwrap();
    }
    for mut client in stalled {
        let (mut alerts, mut missed) = (0, 0);
        while alerts + missed < ALERTS as u64 + 1 {
            match client.next().await {
                Heard::Alert => alerts += 1,
                Heard::Missed(changes) => missed += changes,
                Heard::Other => {}
            }
        }
        assert_eq!(alerts + missed, ALERTS as u64 + 1);
        assert!(missed > 0, "all of it was on the way");
    }
    serving.abort();
}

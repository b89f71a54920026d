//! The real binary on a real broker and a real store: kills lose nothing and double nothing, and an end that is
//! asked for is orderly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::event::Event;
use lavender_core::store::{EventQuery, TimeRange};
use lavender_core::transport::{Message, Payload, Publisher as _, Topic};
use lavender_core::{Clock as _, SystemClock};
use lavender_transport::nats::{JetStream, JetStreamOptions};

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Ends it as the kernel would, without a chance to tidy up.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to end, and says by what exit code it did.
    async fn stop(mut self) -> Option<i32> {
        Command::new("kill").args(["-s", "TERM", &self.pid()]).status().unwrap();
        for _ in 0..600 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A broker, or `None` where none can be had.
async fn broker(directory: &Path, port: u16) -> Option<Running> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
    let found = Command::new(script).output().unwrap();
    if !found.status.success() {
        println!("skipped: no nats-server");
        return None;
    }
    let binary = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    let configuration = directory.join("server.conf");
    let store = directory.join("jetstream");
    let text =
        format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, max_file: 8G }}\n");
    std::fs::write(&configuration, text).unwrap();
    let child = Command::new(binary)
        .arg("--config")
        .arg(&configuration)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(running);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("nats-server is not ready");
}

fn worker(role: &str, configuration: &Path) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_lavender-worker"))
        .args([role, "--config"])
        .arg(configuration)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

fn configuration(directory: &Path, port: u16) -> PathBuf {
    let path = directory.join("worker.toml");
    let text = format!(
        "[transport]\nurl = \"nats://127.0.0.1:{port}\"\ndurables = [\"ingest\", \"telemetry-writer\"]\n\
         telemetry_bytes_max = 268435456\nother_bytes_max = 33554432\n\
         [store]\nurl = \"sqlite:{}\"\n",
        directory.join("store.db").display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

async fn connect(port: u16) -> JetStream {
    let mut options = JetStreamOptions::new([format!("nats://127.0.0.1:{port}")]);
    options.streams.telemetry_bytes_max = 256 << 20;
    options.streams.other_bytes_max = 32 << 20;
    options.durables.retain(|durable| matches!(&*durable.durable, "ingest" | "telemetry-writer"));
    JetStream::open(options).await.unwrap()
}

async fn publish(transport: &JetStream, sample: &Sample, events: &[Arc<Event>]) {
    for few in events.chunks(20) {
        let payload = Payload::Events(few.to_vec());
        let source = sample.source().clone();
        let message = Message { source, topic: Topic::TelemetryRaw, payload };
        transport.publish(vec![message]).await.unwrap();
    }
}

async fn drained(port: u16) {
    let client = async_nats::connect(format!("127.0.0.1:{port}")).await.unwrap();
    let context = async_nats::jetstream::new(client);
    for _ in 0..1_200 {
        let mut left = 0;
        for name in ["TELEMETRY_RAW", "TELEMETRY_CANONICAL"] {
            let mut stream = context.get_stream(name).await.unwrap();
            left += stream.info().await.unwrap().state.messages;
        }
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("something is left in the streams");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_lose_nothing_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(_broker) = broker(directory.path(), port).await else { return };
    let configured = configuration(directory.path(), port);
    let transport = connect(port).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    sample.set_now(SystemClock.now());
    let events = sample.busy(6_000);

    let steady = worker("ingest", &configured);
    let mut ingest = worker("ingest", &configured);
    let mut writer = worker("telemetry-writer", &configured);
    for part in events.chunks(1_500) {
        publish(&transport, &sample, part).await;
        ingest.kill();
        writer.kill();
        ingest = worker("ingest", &configured);
        writer = worker("telemetry-writer", &configured);
    }
    // What the killed had taken comes again after its time.
    drained(port).await;
    assert_eq!(ingest.stop().await, Some(0));
    assert_eq!(steady.stop().await, Some(0));
    assert_eq!(writer.stop().await, Some(0));

    let url = format!("sqlite:{}", directory.path().join("store.db").display());
    let store = lavender_store::open(&url).unwrap();
    let mut query = EventQuery::new(TimeRange::ALL);
    query.limit = EventQuery::MAX_LIMIT;
    let mut stored = Vec::new();
    loop {
        let page = store.events(&query).await.unwrap();
        stored.extend(page.items.into_iter().map(|item| item.event));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    store.close().await.unwrap();
    stored.sort_by_key(|event| event.id);
    assert_eq!(stored.len(), events.len());
    let same = stored.iter().zip(&events).all(|(stored, sent)| stored.id == sent.id);
    assert!(same, "other events are stored than were sent");
}

/// Asks a worker over HTTP: the status line and the body.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_how_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(broker) = broker(directory.path(), port).await else { return };
    let configured = configuration(directory.path(), port);
    let mut writer = Command::new(env!("CARGO_BIN_EXE_lavender-worker"))
        .args(["telemetry-writer", "--config"])
        .arg(&configured)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(writer.stderr.take().unwrap());
    let writer = Running(writer);
    let mut line = String::new();
    while !line.contains("/healthz and /metrics on ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it has ended");
    }
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    let healthy = "broker ok";
    let mut health = String::new();
    for _ in 0..200 {
        // It answers once it is connected.
        health = get(&address, "/healthz");
        if health.contains(healthy) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("store ok"), "{health}");
    let metrics = get(&address, "/metrics");
    assert!(metrics.contains("lavender_consumed_messages_total 0"), "{metrics}");
    broker.kill();
    let health = get(&address, "/healthz");
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert!(health.contains("broker failed") && health.contains("store ok"), "{health}");
    assert_eq!(writer.stop().await, Some(0));
}

#[test]
fn what_is_wrong_with_the_configuration_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("worker.toml");
    for (text, why) in [
        ("[store]\nuri = 1\n", "worker.toml:2: unknown field `uri`"),
        ("[listener]\naddress = \"0.0.0.0:80\"\n", "is not of the loopback"),
        ("[transport]\nurl = \"http://x\"\n", "`http` is not `nats` or `tls`"),
        ("[transport]\ndurables = [\"x\"]\n", "`x` is none"),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_lavender-worker"))
            .args(["ingest", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_pipe_is_decoded_and_what_is_damaged_is_told() {
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut pipe = b"nothing\n".to_vec();
    let events = sample.busy(30);
    pipe.extend(lavender_core::codec::encode_batch(sample.source(), &events).unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_lavender-worker"))
        .arg("decode")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&pipe).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let lines = String::from_utf8(output.stdout).unwrap();
    let read: Vec<_> = lines
        .lines()
        .map(|line| Arc::new(lavender_core::codec::event_from_json(line).unwrap()))
        .collect();
    assert_eq!(read, events);
    assert!(String::from_utf8_lossy(&output.stderr).contains("offset=0"));
}

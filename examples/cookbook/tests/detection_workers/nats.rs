//! Worker processes on a real broker, killed with -9 while they work.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::Event;
use lavender_core::pipeline::{DetectionOptions, DetectionReport, DetectionWorker};
use lavender_core::transport::{
    Message, Payload, Publisher as _, Subscriber as _, Subscription, Topic,
};
use lavender_core::{AgentIdentity, StateStore};
use lavender_detect::{FleetOptions, RuleHandle, SigmaFleetDetector};
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions};
use tempfile::TempDir;

use super::fleet::{self, Random};
use super::single::{self, Alerts, Published};

/// Where a process that is to be a worker finds the broker.
const BROKER: &str = "LAVENDER_TEST_BROKER";

/// Longer than all of it takes, however busy the machine is.
fn options() -> FleetOptions {
    FleetOptions::new(Duration::from_secs(600))
}

fn subscription(topic: Topic, durable: &str) -> Subscription {
    Subscription { topic, durable: durable.into() }
}

fn detection() -> Subscription {
    subscription(Topic::TelemetryAccepted, "detection")
}

fn alerts() -> Subscription {
    subscription(Topic::Alerts, "alert-writer")
}

async fn open(url: &str) -> JetStream {
    let mut options = JetStreamOptions::new([url]);
    options.durables = vec![detection(), alerts()];
    options.streams.telemetry_bytes_max = 64 << 20;
    options.streams.other_bytes_max = 32 << 20;
    options.consumer.ack_wait = Duration::from_secs(2);
    // Killed as often as this, a message is still no poison.
    options.consumer.attempts = 100;
    JetStream::open(options).await.unwrap()
}

async fn state(transport: &JetStream) -> Arc<dyn StateStore> {
    let mut bucket = BucketOptions::default();
    bucket.bytes_max = 32 << 20;
    Arc::new(transport.state(bucket).await.unwrap())
}

/// A worker on the broker: until it is killed, or until everything is done with.
async fn work(url: &str, until_drained: bool) -> DetectionReport {
    let (reads, publishes) = (open(url).await, open(url).await);
    let consumer = reads.subscribe(detection()).await.unwrap();
    let detector =
        SigmaFleetDetector::new(RuleHandle::new(fleet::rules()).detector(), options()).unwrap();
    let state = state(&publishes).await;
    let mut how = DetectionOptions::default();
    how.messages = 4;
    // What only time decides is left to the agents' own events.
    how.silence = Duration::from_secs(3_600);
    let worker =
        DetectionWorker::new(consumer, detector, state, Arc::new(publishes)).with_options(how);
    if until_drained {
        reads.close();
    }
    worker.run(std::future::pending::<()>()).await.unwrap()
}

/// Not a test: what the other processes are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is a worker, started by the test below"]
async fn be_a_worker() {
    if let Ok(url) = std::env::var(BROKER) {
        work(&url, false).await;
    }
}

/// A child that is killed when it goes out of scope.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn worker(url: &str) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nats::be_a_worker", "--ignored"])
        .env(BROKER, url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Killed(child.unwrap())
}

fn server_binary() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
    let output = Command::new(script).output().map_err(|error| error.to_string())?;
    let (said, failed) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&said).trim().into()),
        false => Err(failed.lines().last().unwrap_or("it says nothing").to_owned()),
    }
}

async fn server(binary: &Path) -> (Killed, String, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = directory.path().join("store");
    let configuration = directory.path().join("server.conf");
    let text =
        format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, max_file: 4G }}\n");
    std::fs::write(&configuration, text).unwrap();
    let child = Command::new(binary)
        .arg("--config")
        .arg(configuration)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = Killed(child.unwrap());
    for _ in 0..400 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return (child, format!("nats://127.0.0.1:{port}"), directory);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("nats-server does not answer");
}

fn telemetry(source: &AgentIdentity, events: &[Arc<Event>]) -> Message {
    let topic = Topic::TelemetryAccepted;
    Message { source: source.clone(), topic, payload: Payload::Events(events.to_vec()) }
}

/// All agents' events but the last of each, in batches that come a little out of order, some of them twice.
fn batches(random: &mut Random, agents: &[(AgentIdentity, Vec<Arc<Event>>)]) -> Vec<Message> {
    let mut messages = Vec::new();
    for (source, events) in agents {
        let mut rest = &events[..events.len() - 1];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(rest.len().min(1 + random.below(9) as usize));
            rest = later;
            let at = batch[0].observed_at.as_nanos();
            messages.push((at + random.below(5_000_000_000) as i64, telemetry(source, batch)));
            if random.one_in(6) && batch.len() > 1 {
                let again = telemetry(source, &batch[1..]);
                messages.push((at + random.below(5_000_000_000) as i64, again));
            }
        }
    }
    messages.sort_by_key(|(at, _)| *at);
    messages.into_iter().map(|(_, message)| message).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_raise_what_one_process_raises() {
    let binary = match server_binary() {
        Ok(binary) => binary,
        Err(why) => return println!("skipped: no nats-server: {why}"),
    };
    let mut random = Random(5);
    let (mut agents, mut expected) = (Vec::new(), Alerts::new());
    for number in 0..4 {
        let source = fleet::identity(number);
        let events = fleet::events(&mut random, &source, 150);
        expected.extend(single::alerts(&fleet::rules(), &options(), &source, &events).await);
        agents.push((source, events));
    }
    let (_server, url, _directory) = server(&binary).await;
    let transport = open(&url).await;
    let states = state(&transport).await;
    let mut workers = [worker(&url), worker(&url)];
    while states.keys("detection/", None, 1).await.unwrap().is_empty() {
        // Until they run.
        transport.publish(vec![telemetry(&agents[0].0, &agents[0].1[..1])]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut kills = 0;
    for (number, batch) in batches(&mut random, &agents).into_iter().enumerate() {
        transport.publish(vec![batch]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        if number % 20 == 19 {
            workers[kills % 2] = worker(&url);
            kills += 1;
        }
    }
    drop(workers);
    assert!(kills >= 5, "{kills} kills");
    work(&url, true).await;
    for (source, events) in &agents {
        transport.publish(vec![telemetry(source, &events[events.len() - 1..])]).await.unwrap();
    }
    let report = work(&url, true).await;
    assert_eq!((report.unreadable, report.late), (0, 0));

    let mut consumer = transport.subscribe(alerts()).await.unwrap();
    transport.close();
    let found = Published::default();
    loop {
        let deliveries = consumer.next(64).await.unwrap();
        if deliveries.is_empty() {
            break;
        }
        for delivery in deliveries {
            found.add(&[delivery.message]);
            delivery.ack.ack().await.unwrap();
        }
    }
    let found = found.0.into_inner().unwrap();
    let only = |these: &Alerts, others: &Alerts| -> Vec<_> {
        let only = these.iter().filter(|(id, _)| !others.contains_key(id));
        only.map(|(id, (rule, _))| (*id, rule.clone())).collect()
    };
    assert_eq!(only(&expected, &found), [], "missing");
    assert_eq!(only(&found, &expected), [], "added");
    assert_eq!(found, expected, "the repeats");
}

//! A broker, and what an agent has published to it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lavender_core::Alert;
use lavender_core::event::{Event, EventData, LossStage};
use lavender_core::transport::{Payload, Subscription, Topic, Transport};
use lavender_transport::nats::{JetStream, JetStreamOptions, Setup};
use tempfile::TempDir;

/// A server that is killed when it goes out of scope, with all that it stored.
pub struct Broker {
    child: Option<Child>,
    pub port: u16,
    directory: TempDir,
    runtime: tokio::runtime::Runtime,
}

/// What an agent has published.
#[derive(Default)]
pub struct Published {
    pub events: Vec<Arc<Event>>,
    pub alerts: Vec<Arc<Alert>>,
}

impl Published {
    /// How many events were given up at a stage behind the sensor.
    pub fn lost(&self, stage: LossStage) -> u64 {
        let lost = self.events.iter().filter_map(|event| match &event.data {
            EventData::Lost(loss) if loss.stage == stage => Some(loss.count),
            _ => None,
        });
        lost.sum()
    }

    /// How often each sequence number came.
    pub fn sequences(&self) -> BTreeMap<u64, u32> {
        let mut sequences = BTreeMap::new();
        for event in &self.events {
            *sequences.entry(event.id.sequence()).or_default() += 1;
        }
        sequences
    }
}

impl Broker {
    /// With more lines of configuration; `None`, having said why, where there is no server.
    pub fn start(configuration: &str) -> Option<Self> {
        let binary = binary().inspect_err(|why| println!("skipped: no nats-server: {why}")).ok()?;
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let store = directory.path().join("store");
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, max_file: 4G }}\n{configuration}\n"
        );
        fs::write(directory.path().join("server.conf"), text).unwrap();
        fs::write(directory.path().join("binary"), binary.to_str().unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut broker = Self { child: None, port, directory, runtime };
        broker.restart();
        Some(broker)
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Makes the streams, which agents may not; small ones, so that many fit on any disk.
    pub fn make_streams(&self, mut options: JetStreamOptions) {
        options.streams.telemetry_bytes_max = 256 << 20;
        options.streams.other_bytes_max = 32 << 20;
        self.runtime.block_on(JetStream::open(options)).unwrap();
    }

    /// Kills it as the kernel would, without a chance to tidy up.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on what it has stored, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let binary = fs::read_to_string(self.directory.path().join("binary")).unwrap();
        let path = self.directory.path().join("server.log");
        let log = fs::File::create(&path).unwrap();
        let mut command = Command::new(binary);
        command.arg("--config").arg(self.directory.path().join("server.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let log = fs::read_to_string(&path).unwrap();
            if log.contains("Server is ready") {
                return;
            }
            assert!(Instant::now() < deadline, "nats-server is not ready: {log}");
            thread::sleep(Duration::from_millis(25));
        }
    }

    /// Listens to heartbeats, from now on.
    pub fn heartbeats(&self) -> async_nats::Subscriber {
        self.runtime.block_on(async {
            let client = async_nats::connect(self.url()).await.unwrap();
            let heartbeats = client.subscribe("heartbeat.>").await.unwrap();
            client.flush().await.unwrap();
            heartbeats
        })
    }

    pub fn next(&self, heartbeats: &mut async_nats::Subscriber) -> async_nats::Message {
        use futures_util::StreamExt as _;

        let next = async { tokio::time::timeout(Duration::from_secs(90), heartbeats.next()).await };
        self.runtime.block_on(next).expect("no heartbeat came").expect("the subscription ended")
    }

    /// Everything that lies in the streams, by the durables that workers would read, until for two seconds nothing more
    /// comes.
    pub fn published(&self, mut options: JetStreamOptions) -> Published {
        options.setup = Setup::Skip;
        self.runtime.block_on(async {
            let transport: Arc<dyn Transport> = Arc::new(JetStream::open(options).await.unwrap());
            let mut published = Published::default();
            for (topic, durable) in
                [(Topic::TelemetryRaw, "ingest"), (Topic::Alerts, "alert-writer")]
            {
                let subscription = Subscription { topic, durable: durable.into() };
                let mut consumer = transport.subscribe(subscription).await.unwrap();
                let quiet = Duration::from_secs(2);
                while let Ok(deliveries) = tokio::time::timeout(quiet, consumer.next(64)).await {
                    for delivery in deliveries.unwrap() {
                        match delivery.message.payload {
                            Payload::Events(events) => published.events.extend(events),
                            Payload::Alerts(alerts) => published.alerts.extend(alerts),
                            other => panic!("{other:?}"),
                        }
                        delivery.ack.ack().await.unwrap();
                    }
                }
            }
            published
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn binary() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
    let output = Command::new(script).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or("it says nothing").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

//! A broker, and workers on it, that are killed when they go out of scope.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::Event;
use lavender_core::ruleset::{PublishedRulesets, RuleFile, Ruleset};
use lavender_core::transport::{
    Message, Payload, Publisher as _, Subscriber as _, Subscription, Topic,
};
use lavender_core::{AgentIdentity, TenantId};
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions};
use tempfile::TempDir;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

pub(crate) struct Broker {
    _server: Killed,
    url: String,
    transport: JetStream,
    _directory: TempDir,
}

impl Broker {
    /// `None`, and says why, where there is no server.
    pub(crate) async fn start() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
        let found = Command::new(script).output().unwrap();
        if !found.status.success() {
            println!("skipped: no nats-server: {}", String::from_utf8_lossy(&found.stderr));
            return None;
        }
        let binary = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let (store, configuration) =
            (directory.path().join("store"), directory.path().join("server.conf"));
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, max_file: 4G }}\n"
        );
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new(binary);
        command.arg("--config").arg(configuration).stdin(Stdio::null());
        let server = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let url = format!("nats://127.0.0.1:{port}");
        let mut options = JetStreamOptions::new([&*url]);
        options
            .durables
            .retain(|durable| ["detection", "alert-writer"].contains(&&*durable.durable));
        options.streams.telemetry_bytes_max = 64 << 20;
        options.streams.other_bytes_max = 32 << 20;
        let transport = JetStream::open(options).await.unwrap();
        Some(Self { _server: server, url, transport, _directory: directory })
    }

    pub(crate) async fn publish(&self, (source, events): (AgentIdentity, Vec<Arc<Event>>)) {
        let (topic, payload) = (Topic::TelemetryAccepted, Payload::Events(events));
        self.transport.publish(vec![Message { source, topic, payload }]).await.unwrap();
    }

    /// Publishes a ruleset of one file.
    pub(crate) async fn publish_rules(&self, tenant: &str, revision: u64, text: &str) {
        let state = self.transport.state(BucketOptions::rules()).await.unwrap();
        let rules = Ruleset::new([RuleFile::new("published.yml", text).unwrap()]).unwrap();
        let tenant = TenantId::new(tenant).unwrap();
        let published = PublishedRulesets::new(Arc::new(state));
        assert!(published.publish(&tenant, revision, &rules).await.unwrap());
    }

    /// So many alerts that were not read yet: their rules and agents.
    pub(crate) async fn next_alerts(&self, count: usize) -> Vec<(String, String)> {
        let durable = Subscription { topic: Topic::Alerts, durable: "alert-writer".into() };
        let mut consumer = self.transport.subscribe(durable).await.unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(90), consumer.next(1)).await;
            for delivery in next.expect("no alert comes").unwrap() {
                let Payload::Alerts(alerts) = &delivery.message.payload else { panic!() };
                found.extend(
                    alerts
                        .iter()
                        .map(|alert| (alert.rule.id.to_string(), alert.source.agent.to_string())),
                );
                delivery.ack.ack().await.unwrap();
            }
        }
        found
    }
}

pub(crate) struct Worker {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Worker {
    pub(crate) fn start(broker: &Broker, rules: &Path) -> Self {
        Self::start_with(broker, rules, "")
    }

    pub(crate) fn start_with(broker: &Broker, rules: &Path, configuration: &str) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let path = directory.path().join("worker.toml");
        let text = format!(
            "[transport]\nurl = \"{}\"\ndurables = [\"detection\", \"alert-writer\"]\n\
             telemetry_bytes_max = {}\nother_bytes_max = {}\n[rules]\nbuiltin = false\n\
             [listener]\naddress = \"127.0.0.1:{port}\"\n{configuration}",
            broker.url,
            64 << 20,
            32 << 20,
        );
        std::fs::write(&path, text).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lavender-worker"))
            .args(["detect", "--config"])
            .arg(path)
            .arg("--rules")
            .arg(rules)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, port, directory }
    }

    /// Waits until it has said something.
    pub(crate) async fn wait_for(&self, text: &str) {
        let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap();
        for _ in 0..600 {
            if log().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not say `{text}`: {}", log());
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn metrics(&self) -> String {
        self.get("/metrics")
    }

    pub(crate) fn health(&self) -> String {
        self.get("/healthz")
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// Ends it as the kernel would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and gives its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal("-TERM");
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

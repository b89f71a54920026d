//! A broker that ends with the benchmark.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lavender_transport::nats::{JetStream, JetStreamOptions};

pub struct Broker {
    child: Child,
    pub url: String,
    _directory: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Broker {
    /// The one that `.ci/nats-server` finds or installs, on a free port.
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/nats-server");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        let binary = String::from_utf8(output.stdout).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(binary.trim())
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, url: format!("nats://127.0.0.1:{port}"), _directory: directory }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its streams, with these durables.
    pub async fn open(&self, durables: &[&str]) -> JetStream {
        let mut options = JetStreamOptions::new([self.url.clone()]);
        options.durables.retain(|durable| durables.contains(&&*durable.durable));
        options.consumer.in_flight = 8_192;
        loop {
            match JetStream::open(options.clone()).await {
                Ok(transport) => return transport,
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

//! Servers to test with. Where none can be had, a test says `skipped:` and why.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use lavender_transport::nats::{JetStream, JetStreamOptions};
use tempfile::TempDir;

/// The path of a server that is new enough, or why there is none.
fn binary() -> Result<&'static Path, &'static str> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/nats-server");
        let output = Command::new(&script).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(said.lines().last().unwrap_or("it says nothing").to_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().into())
    });
    found.as_deref().map_err(String::as_str)
}

/// Whether tests with a server can run; says so where they cannot.
pub(crate) fn available() -> bool {
    match binary() {
        Ok(_) => true,
        Err(why) => {
            println!("skipped: no nats-server: {why}");
            false
        }
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that is killed when it goes out of scope, with all that it stored.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) port: u16,
    directory: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more lines of configuration.
    pub(crate) async fn start_with(configuration: &str) -> Self {
        Self::start_on(free_port(), configuration).await
    }

    /// On a port that others of a cluster know already.
    pub(crate) async fn start_on(port: u16, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let text = format!(
            "listen: 127.0.0.1:{port}\nserver_name: s{port}\njetstream {{ store_dir: {store:?}, max_file: 8G }}\n{configuration}\n"
        );
        std::fs::write(directory.path().join("server.conf"), text).unwrap();
        let mut server = Self { child: None, port, directory };
        server.restart().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> JetStreamOptions {
        JetStreamOptions::new([self.url()])
    }

    /// A transport on it, with small streams, so that many fit on any disk.
    pub(crate) async fn open(&self) -> JetStream {
        JetStream::open(small(self.options())).await.unwrap()
    }

    /// Kills it as the kernel would, without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on what it has stored, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.directory.path().join("server.log")).unwrap();
        let child = Command::new(binary().unwrap())
            .arg("--config")
            .arg(self.directory.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        for _ in 0..400 {
            let log = self.log();
            if log.contains("Server is ready") {
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "nats-server ended: {log}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("nats-server is not ready: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("server.log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn small(mut options: JetStreamOptions) -> JetStreamOptions {
    options.streams.telemetry_bytes_max = 256 << 20;
    options.streams.other_bytes_max = 32 << 20;
    options
}

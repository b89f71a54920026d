//! The broker.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::error::{FleetError, Result};
use crate::process::Process;
use crate::site::Site;

/// A nats-server with JetStream, on a free port of the loopback.
#[derive(Debug)]
pub struct Broker {
    /// The process.
    pub process: Process,
    /// Its port.
    pub port: u16,
}

/// A port that was free a moment ago.
///
/// # Errors
///
/// When the loopback has none.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.map_err(FleetError::io("a free port of the loopback"))?.port())
}

impl Broker {
    /// Starts `program` with the site's users.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn start(program: &Path, site: &Site, directory: &Path) -> Result<Self> {
        let port = free_port()?;
        let store: PathBuf = directory.join("jetstream");
        let configuration = format!(
            "listen: 127.0.0.1:{port}\nserver_name: fleet\njetstream {{ store_dir: {store:?}, max_file: 8G }}\n{}",
            site.configuration
        );
        let file = directory.join("nats-server.conf");
        fs::write(&file, configuration).map_err(FleetError::io(file.display().to_string()))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file);
        let mut process = Process::start("nats-server", command, directory)?;
        process.wait_until_it_says("Server is ready").await?;
        Ok(Self { process, port })
    }
}

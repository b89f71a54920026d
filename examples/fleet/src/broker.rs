//! The broker.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::error::{FleetError, Result};
use crate::process::Process;
use crate::site::Site;

/// What a nats-server says once it is ready.
pub(crate) const READY: &str = "Server is ready";

/// Writes the configuration of a nats-server with the site's users; `more` is added to it.
pub(crate) fn configure(
    name: &str,
    port: u16,
    more: &str,
    site: &Site,
    directory: &Path,
) -> Result<PathBuf> {
    let store: PathBuf = directory.join(format!("jetstream-{name}"));
    let configuration = format!(
        "listen: 127.0.0.1:{port}\nserver_name: {name}\njetstream {{ store_dir: {store:?}, max_file: 8G }}\n{}{more}",
        site.configuration
    );
    let file = directory.join(format!("{name}.conf"));
    fs::write(&file, configuration).map_err(FleetError::io(file.display().to_string()))?;
    Ok(file)
}

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
        let file = configure("nats-server", port, "", site, directory)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file);
        let mut process = Process::start("nats-server", command, directory)?;
        process.wait_until_it_says(READY).await?;
        Ok(Self { process, port })
    }
}

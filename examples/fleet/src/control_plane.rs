//! The fleet's control plane: started with a user and a key of its own, and asked as people and programs ask it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::{FleetError, Result};
use crate::fleet::Programs;
use crate::process::Process;
use crate::site::{CONTROL_PLANE, TENANT};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What it says before the first admin token, and before where it listens.
const TOKEN: &str = "shown only now: ";
const LISTENS: &str = "listening on http://";

/// A control plane that runs.
pub struct ControlPlane {
    /// The process.
    pub process: Process,
    /// Where it listens: `host:port`.
    pub address: String,
    token: String,
}

impl fmt::Debug for ControlPlane {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Makes the key by which it signs commands; what comes back is what the agents' configuration has to say.
///
/// # Errors
///
/// When it cannot be made.
pub async fn make_key(programs: &Programs, file: &Path) -> Result<String> {
    let mut command = program(programs);
    command.args(["keys", "generate", "--id", "fleet"]).arg(file);
    let made = command.output().await.map_err(FleetError::io("making a signing key"))?;
    if made.status.success() {
        return Ok(String::from_utf8_lossy(&made.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    let (name, status) = ("lavender-control-plane keys".into(), made.status.to_string());
    Err(FleetError::Ended { name, status, said })
}

fn program(programs: &Programs) -> Command {
    Command::new(programs.folder.join("lavender-control-plane"))
}

impl ControlPlane {
    /// Starts it over the fleet's store and broker, by URL; returns once it listens.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn start(
        programs: &Programs,
        (store, transport): (&str, &str),
        key: &Path,
        listen: SocketAddr,
        directory: &Path,
    ) -> Result<Self> {
        let mut command = program(programs);
        command
            .args(["--tenant", TENANT, "--transport", transport, "--listen", &listen.to_string()])
            .arg("--signing-key")
            .arg(key)
            // There is a password in it, which nobody is to see among the arguments of processes.
            .env("LAVENDER_STORE", store);
        let mut process = Process::start(CONTROL_PLANE, command, directory)?;
        process.wait_until_it_says(LISTENS).await?;
        let said = process.said();
        let told = |words: &str| {
            let line = said.lines().find_map(|line| line.split_once(words));
            let missing = || FleetError::Broken(format!("the control plane did not say `{words}`"));
            line.map(|(_, told)| told.trim().to_owned()).ok_or_else(missing)
        };
        Ok(Self { address: told(LISTENS)?, token: told(TOKEN)?, process })
    }

    /// The first admin token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Asks the API, as the admin; `Ok` with the status and what came, if it is JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        let asked = timeout(PATIENCE, self.exchange(method, path, &body.to_string())).await;
        let late =
            |_| FleetError::Late(format!("the answer to {method} {path}"), PATIENCE.as_secs());
        let text = asked.map_err(late)?.map_err(FleetError::io(format!("{method} {path}")))?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let answer = status.zip(text.split_once("\r\n\r\n"));
        let broken = || FleetError::Broken(format!("{method} {path} was answered by no HTTP"));
        let (status, (_, body)) = answer.ok_or_else(broken)?;
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    async fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let Self { address, token, .. } = self;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

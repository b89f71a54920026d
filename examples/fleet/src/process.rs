//! A process of the fleet's own.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::error::{FleetError, Result};

/// How long a process may take to start, and to end once it is asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether a process is ready.
const LOOK: Duration = Duration::from_millis(25);

/// The most lines of a log that an error shows.
const SHOWN_LINES: usize = 12;

/// A process whose output goes to a file, and that is killed when it goes out of scope.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    stop: Signal,
}

impl Process {
    /// Starts a command; its output goes to `NAME.log` in the directory.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        // A control plane says its first token there.
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&log);
        let file = file.map_err(FleetError::io(format!("making {}", log.display())))?;
        let other = file.try_clone().map_err(FleetError::io(log.display().to_string()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(other)
            .kill_on_drop(true)
            .spawn()
            .map_err(FleetError::io(format!("starting {name}")))?;
        Ok(Self { name: name.to_owned(), log, child, stop: Signal::TERM })
    }

    /// With another signal than SIGTERM to ask it to end.
    #[must_use]
    pub const fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Waits until its output has these words.
    ///
    /// # Errors
    ///
    /// When it ends before, or takes too long.
    pub async fn wait_until_it_says(&mut self, words: &str) -> Result<()> {
        let said = async {
            loop {
                if self.said().contains(words) {
                    return Ok(());
                }
                self.look()?;
                tokio::time::sleep(LOOK).await;
            }
        };
        let late = || FleetError::Late(format!("`{words}`"), PATIENCE.as_secs());
        timeout(PATIENCE, said).await.unwrap_or_else(|_| Err(late()))
    }

    /// Looks whether it runs.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn look(&mut self) -> Result<()> {
        let ended = self.child.try_wait().map_err(FleetError::io(self.name.clone()))?;
        ended.map_or(Ok(()), |status| Err(self.ended(status.to_string())))
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// When it ends with an error, or does not end.
    pub async fn stop(mut self) -> Result<()> {
        self.look()?;
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            kill_process(pid, self.stop)
                .map_err(|error| FleetError::io(self.name.clone())(error.into()))?;
        }
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.ended(status.to_string())),
            Ok(Err(source)) => Err(FleetError::Io { what: self.name, source }),
            Err(_) => {
                Err(FleetError::Late(format!("the end of {}", self.name), PATIENCE.as_secs()))
            }
        }
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it had ended by itself before, or cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.look()?;
        self.child.kill().await.map_err(FleetError::io(format!("killing {}", self.name)))
    }

    /// Waits until it has ended by itself, and well.
    ///
    /// # Errors
    ///
    /// When it ends with an error.
    pub async fn ended_well(&mut self) -> Result<()> {
        let status = self.child.wait().await.map_err(FleetError::io(self.name.clone()))?;
        if status.success() { Ok(()) } else { Err(self.ended(status.to_string())) }
    }

    /// All that it has said since it was started.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn ended(&self, status: String) -> FleetError {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let said = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        FleetError::Ended { name: self.name.clone(), status, said }
    }
}

//! The process of an act, as whoever began it has it.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use super::perform::{ACT, ENTER};
use super::{Canary, CanaryError, Place};

/// The most bytes of what a process says that are kept.
const SAID_BYTES_MAX: u64 = 1_024;

/// An act that has begun. Its process is killed when this is dropped, if it has not ended.
#[derive(Debug)]
pub struct CanaryAct {
    child: Child,
    /// Removed after the child has ended.
    _cgroup: Option<OwnCgroup>,
}

impl CanaryAct {
    pub(super) fn begin(canary: &Canary, token: &str) -> Result<Self, CanaryError> {
        let Place { cgroup, uid } = &canary.place;
        let cgroup = cgroup.as_ref().map(|parent| OwnCgroup::make(parent.clone())).transpose()?;
        let mut command = Command::new(&canary.program);
        command.args(&canary.arguments);
        if cgroup.is_some() || uid.is_some() {
            // The token is not the last of these: it is not yet where it is seen.
            let folder = cgroup.as_ref().map(|cgroup| cgroup.0.clone()).unwrap_or_default();
            let uid = uid.map(|uid| uid.to_string()).unwrap_or_default();
            command.args([ENTER, token]).arg(folder).arg(uid);
        } else {
            command.args([ACT, token]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let program = &canary.program;
        let child = command
            .spawn()
            .map_err(|source| CanaryError::Run { program: program.clone(), source })?;
        Ok(Self { child, _cgroup: cgroup })
    }

    /// Whether its process has ended; `None`: not yet. Does not wait.
    ///
    /// # Errors
    ///
    /// When it ended without having done everything.
    pub fn try_wait(&mut self) -> Result<Option<()>, CanaryError> {
        let asked = self.child.try_wait();
        let status = asked.map_err(|source| CanaryError::Act { what: "be waited for", source })?;
        match status {
            None => Ok(None),
            Some(status) if status.success() => Ok(Some(())),
            Some(status) => Err(self.failed(status)),
        }
    }

    fn failed(&mut self, status: ExitStatus) -> CanaryError {
        let said = self.child.stderr.take().map(said).unwrap_or_default();
        CanaryError::Failed { status, said }
    }
}

/// What a process that has ended said last.
fn said(stderr: ChildStderr) -> String {
    let mut bytes = Vec::new();
    // What cannot be read was not said.
    let _ = stderr.take(SAID_BYTES_MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

impl Drop for CanaryAct {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A control group for one act: whatever else is below the parent, this one may have processes.
#[derive(Debug)]
struct OwnCgroup(PathBuf);

impl OwnCgroup {
    fn make(parent: PathBuf) -> Result<Self, CanaryError> {
        let folder = parent.join(format!("lavender-canary-{}", std::process::id()));
        match fs::create_dir(&folder) {
            // One that could not be removed last time.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self(folder)),
            Err(source) => Err(CanaryError::Cgroup { folder, source }),
            Ok(()) => Ok(Self(folder)),
        }
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "the canary's control group stays");
        }
    }
}

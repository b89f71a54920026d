//! Isolation that outlasts the agent and the boot.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::note::{self, Note, Read};
use super::{Isolation, IsolationConfig, IsolationCounts, IsolationError, PEERS_MAX};

/// Whether something is isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationState {
    /// It has its network.
    Open,
    /// It is cut off.
    Isolated(IsolationCounts),
}

/// Isolates and releases as it is ordered, and keeps to the last order: what is isolated stays so when the agent is
/// killed or stopped, and is isolated again when it starts after a boot ([`restore`](Self::restore)).
///
/// The kernel is asked what holds, so several of them, in several processes, agree.
///
/// ```no_run
/// use lavender_bpf::{IsolationConfig, IsolationState, Isolator};
///
/// # fn main() -> Result<(), lavender_bpf::IsolationError> {
/// let config = IsolationConfig::cgroup("/sys/fs/cgroup/suspects");
/// let isolator = Isolator::new(config, "/var/lib/lavender/isolated.json");
/// isolator.isolate()?;
/// assert!(matches!(isolator.state()?, IsolationState::Isolated(_)));
/// assert!(isolator.release()?);
/// assert_eq!(isolator.state()?, IsolationState::Open);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Isolator {
    config: IsolationConfig,
    state_file: PathBuf,
}

impl Isolator {
    /// Isolates what the configuration says, and keeps in this file that it did.
    pub fn new(config: IsolationConfig, state_file: impl Into<PathBuf>) -> Self {
        Self { config, state_file: state_file.into() }
    }

    /// With these addresses reachable as well, from the next time on that it isolates.
    #[must_use]
    pub fn with_allowed(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.config = self.config.with_allowed(peers);
        self
    }

    /// Isolates. Where it is isolated already, only sees to it that it is after a boot, too.
    ///
    /// # Errors
    ///
    /// As [`Isolation::apply`], and when that cannot be kept. Nothing has changed then.
    pub fn isolate(&self) -> Result<(), IsolationError> {
        let before = self.read()?;
        if matches!(self.state()?, IsolationState::Isolated(_)) {
            // By somebody else, if there is no note of it: now it was ordered here, too.
            return match before {
                Read::Note(_) => Ok(()),
                Read::Nothing | Read::Garbled(_) => self.write(&self.config),
            };
        }
        // First: whoever is killed in between isolates at the next start, as it was ordered.
        self.write(&self.config)?;
        match Isolation::apply(&self.config) {
            Ok(isolation) => {
                isolation.keep();
                Ok(())
            }
            Err(error) => {
                if matches!(before, Read::Nothing) {
                    self.forget()?;
                }
                Err(error)
            }
        }
    }

    /// Lifts isolation, and tells whether there was any.
    ///
    /// # Errors
    ///
    /// When it cannot be lifted, or that cannot be kept.
    pub fn release(&self) -> Result<bool, IsolationError> {
        let noted = self.read()?;
        self.forget()?;
        let mut was_isolated = lift(self.config.cgroup.as_deref())?;
        if let Read::Note(Note { cgroup, .. }) = noted
            && cgroup != self.config.cgroup
        {
            was_isolated |= lift(cgroup.as_deref())?;
        }
        Ok(was_isolated)
    }

    /// Whether it is isolated now, as the kernel says.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn state(&self) -> Result<IsolationState, IsolationError> {
        match Isolation::find(self.config.cgroup.as_deref())? {
            Some(isolation) => Ok(IsolationState::Isolated(isolation.counts()?)),
            None => Ok(IsolationState::Open),
        }
    }

    /// Does what the last order said, which may have been before the boot, and tells whether that is to isolate.
    /// To be called at the start, before anything else.
    ///
    /// What could be reached then can be reached on: names may have been looked up that cannot be now. A file that
    /// cannot be understood isolates.
    ///
    /// # Errors
    ///
    /// As [`Isolation::apply`].
    pub fn restore(&self) -> Result<bool, IsolationError> {
        let noted = match self.read()? {
            Read::Nothing => {
                // For whoever was killed while he released. Most hosts never isolate, and some could not.
                if let Err(error) = lift(self.config.cgroup.as_deref()) {
                    tracing::debug!(%error, "whether something is isolated is not known");
                }
                return Ok(false);
            }
            Read::Note(note) => note,
            Read::Garbled(error) => {
                tracing::warn!(
                    %error,
                    "{} cannot be understood: it is isolated all the same",
                    self.state_file.display()
                );
                Note { cgroup: self.config.cgroup.clone(), allow: Vec::new() }
            }
        };
        let mut config = self.config.clone().with_allowed(noted.allow);
        config.allow.truncate(PEERS_MAX.max(self.config.allow.len()));
        Isolation::apply(&config)?.keep();
        self.write(&config)?;
        if noted.cgroup != config.cgroup {
            lift(noted.cgroup.as_deref())?;
        }
        Ok(true)
    }

    fn read(&self) -> Result<Read, IsolationError> {
        note::read(&self.state_file).map_err(|source| self.state_error(source))
    }

    fn write(&self, config: &IsolationConfig) -> Result<(), IsolationError> {
        let note = Note { cgroup: config.cgroup.clone(), allow: config.allow.clone() };
        note::write(&self.state_file, &note).map_err(|source| self.state_error(source))
    }

    fn forget(&self) -> Result<(), IsolationError> {
        note::remove(&self.state_file).map_err(|source| self.state_error(source))
    }

    fn state_error(&self, source: io::Error) -> IsolationError {
        IsolationError::State { path: self.state_file.clone(), source }
    }
}

/// Lifts what isolates a control group, and tells whether anything did. One that is gone is not isolated, and where
/// there are none, nothing is.
fn lift(cgroup: Option<&Path>) -> Result<bool, IsolationError> {
    match Isolation::open(cgroup) {
        Ok(isolation) => isolation.lift(),
        Err(IsolationError::Cgroup { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(false)
        }
        Err(IsolationError::Unavailable { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

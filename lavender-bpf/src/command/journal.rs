//! What was admitted and what came of it, on disk.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::command::{
    Command, CommandId, CommandOutcome, CommandResult, Executed, Refusal, Verifier,
};
use lavender_core::{AgentId, TenantId, Timestamp};

use crate::durable;

/// The most commands that are in their time at once.
const CAPACITY: usize = 1_024;

/// How long results are kept: longer than a broker keeps commands (7 days), which come again until then.
const KEPT_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The most bytes of results that are kept.
const RESULTS_MAX_BYTES: u64 = 64 << 20;

const EXECUTED: &str = "executed";
const REPORTED: &str = "reported.json";
const WAITING: &str = "json";

/// Why it is not known which commands were admitted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file or the folder cannot be read or written.
    #[error("{}: which commands were carried out is kept there: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The file holds something else.
    #[error(
        "{}: which commands were carried out is kept there, and it cannot be understood: remove it a day after the last \
         command was given, when none can be repeated any more",
        path.display()
    )]
    Garbled {
        /// The file.
        path: PathBuf,
    },
}

/// Which commands were admitted, and their first results: a folder. What is admitted is on disk before it is told.
///
/// It holds what can be repeated: the ids of commands in their time, at most 1,024, and results for eight days, at most
/// 64 MiB.
#[derive(Debug)]
pub struct CommandJournal {
    folder: PathBuf,
    executed: Executed,
    results: HashMap<CommandId, Kept>,
    bytes: u64,
}

/// A result in the folder.
#[derive(Clone, Copy, Debug)]
struct Kept {
    at_secs: i64,
    bytes: u64,
    reported: bool,
}

/// Why a command is not admitted.
pub(super) enum NotAdmitted {
    Refused(Refusal),
    /// It could not be kept that it was.
    Unkept(JournalError),
}

impl CommandJournal {
    /// Opens the folder, and makes it where there is none. What was admitted by an agent of this name and has no result
    /// was interrupted, and gets one that says so.
    ///
    /// # Errors
    ///
    /// [`JournalError`]. Whoever cannot read what was admitted must admit nothing.
    pub fn open(
        folder: impl Into<PathBuf>,
        (tenant, agent): (&TenantId, &AgentId),
        now: Timestamp,
    ) -> Result<Self, JournalError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let path = folder.join(EXECUTED);
        let executed = match fs::read(&path) {
            Ok(bytes) => Executed::from_bytes(CAPACITY, &bytes)
                .ok_or_else(|| JournalError::Garbled { path: path.clone() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Executed::new(CAPACITY),
            Err(error) => return Err(failed(&path, error)),
        };
        let mut journal = Self { folder, executed, results: HashMap::new(), bytes: 0 };
        journal.find_results()?;
        for command in journal.executed.ids().collect::<Vec<_>>() {
            if !journal.results.contains_key(&command) {
                journal.keep(&CommandResult {
                    command,
                    tenant: tenant.clone(),
                    agent: agent.clone(),
                    outcome: CommandOutcome::Failed { reason: INTERRUPTED.into() },
                    finished_at: now,
                })?;
            }
        }
        Ok(journal)
    }

    fn find_results(&mut self) -> Result<(), JournalError> {
        let fail = |error| failed(&self.folder, error);
        for entry in fs::read_dir(&self.folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let Some((id, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let (Ok(id), WAITING | REPORTED) = (id.parse(), kind) else { continue };
            let about = entry.metadata().map_err(fail)?;
            let (at_secs, bytes) = (about.mtime(), about.len());
            self.bytes += bytes;
            self.results.insert(id, Kept { at_secs, bytes, reported: kind == REPORTED });
        }
        Ok(())
    }

    /// Admits a command, or says why not. When it is admitted, that is on disk.
    pub(super) fn admit(
        &mut self,
        verifier: &Verifier,
        signed: &[u8],
        now: Timestamp,
    ) -> Result<Command, NotAdmitted> {
        let command =
            verifier.admit(signed, now, &mut self.executed).map_err(NotAdmitted::Refused)?;
        // It stays admitted when this fails: a command that was said not to be carried out never is.
        let path = self.folder.join(EXECUTED);
        durable::write(&path, &self.executed.to_bytes())
            .map_err(|error| NotAdmitted::Unkept(failed(&path, error)))?;
        self.make_room(now);
        Ok(command)
    }

    /// Keeps the first result of a command.
    pub(super) fn keep(&mut self, result: &CommandResult) -> Result<(), JournalError> {
        let path = self.path(result.command, WAITING);
        let text = serde_json::to_vec(result).map_err(|error| failed(&path, error.into()))?;
        durable::write(&path, &text).map_err(|error| failed(&path, error))?;
        let at_secs = result.finished_at.as_nanos() / 1_000_000_000;
        let bytes = text.len() as u64;
        self.bytes += bytes;
        self.results.insert(result.command, Kept { at_secs, bytes, reported: false });
        Ok(())
    }

    /// Whether a command was admitted, as far as is remembered.
    pub(super) fn knows(&self, command: CommandId) -> bool {
        self.executed.contains(command)
    }

    /// How much room results have left.
    pub(super) const fn room(&self) -> u64 {
        RESULTS_MAX_BYTES.saturating_sub(self.bytes)
    }

    /// The first result of a command, and whether the transport has it.
    pub(super) fn result(&self, command: CommandId) -> Option<(CommandResult, bool)> {
        let reported = self.results.get(&command)?.reported;
        let path = self.path(command, if reported { REPORTED } else { WAITING });
        let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        match read {
            Ok(result) => Some((result, reported)),
            Err(error) => {
                tracing::error!(%error, "{}: a result cannot be read", path.display());
                None
            }
        }
    }

    /// Takes note that the transport has a result. One that a kill keeps from being noted is reported once more.
    pub(super) fn reported(&mut self, command: CommandId) {
        let (from, to) = (self.path(command, WAITING), self.path(command, REPORTED));
        let Some(kept) = self.results.get_mut(&command).filter(|kept| !kept.reported) else {
            return;
        };
        match fs::rename(&from, &to) {
            Ok(()) => kept.reported = true,
            Err(error) => tracing::warn!(%error, "{}: it cannot be renamed", from.display()),
        }
    }

    /// Forgets results that nobody can ask for any more, and beyond the bound the oldest that were reported.
    fn make_room(&mut self, now: Timestamp) {
        let oldest = now.saturating_sub(KEPT_FOR).as_nanos() / 1_000_000_000;
        let mut all: Vec<(CommandId, Kept)> =
            self.results.iter().map(|(id, kept)| (*id, *kept)).collect();
        all.sort_unstable_by_key(|(_, kept)| kept.at_secs);
        for (id, kept) in all {
            let is_in_time = self.executed.contains(id);
            let is_over = self.bytes > RESULTS_MAX_BYTES / 2 && kept.reported && !is_in_time;
            if is_over || (kept.at_secs < oldest && !is_in_time) {
                let path = self.path(id, if kept.reported { REPORTED } else { WAITING });
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(%error, "{}: it cannot be removed", path.display());
                }
                self.results.remove(&id);
                self.bytes = self.bytes.saturating_sub(kept.bytes);
            }
        }
    }

    fn path(&self, command: CommandId, kind: &str) -> PathBuf {
        self.folder.join(format!("{command}.{kind}"))
    }
}

/// What is said of a command that was admitted by an agent that was killed then.
const INTERRUPTED: &str =
    "the agent ended while it carried this out, and what came of it is not known";

fn failed(path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { path: path.to_owned(), source: Arc::new(source) }
}

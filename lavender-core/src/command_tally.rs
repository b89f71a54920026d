//! What became of what came to an agent as commands.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What became of what came to an agent as commands, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandCounts {
    /// Commands that were admitted, whatever came of them.
    pub admitted: u64,
    /// Commands that came again, and whose first result was reported again.
    pub repeated: u64,
    /// What was refused, by why.
    pub refused: CommandsRefused,
}

/// What was refused as a command, by why.
///
/// ```
/// use lavender_core::CommandsRefused;
///
/// let refused = CommandsRefused { forged: 2, expired: 1, ..CommandsRefused::default() };
/// assert_eq!(refused.total(), 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandsRefused {
    /// It was no command.
    pub malformed: u64,
    /// It was signed by a key that is not pinned.
    pub unknown_key: u64,
    /// The signature was not that of the key that it names.
    pub forged: u64,
    /// It was for an agent of another tenant.
    pub wrong_tenant: u64,
    /// It was for another agent.
    pub wrong_agent: u64,
    /// It ended before it began, or was good for too long.
    pub lifetime: u64,
    /// It came from the future.
    pub not_yet: u64,
    /// Its time was over.
    pub expired: u64,
    /// It was admitted before, and sent anew by somebody.
    pub replayed: u64,
    /// No more commands could be remembered.
    pub too_many: u64,
    /// The agent could not read or keep which commands it has admitted.
    pub unkept: u64,
}

impl CommandsRefused {
    /// All of them together.
    pub fn total(&self) -> u64 {
        let Self {
            malformed,
            unknown_key,
            forged,
            wrong_tenant,
            wrong_agent,
            lifetime,
            not_yet,
            expired,
            replayed,
            too_many,
            unkept,
        } = *self;
        [
            malformed,
            unknown_key,
            forged,
            wrong_tenant,
            wrong_agent,
            lifetime,
            not_yet,
            expired,
            replayed,
            too_many,
            unkept,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// Counts that whoever takes commands keeps, and heartbeats tell. Clones are the same one; nobody who reads it waits for a
/// command to be carried out.
#[derive(Clone, Debug, Default)]
pub struct CommandTally(Arc<Mutex<CommandCounts>>);

impl CommandTally {
    /// The counts of this moment.
    pub fn counts(&self) -> CommandCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something.
    pub fn count(&self, count: impl FnOnce(&mut CommandCounts)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

//! Commands: orders to one agent, signed by a key that it has pinned.
//!
//! Whoever holds the broker can delay or drop a command, and can neither make nor change one, nor have one
//! carried out twice: a [`Signer`] signs the whole of it, and a [`Verifier`] refuses what is not signed by a
//! pinned key, is meant for another tenant or agent, is out of its time, or was admitted before.
//!
//! ```
//! use std::time::Duration;
//! use lavender_core::command::{CommandAction, Executed, KeyId, Refusal, Signer, Verifier};
//! use lavender_core::{AgentId, TenantId, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let signer = Signer::generate(KeyId::new("2026-11")?)?;
//! let (tenant, agent) = (TenantId::new("acme")?, AgentId::new("web-1")?);
//! let verifier = Verifier::new(tenant.clone(), agent.clone())
//!     .with_key(signer.key().clone(), signer.public_key())?;
//!
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let wire = signer
//!     .order(tenant, agent, CommandAction::Ping, now, Duration::from_secs(60))?
//!     .to_bytes();
//! let mut executed = Executed::new(1_000);
//! assert_eq!(verifier.admit(&wire, now, &mut executed)?.action, CommandAction::Ping);
//! assert!(matches!(verifier.admit(&wire, now, &mut executed), Err(Refusal::Replayed { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! # Bytes
//!
//! What is signed is the command in the form below, and nothing else. It is the only form that a command
//! has: other bytes never read as the same command. Numbers are big-endian; a *name* is its length in one
//! byte, then that many bytes; a *path* is its length in two bytes, then that many bytes (1 to 4096).
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 16 | `lavender-command`, so that no other signature of the key is one of a command |
//! | 16 | 1 | version: 1 |
//! | 17 | 16 | command id |
//! | 33 | 16 | nonce |
//! | 49 | 8 | issued at: signed, nanoseconds since the Unix epoch |
//! | 57 | 8 | expires at: likewise |
//! | 65 | 2 to 65 | key id, a name |
//! | | 2 to 65 | tenant, a name |
//! | | 2 to 65 | agent, a name |
//! | | 1 | action |
//! | | | what the action is about |
//!
//! A signed command ends in 64 bytes of signature (Ed25519, RFC 8032) over everything before them.
//!
//! | action | | followed by |
//! |---|---|---|
//! | 1 | `ping` | |
//! | 2 | `kill` | process id: 16 bytes |
//! | 3 | `kill_tree` | process id: 16 bytes |
//! | 4 | `isolate` | |
//! | 5 | `release` | |
//! | 6 | `quarantine` | path; then 0, or 1 and inode (8 bytes) and device (4 bytes) |
//! | 7 | `restore` | name of the quarantine entry: a name of 1 to 255 bytes of UTF-8 |
//! | 8 | `list_processes` | |
//! | 9 | `hash_file` | path |
//! | 10 | `collect_file` | path; then at most how many bytes to collect (4 bytes) |
//! | 11 | `reload_rules` | |

mod canonical;
mod delivery;
mod executed;
mod id;
mod output;
mod result;
mod signed;
mod signer;
mod verifier;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ProcessId, TenantId};
use crate::response::FileTarget;
use crate::text::ByteString;
use crate::time::Timestamp;

pub use self::canonical::{MAX_COMMAND_BYTES, Malformed, Unencodable};
pub use self::delivery::{
    CommandDelivery, CommandExecutor, CommandRefusal, CommandReply, CommandReport, CommandSink,
    CommandSource, ReportDelivery, ReportSource,
};
pub use self::executed::Executed;
pub use self::id::{CommandId, KeyId, Nonce};
pub use self::output::{CommandOutput, FileContent, MAX_COLLECTED_BYTES, RunningProcess};
pub use self::result::{CommandOutcome, CommandResult};
pub use self::signed::SignedCommand;
pub use self::signer::{Signer, SigningError};
pub use self::verifier::{MAX_LIFETIME, PinError, Refusal, Verifier};

/// What an agent is told to do.
///
/// ```
/// use lavender_core::command::CommandAction;
///
/// assert_eq!(CommandAction::ReloadRules.as_str(), "reload_rules");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandAction {
    /// Answer, and do nothing.
    Ping,
    /// Kill a process.
    Kill {
        /// Exactly which one: not whoever has its pid now.
        process: ProcessId,
    },
    /// Kill a process and everything that it started.
    KillTree {
        /// Exactly which one.
        process: ProcessId,
    },
    /// Cut the host off the network.
    Isolate,
    /// End the isolation.
    Release,
    /// Move a file to where nobody runs or reads it.
    Quarantine {
        /// Which file.
        file: FileTarget,
    },
    /// Put a file back from quarantine.
    Restore {
        /// The name of the entry that holds it.
        entry: Arc<str>,
    },
    /// Tell which processes run.
    ListProcesses,
    /// Tell a file's digest.
    HashFile {
        /// The absolute path.
        path: ByteString,
    },
    /// Send a file.
    CollectFile {
        /// The absolute path.
        path: ByteString,
        /// At most how much of it.
        max_bytes: u32,
    },
    /// Read the rules again.
    ReloadRules,
}

impl CommandAction {
    /// The name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Kill { .. } => "kill",
            Self::KillTree { .. } => "kill_tree",
            Self::Isolate => "isolate",
            Self::Release => "release",
            Self::Quarantine { .. } => "quarantine",
            Self::Restore { .. } => "restore",
            Self::ListProcesses => "list_processes",
            Self::HashFile { .. } => "hash_file",
            Self::CollectFile { .. } => "collect_file",
            Self::ReloadRules => "reload_rules",
        }
    }
}

/// An order to one agent. It says nothing about who asked for it: that is the control plane's to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// Which command.
    pub id: CommandId,
    /// What makes it unlike any other.
    pub nonce: Nonce,
    /// The tenant of the agent.
    pub tenant: TenantId,
    /// The agent that is to do it.
    pub agent: AgentId,
    /// What to do.
    pub action: CommandAction,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// From when on it must not be done any more.
    pub expires_at: Timestamp,
    /// The key that signs it.
    pub key: KeyId,
}

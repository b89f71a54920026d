//! What became of a command.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::CommandId;
use crate::id::{AgentId, TenantId};
use crate::time::Timestamp;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandOutcome {
    /// It was carried out.
    Done,
    /// It would have been: the agent answers nothing in earnest.
    DryRun,
    /// It was not admitted, or the agent may not do that.
    Refused {
        /// Why.
        reason: Arc<str>,
    },
    /// It was tried.
    Failed {
        /// What went wrong.
        reason: Arc<str>,
    },
}

impl CommandOutcome {
    /// The name.
    ///
    /// ```
    /// use lavender_core::command::CommandOutcome;
    ///
    /// assert_eq!(CommandOutcome::DryRun.as_str(), "dry_run");
    /// ```
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DryRun => "dry_run",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What an agent reports of a command, once. A command that is refused for its signature is reported by the id that
/// it claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommandResult {
    /// Which command.
    pub command: CommandId,
    /// The tenant of the agent that reports.
    pub tenant: TenantId,
    /// The agent that reports.
    pub agent: AgentId,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: CommandOutcome,
    /// When, by the agent's clock.
    pub finished_at: Timestamp,
}

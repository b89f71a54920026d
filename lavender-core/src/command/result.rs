//! What became of a command.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{CommandId, CommandOutput};
use crate::id::{AgentId, TenantId};
use crate::time::Timestamp;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandOutcome {
    /// It was carried out.
    Done {
        /// What it gave, where it gives something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<CommandOutput>,
    },
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
    /// Carried out, and there is nothing more to say.
    pub const DONE: Self = Self::Done { output: None };

    /// Carried out, with what it gave.
    pub const fn done(output: CommandOutput) -> Self {
        Self::Done { output: Some(output) }
    }

    /// The name.
    ///
    /// ```
    /// use lavender_core::command::CommandOutcome;
    ///
    /// assert_eq!(CommandOutcome::DryRun.as_str(), "dry_run");
    /// assert_eq!(CommandOutcome::DONE.as_str(), "done");
    /// ```
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::DryRun => "dry_run",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What an agent reports of a command that is signed by a pinned key and for this agent. What is not is a
/// [`CommandRefusal`](super::CommandRefusal).
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

//! Response: what is done about an alert, and what came of it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::id::{AlertId, ProcessId};

/// What can be done about an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseAction {
    /// Kill the process.
    Kill,
}

impl ResponseAction {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for ResponseAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Done,
    /// It would have been done: responses are in dry-run.
    DryRun,
    /// It was not done, because the process is protected.
    Protected {
        /// What protects it.
        by: Arc<str>,
    },
    /// It was not done: the process that the alert is about is gone, or its pid is another's now.
    Gone,
    /// It was not done: too many were done of late.
    RateLimited,
    /// It was tried and failed.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// A response and what came of it: an event, and a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseOutcome {
    /// The alert that it answers.
    pub alert: AlertId,
    /// What was to be done.
    pub action: ResponseAction,
    /// The process that it was to be done to.
    pub target: ProcessId,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Answers alerts. Called in the order in which alerts are raised, and must not block for long: the next
/// event waits.
pub trait Responder: fmt::Debug + Send {
    /// Does what policy says about an alert, and tells what came of it; nothing when policy says to do
    /// nothing.
    fn respond(&mut self, alert: &Alert) -> Option<ResponseOutcome>;
}

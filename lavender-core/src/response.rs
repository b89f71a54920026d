//! Response: what is done about an alert or by a command, and what came of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::command_id::CommandId;
use crate::event::Event;
use crate::id::{AlertId, ProcessId};
use crate::rule::UnknownName;
use crate::text::ByteString;

/// What can be done.
///
/// ```
/// use lavender_core::ResponseAction;
///
/// assert_eq!("kill_tree".parse(), Ok(ResponseAction::KillTree));
/// assert_eq!(ResponseAction::Quarantine.to_string(), "quarantine");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseAction {
    /// Stop the process where it is (`SIGSTOP`), so that it can be looked at, and continued.
    Stop,
    /// Kill the process.
    Kill,
    /// Kill the process and everything that it started.
    KillTree,
    /// Move the file to where nobody runs or reads it, to be restored if it was harmless.
    Quarantine,
    /// Cut the host off the network.
    Isolate,
    /// End the isolation. No policy decides that.
    Release,
    /// Put a file back from quarantine. No policy decides that.
    Restore,
    /// Have a call fail, in the kernel. No policy decides that: a rule that says so is decided there.
    Deny,
}

impl ResponseAction {
    /// Every action that a policy can decide, in the order in which several are carried out: a process is dealt with
    /// before its file. What undoes them is for people alone.
    pub const ALL: [Self; 5] =
        [Self::Stop, Self::Kill, Self::KillTree, Self::Quarantine, Self::Isolate];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::KillTree => "kill_tree",
            Self::Quarantine => "quarantine",
            Self::Isolate => "isolate",
            Self::Release => "release",
            Self::Restore => "restore",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for ResponseAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ResponseAction {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == name)
            .ok_or_else(|| UnknownName { what: "response", name: name.to_owned() })
    }
}

/// What something is done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseTarget {
    /// A process.
    Process(ProcessId),
    /// A file.
    File(FileTarget),
    /// The host as a whole.
    Host,
    /// What is in quarantine, by the name of its entry.
    QuarantineEntry(Arc<str>),
}

/// A file by its path, and by what it was when the event saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileTarget {
    /// The absolute path, as the kernel resolved it.
    pub path: ByteString,
    /// Which file had that path; `None` where the event does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<FileIdentity>,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The inode number.
    pub inode: u64,
    /// The device that holds the file, as the kernel numbers it (`dev_t`).
    pub device: u32,
}

/// What a response answers.
///
/// ```
/// use lavender_core::{AlertId, ResponseCause};
///
/// let alert = AlertId::new("a rule", &[]);
/// assert_eq!(ResponseCause::Alert(alert).alert(), Some(alert));
/// assert_eq!(ResponseCause::Operator("uid 0".into()).alert(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseCause {
    /// An alert.
    Alert(AlertId),
    /// A command of the control plane.
    Command(CommandId),
    /// A person at the host itself: who.
    Operator(Arc<str>),
    /// A rule that the kernel decided by itself, before any alert: its id.
    Rule(Arc<str>),
}

impl ResponseCause {
    /// The alert that is answered, if it is one.
    pub const fn alert(&self) -> Option<AlertId> {
        match self {
            Self::Alert(alert) => Some(*alert),
            _ => None,
        }
    }
}

impl fmt::Display for ResponseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(id) => write!(f, "alert {id}"),
            Self::Command(id) => write!(f, "command {id}"),
            Self::Operator(who) => write!(f, "operator {who}"),
            Self::Rule(id) => write!(f, "rule {id}"),
        }
    }
}

/// One thing to do: a decision, not yet carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseOrder {
    /// What it answers.
    #[serde(flatten)]
    pub cause: ResponseCause,
    /// What to do.
    pub action: ResponseAction,
    /// What to do it to.
    pub target: ResponseTarget,
    /// Why: what in the policy or in the rule asked for it, or by which key a command is signed.
    pub decided_by: Arc<str>,
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
    /// It was not done: the rule asked for it, and policy does not let rules ask for that.
    NotAllowed,
    /// It was not done, because the process or the file is protected.
    Protected {
        /// What protects it.
        by: Arc<str>,
    },
    /// It was not done: what the alert is about is gone, or its pid or path is another's now.
    Gone,
    /// It was not done: too many were done in the last minute.
    RateLimited,
    /// It was not done: so many were asked for that something must be wrong, and nothing is done until the
    /// circuit breaker closes again.
    CircuitOpen {
        /// For how many seconds more, if nothing else happens.
        closes_in_secs: u64,
    },
    /// It was not done: this agent cannot do that here.
    Unsupported {
        /// What is missing.
        reason: Arc<str>,
    },
    /// It was tried and failed.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// A response and what came of it: an event, and a row. For a tree there is one for each process of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseOutcome {
    /// What was decided.
    #[serde(flatten)]
    pub order: ResponseOrder,
    /// The process whose tree the target belongs to, where the target is not that process itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_of: Option<ProcessId>,
    /// The name of the entry that holds the file, where one was put into quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_entry: Option<Arc<str>>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl ResponseOutcome {
    /// What came of an order.
    pub const fn new(order: ResponseOrder, outcome: Outcome) -> Self {
        Self { order, tree_of: None, quarantine_entry: None, outcome }
    }
}

/// Answers alerts. Called in the order in which things happen, and must not block for long: the next event
/// waits.
pub trait Responder: fmt::Debug + Send {
    /// Sees an event before any rule does. What it adds to `out` becomes events as what
    /// [`respond`](Self::respond) adds does. Called for every event, so it must cost next to nothing for those
    /// that it has no use for.
    fn observe(&mut self, event: &Event, out: &mut Vec<ResponseOutcome>) {
        let _ = (event, out);
    }

    /// Does what policy says about an alert, and adds what came of it to `out`; nothing when policy says to do
    /// nothing. `event` is the one that completed the match.
    fn respond(&mut self, alert: &Alert, event: &Event, out: &mut Vec<ResponseOutcome>);

    /// Whether the host is isolated now, by whoever ordered it. Asked for heartbeats.
    fn is_isolated(&self) -> bool {
        false
    }
}

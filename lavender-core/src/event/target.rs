//! What one process does to another.

use serde::{Deserialize, Serialize};

use crate::id::ExecId;
use crate::text::{ByteString, Captured};

/// The process that another acted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessTarget {
    /// Which process, and which of its programs.
    pub exec_id: ExecId,
    /// The program that it ran, as the kernel resolved its path; unreadable where the process is not known.
    pub executable: Captured<ByteString>,
}

/// A process sent another a signal, by `kill`, `tkill`, `tgkill`, `rt_sigqueueinfo` or `pidfd_send_signal`.
///
/// One event for each process that a call reaches. A signal that the kernel refused to send, and signal 0, which only
/// asks whether a process is there, are no events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// The signal's number.
    pub signal: u32,
    /// The process that it was sent to.
    pub target: ProcessTarget,
    /// The thread that it was sent to, in the initial pid namespace; `None` for the whole process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_tid: Option<u32>,
    /// What became of it.
    pub outcome: SignalOutcome,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SignalOutcome {
    /// The target has it.
    Delivered,
    /// The target ignores it.
    Ignored,
    /// One like it was waiting already.
    AlreadyPending,
    /// It, or what came with it, did not fit into the target's queue.
    Lost,
}

impl SignalOutcome {
    /// From the tracepoint's number: `include/trace/events/signal.h`.
    pub const fn from_kernel(result: u32) -> Self {
        match result {
            0 => Self::Delivered,
            1 => Self::Ignored,
            2 => Self::AlreadyPending,
            _ => Self::Lost,
        }
    }

    /// The name as rules write it: `delivered`, `ignored`, `already_pending` or `lost`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Ignored => "ignored",
            Self::AlreadyPending => "already_pending",
            Self::Lost => "lost",
        }
    }
}

//! Loss as data: what was not seen or not kept, where, and how much.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::EventKind;

/// A counted gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Loss {
    /// Where it was lost.
    pub stage: LossStage,
    /// What kind of events it would have been.
    pub kind: EventKind,
    /// The processor on which it was lost, for losses in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// How many.
    pub count: u64,
}

impl Loss {
    /// A loss that belongs to no one processor.
    pub const fn new(stage: LossStage, kind: EventKind, count: u64) -> Self {
        Self { stage, kind, cpu: None, count }
    }
}

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossStage {
    /// No room in the kernel's ring buffer.
    KernelRing,
    /// The kernel could not read what the event is about.
    KernelRead,
    /// Its process did more of it than the sensor lets through, and the rest was counted: the event says which process.
    ThrottledProcess,
    /// Its control group did more of it than the sensor lets through, and the rest was counted: the event's process is one
    /// of that group.
    ThrottledCgroup,
    /// A record came that could not be decoded.
    Decode,
    /// A bounded queue inside the agent was full.
    Queue,
    /// The agent's disk buffer was full.
    Spool,
    /// It never came to ingest, or ingest did not let it pass: its sequence number is missing.
    Transport,
    /// The store refused it, or could not take it before the agent had to stop.
    Store,
}

impl LossStage {
    /// Whether it was left out by a limit that is set, and not for want of room.
    pub const fn is_throttled(self) -> bool {
        matches!(self, Self::ThrottledProcess | Self::ThrottledCgroup)
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KernelRing => "kernel_ring",
            Self::KernelRead => "kernel_read",
            Self::ThrottledProcess => "throttled_process",
            Self::ThrottledCgroup => "throttled_cgroup",
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Spool => "spool",
            Self::Transport => "transport",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for LossStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

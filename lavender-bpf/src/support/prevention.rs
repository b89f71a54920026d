//! Where the kernel lets something be prevented.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ProbeStatus;

/// A hook at which something can be prevented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PreventionHook {
    /// A process that has a new program is killed before it runs any of it.
    ExecKill,
    /// A program is not started.
    ExecDeny,
    /// A file is not opened.
    Open,
    /// A socket is not connected.
    Connect,
    /// The agent is sent no signal.
    GuardSignal,
    /// The agent is not taken hold of by `ptrace`, nor its memory.
    GuardPtrace,
    /// The agent's files are not removed, renamed, written, or given another mode or owner.
    GuardFiles,
    /// The agent's programs, maps and links are not handed out.
    GuardBpf,
}

impl PreventionHook {
    /// Every hook.
    pub const ALL: [Self; 8] = [
        Self::ExecKill,
        Self::ExecDeny,
        Self::Open,
        Self::Connect,
        Self::GuardSignal,
        Self::GuardPtrace,
        Self::GuardFiles,
        Self::GuardBpf,
    ];

    /// Those that guard the agent itself.
    pub const GUARDS: [Self; 4] =
        [Self::GuardSignal, Self::GuardPtrace, Self::GuardFiles, Self::GuardBpf];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExecKill => "prevent_exec_kill",
            Self::ExecDeny => "prevent_exec_deny",
            Self::Open => "prevent_open",
            Self::Connect => "prevent_connect",
            Self::GuardSignal => "guard_signal",
            Self::GuardPtrace => "guard_ptrace",
            Self::GuardFiles => "guard_files",
            Self::GuardBpf => "guard_bpf",
        }
    }

    /// What it hooks in the kernel first; [`PreventionReport::mechanism`] says what it was in the end.
    pub const fn mechanism(self) -> &'static str {
        match self {
            Self::ExecKill => "tp_btf/sched_process_exec",
            Self::ExecDeny => "lsm/bprm_check_security",
            Self::Open => "lsm/file_open",
            Self::Connect => "lsm/socket_connect",
            Self::GuardSignal => "lsm/task_kill",
            Self::GuardPtrace => "lsm/ptrace_access_check",
            Self::GuardFiles => "lsm/inode_unlink",
            Self::GuardBpf => "lsm/bpf",
        }
    }
}

impl fmt::Display for PreventionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a hook can be used here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreventionReport {
    /// The hook.
    pub hook: PreventionHook,
    /// What it hooks in the kernel.
    pub mechanism: String,
    /// Whether it can be used here.
    #[serde(flatten)]
    pub status: ProbeStatus,
}

impl PreventionReport {
    /// Whether the hook can be used here.
    pub const fn is_available(&self) -> bool {
        matches!(self.status, ProbeStatus::Available)
    }

    /// Why it cannot; `None` where it can.
    pub fn reason(&self) -> Option<&str> {
        match &self.status {
            ProbeStatus::Available => None,
            ProbeStatus::Unavailable { reason } => Some(reason),
        }
    }
}

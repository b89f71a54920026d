//! Processes that go into other namespaces.

use serde::{Deserialize, Serialize};

use super::{Namespaces, ProcessTarget, SyscallResult};

/// A process went into other namespaces, or made a process in new ones, or could not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NsChange {
    /// The call.
    pub call: NsCall,
    /// Which namespaces it was for.
    pub types: NamespaceTypes,
    /// The namespaces of the process when it was last seen before this; `None` where it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Namespaces>,
    /// Those of the calling thread as the call ended; of a clone, those of the new process. `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Namespaces>,
    /// The pid namespace that the thread's children will be in, which `unshare` and `setns` change instead of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children_pid: Option<u32>,
    /// Of a clone, the new process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ProcessTarget>,
    /// Zero or the new process's number as its maker has it, or why it failed.
    pub result: SyscallResult,
}

/// Types of namespaces: the bits `CLONE_NEW…` of `include/uapi/linux/sched.h`.
///
/// ```
/// use lavender_core::event::NamespaceTypes;
///
/// let types = NamespaceTypes(0x1002_0000);
/// assert_eq!(types.names().collect::<Vec<_>>(), ["mnt", "user"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamespaceTypes(pub u32);

impl NamespaceTypes {
    /// The mounts.
    pub const MNT: Self = Self(0x0002_0000);
    /// The users.
    pub const USER: Self = Self(0x1000_0000);
    /// The processes.
    pub const PID: Self = Self(0x2000_0000);

    const NAMES: [(&str, u32); 8] = [
        ("time", 0x80),
        ("mnt", Self::MNT.0),
        ("cgroup", 0x0200_0000),
        ("uts", 0x0400_0000),
        ("ipc", 0x0800_0000),
        ("user", Self::USER.0),
        ("pid", Self::PID.0),
        ("net", 0x4000_0000),
    ];

    /// The names, as `/proc/PID/ns` has them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(name, _)| name)
    }
}

/// A call that changes namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NsCall {
    /// `unshare`.
    Unshare,
    /// `setns`.
    Setns,
    /// `clone` and `clone3`.
    Clone,
    /// One that this version has no name for.
    Other,
}

impl NsCall {
    /// From the number in the sensor's record: 1 to 3, in the order of this type.
    pub const fn from_record(call: u32) -> Self {
        match call {
            1 => Self::Unshare,
            2 => Self::Setns,
            3 => Self::Clone,
            _ => Self::Other,
        }
    }

    /// The name as rules write it: `unshare`, `setns`, `clone`, `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unshare => "unshare",
            Self::Setns => "setns",
            Self::Clone => "clone",
            Self::Other => "other",
        }
    }
}

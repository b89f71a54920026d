//! Changes of the ids and capabilities that a process acts with.

use serde::{Deserialize, Serialize};

use super::{Credentials, SyscallResult};

/// A process changed its ids or capabilities by a call, or could not.
///
/// What it acts with after the call stands in the event's process. Ids are those of the caller's user namespace, as it
/// gave them; one that it left as it is (`-1`) is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CredChange {
    /// The call.
    pub call: CredCall,
    /// The real user or group id that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_id: Option<u32>,
    /// The effective one; `setuid` and `setgid` of a privileged process set the others to it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_id: Option<u32>,
    /// The saved one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_id: Option<u32>,
    /// The one for access to files, of `setfsuid` and `setfsgid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem_id: Option<u32>,
    /// What the process acted with when it was last seen before this; `None` where it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Credentials>,
    /// Zero, or why it failed; of `setfsuid` and `setfsgid`, which never fail, the id of before.
    pub result: SyscallResult,
}

/// A call that changes the ids or capabilities of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CredCall {
    /// `setuid`.
    Setuid,
    /// `setgid`.
    Setgid,
    /// `setreuid`.
    Setreuid,
    /// `setregid`.
    Setregid,
    /// `setresuid`.
    Setresuid,
    /// `setresgid`.
    Setresgid,
    /// `setfsuid`.
    Setfsuid,
    /// `setfsgid`.
    Setfsgid,
    /// `capset`.
    Capset,
    /// One that this version has no name for.
    Other,
}

impl CredCall {
    /// From the number in the sensor's record: 1 to 9, in the order of this type.
    pub const fn from_record(call: u32) -> Self {
        match call {
            1 => Self::Setuid,
            2 => Self::Setgid,
            3 => Self::Setreuid,
            4 => Self::Setregid,
            5 => Self::Setresuid,
            6 => Self::Setresgid,
            7 => Self::Setfsuid,
            8 => Self::Setfsgid,
            9 => Self::Capset,
            _ => Self::Other,
        }
    }

    /// The name as rules write it: that of the call, or `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setuid => "setuid",
            Self::Setgid => "setgid",
            Self::Setreuid => "setreuid",
            Self::Setregid => "setregid",
            Self::Setresuid => "setresuid",
            Self::Setresgid => "setresgid",
            Self::Setfsuid => "setfsuid",
            Self::Setfsgid => "setfsgid",
            Self::Capset => "capset",
            Self::Other => "other",
        }
    }
}

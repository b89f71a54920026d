//! Memory that can be executed though it was, or can be, written.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::SyscallResult;
use crate::text::{ByteString, Captured};

/// A process made memory writable and executable, or executable when it may have been written before, or could not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryProtect {
    /// The call.
    pub call: MemoryCall,
    /// Where it begins; 0 where that is not known.
    pub address: u64,
    /// Bytes, as asked for; 0 of `shmat`, which attaches all there is.
    pub length: u64,
    /// What the memory may be used for from then on.
    pub protection: MemoryProtection,
    /// The file behind it, as the kernel resolved it; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Captured<ByteString>>,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

/// What memory may be used for: the bits `PROT_…` of `include/uapi/asm-generic/mman-common.h`.
///
/// ```
/// use lavender_core::event::MemoryProtection;
///
/// assert_eq!(MemoryProtection(7).to_string(), "read|write|execute");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemoryProtection(pub u32);

impl MemoryProtection {
    /// Whether it may be read.
    pub const fn reads(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether it may be written.
    pub const fn writes(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether it may be executed.
    pub const fn executes(self) -> bool {
        self.0 & 4 != 0
    }

    /// `read`, `write` and `execute`, as far as it may.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [("read", self.reads()), ("write", self.writes()), ("execute", self.executes())]
            .into_iter()
            .filter(|(_, is)| *is)
            .map(|(name, _)| name)
    }
}

impl fmt::Display for MemoryProtection {
    /// `read`, `write` and `execute`, joined by bars.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for name in self.names() {
            write!(f, "{between}{name}")?;
            between = "|";
        }
        Ok(())
    }
}

/// A call that decides what memory may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemoryCall {
    /// `mmap`.
    Mmap,
    /// `mprotect`.
    Mprotect,
    /// `pkey_mprotect`.
    PkeyMprotect,
    /// `shmat`.
    Shmat,
    /// One that this version has no name for.
    Other,
}

impl MemoryCall {
    /// From the number in the sensor's record: 1 to 4, in the order of this type.
    pub const fn from_record(call: u32) -> Self {
        match call {
            1 => Self::Mmap,
            2 => Self::Mprotect,
            3 => Self::PkeyMprotect,
            4 => Self::Shmat,
            _ => Self::Other,
        }
    }

    /// The name as rules write it: that of the call, or `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mmap => "mmap",
            Self::Mprotect => "mprotect",
            Self::PkeyMprotect => "pkey_mprotect",
            Self::Shmat => "shmat",
            Self::Other => "other",
        }
    }
}

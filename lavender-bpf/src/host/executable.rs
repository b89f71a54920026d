//! Which content a program's file has, and what is answered when its hash is asked for.

use lavender_core::event::Executable;
use serde::{Deserialize, Serialize};

/// The content of a program's file: the file, and when it was changed last. What is written, and which mode, owner or name a
/// file has, does not change without this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecutableFile {
    /// The device, as the kernel numbers it.
    pub device: u32,
    /// The inode number.
    pub inode: u64,
    /// When it was changed last, in ns since 1970.
    pub changed_ns: i64,
}

impl ExecutableFile {
    /// That of an executable; `None` where the kernel did not say when it was changed.
    pub fn of(executable: &Executable) -> Option<Self> {
        let changed_ns = executable.changed_at?.as_nanos();
        Some(Self { device: executable.device, inode: executable.inode, changed_ns })
    }
}

/// Why a hash is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashCause {
    /// A program begins.
    Exec,
    /// A program is there that began before it could be seen.
    Found,
}

/// Whether a hash that was asked for will come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashAnswer {
    /// Nothing is hashed.
    #[default]
    Off,
    /// Too many are asked for: it will not come.
    QueueFull,
    /// It will come, or why it does not.
    Coming {
        /// For so long the exec waits for it at the most, in ms; 0: not at all.
        wait_ms: u32,
    },
}

//! What is said of a file in quarantine, beside it.

use lavender_core::{ByteString, ResponseCause, Timestamp};
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

/// What is said of a file in quarantine: `ENTRY.json`, beside the file `ENTRY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineManifest {
    /// The version of this form: 1.
    pub version: u32,
    /// The alert or the command for which it was put here.
    #[serde(flatten)]
    pub cause: ResponseCause,
    /// Where it was.
    pub original_path: ByteString,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The mode, with the bits of set-user-id and the like; in octal it is what `chmod` takes.
    pub mode: u32,
    /// The size in bytes.
    pub size: u64,
    /// When it was last read, in ns since 1970.
    pub accessed: Timestamp,
    /// When its content last changed.
    pub modified: Timestamp,
    /// Its inode number, where it was.
    pub inode: u64,
    /// The device that held it, as `stat` numbers it.
    pub device: u64,
    /// How many names it had. Where it had others, those lead to it still: what is here is a copy then.
    pub links: u64,
    /// The SHA-256 of its content, in hex; `None` for one too large to be read while events wait.
    pub sha256: Option<String>,
    /// When it was put here.
    pub quarantined_at: Timestamp,
}

impl QuarantineManifest {
    pub(super) const VERSION: u32 = 1;

    #[allow(
        clippy::useless_conversion,
        reason = "links are counted in 32 bits on other processors"
    )]
    pub(super) fn new(
        cause: ResponseCause,
        original_path: ByteString,
        stat: &Stat,
        sha256: Option<String>,
        quarantined_at: Timestamp,
    ) -> Self {
        Self {
            version: Self::VERSION,
            cause,
            original_path,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            accessed: timestamp(stat.st_atime, stat.st_atime_nsec),
            modified: timestamp(stat.st_mtime, stat.st_mtime_nsec),
            inode: stat.st_ino,
            device: stat.st_dev,
            links: u64::from(stat.st_nlink),
            sha256,
            quarantined_at,
        }
    }
}

fn timestamp(seconds: i64, nanos: impl TryInto<i64>) -> Timestamp {
    let nanos = nanos.try_into().unwrap_or(0);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

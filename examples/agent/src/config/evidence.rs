//! `[evidence]`: what is kept of what came before an alert.

use std::num::{NonZeroU32, NonZeroU64};

use lavender_core::Severity;
use serde::{Deserialize, Serialize};

use super::AbsolutePath;

/// `[evidence]`: the most recent records are kept in memory, and written to a file when an alert is raised.
///
/// On disk it takes `files_max` times `file_bytes_max` bytes at the most, 1 GiB unless set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvidenceConfig {
    /// Keep and write it.
    pub enabled: bool,
    /// Of alerts that are so bad or worse.
    pub min_severity: Severity,
    /// The folder.
    pub dir: AbsolutePath,
    /// The most bytes in memory.
    pub ring_bytes: NonZeroU32,
    /// The most bytes of a file.
    pub file_bytes_max: NonZeroU64,
    /// The most files; the oldest are removed.
    pub files_max: NonZeroU32,
    /// The most files in a minute.
    pub max_per_minute: NonZeroU32,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        const fn at_least_one(number: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add(number - 1)
        }
        Self {
            enabled: true,
            min_severity: Severity::Medium,
            dir: AbsolutePath::known("/var/lib/lavender/evidence"),
            ring_bytes: at_least_one(16 << 20),
            file_bytes_max: NonZeroU64::MIN.saturating_add((32 << 20) - 1),
            files_max: at_least_one(32),
            max_per_minute: at_least_one(10),
        }
    }
}

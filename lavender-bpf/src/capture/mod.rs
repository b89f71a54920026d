//! Captures: all that a sensor learned, in a file, so that the same events can be made of it again.
//!
//! A file is a magic, then frames: length, CRC-32, kind, body; integers little-endian. The first frame is the
//! [`CaptureHeader`] as JSON, each further one a batch: what the sensor learned from outside the rings as
//! JSON, and the records as the kernel wrote them. The last says why the capture ended. A batch is whole or
//! not there. A capture that begins [midway](CaptureHeader::midway) holds what was known by then before its first batch.

mod frame;
#[cfg_attr(
    not(all(feature = "load", target_os = "linux")),
    allow(dead_code, reason = "only a live sensor fills captures")
)]
mod known;
#[cfg_attr(
    not(all(feature = "load", target_os = "linux")),
    allow(dead_code, reason = "only a live sensor fills captures")
)]
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lavender_core::event::Loss;
use lavender_core::{AgentIdentity, BootId, BootTime, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use self::frame::{Frame, FrameReader};
pub(crate) use self::known::Known;
pub use self::writer::CaptureWriter;
use crate::host::Fact;

/// The first bytes of a capture. The last four are the version of the format.
pub const MAGIC: &[u8; 16] = b"lavender-cap\x01\0\0\0";

/// Where a capture comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureHeader {
    /// The layout of the records: [`RECORD_VERSION`](crate::record::RECORD_VERSION).
    pub record_version: u32,
    /// The agent that captured: event ids are made of it.
    pub identity: AgentIdentity,
    /// The boot that it captured in.
    pub boot: BootId,
    /// The kernel's release.
    pub kernel_release: Arc<str>,
    /// The machine's architecture.
    pub architecture: Arc<str>,
    /// When it began.
    pub created_at: Timestamp,
    /// Whether it begins while the sensor watched already, as evidence does, and not with the sensor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub midway: bool,
}

/// What a batch holds beside its records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BatchMeta {
    /// When the rings were read.
    pub(crate) drained_at: BootTime,
    /// What the wall clock was ahead of the boot clock, in ns.
    pub(crate) wall_offset_ns: i64,
    /// When a snapshot was begun, where one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_at: Option<BootTime>,
    /// Whether nothing follows.
    #[serde(default)]
    pub(crate) last: bool,
    /// What was lost since the last batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost: Vec<Loss>,
    /// What the host said when it was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) facts: Vec<Fact>,
    /// The sequence number of the first event of the batch.
    pub(crate) first_sequence: u64,
    /// How many events were made of it.
    pub(crate) events: u64,
    /// Bytes of snapshot records, which stand before those of the rings.
    #[serde(default)]
    pub(crate) snapshot_bytes: u64,
}

/// Why a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaptureEnd {
    /// The sensor stopped.
    Closed,
    /// It had reached its bound.
    Full,
}

/// Why a capture cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be opened, created, read or written.
    #[error("capture {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no capture, or of another version.
    #[error("capture {path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A frame is damaged.
    #[error("capture {path}: damaged at byte {offset}: {reason}; what stands before it was read")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file ends within a frame, or without the mark that a capture ends with.
    #[error("capture {path}: cut at byte {offset}: {reason}; what stands before it was read")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where the frame begins that is not whole.
        offset: u64,
        /// What is missing.
        reason: String,
    },
}

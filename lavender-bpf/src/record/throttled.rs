//! The record of what was over a limit.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::RecordHeader;

/// [`RecordHeader::kind`] of a [`ThrottledRecord`]. No ring holds one: the reader makes it of what the probes counted.
pub const THROTTLED: u16 = 64;

/// What a process, or a control group, did more than the sensor lets through.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ThrottledRecord {
    /// Who, as it was when its first act was left out, and when it was counted.
    pub header: RecordHeader,
    /// How many of its acts were left out.
    pub count: U64,
    /// The kind of record that each would have been.
    pub of_kind: U32,
    /// 0: the limit was the process's. 1: it was its control group's, and others of that may have done it too.
    pub by_cgroup: U32,
}

const _: () = assert!(size_of::<ThrottledRecord>() == 64 + 16);

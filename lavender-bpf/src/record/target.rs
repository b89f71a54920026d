//! What one process does to another, and what gets code into memory and the kernel.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::RecordHeader;

/// A signal to another process.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SignalRecord {
    /// Who sent it and when.
    pub header: RecordHeader,
    /// When the target's leader started, on the boot clock in ns.
    pub target_start_ns: U64,
    /// The target's thread group id in the initial pid namespace.
    pub target_tgid: U32,
    /// The target's exec counter.
    pub target_generation: U32,
    /// The thread that it was sent to; 0 for the whole process.
    pub target_tid: U32,
    /// The signal's number.
    pub signal: U32,
    /// What became of it, as the tracepoint `signal_generate` numbers it.
    pub outcome: U32,
    /// Zero.
    pub reserved: U32,
}

/// What gets code into another process, into memory, into the kernel. Then: the walk, the name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TamperRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// When the target's leader started, on the boot clock in ns.
    pub target_start_ns: U64,
    /// The target's thread group id in the initial pid namespace; 0 where there is no such task.
    pub target_tgid: U32,
    /// The target's exec counter.
    pub target_generation: U32,
    /// The thread that was named; 0 where there is no such task.
    pub target_tid: U32,
    /// The request of `ptrace`, the flags of a file in memory, of a module one of
    /// [`tamper`](super::tamper).
    pub number: U32,
    /// Bytes of the file's walk.
    pub walk_length: U16,
    /// Bytes of the name or the parameters that the call gave, the NUL included.
    pub name_length: U16,
    /// Zero.
    pub reserved: U32,
}

//! The records in the rings, byte for byte as `src/bpf/record.h` lays them out.
//!
//! Little-endian, naturally aligned, without holes. Strings follow the fixed part, in the order in which
//! their lengths stand in it.

mod file;
mod kernel;
mod network;
mod process;
mod target;
mod throttled;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use self::file::{ChangeRecord, OpenRecord, Place};
pub use self::kernel::{BpfRecord, MemoryRecord, MountRecord, NamespaceRecord};
pub use self::network::{ConnectRecord, DnsRecord, IoUringRecord, ListenRecord};
pub use self::process::{
    ArgumentsRecord, CredentialsRecord, ExecFailedRecord, ExitRecord, ForkRecord, ProgramRecord,
    TaskBody,
};
pub use self::target::{SignalRecord, TamperRecord};
pub use self::throttled::{THROTTLED, ThrottledRecord};

/// The version of this layout; a capture says which one it holds. Version 2 added kinds of records, version 3 when the file
/// of a program was changed last; what was there before is as it was, so that captures of those versions are read as well.
pub const RECORD_VERSION: u32 = 3;

/// Which record it is: `record_header.kind`.
pub mod kind {
    /// A process runs a new program: [`ProgramRecord`](super::ProgramRecord).
    pub const EXEC: u16 = 1;
    /// More of an exec's arguments: [`ArgumentsRecord`](super::ArgumentsRecord).
    pub const ARGUMENTS: u16 = 2;
    /// A new process: [`ForkRecord`](super::ForkRecord).
    pub const FORK: u16 = 3;
    /// A process ended: [`ExitRecord`](super::ExitRecord).
    pub const EXIT: u16 = 4;
    /// A file was opened, or could not be: [`OpenRecord`](super::OpenRecord).
    pub const OPEN: u16 = 5;
    /// A socket was connected, or could not be: [`ConnectRecord`](super::ConnectRecord).
    pub const CONNECT: u16 = 6;
    /// A process found by the snapshot: [`ProgramRecord`](super::ProgramRecord).
    pub const TASK: u16 = 7;
    /// A name of a file was removed, or could not be: [`ChangeRecord`](super::ChangeRecord).
    pub const DELETE: u16 = 8;
    /// A file was renamed, or could not be: [`ChangeRecord`](super::ChangeRecord).
    pub const RENAME: u16 = 9;
    /// A link was made, or could not be: [`ChangeRecord`](super::ChangeRecord).
    pub const LINK: u16 = 10;
    /// A file's mode or owner was set, or could not be: [`ChangeRecord`](super::ChangeRecord).
    pub const MODE: u16 = 11;
    /// A process sent another a signal: [`SignalRecord`](super::SignalRecord).
    pub const SIGNAL: u16 = 12;
    /// A process traced another: [`TamperRecord`](super::TamperRecord).
    pub const PTRACE: u16 = 13;
    /// A process wrote another's memory: [`TamperRecord`](super::TamperRecord).
    pub const VM_WRITE: u16 = 14;
    /// A file was made in memory by `memfd_create`: [`TamperRecord`](super::TamperRecord).
    pub const MEMFD: u16 = 15;
    /// A file was made in memory by `memfd_secret`: [`TamperRecord`](super::TamperRecord).
    pub const SECRET: u16 = 16;
    /// A kernel module was loaded: [`TamperRecord`](super::TamperRecord).
    pub const MODULE: u16 = 17;
    /// A process changed its ids or capabilities: [`CredentialsRecord`](super::CredentialsRecord).
    pub const CREDENTIALS: u16 = 18;
    /// A BPF program or map was made or taken hold of, or could not be: [`BpfRecord`](super::BpfRecord).
    pub const BPF: u16 = 19;
    /// Something was mounted or unmounted, or could not be: [`MountRecord`](super::MountRecord).
    pub const MOUNT: u16 = 20;
    /// A process went into other namespaces, or could not: [`NamespaceRecord`](super::NamespaceRecord).
    pub const NAMESPACE: u16 = 21;
    /// Memory was made executable, or could not be: [`MemoryRecord`](super::MemoryRecord).
    pub const MEMORY: u16 = 22;
    /// A socket was bound, or could not be: [`ConnectRecord`](super::ConnectRecord).
    pub const BIND: u16 = 32;
    /// A socket was made to listen, or could not be: [`ListenRecord`](super::ListenRecord).
    pub const LISTEN: u16 = 33;
    /// A connection was accepted: [`ConnectRecord`](super::ConnectRecord).
    pub const ACCEPT: u16 = 34;
    /// A program could not be started: [`ExecFailedRecord`](super::ExecFailedRecord).
    pub const EXEC_FAILED: u16 = 35;
    /// A message was sent to a new peer, or could not be: [`ConnectRecord`](super::ConnectRecord).
    pub const SEND: u16 = 36;
    /// A message to or from a name server: [`DnsRecord`](super::DnsRecord).
    pub const DNS: u16 = 37;
    /// A request was made of `io_uring`: [`IoUringRecord`](super::IoUringRecord).
    pub const IO_URING: u16 = 38;
    /// One more than the highest.
    pub const COUNT: usize = 39;
}

/// What of a record is cut, unreadable or special: bits of `record_header.flags`.
pub mod flag {
    /// The program's path is a suffix of the true one.
    pub const PROGRAM_CUT: u16 = 0x0001;
    /// The program's path could not be read.
    pub const PROGRAM_UNREADABLE: u16 = 0x0002;
    /// The working directory is a suffix of the true one.
    pub const DIRECTORY_CUT: u16 = 0x0004;
    /// The working directory could not be read.
    pub const DIRECTORY_UNREADABLE: u16 = 0x0008;
    /// The name, as the call gave it, is a prefix of the true one.
    pub const NAME_CUT: u16 = 0x0010;
    /// The name could not be read.
    pub const NAME_UNREADABLE: u16 = 0x0020;
    /// The arguments, or this part of them, could not be read.
    pub const ARGUMENTS_UNREADABLE: u16 = 0x0040;
    /// There are more arguments than are captured.
    pub const ARGUMENTS_OVER_LIMIT: u16 = 0x0080;
    /// The walk stopped before it reached the root.
    pub const WALK_CUT: u16 = 0x0100;
    /// The walk could not be made.
    pub const WALK_UNREADABLE: u16 = 0x0200;
    /// The walk is the path of the opened file itself.
    pub const WALK_IS_FILE: u16 = 0x0400;
    /// Absolute names, too, are below the folder of the walk.
    pub const NAME_IN_ROOT: u16 = 0x0800;
    /// The process is outside of what the filters let through: no event, but part of the process table. There
    /// is no more of it than who it is and what it runs.
    pub const TASK_OUTSIDE: u16 = 0x1000;
    /// The process is a thread of the kernel.
    pub const TASK_KERNEL_THREAD: u16 = 0x2000;
    /// The process of a snapshot has ended, and nobody has waited for it. The bit of [`NAME_IN_ROOT`], which is of opens.
    pub const TASK_ENDED: u16 = 0x0800;
    /// No name leads to the program's file any more.
    pub const PROGRAM_DELETED: u16 = 0x4000;
    /// The program's file lives in memory only.
    pub const PROGRAM_IN_MEMORY: u16 = 0x8000;
}

/// What a change was: bits of [`ChangeRecord::what`].
pub mod change {
    /// A folder was to be removed.
    pub const DIRECTORY: u32 = 0x1;
    /// Both names were to stay, and swap their files.
    pub const EXCHANGE: u32 = 0x2;
    /// A symbolic link: the first name is what it says.
    pub const SYMBOLIC: u32 = 0x4;
    /// The mode was to be set.
    pub const MODE: u32 = 0x8;
    /// The owner was to be set.
    pub const OWNER: u32 = 0x10;
}

/// What [`TamperRecord::number`] says of a module.
pub mod tamper {
    /// It came from a file.
    pub const MODULE_BY_DESCRIPTOR: u32 = 1;
}

/// What [`BpfRecord::object`] says.
pub mod object {
    /// A program.
    pub const PROGRAM: u32 = 1;
    /// A map.
    pub const MAP: u32 = 2;
}

/// The most bytes of arguments that are captured of one exec: 2 MiB, a quarter of the default stack limit,
/// which is what the kernel lets arguments and environment take together.
pub const ARGUMENTS_MAX_BYTES: u32 = 2 * 1024 * 1024;

/// The start of every record: what it is, when, and who did it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RecordHeader {
    /// Bytes of the whole record.
    pub length: U32,
    /// One of [`kind`].
    pub kind: U16,
    /// Bits of [`flag`].
    pub flags: U16,
    /// When, on the boot clock in ns.
    pub boot_ns: U64,
    /// When the thread group's leader started, on the boot clock in ns.
    pub start_ns: U64,
    /// The thread group's id in the initial pid namespace.
    pub tgid: U32,
    /// The thread's id in the initial pid namespace.
    pub tid: U32,
    /// The kernel's exec counter of the task.
    pub generation: U32,
    /// The processor.
    pub cpu: U32,
    /// Real user id.
    pub uid: U32,
    /// Effective user id.
    pub euid: U32,
    /// Real group id.
    pub gid: U32,
    /// Effective group id.
    pub egid: U32,
    /// Effective capabilities.
    pub capabilities: U64,
}

// Held against the C side in `sensor::object` where probes are compiled.
const _: () = {
    assert!(size_of::<RecordHeader>() == 64);
    assert!(size_of::<ForkRecord>() == 64 + 96);
    assert!(size_of::<ProgramRecord>() == 64 + 96 + 16);
    assert!(size_of::<ArgumentsRecord>() == 64 + 16);
    assert!(size_of::<ExitRecord>() == 64 + 8);
    assert!(size_of::<OpenRecord>() == 64 + 32);
    assert!(size_of::<ConnectRecord>() == 64 + 48);
    assert!(size_of::<ListenRecord>() == 64 + 48 + 8);
    assert!(size_of::<ExecFailedRecord>() == 64 + 16);
    assert!(size_of::<IoUringRecord>() == 64 + 40);
    assert!(size_of::<DnsRecord>() == 64 + 48 + 16);
    assert!(size_of::<ChangeRecord>() == 64 + 40);
    assert!(size_of::<SignalRecord>() == 64 + 32);
    assert!(size_of::<TamperRecord>() == 64 + 40);
    assert!(size_of::<CredentialsRecord>() == 64 + 24);
    assert!(size_of::<BpfRecord>() == 64 + 48);
    assert!(size_of::<MountRecord>() == 64 + 72);
    assert!(size_of::<NamespaceRecord>() == 64 + 40 + 96);
    assert!(size_of::<MemoryRecord>() == 64 + 40);
};

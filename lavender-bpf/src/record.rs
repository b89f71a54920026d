//! The records in the rings, byte for byte as `src/bpf/record.h` lays them out.
//!
//! Little-endian, naturally aligned, without holes. Strings follow the fixed part, in the order in which
//! their lengths stand in it.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use crate::throttled_record::{THROTTLED, ThrottledRecord};

/// The version of this layout; a capture says which one it holds. Version 2 added kinds of records and changed none, so
/// that captures of version 1 are read as well.
pub const RECORD_VERSION: u32 = 2;

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

/// What makes a process.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TaskBody {
    /// When the parent's leader started, on the boot clock in ns.
    pub parent_start_ns: U64,
    /// The id of the v2 control group.
    pub cgroup_id: U64,
    /// The program file's inode number.
    pub inode: U64,
    /// The parent's thread group id in the initial pid namespace.
    pub parent_tgid: U32,
    /// The parent's exec counter.
    pub parent_generation: U32,
    /// The thread group's id in its own pid namespace.
    pub namespace_tgid: U32,
    /// Audit's login uid; all ones for none.
    pub login_uid: U32,
    /// Audit's session id; all ones for none.
    pub session_id: U32,
    /// Major number of the controlling terminal; 0 for none.
    pub terminal_major: U32,
    /// Minor number of the controlling terminal.
    pub terminal_minor: U32,
    /// Control group namespace.
    pub ns_cgroup: U32,
    /// Mount namespace.
    pub ns_mnt: U32,
    /// Network namespace.
    pub ns_net: U32,
    /// Pid namespace.
    pub ns_pid: U32,
    /// User namespace.
    pub ns_user: U32,
    /// Host name namespace.
    pub ns_uts: U32,
    /// The program file's device, as the kernel numbers it.
    pub device: U32,
    /// The task's short name, NUL-padded.
    pub comm: [u8; 16],
}

/// A new process; the header is the child's.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ForkRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// The child.
    pub task: TaskBody,
}

/// A process with its program. Then: name, program walk, directory walk, the first of the arguments.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ProgramRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// The process.
    pub task: TaskBody,
    /// How many bytes of arguments there are.
    pub arguments_total: U32,
    /// How many of them are here.
    pub arguments_length: U32,
    /// Bytes of the name that the call gave, its NUL included.
    pub name_length: U16,
    /// Bytes of the program's walk.
    pub program_length: U16,
    /// Bytes of the working directory's walk.
    pub directory_length: U16,
    /// Zero.
    pub reserved: U16,
}

/// A further part of an exec's arguments. Then: the bytes.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ArgumentsRecord {
    /// Who and when: together with the generation, which exec this belongs to.
    pub header: RecordHeader,
    /// Which part, from 0.
    pub index: U32,
    /// Where in the arguments it belongs.
    pub offset: U32,
    /// How many bytes are captured of all the arguments together.
    pub total: U32,
    /// How many bytes are here.
    pub length: U32,
}

/// A process ended.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExitRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// As `wait` tells it.
    pub exit_code: U32,
    /// Zero.
    pub reserved: U32,
}

/// An open. Then: the walk, the name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OpenRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// The file's inode number; 0 where the open failed.
    pub inode: U64,
    /// The file's device; 0 where the open failed.
    pub device: U32,
    /// The flags of the call.
    pub open_flags: U32,
    /// The mode of the call.
    pub mode: U32,
    /// Bytes of the walk: the file's, or the folder's that the name is relative to.
    pub walk_length: U16,
    /// Bytes of the name that the call gave, its NUL included; 0 where the walk is the file's.
    pub name_length: U16,
}

/// A connect, a bind, an accept or a message.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: U16,
    /// The IP protocol.
    pub protocol: U16,
    /// This side's port; 0 for none.
    pub source_port: U16,
    /// The port asked for, or the one that the peer has; 0 of a bind.
    pub destination_port: U16,
    /// This side's address: 4 or 16 bytes in network order.
    pub source: [u8; 16],
    /// The address asked for, or the one that the peer has: 4 or 16 bytes in network order; zero of a bind.
    pub destination: [u8; 16],
}

/// A listen.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ListenRecord {
    /// The socket, without a destination.
    pub socket: ConnectRecord,
    /// How many connections may wait, as asked for.
    pub backlog: U32,
    /// Zero.
    pub reserved: U32,
}

/// A message to or from a name server. Then: the start of its payload.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DnsRecord {
    /// Both sides; the destination is the server's.
    pub socket: ConnectRecord,
    /// Bytes of the payload that are here.
    pub length: U32,
    /// Bytes that the payload has.
    pub total: U32,
    /// 0 for a message that was sent, 1 for one that was received.
    pub received: U32,
    /// Zero.
    pub reserved: U32,
}

/// A request of `io_uring`. Then: the walk, the name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IoUringRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// Which operation: `IORING_OP_…`.
    pub operation: U32,
    /// Of an open, the flags.
    pub open_flags: U32,
    /// Of an open, the mode.
    pub mode: U32,
    /// Of a connect, `AF_INET` (2) or `AF_INET6` (10).
    pub family: U16,
    /// Of a connect, the IP protocol; 0 where it is not known.
    pub protocol: U16,
    /// Of a connect, the port asked for.
    pub port: U16,
    /// Zero.
    pub reserved: U16,
    /// Of a connect, the address asked for: 4 or 16 bytes in network order.
    pub address: [u8; 16],
    /// Bytes of the walk of the folder that the name is relative to.
    pub walk_length: U16,
    /// Bytes of the name as it was given, its NUL included.
    pub name_length: U16,
}

/// An exec that failed. Then: the walk, the name, the arguments.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExecFailedRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// Bytes of the walk: the folder's that the name is relative to, or the file's.
    pub walk_length: U16,
    /// Bytes of the name that the call gave, its NUL included; 0 where the walk is the file's.
    pub name_length: U16,
    /// Bytes of the arguments, each ended by a NUL.
    pub arguments_length: U16,
    /// Zero.
    pub reserved: U16,
}

/// One name of a change.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Place {
    /// Bytes of the walk: the folder's that the name is relative to, or the file's.
    pub walk_length: U16,
    /// Bytes of the name that the call gave, its NUL included; 0 where the walk is the file's.
    pub name_length: U16,
    /// Bits of [`flag`] that are about walks and names.
    pub flags: U16,
    /// Zero.
    pub reserved: U16,
}

/// A change of a file's names, mode or owner. Then, of each place: the walk, the name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChangeRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// Bits of [`change`].
    pub what: U32,
    /// The mode to set.
    pub mode: U32,
    /// The owner to set; all ones for none.
    pub uid: U32,
    /// The owning group to set; all ones for none.
    pub gid: U32,
    /// The name, and of a rename or a link the new one behind it.
    pub places: [Place; 2],
}

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
    /// The request of `ptrace`, the flags of a file in memory, of a module one of [`tamper`].
    pub number: U32,
    /// Bytes of the file's walk.
    pub walk_length: U16,
    /// Bytes of the name or the parameters that the call gave, the NUL included.
    pub name_length: U16,
    /// Zero.
    pub reserved: U32,
}

/// A call that changes the ids or the capabilities that a process acts with. What they became is in the header.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CredentialsRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// Which call: 1 to 9 for `setuid`, `setgid`, `setreuid`, `setregid`, `setresuid`, `setresgid`, `setfsuid`,
    /// `setfsgid`, `capset`.
    pub call: U32,
    /// The ids as the call gave them, as many as it takes; all bits set leaves one as it is.
    pub ids: [U32; 3],
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
};

//! Process life, programs that could not be started, and what processes act with.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::RecordHeader;

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

/// A process with its program. Then: when the program's file was changed last, name, program walk, directory walk, the
/// first of the arguments.
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
    /// Bytes of the time at which the program's file was changed last, ns since 1970 in 64 bits: 8, or 0 in records of
    /// versions before 3.
    pub changed_length: U16,
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

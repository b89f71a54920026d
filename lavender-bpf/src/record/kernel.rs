//! What is done to the kernel and to what processes see of it: BPF, mounts, namespaces, executable memory.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Place, RecordHeader, TaskBody};

/// A call of `bpf`. Then: the walk of the folder that the path is relative to, the path.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BpfRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// The command.
    pub command: U32,
    /// What the next three are of: one of [`object`](super::object), or 0 for nothing.
    pub object: U32,
    /// The type of the program or map.
    pub object_type: U32,
    /// The kernel's number of it; 0 where it made none.
    pub id: U32,
    /// Its name, NUL-padded.
    pub name: [u8; 16],
    /// Bytes of the walk.
    pub walk_length: U16,
    /// Bytes of the path as it was given, its NUL included.
    pub name_length: U16,
    /// Zero.
    pub reserved: U32,
}

/// A mount. Then, of each place: the walk, the name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MountRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// The flags of the call.
    pub flags: U64,
    /// Which call: 1 to 7 for `mount`, `umount`, `move_mount`, `fsmount`, `open_tree`, `pivot_root`, `mount_setattr`.
    pub call: U32,
    /// Bits: 1 where there is a first place, 2 where there is a second.
    pub places_there: U32,
    /// The type of the file system, NUL-padded.
    pub filesystem: [u8; 32],
    /// What is mounted, and where.
    pub places: [Place; 2],
}

/// A call that changes namespaces.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NamespaceRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// When a clone's new process started, on the boot clock in ns.
    pub target_start_ns: U64,
    /// Its thread group id in the initial pid namespace; 0 where there is none.
    pub target_tgid: U32,
    /// Its exec counter.
    pub target_generation: U32,
    /// Which call: 1 to 3 for `unshare`, `setns`, `clone`.
    pub call: U32,
    /// Bits `CLONE_NEW…`.
    pub types: U32,
    /// The pid namespace of the thread's children.
    pub pid_for_children: U32,
    /// Zero.
    pub reserved: U32,
    /// The calling thread's namespaces; nothing else of it is filled in.
    pub task: TaskBody,
}

/// Memory that is made executable. Then: the walk of the file behind it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MemoryRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned; 0 where that is an address.
    pub result: I64,
    /// Where it begins.
    pub address: U64,
    /// Bytes.
    pub length: U64,
    /// Which call: 1 to 4 for `mmap`, `mprotect`, `pkey_mprotect`, `shmat`.
    pub call: U32,
    /// Bits `PROT_…`.
    pub protection: U32,
    /// 1 where no file is behind it.
    pub anonymous: U32,
    /// Bytes of the file's walk.
    pub walk_length: U16,
    /// Zero.
    pub reserved: U16,
}

//! Files that are opened, and whose names, mode or owner are changed.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::RecordHeader;

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

/// One name of a change.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Place {
    /// Bytes of the walk: the folder's that the name is relative to, or the file's.
    pub walk_length: U16,
    /// Bytes of the name that the call gave, its NUL included; 0 where the walk is the file's.
    pub name_length: U16,
    /// Bits of [`flag`](super::flag) that are about walks and names.
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
    /// Bits of [`change`](super::change).
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

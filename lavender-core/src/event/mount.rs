//! What is mounted, moved and unmounted.

use serde::{Deserialize, Serialize};

use super::SyscallResult;
use crate::text::{ByteString, Captured};

/// Something was mounted, moved or unmounted, or could not be.
///
/// Paths are those that were asked for, absolute, with links in the name as given not followed. The options of a mount are
/// not read: they may hold passwords.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// The call.
    pub call: MountCall,
    /// What is mounted: of a bind or a move the path, otherwise the device, or what else the file system goes by; of
    /// `pivot_root` the new root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Captured<ByteString>>,
    /// Where; of `pivot_root`, where the old root goes. `None` of `fsmount` and `open_tree`, whose mounts have a descriptor
    /// and no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Captured<ByteString>>,
    /// The type of the file system: `proc`, `overlay`; `None` where the call does not say. Up to 31 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<ByteString>,
    /// The flags, which each call has of its own; of `mount_setattr`, the attributes that it sets.
    pub flags: u64,
    /// A descriptor or zero, or why it failed.
    pub result: SyscallResult,
}

impl Mount {
    /// `MS_BIND`: a part of the tree is mounted at a further place.
    pub const BIND: u64 = 0x1000;
    /// `MS_MOVE`: a mount is given another place.
    pub const MOVE: u64 = 0x2000;

    /// `MS_…` of `include/uapi/linux/mount.h`, as mount(8) names them.
    const OF_MOUNT: [(&str, u64); 12] = [
        ("ro", 0x1),
        ("nosuid", 0x2),
        ("nodev", 0x4),
        ("noexec", 0x8),
        ("remount", 0x20),
        ("bind", Self::BIND),
        ("move", Self::MOVE),
        ("rec", 0x4000),
        ("unbindable", 0x2_0000),
        ("private", 0x4_0000),
        ("slave", 0x8_0000),
        ("shared", 0x10_0000),
    ];

    /// `MNT_…` and `UMOUNT_NOFOLLOW` of `include/linux/fs.h`.
    const OF_UMOUNT: [(&str, u64); 4] =
        [("force", 0x1), ("detach", 0x2), ("expire", 0x4), ("nofollow", 0x8)];

    /// The names of the flags of `mount` and `umount`, as far as they have one; those of other calls have none.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        let names: &[(&str, u64)] = match self.call {
            MountCall::Mount => &Self::OF_MOUNT,
            MountCall::Umount => &Self::OF_UMOUNT,
            _ => &[],
        };
        let flags = self.flags;
        names.iter().filter(move |(_, bit)| flags & bit != 0).map(|(name, _)| *name)
    }
}

/// A call that mounts or unmounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MountCall {
    /// `mount`.
    Mount,
    /// `umount` and `umount2`.
    Umount,
    /// `move_mount`: also attaches what `fsmount` or `open_tree` made.
    MoveMount,
    /// `fsmount`: a mount without a place, to be read by its descriptor or attached.
    Fsmount,
    /// `open_tree` and `open_tree_attr`, of a copy of mounts.
    OpenTree,
    /// `pivot_root`.
    PivotRoot,
    /// `mount_setattr`.
    MountSetattr,
    /// One that this version has no name for.
    Other,
}

impl MountCall {
    /// From the number in the sensor's record: 1 to 7, in the order of this type.
    pub const fn from_record(call: u32) -> Self {
        match call {
            1 => Self::Mount,
            2 => Self::Umount,
            3 => Self::MoveMount,
            4 => Self::Fsmount,
            5 => Self::OpenTree,
            6 => Self::PivotRoot,
            7 => Self::MountSetattr,
            _ => Self::Other,
        }
    }

    /// The name as rules write it: that of the call, or `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Umount => "umount",
            Self::MoveMount => "move_mount",
            Self::Fsmount => "fsmount",
            Self::OpenTree => "open_tree",
            Self::PivotRoot => "pivot_root",
            Self::MountSetattr => "mount_setattr",
            Self::Other => "other",
        }
    }
}

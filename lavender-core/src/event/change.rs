//! Files that are removed, renamed and linked, and whose mode or owner is set.

use serde::{Deserialize, Serialize};

use super::SyscallResult;
use crate::text::{ByteString, Captured};

/// A name of a file was removed by `unlink`, `unlinkat` or `rmdir`, or could not be. The file itself is gone once it
/// has no other name and nobody has it open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileDelete {
    /// The path as given, made absolute against the directory that it is relative to as the kernel has that one, with
    /// `.`, `..` and doubled slashes folded. Symbolic links within the name as given are not followed.
    pub path: Captured<ByteString>,
    /// Whether a directory was to be removed.
    #[serde(default)]
    pub directory: bool,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

/// A file was given another name by `rename`, `renameat` or `renameat2`, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRename {
    /// The new path, resolved as in [`FileDelete::path`]. A file that had it before has lost it.
    pub path: Captured<ByteString>,
    /// The path before, likewise.
    pub previous_path: Captured<ByteString>,
    /// Whether the two names swapped their files (`RENAME_EXCHANGE`).
    #[serde(default)]
    pub exchange: bool,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

/// A file was given a further name by `link` or `linkat`, or a symbolic link was made by `symlink` or `symlinkat`, or
/// could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileLink {
    /// The path of the new name or link, resolved as in [`FileDelete::path`].
    pub path: Captured<ByteString>,
    /// Of a hard link the path that the file has already, resolved likewise; of a symbolic link the text that it
    /// holds, as given.
    pub target: Captured<ByteString>,
    /// Whether the link is a symbolic one.
    #[serde(default)]
    pub symbolic: bool,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

/// The mode of a file was set by `chmod`, `fchmod`, `fchmodat` or `fchmodat2`, or its owner by `chown`, `fchown`,
/// `lchown` or `fchownat`, or could not be.
///
/// ```
/// use lavender_core::Captured;
/// use lavender_core::event::{FileMode, SyscallResult};
///
/// let set = FileMode {
///     path: Captured::complete("/tmp/sh".into()),
///     mode: Some(0o4755),
///     uid: None,
///     gid: None,
///     result: SyscallResult(0),
/// };
/// assert!(set.sets_id());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileMode {
    /// The file's path: of a call with a descriptor as the kernel resolved it, of one with a name as in
    /// [`FileDelete::path`].
    pub path: Captured<ByteString>,
    /// The mode, where the call sets one: permissions and the set-id and sticky bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// The owner, where the call sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The owning group, where the call sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

impl FileMode {
    /// Whether the mode has a set-user-id or set-group-id bit.
    pub const fn sets_id(&self) -> bool {
        matches!(self.mode, Some(mode) if mode & 0o6000 != 0)
    }
}

//! Files.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::{ByteString, Captured};

/// A file was opened by `open`, `openat`, `openat2` or `creat`, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileOpen {
    /// The absolute path. Of an opened file as the kernel resolved it, symbolic links followed; of a
    /// failed open, the path as given, made absolute against the working directory or the directory
    /// that the call named, with `.`, `..` and doubled slashes folded.
    pub path: Captured<ByteString>,
    /// The flags of the call.
    pub flags: OpenFlags,
    /// The mode for a file that the call may create.
    pub mode: u32,
    /// The descriptor, or why there is none.
    pub result: SyscallResult,
    /// The file's inode number; 0 where the open failed.
    #[serde(default)]
    pub inode: u64,
    /// The device that holds the file, as the kernel numbers it (`dev_t`); 0 where the open failed.
    #[serde(default)]
    pub device: u32,
}

/// What the caller of an open meant to do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAccess {
    /// `O_RDONLY`.
    Read,
    /// `O_WRONLY`.
    Write,
    /// `O_RDWR`.
    ReadWrite,
    /// `O_PATH`: only to name it; its content can be neither read nor written through the descriptor.
    Path,
}

/// The flags of an open, as Linux numbers them on x86-64.
///
/// ```
/// use lavender_core::event::{FileAccess, OpenFlags};
///
/// let flags = OpenFlags(0o101);
/// assert_eq!(flags.access(), FileAccess::Write);
/// assert!(flags.may_create());
/// assert_eq!(flags.to_string(), "O_WRONLY|O_CREAT");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// Names and bits, from `include/uapi/asm-generic/fcntl.h`.
    const NAMES: [(&'static str, u32); 16] = [
        ("O_CREAT", 0o100),
        ("O_EXCL", 0o200),
        ("O_NOCTTY", 0o400),
        ("O_TRUNC", 0o1000),
        ("O_APPEND", 0o2000),
        ("O_NONBLOCK", 0o4000),
        ("O_DSYNC", 0o10000),
        ("O_DIRECT", 0o40000),
        ("O_LARGEFILE", 0o100000),
        ("O_DIRECTORY", 0o200000),
        ("O_NOFOLLOW", 0o400000),
        ("O_NOATIME", 0o1000000),
        ("O_CLOEXEC", 0o2000000),
        ("O_SYNC", 0o4000000),
        ("O_PATH", 0o10000000),
        ("O_TMPFILE", 0o20000000),
    ];

    const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }

    /// What the caller meant to do.
    pub const fn access(self) -> FileAccess {
        if self.has(0o10000000) {
            return FileAccess::Path;
        }
        match self.0 & 3 {
            0 => FileAccess::Read,
            1 => FileAccess::Write,
            _ => FileAccess::ReadWrite,
        }
    }

    /// Whether the content may be read through the descriptor.
    pub const fn reads(self) -> bool {
        matches!(self.access(), FileAccess::Read | FileAccess::ReadWrite)
    }

    /// Whether the content may be changed: opened for writing, or cut to nothing.
    pub const fn writes(self) -> bool {
        matches!(self.access(), FileAccess::Write | FileAccess::ReadWrite) || self.has(0o1000)
    }

    /// Whether the call makes the file where there is none (`O_CREAT`, or `O_TMPFILE`).
    pub const fn may_create(self) -> bool {
        self.has(0o100) || self.has(0o20000000)
    }

    /// Whether the call fails where the file is there already (`O_CREAT` with `O_EXCL`): one that succeeded made it.
    pub const fn must_create(self) -> bool {
        self.has(0o300)
    }

    /// Whether a directory was asked for (`O_DIRECTORY`).
    pub const fn directory(self) -> bool {
        self.has(0o200000) && !self.has(0o20000000)
    }
}

impl fmt::Display for OpenFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 & 3 {
            0 => "O_RDONLY",
            1 => "O_WRONLY",
            2 => "O_RDWR",
            _ => "O_ACCMODE",
        })?;
        let mut rest = self.0 & !3;
        for (name, bits) in Self::NAMES {
            if rest & bits != 0 {
                write!(f, "|{name}")?;
                rest &= !bits;
            }
        }
        if rest != 0 {
            write!(f, "|{rest:#o}")?;
        }
        Ok(())
    }
}

/// What a system call returned: a value of its own, or the negated number of an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SyscallResult(pub i64);

impl SyscallResult {
    /// Whether it returned a value and not an error.
    pub const fn is_ok(self) -> bool {
        self.0 >= 0
    }

    /// The number of the error (`errno`), where it is one.
    pub const fn errno(self) -> Option<u32> {
        if self.0 < 0 && self.0 >= -4095 { Some((-self.0) as u32) } else { None }
    }
}

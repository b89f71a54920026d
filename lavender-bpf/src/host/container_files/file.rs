//! Opening and reading files that others write.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use lavender_core::event::Undescribed;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use crate::enforce::reopen;

/// The root of the host's files.
#[derive(Debug)]
pub(super) struct HostRoot(OwnedFd);

impl HostRoot {
    pub(super) fn open(path: &Path) -> Result<Self, Undescribed> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).map(Self).map_err(reason)
    }

    /// What a path on the host leads to. A symbolic link leads to where it leads on the host: those of folders are followed,
    /// one in place of the file is not.
    fn named(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Undescribed> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(reason)
    }

    /// Reads a regular file. Nothing else is opened for reading: of a device or a pipe that does things.
    pub(super) fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, Undescribed> {
        let named = self.named(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = fstat(&named).map_err(reason)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Undescribed::Unreadable);
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if bytes > bytes_max {
            return Err(Undescribed::TooLarge);
        }
        let file = File::from(reopen(&named, OFlags::RDONLY).map_err(reason)?);
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        // It may grow while it is read.
        let limited = &mut file.take(bytes_max.saturating_add(1));
        limited.read_to_end(&mut content).map_err(|_| Undescribed::Unreadable)?;
        if content.len() as u64 > bytes_max {
            return Err(Undescribed::TooLarge);
        }
        Ok(content)
    }

    /// The names in a folder, so many at the most; none where there is no such folder.
    pub(super) fn folders(&self, path: &Path, max: usize) -> Vec<OsString> {
        let folder = self.named(path, OFlags::RDONLY | OFlags::DIRECTORY);
        let Some(entries) = folder.ok().and_then(|folder| Dir::new(folder).ok()) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_bytes().to_vec());
        let names = names.filter(|name| !name.starts_with(b"."));
        names.take(max).map(OsString::from_vec).collect()
    }
}

fn reason(error: Errno) -> Undescribed {
    match error {
        Errno::NOENT | Errno::NOTDIR => Undescribed::NotFound,
        _ => Undescribed::Unreadable,
    }
}

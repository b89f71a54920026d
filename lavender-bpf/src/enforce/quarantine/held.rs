//! A file held by a descriptor, together with the folder and the name that lead to it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use lavender_core::{FileIdentity, FileTarget};
use rustix::fs::{
    self as rfs, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, major,
    minor,
};
use rustix::io::Errno;

use super::error::{Done, QuarantineError};

/// A regular file, and where it is. No symbolic link was followed on the way to it.
#[derive(Debug)]
pub(crate) struct HeldFile {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    file: File,
    stat: Stat,
}

impl HeldFile {
    /// Holds the file that a target means.
    pub(crate) fn open(target: &FileTarget) -> Result<Self, QuarantineError> {
        let path = PathBuf::from(OsStr::from_bytes(target.path.as_bytes()));
        let (folder, name) = open_parent(&path)?;
        // By name first: opening a device or a pipe for reading does things.
        let named = rfs::openat(
            &folder,
            &name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(gone_or("cannot be opened", &path))?;
        let stat = rfs::fstat(&named).doing("cannot be looked at", &path)?;
        if target.identity.is_some_and(|meant| !is(&stat, meant)) {
            return Err(QuarantineError::Gone { path });
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(QuarantineError::NotAFile { path });
        }
        let file = File::from(reopen(&named, OFlags::RDONLY).doing("cannot be read", &path)?);
        Ok(Self { path, folder, name, file, stat })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn device_and_inode(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) const fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Moves the file to a name in another folder; whether that is on the same file system, for otherwise it
    /// cannot. Whatever else had got its name in the meantime is put back.
    pub(super) fn rename(&self, to: impl AsFd, name: &str) -> Result<bool, QuarantineError> {
        match rfs::renameat_with(&self.folder, &self.name, &to, name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::XDEV) => return Ok(false),
            Err(error) => return Err(gone_or("cannot be moved", &self.path)(error)),
        }
        if self.is_at(&to, OsStr::new(name)) {
            return Ok(true);
        }
        rfs::renameat_with(&to, name, &self.folder, &self.name, RenameFlags::NOREPLACE)
            .doing("was changed for another file, which cannot be put back", &self.path)?;
        Err(QuarantineError::Gone { path: self.path.clone() })
    }

    /// Takes away the name that leads to the file. Whatever else had got it in the meantime is put back.
    pub(super) fn unlink(&self, aside: &str) -> Result<(), QuarantineError> {
        self.rename(&self.folder, aside)?;
        rfs::unlinkat(&self.folder, aside, AtFlags::empty()).doing("cannot be removed", &self.path)
    }

    fn is_at(&self, folder: impl AsFd, name: &OsStr) -> bool {
        rfs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|found| (found.st_dev, found.st_ino) == self.device_and_inode())
    }
}

/// The folder of an absolute path, reached without following any symbolic link, and the name in it.
pub(super) fn open_parent(path: &Path) -> Result<(OwnedFd, OsString), QuarantineError> {
    let plain = path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let (Some(parent), Some(name), true) = (path.parent(), path.file_name(), plain) else {
        return Err(QuarantineError::NotAPath { path: path.to_owned() });
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let folder = rfs::openat2(CWD, parent, flags, Mode::empty(), no_links)
        .map_err(gone_or("is in a folder that cannot be opened", path))?;
    Ok((folder, name.to_owned()))
}

/// Opens the very file that a descriptor stands for once more.
pub(crate) fn reopen(descriptor: impl AsFd, access: OFlags) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    rfs::open(link, access | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// What is not there under a path any more, or only through a symbolic link, is not what was meant.
fn gone_or(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> QuarantineError {
    let path = path.to_owned();
    move |error| match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => QuarantineError::Gone { path },
        error => QuarantineError::io(what, &path, error),
    }
}

/// The kernel numbers devices with 12 and 20 bits; system calls split the number differently.
fn is(stat: &Stat, meant: FileIdentity) -> bool {
    let device = (meant.device >> 20, meant.device & 0x000f_ffff);
    stat.st_ino == meant.inode && (major(stat.st_dev), minor(stat.st_dev)) == device
}

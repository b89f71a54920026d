//! The very file that a process runs, opened.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lavender_core::ByteString;
use lavender_core::event::{Process, Unhashed};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, fstatfs, major, minor, openat};

use crate::enforce::reopen;
use crate::host::ExecutableFile;

/// File systems that number a file's device for `stat` in another way than the kernel does for itself: of `btrfs` each
/// subvolume has a number, of `overlay` each layer may have one. From `include/uapi/linux/magic.h`.
const OTHER_DEVICES: [i64; 2] = [0x9123_683e, 0x794c_7630];

/// What a program serves (`FUSE_SUPER_MAGIC` of the kernel's `fs/fuse/inode.c`): it may tell each reader something else, and
/// let it wait without end.
const FUSE: i64 = 0x6573_5546;

/// How many ancestors' roots are looked into for a file.
const ROOTS_MAX: usize = 4;

/// Where the file of a program may be found: by the process while it runs, and by its path after that.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) file: ExecutableFile,
    pid: u32,
    path: Option<ByteString>,
    mount_namespace: u32,
    /// Other processes of its mount namespace.
    ancestors: Vec<u32>,
}

impl Places {
    /// Of a process's program.
    pub(super) fn of(file: ExecutableFile, process: &Process) -> Self {
        let executable = &process.executable;
        let by_path =
            executable.path.is_whole() && !executable.deleted && !executable.memory_backed;
        let mount_namespace = process.namespaces.mnt;
        let same = process.ancestors().filter(|other| other.namespaces.mnt == mount_namespace);
        Self {
            file,
            pid: process.pid,
            path: by_path.then(|| executable.path.value.clone()),
            mount_namespace,
            ancestors: same.map(|other| other.pid).take(ROOTS_MAX).collect(),
        }
    }

    /// Opens the file for reading; nothing else is opened, whatever stands there by now.
    pub(super) fn open(&self) -> Result<(File, u64), Unhashed> {
        let exe = PathBuf::from(format!("/proc/{}/exe", self.pid));
        let by_process = self.found(&exe, OFlags::empty());
        let named = by_process.or_else(|| self.by_path()).ok_or(Unhashed::Gone)?;
        if fstatfs(&named).is_ok_and(|stat| stat.f_type == FUSE) {
            return Err(Unhashed::Unreadable);
        }
        let bytes = fstat(&named).map_err(|_| Unhashed::Unreadable)?.st_size;
        let file = reopen(&named, OFlags::RDONLY).map_err(|_| Unhashed::Unreadable)?;
        Ok((File::from(file), u64::try_from(bytes).unwrap_or(0)))
    }

    fn by_path(&self) -> Option<OwnedFd> {
        let path = Path::new(OsStr::from_bytes(self.path.as_deref()?));
        let below = path.strip_prefix("/").ok()?;
        let own = fs::metadata("/proc/self/ns/mnt")
            .is_ok_and(|namespace| namespace.ino() == u64::from(self.mount_namespace));
        let here = own.then(|| path.to_owned());
        let roots = self.ancestors.iter().map(|pid| format!("/proc/{pid}/root"));
        let there = roots.map(|root| Path::new(&root).join(below));
        here.into_iter().chain(there).find_map(|path| self.found(&path, OFlags::NOFOLLOW))
    }

    /// What a path leads to, where it is the file. It is not opened for reading: of a device or a pipe that does things.
    fn found(&self, path: &Path, follow: OFlags) -> Option<OwnedFd> {
        let named =
            openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty()).ok()?;
        let stat = fstat(&named).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let device = || {
            is_on(&stat, self.file.device)
                || fstatfs(&named).is_ok_and(|stat| OTHER_DEVICES.contains(&stat.f_type))
        };
        (is_file && has_content(&stat, &self.file) && device()).then_some(named)
    }
}

/// Whether a file that was opened has still the content that is meant.
pub(super) fn is_unchanged(file: &File, meant: &ExecutableFile) -> bool {
    fstat(file).is_ok_and(|stat| has_content(&stat, meant))
}

fn has_content(stat: &Stat, meant: &ExecutableFile) -> bool {
    let seconds = stat.st_ctime.checked_mul(1_000_000_000);
    let changed = seconds.and_then(|ns| ns.checked_add(i64::try_from(stat.st_ctime_nsec).ok()?));
    stat.st_ino == meant.inode && changed == Some(meant.changed_ns)
}

/// The kernel numbers devices with 12 and 20 bits; system calls split the number differently.
fn is_on(stat: &Stat, device: u32) -> bool {
    (major(stat.st_dev), minor(stat.st_dev)) == (device >> 20, device & 0x000f_ffff)
}

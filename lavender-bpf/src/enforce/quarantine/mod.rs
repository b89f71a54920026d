//! Files put where nobody runs or reads them.

mod error;
mod held;
mod manifest;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lavender_core::{Clock, FileTarget, ResponseCause, Timestamp};
use rustix::fs::{
    self as rfs, AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use self::error::Done as _;
pub use self::error::QuarantineError;
pub(super) use self::held::HeldFile;
use self::held::open_parent;
pub(crate) use self::held::reopen;
pub use self::manifest::QuarantineManifest;
use crate::content_hash::ContentHash;

/// What is larger is neither hashed nor copied: it would hold up the events behind it for a second.
pub(crate) const MAX_COPIED_BYTES: u64 = 256 << 20;

/// A folder of files that were taken away. Each is there with mode 0, beside a manifest that says what it was, and
/// can be restored.
///
/// Files are found without following any symbolic link, and are checked to be the ones that are meant before and
/// after they are moved; what had taken their name in the meantime is put back. On another file system than the
/// folder's, and where other names lead to a file, the content is copied and the name removed.
///
/// ```
/// use std::os::unix::ffi::OsStrExt as _;
/// use std::sync::Arc;
/// use lavender_bpf::Quarantine;
/// use lavender_core::{AlertId, FileTarget, ResponseCause, SystemClock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let folder = folder.path().canonicalize()?;
/// let file = folder.join("dropped");
/// std::fs::write(&file, "#!/bin/sh\n")?;
///
/// let quarantine = Quarantine::open(&folder.join("quarantine"), Arc::new(SystemClock))?;
/// let target = FileTarget { path: file.as_os_str().as_bytes().into(), identity: None };
/// let cause = ResponseCause::Alert(AlertId::new("rule", &[]));
/// let entry = quarantine.take(&target, &cause)?;
/// assert!(!file.exists());
///
/// quarantine.restore(&entry)?;
/// assert_eq!(std::fs::read_to_string(&file)?, "#!/bin/sh\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    folder: OwnedFd,
    clock: Arc<dyn Clock>,
}

impl Quarantine {
    /// Opens the folder, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or when others than its owner can enter it.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, QuarantineError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .doing("cannot make the quarantine", path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rfs::openat(CWD, path, flags, Mode::empty())
            .doing("cannot open the quarantine", path)?;
        let stat = rfs::fstat(&folder).doing("cannot look at the quarantine", path)?;
        if stat.st_mode & 0o077 != 0 || stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(QuarantineError::Untrusted { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), folder, clock })
    }

    /// Takes a file away. The name of its entry.
    ///
    /// # Errors
    ///
    /// [`Gone`](QuarantineError::Gone) when it is not there, or is another file than is meant; and when it cannot
    /// be moved. It is where it was then.
    pub fn take(
        &self,
        target: &FileTarget,
        cause: &ResponseCause,
    ) -> Result<String, QuarantineError> {
        self.take_held(&HeldFile::open(target)?, cause)
    }

    pub(super) fn take_held(
        &self,
        held: &HeldFile,
        cause: &ResponseCause,
    ) -> Result<String, QuarantineError> {
        let path = held.path();
        let sha256 = hash(held.file(), path)?;
        let now = self.clock.now();
        let manifest = QuarantineManifest::new(
            cause.clone(),
            path.as_os_str().as_bytes().into(),
            held.stat(),
            sha256,
            now,
        );
        let what_for = match cause {
            ResponseCause::Alert(id) => id.to_string(),
            ResponseCause::Command(id) => id.to_string(),
            _ => "operator".to_owned(),
        };
        // One alert may be about several files.
        let entry = format!("{what_for}-{:x}-{:x}", held.stat().st_ino, now.as_nanos());
        self.write_manifest(&entry, &manifest)?;
        match self.move_here(held, &entry) {
            Ok(()) => Ok(entry),
            Err(error) => {
                let taken = rfs::statat(&self.folder, &*entry, AtFlags::SYMLINK_NOFOLLOW).is_ok();
                if !taken {
                    let _ = rfs::unlinkat(&self.folder, manifest_name(&entry), AtFlags::empty());
                }
                Err(error)
            }
        }
    }

    /// Moves the file itself where nothing else leads to it, for its mode is that of all its names; a copy
    /// otherwise.
    fn move_here(&self, held: &HeldFile, entry: &str) -> Result<(), QuarantineError> {
        let has_one_name = held.stat().st_nlink <= 1;
        if has_one_name && held.rename(&self.folder, entry)? {
            return rfs::fchmod(held.file(), Mode::empty())
                .doing("cannot take its mode", held.path());
        }
        let mut copy = self.create(entry, Mode::empty())?;
        let result = copy_content(held.file(), &mut copy, held.path())
            .and_then(|()| held.unlink(&format!(".{entry}")));
        if result.is_err() {
            let _ = rfs::unlinkat(&self.folder, entry, AtFlags::empty());
        }
        result
    }

    /// Puts a file back where it was, with its owner, mode and times.
    ///
    /// # Errors
    ///
    /// When there is no such entry, its content is not what was put here, its folder is gone, or its place is
    /// taken. It is in quarantine still then.
    pub fn restore(&self, entry: &str) -> Result<QuarantineManifest, QuarantineError> {
        let manifest = self.manifest(entry)?;
        let refuse = |reason: &str| QuarantineError::Entry {
            entry: entry.to_owned(),
            reason: reason.to_owned(),
        };
        let path = PathBuf::from(OsStr::from_bytes(manifest.original_path.as_bytes()));
        let named = rfs::openat(
            &self.folder,
            entry,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|_| refuse("its file is not there"))?;
        let file = File::from(reopen(&named, OFlags::RDONLY).doing("cannot be read", &path)?);
        if manifest.sha256.is_some() && hash(&file, &path)? != manifest.sha256 {
            return Err(refuse("its content is not what was put here"));
        }
        let (folder, name) = open_parent(&path)?;
        let renamed =
            rfs::renameat_with(&self.folder, entry, &folder, &name, RenameFlags::NOREPLACE);
        match renamed {
            Ok(()) => dress(&file, &manifest).doing("cannot get its mode back", &path)?,
            Err(Errno::EXIST) => return Err(QuarantineError::Occupied { path }),
            Err(Errno::XDEV) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let copy =
                    rfs::openat(&folder, &name, flags, Mode::empty()).map_err(
                        |error| match error {
                            Errno::EXIST => QuarantineError::Occupied { path: path.clone() },
                            error => QuarantineError::io("cannot be made again", &path, error),
                        },
                    )?;
                let mut copy = File::from(copy);
                copy_content(&file, &mut copy, &path)?;
                dress(&copy, &manifest).doing("cannot get its mode back", &path)?;
                rfs::unlinkat(&self.folder, entry, AtFlags::empty())
                    .doing("cannot leave the quarantine", &path)?;
            }
            Err(error) => return Err(QuarantineError::io("cannot be put back", &path, error)),
        }
        rfs::unlinkat(&self.folder, manifest_name(entry), AtFlags::empty())
            .doing("cannot leave the quarantine", &path)?;
        Ok(manifest)
    }

    /// What is said of an entry.
    ///
    /// # Errors
    ///
    /// When there is no such entry, or its manifest cannot be understood.
    pub fn manifest(&self, entry: &str) -> Result<QuarantineManifest, QuarantineError> {
        let refuse = |reason: String| QuarantineError::Entry { entry: entry.to_owned(), reason };
        if entry.is_empty() || entry.contains('/') || entry.starts_with('.') {
            return Err(refuse("not the name of an entry".to_owned()));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let manifest = rfs::openat(&self.folder, manifest_name(entry), flags, Mode::empty())
            .map_err(|error| refuse(format!("its manifest cannot be read: {error}")))?;
        let manifest: QuarantineManifest = serde_json::from_reader(File::from(manifest))
            .map_err(|error| refuse(format!("its manifest cannot be read: {error}")))?;
        if manifest.version == QuarantineManifest::VERSION {
            Ok(manifest)
        } else {
            Err(refuse(format!("its manifest is of version {}, not 1", manifest.version)))
        }
    }

    /// The names of all entries, in their order.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed.
    pub fn entries(&self) -> Result<Vec<String>, QuarantineError> {
        let listed = fs::read_dir(&self.path).doing("cannot be listed", &self.path)?;
        let mut entries = Vec::new();
        for file in listed {
            let name = file.doing("cannot be listed", &self.path)?.file_name();
            entries.extend(
                name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned),
            );
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn write_manifest(
        &self,
        entry: &str,
        manifest: &QuarantineManifest,
    ) -> Result<(), QuarantineError> {
        let mut file = self.create(&manifest_name(entry), Mode::RUSR | Mode::WUSR)?;
        let text = serde_json::to_vec_pretty(manifest).doing("cannot be described", &self.path)?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .doing("cannot be described", &self.path)
    }

    fn create(&self, name: &str, mode: Mode) -> Result<File, QuarantineError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rfs::openat(&self.folder, name, flags, mode)
            .doing("nothing can be written into the quarantine", &self.path)?;
        Ok(File::from(file))
    }
}

fn manifest_name(entry: &str) -> String {
    format!("{entry}.json")
}

fn copy_content(mut from: &File, to: &mut File, path: &Path) -> Result<(), QuarantineError> {
    from.rewind().doing("cannot be read", path)?;
    // It may grow as it is read.
    let bytes = std::io::copy(&mut from.take(MAX_COPIED_BYTES + 1), to)
        .and_then(|bytes| to.sync_all().map(|()| bytes))
        .doing("cannot be copied", path)?;
    if bytes > MAX_COPIED_BYTES {
        return Err(QuarantineError::TooLarge { path: path.to_owned() });
    }
    Ok(())
}

/// The SHA-256 of a file's content; `None` where that is too large.
pub(crate) fn hash(file: &File, path: &Path) -> Result<Option<String>, QuarantineError> {
    let mut content = ContentHash::default();
    let mut buffer = vec![0; 64 << 10];
    while content.read(file, &mut buffer).doing("cannot be read", path)? > 0 {
        if content.bytes() > MAX_COPIED_BYTES {
            return Ok(None);
        }
    }
    Ok(Some(content.finish().to_string()))
}

/// Gives a file its owner, mode and times. The owner first: a change of it takes set-user-id away.
fn dress(file: &File, manifest: &QuarantineManifest) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(manifest.uid), Gid::from_raw(manifest.gid));
    rfs::fchown(file, Some(uid), Some(gid))?;
    rfs::fchmod(file, Mode::from_raw_mode(manifest.mode))?;
    let times = Timestamps {
        last_access: timespec(manifest.accessed),
        last_modification: timespec(manifest.modified),
    };
    rfs::futimens(file, &times)
}

const fn timespec(time: Timestamp) -> Timespec {
    let nanos = time.as_nanos();
    Timespec { tv_sec: nanos.div_euclid(1_000_000_000), tv_nsec: nanos.rem_euclid(1_000_000_000) }
}

//! The folder that evidence is written to, by a thread of its own.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::ring::Window;
use crate::capture::{CaptureError, CaptureWriter};

/// What the names of captures end in.
pub(super) const SUFFIX: &str = ".lavcap";
/// What a file is called until it is whole.
const PARTIAL: &str = ".partial";

/// A folder of evidence, with its bounds.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    file_bytes_max: u64,
    files_max: usize,
}

impl Folder {
    /// Opens the folder, and makes it where there is none. Removes what was not written to its end, and what is too much.
    pub(super) fn open(path: &Path, file_bytes_max: u64, files_max: usize) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let metadata = fs::symlink_metadata(path)?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || !own || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it must be a folder of the agent's own user with mode 0700",
            ));
        }
        let folder = Self { path: path.to_owned(), file_bytes_max, files_max };
        for name in folder.names(PARTIAL)? {
            fs::remove_file(folder.path.join(name))?;
        }
        folder.shrink(files_max)?;
        Ok(folder)
    }

    /// Writes a window under this name: as much of it, from the event with this number back, as a file may have.
    pub(super) fn write(&self, name: &str, window: Window, sequence: u64) -> io::Result<()> {
        self.shrink(self.files_max.saturating_sub(1))?;
        let path = self.path.join(name);
        let partial = self.path.join(format!("{name}{PARTIAL}"));
        let result = self.write_most(&partial, window, sequence);
        if let Err(error) = result.and_then(|()| fs::rename(&partial, &path)) {
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
        Ok(())
    }

    /// Tries it with all, then with half of the batches, until it fits.
    fn write_most(&self, path: &Path, mut window: Window, sequence: u64) -> io::Result<()> {
        let mut keep = window.batches().len();
        loop {
            window.begin_cleanly(keep, sequence);
            if write_all(path, &window, self.file_bytes_max).map_err(io::Error::other)? {
                return Ok(());
            }
            fs::remove_file(path)?;
            let left = window.batches().len();
            keep = left / 2;
            window.begin_cleanly(keep, sequence);
            if window.batches().len() == left {
                let reason = format!("it does not fit into {} bytes", self.file_bytes_max);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
            }
        }
    }

    /// Removes the oldest files, until there are so many at the most. Their names begin with the time.
    fn shrink(&self, files_max: usize) -> io::Result<()> {
        let mut names = self.names(SUFFIX)?;
        names.sort_unstable();
        let over = names.len().saturating_sub(files_max);
        names.into_iter().take(over).try_for_each(|name| fs::remove_file(self.path.join(name)))
    }

    fn names(&self, suffix: &str) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if name.as_encoded_bytes().ends_with(suffix.as_bytes()) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Whether all of it fitted.
fn write_all(path: &Path, window: &Window, max_bytes: u64) -> Result<bool, CaptureError> {
    let mut capture = CaptureWriter::create(path, max_bytes)?;
    capture.begin(&window.header)?;
    capture.known(&window.known())?;
    for batch in window.batches() {
        if !capture.fits(batch.records.len()) {
            return Ok(false);
        }
        capture.batch(&batch.meta, &batch.records)?;
    }
    let fits = capture.is_open();
    capture.close()?;
    Ok(fits)
}

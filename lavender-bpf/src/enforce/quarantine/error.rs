//! Why a file was not put into quarantine, or not taken out of it.

use std::io;
use std::path::{Path, PathBuf};

use super::MAX_COPIED_BYTES;

/// Why a file was not put into quarantine, or not taken out of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuarantineError {
    /// There is nothing, or another file, or a symbolic link under the path now.
    #[error("{}: it is gone, or another file has its name now", path.display())]
    Gone {
        /// The path.
        path: PathBuf,
    },
    /// It is a folder, a device, a pipe, a socket.
    #[error("{}: it is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is not an absolute path, or one with `.` or `..` in it.
    #[error("{}: not an absolute path of a file without `.` and `..`", path.display())]
    NotAPath {
        /// The path.
        path: PathBuf,
    },
    /// The quarantine lies on another file system, and the file is too large to be copied while events wait.
    #[error(
        "{}: it has more than {MAX_COPIED_BYTES} bytes, too many to be copied: put the quarantine on its \
         file system",
        path.display()
    )]
    TooLarge {
        /// The path.
        path: PathBuf,
    },
    /// The folder can be changed by others.
    #[error("{}: others could take out what is in quarantine there: make it root's own, mode 0700", path.display())]
    Untrusted {
        /// The folder.
        path: PathBuf,
    },
    /// There is no such entry, or it cannot be understood.
    #[error("quarantine entry `{entry}`: {reason}")]
    Entry {
        /// The name.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is a file in the place that it should return to.
    #[error("{}: there is a file already", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// A call failed.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// What could not be done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl QuarantineError {
    pub(super) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { what, path: path.to_owned(), source: source.into() }
    }
}

/// Says of a failed call what it was for.
pub(super) trait Done<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T, QuarantineError>;
}

impl<T, E: Into<io::Error>> Done<T> for Result<T, E> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T, QuarantineError> {
        self.map_err(|error| QuarantineError::io(what, path, error))
    }
}

//! What can go wrong with a database file, and what to do about it.

use std::path::Path;

use lavender_core::{Error, ErrorKind};
use rusqlite::ffi;

/// Why a [`SqliteStore`](super::SqliteStore) did not do what was asked: the source of the
/// [`Error`] that it returns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// No room on the disk, or the bound of the store is reached. What is stored stays.
    #[error("no room is left: free space on its disk, or keep events for fewer days ({0})")]
    Full(String),
    /// The file or its directory cannot be written.
    #[error(
        "it cannot be written: check owner and permissions of the file and its directory ({0})"
    )]
    ReadOnly(String),
    /// The file cannot be opened or made.
    #[error(
        "it cannot be opened: check the path, and owner and permissions of its directory ({0})"
    )]
    CannotOpen(String),
    /// Another process has it open.
    #[error(
        "another process uses it; one at a time may: stop the other, or choose another path ({0})"
    )]
    InUse(String),
    /// A lock was not had in time.
    #[error("it is locked by another process for too long ({0})")]
    Locked(String),
    /// What is in the file is not what was written.
    #[error(
        "it is damaged: move it away and let a new one be made, or restore it from a backup ({0})"
    )]
    Damaged(String),
    /// A database of something else.
    #[error("it is not a database of Lavender's; choose another path ({0})")]
    Foreign(String),
    /// A database of a later version.
    #[error(
        "its schema has version {found}, made by a later Lavender; this one knows up to {known}"
    )]
    FromTheFuture {
        /// The version found.
        found: i64,
        /// The last version that this code knows.
        known: i64,
    },
    /// The disk failed.
    #[error("its disk failed ({0})")]
    Disk(String),
    /// The store has been closed.
    #[error("it is closed")]
    Closed,
    /// A thread of the store is gone.
    #[error("a thread of it ended before its time")]
    ThreadGone,
    /// State is bounded, and the bound is reached.
    #[error("state is full: {used} of {max} bytes are in use")]
    StateFull {
        /// Bytes in use.
        used: u64,
        /// The bound.
        max: u64,
    },
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else was first.
    #[error("{0}")]
    Conflict(String),
    /// What was given is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Something that should not happen.
    #[error("SQLite refused: {0}")]
    Other(String),
}

impl SqliteError {
    const fn kind(&self) -> ErrorKind {
        match self {
            Self::Full(_)
            | Self::InUse(_)
            | Self::Locked(_)
            | Self::Disk(_)
            | Self::StateFull { .. } => ErrorKind::Unavailable,
            Self::ReadOnly(_)
            | Self::CannotOpen(_)
            | Self::Foreign(_)
            | Self::Closed
            | Self::Invalid(_) => ErrorKind::Invalid,
            Self::Damaged(_) => ErrorKind::Corrupt,
            Self::FromTheFuture { .. } => ErrorKind::Unsupported,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::ThreadGone | Self::Other(_) => ErrorKind::Internal,
        }
    }

    /// The error as a caller gets it.
    pub(super) fn at(self, path: &Path) -> Error {
        Error::new(self.kind(), format!("store sqlite:{}", path.display()), self)
    }

    /// A stored text that cannot be read back.
    pub(super) fn unreadable(what: &str, error: &dyn std::error::Error) -> Self {
        Self::Damaged(format!("{what}: {error}"))
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;

        let text = error.to_string();
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::Full(text),
                ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Self::ReadOnly(text),
                ErrorCode::CannotOpen => Self::CannotOpen(text),
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed => Self::Locked(text),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged(text),
                // The shared-memory file of the write-ahead log could not grow: no room for it.
                ErrorCode::SystemIoFailure
                    if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE =>
                {
                    Self::Full(text)
                }
                ErrorCode::SystemIoFailure => Self::Disk(text),
                ErrorCode::TooBig => Self::Invalid(text),
                _ => Self::Other(text),
            },
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Damaged(text),
            _ => Self::Other(text),
        }
    }
}

/// The result of everything inside the store.
pub(super) type Result<T, E = SqliteError> = std::result::Result<T, E>;

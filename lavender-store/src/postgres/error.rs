//! What can go wrong with a PostgreSQL server, and what to do about it.

use std::error::Error as StdError;

use deadpool_postgres::{HookError, PoolError};
use lavender_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

/// Why a [`PostgresStore`](super::PostgresStore) did not do what was asked: the source of the [`Error`] that it
/// returns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL does not say where to connect, or asks for what is not safe.
    #[error("{0}")]
    Url(String),
    /// The server cannot be reached, or went away.
    #[error("the server cannot be reached, or went away: see that it runs and listens there ({0})")]
    Unreachable(String),
    /// The server has no room, no connection or no turn for this just now.
    #[error("the server cannot take it now ({0})")]
    Busy(String),
    /// It took too long.
    #[error("it took too long ({0})")]
    Timeout(String),
    /// Writers stood in each other's way for good, and the server has let one of them go on.
    #[error("writers stood in each other's way ({0})")]
    Deadlock(String),
    /// The server does not let this user in, or not do this.
    #[error("the server refuses this user: check user, password, database and rights ({0})")]
    Refused(String),
    /// The server's certificate is not one to trust.
    #[error("no trusted connection: check `sslmode`, `sslrootcert` and the name of the host ({0})")]
    Untrusted(String),
    /// The server refuses what was to be stored for its content. Again would not help; nothing of it is stored.
    #[error("the server refuses the content ({0})")]
    Content(String),
    /// What is in the database is not what was written.
    #[error("it is damaged: restore it from a backup ({0})")]
    Damaged(String),
    /// A database that cannot hold Lavender's tables.
    #[error("the database cannot be used: {0}")]
    Foreign(String),
    /// A database of a later version.
    #[error(
        "its schema has version {found}, made by a later Lavender; this one knows up to {known}"
    )]
    FromTheFuture {
        /// The version found.
        found: i32,
        /// The last version that this code knows.
        known: i32,
    },
    /// The store has been closed.
    #[error("it is closed")]
    Closed,
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
    #[error("PostgreSQL refused: {0}")]
    Other(String),
}

impl PostgresError {
    const fn kind(&self) -> ErrorKind {
        match self {
            // A password that is changed while a store is open must not make a writer give its batches up as bad.
            Self::Unreachable(_)
            | Self::Busy(_)
            | Self::Deadlock(_)
            | Self::Refused(_)
            | Self::Untrusted(_)
            | Self::StateFull { .. } => ErrorKind::Unavailable,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Url(_)
            | Self::Content(_)
            | Self::Foreign(_)
            | Self::Closed
            | Self::Invalid(_) => ErrorKind::Invalid,
            Self::Damaged(_) => ErrorKind::Corrupt,
            Self::FromTheFuture { .. } => ErrorKind::Unsupported,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Other(_) => ErrorKind::Internal,
        }
    }

    /// The error as a caller gets it. `place` holds no secret.
    pub(super) fn at(self, place: &str) -> Error {
        Error::new(self.kind(), format!("store {place}"), self)
    }

    /// The same where a store is opened: there, not to be let in is a fault of the configuration.
    pub(super) fn at_opening(self, place: &str) -> Error {
        match self {
            Self::Refused(_) | Self::Untrusted(_) => {
                Error::new(ErrorKind::Invalid, format!("store {place}"), self)
            }
            other => other.at(place),
        }
    }

    /// A stored value that cannot be read back.
    pub(super) fn unreadable(what: &str, error: &dyn StdError) -> Self {
        Self::Damaged(format!("{what}: {error}"))
    }
}

/// An error with its causes, in one line.
fn whole(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Whether TLS failed, and not the network beneath it.
fn is_of_tls(error: &(dyn StdError + 'static)) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = cause.source();
    }
    false
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            let text = whole(&error);
            return match () {
                () if is_of_tls(&error) || text.contains("server does not support TLS") => {
                    Self::Untrusted(text)
                }
                () if text.contains("password missing") || text.contains("authentication") => {
                    Self::Refused(text)
                }
                () if text.contains("deserializing column") => Self::Damaged(text),
                () if text.contains("serializing parameter") => Self::Content(text),
                () => Self::Unreachable(text),
            };
        };
        let code = refusal.code();
        let text = format!("{}, SQLSTATE {}", refusal.message(), code.code());
        match code.code().get(..2).unwrap_or_default() {
            _ if *code == SqlState::QUERY_CANCELED => Self::Timeout(text),
            _ if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
                Self::Damaged(text)
            }
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => Self::Refused(text),
            _ if *code == SqlState::LOCK_NOT_AVAILABLE
                || *code == SqlState::READ_ONLY_SQL_TRANSACTION =>
            {
                Self::Busy(text)
            }
            _ if *code == SqlState::T_R_DEADLOCK_DETECTED
                || *code == SqlState::T_R_SERIALIZATION_FAILURE =>
            {
                Self::Deadlock(text)
            }
            "08" | "57" => Self::Unreachable(text),
            "28" | "3D" => Self::Refused(text),
            "40" | "53" | "58" => Self::Busy(text),
            "22" | "23" | "54" => Self::Content(text),
            _ => Self::Other(text),
        }
    }
}

impl From<PoolError> for PostgresError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                error.into()
            }
            PoolError::Timeout(_) => Self::Busy(format!("no connection: {error}")),
            PoolError::Closed => Self::Closed,
            other => Self::Other(other.to_string()),
        }
    }
}

/// The result of everything inside the store.
pub(super) type Result<T, E = PostgresError> = std::result::Result<T, E>;

//! The error of everything behind a trait.

use std::fmt;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It is not there.
    NotFound,
    /// Somebody else changed it first.
    Conflict,
    /// The other side cannot be reached, or is full, just now.
    Unavailable,
    /// It took too long.
    Timeout,
    /// The other side does not allow it: credentials or permissions are to be changed, and trying again
    /// does not help.
    Denied,
    /// What was given is wrong.
    Invalid,
    /// This implementation does not do that.
    Unsupported,
    /// The stored or received data is damaged.
    Corrupt,
    /// Something that should not happen.
    Internal,
}

impl ErrorKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timed out",
            Self::Denied => "not permitted",
            Self::Invalid => "invalid",
            Self::Unsupported => "not supported",
            Self::Corrupt => "damaged data",
            Self::Internal => "internal error",
        }
    }
}

/// The error of a source, sink, transport or store: where, what kind, and why.
///
/// ```
/// use lavender_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "store sqlite:/var/lib/lavender.db", "the disk is full");
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "store sqlite:/var/lib/lavender.db: unavailable: the disk is full");
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    component: Box<str>,
    source: Box<dyn std::error::Error + Send + Sync + 'static>,
}

impl Error {
    /// An error of `component` (what it is and on what it works), with its cause.
    pub fn new(
        kind: ErrorKind,
        component: impl Into<Box<str>>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        Self { kind, component: component.into(), source: source.into() }
    }

    /// What a caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it came from.
    pub const fn component(&self) -> &str {
        &self.component
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Conflict)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.component, self.kind.as_str(), self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// The result of everything behind a trait.
pub type Result<T, E = Error> = std::result::Result<T, E>;

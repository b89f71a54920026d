//! What can go wrong.

use std::io;

/// Why the fleet could not be started, or does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The machine did not let it.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and on what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something is missing here.
    #[error("{0}")]
    Missing(String),
    /// A process ended that should run.
    #[error("{name} ended ({status}); the end of what it said:\n{said}")]
    Ended {
        /// Which.
        name: String,
        /// How.
        status: String,
        /// The last lines of its log.
        said: String,
    },
    /// Something did not come in time.
    #[error("{0} did not come within {1} s")]
    Late(String, u64),
    /// A part of Lavender's refused.
    #[error(transparent)]
    Core(#[from] lavender_core::Error),
    /// It was told to stop before it was done.
    #[error("{0}: stopped before it was done")]
    Stopped(&'static str),
    /// Something does not hold.
    #[error("it does not hold: {0}")]
    Broken(String),
}

impl FleetError {
    /// For `map_err`: says what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The result of whatever concerns the fleet.
pub type Result<T, E = FleetError> = std::result::Result<T, E>;

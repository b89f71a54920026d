//! Why a canary's act was not done.

use std::io;
use std::path::PathBuf;

/// Why a canary's act was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanaryError {
    /// The program could not be run.
    #[error("{} cannot be run: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The control group in which it would be seen could not be entered.
    #[error("it cannot be done in the control group {}: {source}", folder.display())]
    Cgroup {
        /// The folder of the control group.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part of it could not be done.
    #[error("it cannot {what}: {source}")]
    Act {
        /// Which part.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The process that does it failed.
    #[error("its process ended with {status}: {said}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said, cut to 1 KiB.
        said: String,
    },
    /// These are no arguments of a canary.
    #[error("these are not the arguments of a canary: an agent starts it, and nobody else")]
    Arguments,
}

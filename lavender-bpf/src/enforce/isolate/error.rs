//! Why isolation was not applied, or not lifted.

use std::io;
use std::path::PathBuf;

use super::PEERS_MAX;

/// Why isolation was not applied, or not lifted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// This host or this build cannot do it.
    #[error("nothing can be isolated here: {reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
    },
    /// The control group cannot be opened or asked.
    #[error("{}: not a control group (v2) that can be isolated: {source}", path.display())]
    Cgroup {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The programs could not be attached to the control group, or detached from it.
    #[error(
        "{}: cannot {what}: {source} (see what else is attached there: bpftool cgroup show)",
        path.display()
    )]
    Attach {
        /// What was tried.
        what: &'static str,
        /// The control group's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More peers are to be allowed than the kernel's table has room for.
    #[error("{count} addresses are to stay reachable, and at most {PEERS_MAX} can")]
    TooManyPeers {
        /// How many.
        count: usize,
    },
    /// The file that says whether it is isolated cannot be read, written or removed.
    #[error("{}: whether this host is isolated is kept there: {source}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

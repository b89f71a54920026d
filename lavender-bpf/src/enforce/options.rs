//! The bounds of what is done.

use std::path::PathBuf;

use super::breaker::BreakerOptions;
use super::isolate::Isolator;
use crate::protected::PROTECTED_PATHS;

/// The bounds of what an [`Enforcer`](super::Enforcer) does.
#[derive(Clone, Debug)]
pub struct EnforcerOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Programs whose processes are never acted upon, and whose files are not either, by absolute path. Known by
    /// the file that has that path, whatever a process calls itself.
    pub protected_executables: Vec<PathBuf>,
    /// Files, and folders with all that is in them, that are never put into quarantine.
    pub protected_paths: Vec<PathBuf>,
    /// How much is done in a minute at the most; a tree counts as one.
    pub max_per_minute: u32,
    /// When so much is asked for that nothing is done any more.
    pub breaker: BreakerOptions,
    /// Where files are put. Made when it is needed first.
    pub quarantine: PathBuf,
    /// What is isolated when that is to be done, and what stays reachable. Without one, nothing is.
    pub isolator: Option<Isolator>,
}

impl Default for EnforcerOptions {
    /// Dry-run; ten a minute; [`PROTECTED_PATHS`](crate::PROTECTED_PATHS) are protected, and no programs; nothing
    /// can be isolated.
    fn default() -> Self {
        Self {
            dry_run: true,
            protected_executables: Vec::new(),
            protected_paths: PROTECTED_PATHS.iter().map(PathBuf::from).collect(),
            max_per_minute: 10,
            breaker: BreakerOptions::default(),
            quarantine: "/var/lib/lavender/quarantine".into(),
            isolator: None,
        }
    }
}

//! Where everything of a fleet is while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{FleetError, Result};

/// How often, and after which wait each, it is tried to remove a directory that others still write into.
const TRIES: u32 = 50;
const WAIT: Duration = Duration::from_millis(100);

/// A temporary directory. It is gone when this is, even while processes that are being killed still write into it.
#[derive(Debug)]
pub struct Scratch(Option<TempDir>);

impl Scratch {
    /// Makes one whose name begins like this.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn make(prefix: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir();
        let directory = directory.map_err(FleetError::io("a temporary directory"))?;
        // The database's user has to reach its own folder.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))
            .map_err(FleetError::io(directory.path().display().to_string()))?;
        Ok(Self(Some(directory)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Leaves it on disk, for who looks what went wrong.
    pub fn keep(mut self) -> PathBuf {
        self.0.take().map(TempDir::keep).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(directory) = self.0.take() else { return };
        let path = directory.path();
        // Nothing ever comes by it: it is waited on, since there may be no runtime any more.
        let (_never, wait) = std::sync::mpsc::channel::<()>();
        for _ in 0..TRIES {
            if fs::remove_dir_all(path).is_ok() || !path.exists() {
                return;
            }
            let _ = wait.recv_timeout(WAIT);
        }
    }
}

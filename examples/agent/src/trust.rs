//! Whether a file can be changed by somebody with fewer privileges than this process.

use std::path::Path;

use crate::config::ConfigError;

/// Refuses a file or folder that others could change, or put another in the place of, when this process
/// runs as root: it and every folder above it must be root's and writable by root only. A folder with the
/// sticky bit may be writable by all, as what lies in it can be replaced by its owner only.
///
/// # Errors
///
/// [`ConfigError::Untrusted`], or [`ConfigError::Read`] when it cannot be looked at.
#[cfg(unix)]
pub fn check(path: &Path) -> Result<(), ConfigError> {
    if rustix::process::geteuid().is_root() { check_for_root(path) } else { Ok(()) }
}

/// Off Unix there is no root to protect.
///
/// # Errors
///
/// Never.
#[cfg(not(unix))]
pub fn check(_path: &Path) -> Result<(), ConfigError> {
    Ok(())
}

#[cfg(unix)]
fn check_for_root(path: &Path) -> Result<(), ConfigError> {
    use std::os::unix::fs::MetadataExt as _;

    const STICKY: u32 = 0o1000;
    let read = |source| ConfigError::Read { path: path.to_owned(), source, from_variable: false };
    let real = path.canonicalize().map_err(read)?;
    for (depth, place) in real.ancestors().enumerate() {
        let metadata = place.metadata().map_err(read)?;
        let refuse = |why: String| Err(ConfigError::Untrusted { path: path.to_owned(), why });
        let place = place.display();
        if metadata.uid() != 0 {
            return refuse(format!("{place} belongs to user {} (chown root it)", metadata.uid()));
        }
        if depth > 0 && metadata.mode() & STICKY != 0 {
            continue;
        }
        if metadata.mode() & 0o002 != 0 {
            return refuse(format!("anybody may write {place} (chmod o-w it)"));
        }
        if metadata.mode() & 0o020 != 0 && metadata.gid() != 0 {
            return refuse(format!("group {} may write {place} (chmod g-w it)", metadata.gid()));
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn what_others_could_change_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can make files of other owners");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lavender.toml");
        fs::write(&file, "").unwrap();
        let with_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        with_mode(&file, 0o644).unwrap();
        check(&file).unwrap();

        with_mode(&file, 0o646).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("anybody may write"));
        with_mode(&file, 0o664).unwrap();
        chown(&file, Some(0), Some(54321)).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("group 54321 may write"));
        chown(&file, Some(54321), Some(0)).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("belongs to user 54321"));

        chown(&file, Some(0), Some(0)).unwrap();
        with_mode(folder.path(), 0o777).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("anybody may write"));
        with_mode(folder.path(), 0o1777).unwrap();
        check(&file).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_is_said_to_be_missing() {
        let error = check_for_root(Path::new("/nonexistent/lavender.toml")).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    }
}

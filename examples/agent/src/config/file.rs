//! Which file is the configuration, whether it can be trusted, and what it says.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError};
use crate::trust;

/// The variable that names the configuration.
pub const VARIABLE: &str = "LAVENDER_CONFIG";

/// The configuration of the system.
pub const SYSTEM_FILE: &str = "/etc/lavender/lavender.toml";

/// Which file is the configuration: the one named on the command line, else by `variable` (the value of
/// [`VARIABLE`]), else `system_file` if there is one, else none.
///
/// Never a file in the working directory or above it: whoever can write there would decide what an agent
/// with root's privileges sees and does.
pub fn find(
    named: Option<&Path>,
    variable: Option<OsString>,
    system_file: &Path,
) -> Option<(PathBuf, bool)> {
    if let Some(named) = named {
        return Some((named.to_owned(), false));
    }
    if let Some(variable) = variable {
        return Some((variable.into(), true));
    }
    system_file.exists().then(|| (system_file.to_owned(), false))
}

/// Loads the configuration: the file that [`find`] finds, or what holds without one. Also says which file
/// that was.
///
/// # Errors
///
/// When the file cannot be read, cannot be trusted, or is wrong.
pub fn load(named: Option<&Path>) -> Result<(Config, Option<PathBuf>), ConfigError> {
    let found = find(named, std::env::var_os(VARIABLE), Path::new(SYSTEM_FILE));
    let Some((path, from_variable)) = found else {
        return Ok((Config::default(), None));
    };
    let read = |source| ConfigError::Read { path: path.clone(), source, from_variable };
    let text = fs::read_to_string(&path).map_err(read)?;
    trust::check(&path)?;
    Ok((parse(&text, &path)?, Some(path)))
}

/// Reads a configuration; `path` is only for the error.
///
/// # Errors
///
/// [`ConfigError::Content`].
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::content(path, text, &error))
}

//! The note that something is isolated: a file, so that it is isolated again after a boot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What is isolated, and what it could reach when it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The control group; none for the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<PathBuf>,
    #[serde(default)]
    pub(super) allow: Vec<SocketAddr>,
}

/// What stands in the file.
#[derive(Debug)]
pub(super) enum Read {
    /// There is no file: nothing is isolated.
    Nothing,
    Note(Note),
    /// There is one that cannot be understood: something is isolated.
    Garbled(serde_json::Error),
}

pub(super) fn read(path: &Path) -> io::Result<Read> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).map_or_else(Read::Garbled, Read::Note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Read::Nothing),
        Err(error) => Err(error),
    }
}

/// Writes the file in one step: whoever is killed leaves the old one or the new one.
pub(super) fn write(path: &Path, note: &Note) -> io::Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(folder)?.sync_all()
}

/// Removes the file, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => File::open(folder_of(path))?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

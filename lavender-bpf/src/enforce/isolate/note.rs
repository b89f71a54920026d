//! The note that something is isolated: a file, so that it is isolated again after a boot.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;

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

pub(super) fn write(path: &Path, note: &Note) -> io::Result<()> {
    durable::write(path, &serde_json::to_vec(note)?)
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    durable::remove(path)
}

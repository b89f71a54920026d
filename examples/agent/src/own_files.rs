//! The agent's own files and folders: who writes them acts against it.

use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// What SQLite puts beside a database.
const BESIDE_STORE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The paths of all that this configuration names, as the kernel has them; folders with a slash at the end.
pub(crate) fn own_files(
    config: &Config,
    file: Option<&Path>,
    more_dirs: &[PathBuf],
) -> Vec<Vec<u8>> {
    let response = &config.response;
    let mut files: Vec<PathBuf> = Vec::new();
    files.extend(file.map(Into::into));
    files.extend(std::env::current_exe().ok());
    files.push(response.isolate.state_file.as_ref().into());
    if let Some(store) = config.store.url.strip_prefix("sqlite:") {
        let store = store.split('?').next().unwrap_or(store);
        files.extend(BESIDE_STORE.map(|end| format!("{store}{end}").into()));
    }
    let transport = &config.transport;
    let secrets = [&transport.nkey_file, &transport.key_file, &transport.certificate_file];
    files.extend(secrets.into_iter().chain([&transport.ca_file]).flatten().cloned());

    let mut folders: Vec<PathBuf> = [&config.rules.dirs[..], more_dirs].concat();
    folders.extend(
        [&config.commands.state_dir, &config.evidence.dir, &response.quarantine_dir]
            .map(|folder| PathBuf::from(folder.as_ref())),
    );
    if !transport.url.servers().is_empty() {
        folders.push(transport.spool_dir.clone());
        folders.push(config.rules.published_dir.as_ref().into());
    }
    let files = files.into_iter().map(|path| real(&path).into_os_string().into_vec());
    let folders = folders.into_iter().map(|path| real(&path.join("")).into_os_string().into_vec());
    let folders = folders.map(|mut path| {
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path
    });
    files.chain(folders).collect()
}

/// A path without links, as far as there is something at it.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    for there in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(there), absolute.strip_prefix(there)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    absolute
}

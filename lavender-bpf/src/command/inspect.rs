//! Commands that only look.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use lavender_core::ByteString;
use lavender_core::command::{CommandOutput, FileContent, MAX_COLLECTED_BYTES, RunningProcess};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use crate::enforce::{MAX_COPIED_BYTES, hash, id_to_the_tick, reopen, status_field, this_boot};
use crate::host;

/// How long the list of processes may be, as JSON: with the rest of the result it fits into one message of a broker.
const LIST_MAX_BYTES: u64 = 512 * 1024;

type Looked = Result<CommandOutput, Arc<str>>;

/// Which processes run. Their arguments are not read.
pub(super) fn processes(room: u64) -> Looked {
    let boot = this_boot().map_err(|outcome| format!("{outcome:?}"))?;
    let mut listed = host::processes().map_err(|error| format!("/proc: {error}"))?;
    listed.sort_unstable_by_key(|process| process.pid);
    let (mut processes, mut left_out) = (Vec::new(), 0);
    let mut left = room.min(LIST_MAX_BYTES);
    for process in listed {
        let id = id_to_the_tick(boot, (process.pid, process.start_ticks));
        // Who has ended meanwhile does not run.
        let Some(found) = host::found_process(id) else { continue };
        let uid = status_field(process.pid, "Uid")
            .and_then(|ids| ids.split_ascii_whitespace().next()?.parse().ok());
        let Some(uid) = uid else { continue };
        let running = RunningProcess {
            process: id,
            parent: process.parent_pid,
            uid,
            name: found.name,
            executable: found.executable,
        };
        let bytes = serde_json::to_vec(&running).map_or(u64::MAX, |text| text.len() as u64 + 1);
        if left_out == 0 && bytes <= left {
            left -= bytes;
            processes.push(running);
        } else {
            left_out += 1;
        }
    }
    Ok(CommandOutput::Processes { processes, left_out })
}

/// A file's SHA-256.
pub(super) fn digest(path: &ByteString) -> Looked {
    let (file, bytes) = open(path)?;
    let sha256 = hash(&file, as_path(path)).map_err(|error| error.to_string())?;
    let sha256 = sha256.ok_or_else(|| {
        format!("{path}: it has more than the {MAX_COPIED_BYTES} bytes that are read")
    })?;
    Ok(CommandOutput::Digest { sha256: sha256.into(), bytes })
}

/// The beginning of a file, or all of it.
pub(super) fn collect(path: &ByteString, max_bytes: u32, room: u64) -> Looked {
    let max_bytes = u64::from(max_bytes.min(MAX_COLLECTED_BYTES));
    if room < 2 * max_bytes {
        return Err("so many results are kept here that there is no room for a file".into());
    }
    let (file, bytes) = open(path)?;
    let mut content = Vec::new();
    file.take(max_bytes)
        .read_to_end(&mut content)
        .map_err(|error| format!("{path}: it cannot be read: {error}"))?;
    Ok(CommandOutput::File { content: FileContent::new(content), bytes })
}

fn as_path(path: &ByteString) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

/// Opens a regular file, and nothing else: opening a device or a pipe for reading does things. And how long it is.
fn open(path: &ByteString) -> Result<(File, u64), Arc<str>> {
    let place = as_path(path);
    if !place.is_absolute() {
        return Err(format!("{path}: it is no absolute path").into());
    }
    let fail = |error: rustix::io::Errno| format!("{path}: it cannot be opened: {error}");
    let named = openat(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    let stat = fstat(&named).map_err(fail)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(format!("{path}: it is no regular file").into());
    }
    let file = File::from(reopen(&named, OFlags::RDONLY).map_err(fail)?);
    Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
}

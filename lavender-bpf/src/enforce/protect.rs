//! What is never acted upon.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host::is_kernel_thread;

/// Processes and programs that are never acted upon.
#[derive(Debug)]
pub(super) struct Protection {
    executables: Vec<PathBuf>,
    own_pid: u32,
}

impl Protection {
    pub(super) fn new(executables: &[PathBuf]) -> Self {
        Self { executables: executables.to_vec(), own_pid: std::process::id() }
    }

    /// What protects a process, if anything does.
    pub(super) fn of(&self, pid: u32) -> Option<Arc<str>> {
        if pid == 1 {
            return Some("it is pid 1".into());
        }
        if pid == self.own_pid {
            return Some("it is the agent".into());
        }
        if self.is_ancestor(pid) {
            return Some("it is an ancestor of the agent".into());
        }
        if is_kernel_thread(pid) {
            return Some("it is a thread of the kernel".into());
        }
        let protected = self.executables.iter().find(|path| runs(pid, path))?;
        Some(format!("it runs {}", protected.display()).into())
    }

    fn is_ancestor(&self, pid: u32) -> bool {
        std::iter::successors(parent(self.own_pid), |pid| parent(*pid))
            .take(128)
            .any(|ancestor| ancestor == pid)
    }
}

fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn parent(pid: u32) -> Option<u32> {
    status_field(pid, "PPid")?.parse().ok().filter(|pid| *pid != 0)
}

/// Whether a process runs a program. It is the file that counts: a container may hold another file under the
/// same path. Where the program was replaced under a running process (an upgrade), its path counts, if the
/// process sees the same file systems as the agent.
fn runs(pid: u32, program: &Path) -> bool {
    let Some(link) = executable_link(pid) else { return false };
    let same_file = match (fs::metadata(&link), fs::metadata(program)) {
        (Ok(running), Ok(protected)) => {
            (running.dev(), running.ino()) == (protected.dev(), protected.ino())
        }
        _ => false,
    };
    same_file || (same_mounts(&link) && path_of(&link).is_some_and(|path| path == program))
}

/// The link to the program, at a thread that still has one: a thread that has ended has none, and the first may
/// end before the others.
fn executable_link(pid: u32) -> Option<PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.flatten().map(|thread| thread.path().join("exe")).find(|link| link.read_link().is_ok())
}

fn same_mounts(link: &Path) -> bool {
    match (fs::read_link(link.with_file_name("ns/mnt")), fs::read_link("/proc/self/ns/mnt")) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => false,
    }
}

fn path_of(link: &Path) -> Option<PathBuf> {
    let path = fs::read_link(link).ok()?;
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => Some(path.into()),
        None => Some(path),
    }
}

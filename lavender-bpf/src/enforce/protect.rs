//! What is never acted upon.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host::is_kernel_thread;

/// Processes, programs and files that are never acted upon, as configured.
#[derive(Debug)]
pub(super) struct Protection {
    executables: Vec<PathBuf>,
    paths: Vec<PathBuf>,
}

/// The same as it is now: for one order.
#[derive(Debug)]
pub(super) struct Protected {
    programs: Vec<Program>,
    own_program: Option<(u64, u64)>,
    paths: Vec<PathBuf>,
    own_pid: u32,
    ancestors: HashSet<u32>,
    own_mounts: Option<PathBuf>,
}

#[derive(Debug)]
struct Program {
    path: PathBuf,
    /// Device and inode; `None` where there is no such file.
    file: Option<(u64, u64)>,
}

impl Protection {
    pub(super) fn new(executables: &[PathBuf], paths: &[PathBuf]) -> Self {
        Self { executables: executables.to_vec(), paths: paths.to_vec() }
    }

    /// Looks at the host: which files the programs are, and who the ancestors of the agent are.
    pub(super) fn now(&self) -> Protected {
        let own_pid = std::process::id();
        let programs = self.executables.iter().cloned().map(|path| {
            let file = fs::metadata(&path).ok().map(|file| identity(&file));
            Program { path, file }
        });
        Protected {
            programs: programs.collect(),
            own_program: fs::metadata("/proc/self/exe").ok().map(|file| identity(&file)),
            paths: self.paths.clone(),
            own_pid,
            ancestors: ancestors(own_pid),
            own_mounts: fs::read_link("/proc/self/ns/mnt").ok(),
        }
    }
}

impl Protected {
    /// What protects a process, if anything does.
    pub(super) fn process(&self, pid: u32) -> Option<Arc<str>> {
        if pid == 1 {
            return Some("it is pid 1".into());
        }
        if pid == self.own_pid {
            return Some("it is the agent".into());
        }
        if self.ancestors.contains(&pid) {
            return Some("it is an ancestor of the agent".into());
        }
        if is_kernel_thread(pid) {
            return Some("it is a thread of the kernel".into());
        }
        let link = executable_link(pid)?;
        let file = fs::metadata(&link).ok().map(|file| identity(&file));
        let protected = self.programs.iter().find(|program| self.runs(&link, file, program))?;
        Some(format!("it runs {}", protected.path.display()).into())
    }

    /// Whether a process runs a program. It is the file that counts: a container may hold another file under the
    /// same path. Where the program was replaced under a running process (an upgrade), its path counts, if the
    /// process sees the same file systems as the agent.
    fn runs(&self, link: &Path, file: Option<(u64, u64)>, program: &Program) -> bool {
        let same_file = file.is_some() && file == program.file;
        same_file
            || (path_of(link).is_some_and(|path| path == program.path) && self.sees_our_files(link))
    }

    fn sees_our_files(&self, link: &Path) -> bool {
        let theirs = fs::read_link(link.with_file_name("ns/mnt")).ok();
        theirs.is_some() && theirs == self.own_mounts
    }

    /// What protects a file, if anything does: a protected path that it has or lies below, or that it is the
    /// file of a protected program, whatever it is called here.
    pub(super) fn file(&self, path: &Path, device_and_inode: (u64, u64)) -> Option<Arc<str>> {
        if let Some(protected) = self.paths.iter().find(|protected| path.starts_with(protected)) {
            return Some(format!("it is {}, or below it", protected.display()).into());
        }
        if self.own_program == Some(device_and_inode) {
            return Some("it is the program of the agent".into());
        }
        let is_it =
            |program: &&Program| program.file == Some(device_and_inode) || program.path == path;
        let program = self.programs.iter().find(is_it)?;
        Some(format!("it is the program {}", program.path.display()).into())
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn ancestors(pid: u32) -> HashSet<u32> {
    std::iter::successors(parent(pid), |pid| parent(*pid)).take(128).collect()
}

/// A line of `/proc/PID/status`.
pub(crate) fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn parent(pid: u32) -> Option<u32> {
    status_field(pid, "PPid")?.parse().ok().filter(|pid| *pid != 0)
}

/// The link to the program, at a thread that still has one: a thread that has ended has none, and the first may
/// end before the others.
fn executable_link(pid: u32) -> Option<PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.flatten().map(|thread| thread.path().join("exe")).find(|link| link.read_link().is_ok())
}

fn path_of(link: &Path) -> Option<PathBuf> {
    let path = fs::read_link(link).ok()?;
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => Some(path.into()),
        None => Some(path),
    }
}

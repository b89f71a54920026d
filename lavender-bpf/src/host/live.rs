//! This host, asked live.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::{BootTime, ByteString, Clock, ProcessId};
use nix::unistd::{Gid, Group, Uid, User};

#[cfg(feature = "load")]
use lavender_core::event::Unhashed;
use lavender_core::event::{Container, ExecutableHash, Process, Undescribed};

use super::container_files::Describer;
#[cfg(feature = "load")]
use super::counts::Counts;
use super::hash::{HashOptions, Hasher};
use super::{
    ContainerDescription, ContainerFiles, DescribeAnswer, ExecutableFile, FoundProcess, HashAnswer,
    HashCause, Host, procfs,
};

/// The most paths that are kept.
const CACHE_MAX: usize = 16_384;
/// How often the tree of control groups is searched at the most.
const TREE_INTERVAL: Duration = Duration::from_secs(1);
/// The most folders that one search of the tree looks at.
const TREE_MAX: usize = 10_000;

/// This host: the name service (`getpwuid_r`, `getgrgid_r`), the tree of control groups, `/proc`.
#[derive(Debug)]
pub struct LiveHost {
    clock: Arc<dyn Clock>,
    cgroup_mount: Option<PathBuf>,
    cgroups: HashMap<u64, Arc<str>>,
    tree_searched: Option<BootTime>,
    /// The control groups that are watched, by path below the mount; empty: all.
    watched_cgroups: Vec<PathBuf>,
    /// The users that are watched; empty: all.
    watched_uids: Vec<u32>,
    hasher: Option<Hasher>,
    describer: Option<Describer>,
}

impl LiveHost {
    /// Nothing asked yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            cgroup_mount: procfs::cgroup_mount().map(PathBuf::from),
            cgroups: HashMap::new(),
            tree_searched: None,
            watched_cgroups: Vec::new(),
            watched_uids: Vec::new(),
            hasher: None,
            describer: None,
        }
    }

    /// Hashes the files of programs, on a thread that ends with this.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn with_hashes(mut self, options: HashOptions) -> std::io::Result<Self> {
        self.hasher = Some(Hasher::start(options, Arc::clone(&self.clock))?);
        Ok(self)
    }

    /// Reads what runtimes write of their containers, on a thread that ends with this.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn with_container_files(mut self, files: ContainerFiles) -> std::io::Result<Self> {
        self.describer = Some(Describer::start(files, Arc::clone(&self.clock))?);
        Ok(self)
    }

    /// Tells arguments and working directories only of processes in these control groups (folders below the
    /// mount) and of these users: what the sensor is not to see, it is not to look up either.
    #[must_use]
    pub fn with_watched(mut self, cgroups: &[PathBuf], uids: &[u32]) -> Self {
        let mount = self.cgroup_mount.clone().unwrap_or_default();
        let real = |folder: &PathBuf| fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        self.watched_cgroups = cgroups
            .iter()
            .map(|folder| {
                below(&mount, &real(folder)).map_or_else(|| folder.clone(), |p| (&*p).into())
            })
            .collect();
        self.watched_uids = uids.to_vec();
        self
    }

    /// Whether execs are to wait for the hash of their program.
    #[cfg(feature = "load")]
    pub(crate) const fn set_execs_wait(&mut self, wait: bool) {
        if let Some(hasher) = &mut self.hasher {
            hasher.set_execs_wait(wait);
        }
    }

    /// Whether hashes of programs or descriptions of containers have come.
    #[cfg(feature = "load")]
    pub(crate) fn has_answers(&mut self) -> bool {
        self.hasher.as_mut().is_some_and(Hasher::has_arrived)
            || self.describer.as_mut().is_some_and(Describer::has_arrived)
    }

    /// How many files were not hashed.
    #[cfg(feature = "load")]
    pub(crate) fn unhashed(&self) -> Arc<Counts<Unhashed>> {
        self.hasher.as_ref().map(Hasher::counts).unwrap_or_default()
    }

    /// How many containers were not described.
    #[cfg(feature = "load")]
    pub(crate) fn undescribed(&self) -> Arc<Counts<Undescribed>> {
        self.describer.as_ref().map(Describer::counts).unwrap_or_default()
    }

    fn watches(&self, process: ProcessId) -> bool {
        let in_group = || {
            procfs::cgroup_path(process).is_some_and(|path| {
                self.watched_cgroups.iter().any(|watched| Path::new(&path).starts_with(watched))
            })
        };
        let of_user = || {
            fs::metadata(format!("/proc/{}", process.tgid()))
                .is_ok_and(|metadata| self.watched_uids.contains(&metadata.uid()))
        };
        (self.watched_cgroups.is_empty() || in_group())
            && (self.watched_uids.is_empty() || of_user())
    }

    /// The path that `/proc` gives, if the folder there has the number that the kernel gave.
    fn cgroup_of_process(&self, id: u64, process: ProcessId) -> Option<Arc<str>> {
        let path = procfs::cgroup_path(process)?;
        let folder = self.cgroup_mount.as_ref()?.join(path.trim_start_matches('/'));
        (fs::metadata(folder).ok()?.ino() == id).then(|| path.into())
    }

    /// Notes every control group of the tree, breadth first.
    fn search_tree(&mut self) {
        let Some(mount) = self.cgroup_mount.clone() else { return };
        let mut folders = VecDeque::from([mount.clone()]);
        let mut seen = 0;
        while let Some(folder) = folders.pop_front() {
            if let (Ok(metadata), Some(path)) = (fs::metadata(&folder), below(&mount, &folder)) {
                self.cgroups.insert(metadata.ino(), path);
            }
            seen += 1;
            if seen == TREE_MAX {
                return;
            }
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
    }
}

fn below(mount: &Path, folder: &Path) -> Option<Arc<str>> {
    Some(format!("/{}", folder.strip_prefix(mount).ok()?.to_str()?).into())
}

impl Host for LiveHost {
    fn user(&mut self, uid: u32) -> Option<Arc<str>> {
        User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name.into())
    }

    fn group(&mut self, gid: u32) -> Option<Arc<str>> {
        Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name.into())
    }

    fn cgroup(&mut self, id: u64, process: ProcessId) -> Option<Arc<str>> {
        if let Some(path) = self.cgroups.get(&id) {
            return Some(Arc::clone(path));
        }
        if self.cgroups.len() >= CACHE_MAX {
            self.cgroups.clear();
        }
        if let Some(path) = self.cgroup_of_process(id, process) {
            self.cgroups.insert(id, Arc::clone(&path));
            return Some(path);
        }
        let now = self.clock.boot_time();
        if self.tree_searched.is_none_or(|searched| now.since(searched) >= TREE_INTERVAL) {
            self.tree_searched = Some(now);
            self.search_tree();
        }
        self.cgroups.get(&id).cloned()
    }

    fn arguments(&mut self, process: ProcessId) -> Option<ByteString> {
        procfs::arguments(process)
    }

    fn process(&mut self, process: ProcessId) -> Option<FoundProcess> {
        let mut found = procfs::process(process)?;
        if !self.watches(process) {
            found.arguments = None;
            found.working_directory = None;
        }
        Some(found)
    }

    fn hash(&mut self, file: ExecutableFile, process: &Process, cause: HashCause) -> HashAnswer {
        match &mut self.hasher {
            Some(hasher) => hasher.ask(file, process, cause),
            None => HashAnswer::Off,
        }
    }

    fn take_hashes(&mut self) -> Vec<(ExecutableFile, ExecutableHash)> {
        self.hasher.as_mut().map(Hasher::take).unwrap_or_default()
    }

    fn describe(&mut self, container: &Container) -> DescribeAnswer {
        match &mut self.describer {
            Some(describer) => describer.ask(container),
            None => DescribeAnswer::Off,
        }
    }

    fn take_descriptions(&mut self) -> Vec<(Arc<str>, Result<ContainerDescription, Undescribed>)> {
        self.describer.as_mut().map(Describer::take).unwrap_or_default()
    }
}

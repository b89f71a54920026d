//! What the sensor asks the host beside the kernel's records: names of users, paths of control groups,
//! processes that it has no record of.
//!
//! Every answer goes into a capture, so that a replay gets the same ones.

mod container;
#[cfg(target_os = "linux")]
mod container_files;
#[cfg(target_os = "linux")]
mod counts;
mod description;
mod executable;
#[cfg(target_os = "linux")]
mod hash;
#[cfg(target_os = "linux")]
mod live;
#[cfg(target_os = "linux")]
mod procfs;
mod recorded;

use std::sync::Arc;

use lavender_core::event::{Container, ExecutableHash, Process, Undescribed, Unhashed};
use lavender_core::{ByteString, ExecId, ProcessId};
use serde::{Deserialize, Serialize};

pub use self::container::container;
#[cfg(target_os = "linux")]
pub use self::container_files::{ContainerFile, ContainerFiles};
#[cfg(all(feature = "load", target_os = "linux"))]
pub(crate) use self::counts::Counts;
pub(crate) use self::description::described;
pub use self::description::{ContainerDescription, DescribeAnswer};
pub use self::executable::{ExecutableFile, HashAnswer, HashCause};
#[cfg(target_os = "linux")]
pub use self::hash::HashOptions;
#[cfg(target_os = "linux")]
pub use self::live::LiveHost;
#[cfg(target_os = "linux")]
pub(crate) use self::procfs::{
    cgroup_mount, is_kernel_thread, is_stopped, process as found_process, processes, start_ticks,
    starts_at, ticks_of, ticks_to_ns,
};
pub(crate) use self::recorded::RecordedHost;
#[cfg(all(feature = "load", target_os = "linux"))]
pub(crate) use self::recorded::Recorder;

/// Answers about the host. Asked while events are assembled, so it must not wait for long.
pub trait Host: std::fmt::Debug + Send {
    /// The name of a user.
    fn user(&mut self, uid: u32) -> Option<Arc<str>>;

    /// The name of a group.
    fn group(&mut self, gid: u32) -> Option<Arc<str>>;

    /// The path of a v2 control group below its mount. `process` is one that lives in it, as a hint.
    fn cgroup(&mut self, id: u64, process: ProcessId) -> Option<Arc<str>>;

    /// The arguments of a running process, NUL-separated, if it is still the same one.
    fn arguments(&mut self, process: ProcessId) -> Option<ByteString>;

    /// A running process of which there is no record, if it is still the same one.
    fn process(&mut self, process: ProcessId) -> Option<FoundProcess>;

    /// Has the file of a process's program hashed, without waiting for it: what comes of it is taken by
    /// [`take_hashes`](Self::take_hashes).
    fn hash(&mut self, file: ExecutableFile, process: &Process, cause: HashCause) -> HashAnswer;

    /// Takes what has come of files that were to be hashed.
    fn take_hashes(&mut self) -> Vec<(ExecutableFile, ExecutableHash)>;

    /// Has what a container's runtime says of it read, without waiting for it: what comes of it is taken by
    /// [`take_descriptions`](Self::take_descriptions).
    fn describe(&mut self, container: &Container) -> DescribeAnswer;

    /// Takes what has come of containers that were to be described, by their ids.
    fn take_descriptions(&mut self) -> Vec<(Arc<str>, Result<ContainerDescription, Undescribed>)>;
}

/// A process as `/proc` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundProcess {
    /// Its short name.
    pub name: ByteString,
    /// The program's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<ByteString>,
    /// The arguments, NUL-separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<ByteString>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<ByteString>,
    /// The parent's pid.
    pub parent_pid: u32,
    /// Its pid in its own namespace.
    pub namespace_pid: u32,
}

/// An answer that the host gave, as a capture holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    User(u32, Option<Arc<str>>),
    Group(u32, Option<Arc<str>>),
    Cgroup(u64, Option<Arc<str>>),
    Arguments(ProcessId, Option<ByteString>),
    Process(ProcessId, Option<Box<FoundProcess>>),
    Hashing(ExecId, HashAnswer),
    Hash(ExecutableFile, ExecutableHash),
    Describing(Arc<str>, DescribeAnswer),
    Description(Arc<str>, Result<ContainerDescription, Undescribed>),
}

/// What an answer is about that holds beyond the batch in which it was given.
#[cfg(all(feature = "load", target_os = "linux"))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FactKey {
    User(u32),
    Group(u32),
    Cgroup(u64),
    Hash(ExecutableFile),
    Describing(Arc<str>),
    Description(Arc<str>),
}

#[cfg(all(feature = "load", target_os = "linux"))]
impl Fact {
    /// What it is about; `None` where it is of use in its own batch only.
    pub(crate) fn lasting_key(&self) -> Option<FactKey> {
        match self {
            Self::User(uid, _) => Some(FactKey::User(*uid)),
            Self::Group(gid, _) => Some(FactKey::Group(*gid)),
            Self::Cgroup(id, _) => Some(FactKey::Cgroup(*id)),
            Self::Hash(file, hash) if is_lasting(hash) => Some(FactKey::Hash(*file)),
            Self::Describing(id, _) => Some(FactKey::Describing(Arc::clone(id))),
            Self::Description(id, _) => Some(FactKey::Description(Arc::clone(id))),
            Self::Arguments(..) | Self::Process(..) | Self::Hashing(..) | Self::Hash(..) => None,
        }
    }
}

/// Whether it holds for the content, and not only for the one time that it was asked for.
pub(crate) const fn is_lasting(hash: &ExecutableHash) -> bool {
    matches!(
        hash,
        ExecutableHash::Sha256(_)
            | ExecutableHash::Missing(Unhashed::TooLarge | Unhashed::Unreadable)
    )
}

/// The boot that this host runs in.
///
/// # Errors
///
/// When the kernel does not tell.
#[cfg(target_os = "linux")]
pub fn boot_id() -> std::io::Result<lavender_core::BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().parse().map_err(std::io::Error::other)
}

/// A host that knows nothing: for records without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn user(&mut self, _uid: u32) -> Option<Arc<str>> {
        None
    }

    fn group(&mut self, _gid: u32) -> Option<Arc<str>> {
        None
    }

    fn cgroup(&mut self, _id: u64, _process: ProcessId) -> Option<Arc<str>> {
        None
    }

    fn arguments(&mut self, _process: ProcessId) -> Option<ByteString> {
        None
    }

    fn process(&mut self, _process: ProcessId) -> Option<FoundProcess> {
        None
    }

    fn hash(&mut self, _: ExecutableFile, _process: &Process, _: HashCause) -> HashAnswer {
        HashAnswer::Off
    }

    fn take_hashes(&mut self) -> Vec<(ExecutableFile, ExecutableHash)> {
        Vec::new()
    }

    fn describe(&mut self, _container: &Container) -> DescribeAnswer {
        DescribeAnswer::Off
    }

    fn take_descriptions(&mut self) -> Vec<(Arc<str>, Result<ContainerDescription, Undescribed>)> {
        Vec::new()
    }
}

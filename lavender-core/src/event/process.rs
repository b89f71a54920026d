//! Processes: who did it, and where that came from.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::container::Container;
use super::hash::ExecutableHash;
use crate::id::{ExecId, ProcessId};
use crate::text::{ByteString, Captured, ToWrite, Written};
use crate::time::Timestamp;

/// A process as it was at an event: its program, arguments, identity and descent.
///
/// Shared by every event of the process until something about it changes. The parent is the process
/// that made it (at the time of the fork), not whoever adopted it later.
///
/// The line of ancestors is bounded: see [`MAX_ANCESTORS`](Self::MAX_ANCESTORS).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The process, and which of its programs this is.
    pub exec_id: ExecId,
    /// The thread group's id in the initial pid namespace: what `kill` on the host takes.
    pub pid: u32,
    /// The thread group's id in the process's own pid namespace: what it sees itself.
    pub namespace_pid: u32,
    /// The kernel's short name of the task (`comm`): up to 15 bytes, chosen freely by the process.
    pub name: ByteString,
    /// The program.
    pub executable: Executable,
    /// The arguments, the program's own name first.
    pub arguments: Captured<Arguments>,
    /// The working directory.
    pub working_directory: Captured<ByteString>,
    /// Ids and capabilities.
    pub credentials: Credentials,
    /// The name of the real user id; `None` where no name is known for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The name of the real group id; `None` where no name is known for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    /// The controlling terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
    /// The id of the control group (v2 hierarchy).
    pub cgroup_id: u64,
    /// The container that it runs in, where its control group names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<Container>>,
    /// The namespaces that it lives in.
    pub namespaces: Namespaces,
    /// The process that its tree begins with, where whoever saw it knows: see [`tree_id`](Self::tree_id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<ProcessId>,
    /// The parent's id, known even where the parent itself is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<ExecId>,
    /// The parent as it was when it made this process. Not part of the serialised form of one process:
    /// a batch or an alert carries each process once and links them by `parent_id`.
    #[serde(skip)]
    pub parent: Option<Arc<Process>>,
}

impl Process {
    /// How many ancestors one process keeps at the most. Real process trees are ten to twenty deep; the
    /// bound is for those that fork and exit without end.
    pub const MAX_ANCESTORS: usize = 64;

    /// The id of the process itself.
    pub const fn id(&self) -> ProcessId {
        self.exec_id.process
    }

    /// The ancestors that are known, the parent first.
    pub fn ancestors(&self) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(self.parent.as_ref(), |process| process.parent.as_ref())
    }

    /// The parent to give to a child, with the line above it cut to half of
    /// [`MAX_ANCESTORS`](Self::MAX_ANCESTORS) once it has reached that length.
    ///
    /// Costs a walk over the line, and a copy of what is kept once every `MAX_ANCESTORS / 2`
    /// generations.
    pub fn as_parent(self: &Arc<Self>) -> Arc<Self> {
        if self.ancestors().nth(Self::MAX_ANCESTORS - 2).is_none() {
            return Self::clone_arc(self);
        }
        let kept: Vec<&Arc<Self>> =
            std::iter::once(self).chain(self.ancestors()).take(Self::MAX_ANCESTORS / 2).collect();
        let mut line: Option<Arc<Self>> = None;
        for process in kept.into_iter().rev() {
            line = Some(Arc::new(Self { parent: line.take(), ..(**process).clone() }));
        }
        line.unwrap_or_else(|| Self::clone_arc(self))
    }

    fn clone_arc(this: &Arc<Self>) -> Arc<Self> {
        Arc::clone(this)
    }
}

/// The program of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    /// The absolute path as the kernel resolved it. For a script this is the interpreter; see
    /// [`Exec::filename`].
    pub path: Captured<ByteString>,
    /// The file's inode number.
    pub inode: u64,
    /// The device that holds the file, as the kernel numbers it (`dev_t`).
    pub device: u32,
    /// Whether the file lives in memory only (`memfd_create`, or a file system without a disk that no
    /// path leads to).
    #[serde(default)]
    pub memory_backed: bool,
    /// Whether no name leads to the file any more.
    #[serde(default)]
    pub deleted: bool,
    /// When the file's content, owner, mode or names were changed last (`st_ctime`), by the host's clock: with device and
    /// inode, which content it is. `None` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// What is known of the file's content; `None` where the sensor does not hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<ExecutableHash>,
}

/// The arguments of a program: NUL-separated as the kernel keeps them, and joined by spaces as rules
/// see them, both made once when the program starts.
///
/// ```
/// use lavender_core::event::Arguments;
///
/// let arguments = Arguments::new(b"bash\0-c\0id; true\0");
/// assert_eq!(arguments.len(), 3);
/// assert_eq!(arguments.iter().nth(1), Some(&b"-c"[..]));
/// assert_eq!(arguments.command_line(), b"bash -c id; true");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Arguments {
    /// The raw form, without the last NUL, followed by the joined form of the same length.
    both: Bytes,
    /// Whether there is any argument: one empty argument and none look the same in `both`.
    present: bool,
}

impl Arguments {
    /// Takes arguments as the kernel lays them out: each ended by a NUL. A last one without a NUL is
    /// taken as it is. Copies twice: once as they are, once joined.
    pub fn new(raw: &[u8]) -> Self {
        let mut both = BytesMut::with_capacity(raw.len() * 2);
        let present = Self::write(raw, &mut both);
        Self { both: both.freeze(), present }
    }

    /// As [`new`](Self::new), in a buffer that the caller has, and shares from then on. It allocates only where the buffer
    /// has not room for twice the bytes. What stood in the buffer is let go of.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use lavender_core::event::Arguments;
    ///
    /// let mut buffer = BytesMut::with_capacity(64);
    /// let arguments = Arguments::new_in(b"id\0-u\0", &mut buffer);
    /// assert_eq!(arguments, Arguments::new(b"id\0-u\0"));
    /// drop(arguments);
    /// assert!(buffer.try_reclaim(64));
    /// ```
    pub fn new_in(raw: &[u8], buffer: &mut BytesMut) -> Self {
        buffer.clear();
        let present = Self::write(raw, buffer);
        Self { both: buffer.split().freeze(), present }
    }

    /// Writes both forms to an empty buffer. Whether there is any argument.
    fn write(raw: &[u8], buffer: &mut BytesMut) -> bool {
        let text = raw.strip_suffix(b"\0").unwrap_or(raw);
        buffer.put_slice(text);
        buffer.put_slice(text);
        buffer[text.len()..].iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        !raw.is_empty()
    }

    /// Takes arguments one by one.
    pub fn from_list<A: AsRef<[u8]>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut raw = Vec::new();
        for argument in arguments {
            raw.extend_from_slice(argument.as_ref());
            raw.push(0);
        }
        Self::new(&raw)
    }

    /// Each argument after the other, separated by NULs.
    pub fn raw(&self) -> &[u8] {
        &self.both[..self.both.len() / 2]
    }

    /// The arguments joined by one space each: Sigma's `CommandLine`. Computed when the program started;
    /// reading it costs nothing.
    pub fn command_line(&self) -> &[u8] {
        &self.both[self.both.len() / 2..]
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let raw = self.raw();
        raw.split(|byte| *byte == 0).skip(usize::from(!self.present))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.present
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|argument| argument.escape_ascii().to_string()))
            .finish()
    }
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(ToWrite))
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Arguments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of arguments")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Arguments, A::Error> {
                // Room for most command lines, so that it need not grow.
                let mut raw = Vec::with_capacity(256);
                while let Some(Written(argument)) = list.next_element()? {
                    raw.extend_from_slice(&argument);
                    raw.push(0);
                }
                Ok(Arguments::new(&raw))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// The ids that a process acts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Credentials {
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// The user who logged in (audit's `loginuid`), through whatever `su` and `sudo` came after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// The login session (audit's `sessionid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<u32>,
    /// The effective capabilities: bit N is capability number N.
    pub capabilities_effective: u64,
}

/// A controlling terminal, by device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terminal {
    /// The driver's major number: 136 to 143 for pseudo-terminals.
    pub major: u32,
    /// The minor number: for a pseudo-terminal, N of `/dev/pts/N`.
    pub minor: u32,
}

/// The namespaces of a process, by inode number as `/proc/PID/ns` shows them; 0 where not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Namespaces {
    /// Control groups.
    pub cgroup: u32,
    /// Mounts.
    pub mnt: u32,
    /// Network.
    pub net: u32,
    /// Process ids.
    pub pid: u32,
    /// Users.
    pub user: u32,
    /// Host name.
    pub uts: u32,
}

/// A process began to run a program. The event's process has that program already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The path as given to `execve`, not resolved: for a script the script, where
    /// [`Executable::path`] is its interpreter.
    pub filename: Captured<ByteString>,
    /// The program that the process ran before, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_executable: Option<ByteString>,
}

/// A process was made: a new thread group, not a thread. The event's process is the child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {}

/// A process ended: the last of its threads is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How.
    #[serde(flatten)]
    pub status: ExitStatus,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

impl ExitStatus {
    /// Reads the kernel's `task_struct.exit_code`.
    pub const fn from_kernel(exit_code: u32) -> Self {
        match exit_code & 0x7f {
            0 => Self::Code((exit_code >> 8) as u8),
            signal => Self::Signal(signal as u8),
        }
    }
}

//! The kinds of events, and which of them matter most when not all can be kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of an event: its name on the wire, in SQL and in rules.
///
/// ```
/// use lavender_core::event::EventKind;
///
/// assert_eq!(EventKind::FileOpen.as_str(), "file_open");
/// assert_eq!("file_open".parse(), Ok(EventKind::FileOpen));
/// assert_eq!("not_yet_invented".parse(), Ok(EventKind::Unknown));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
#[non_exhaustive]
pub enum EventKind {
    /// A process began to run a program.
    Exec,
    /// A process was made.
    Fork,
    /// A process ended.
    Exit,
    /// A file was opened.
    FileOpen,
    /// A name of a file was removed.
    FileDelete,
    /// A file was given another name.
    FileRename,
    /// A file was given a further name, or a symbolic link was made.
    FileLink,
    /// A file's mode or owner was set.
    FileMode,
    /// A socket was connected.
    NetConnect,
    /// A socket was given an address of this side.
    NetBind,
    /// A socket was made to wait for connections.
    NetListen,
    /// A connection was accepted.
    NetAccept,
    /// A message was sent to a peer that is new to the process.
    NetSend,
    /// A program could not be started.
    ExecFailed,
    /// A file was opened or removed, or a socket connected, through `io_uring`.
    IoUring,
    /// A process sent another a signal.
    Signal,
    /// A process took hold of another by `ptrace`, or changed it so.
    Ptrace,
    /// A process wrote another's memory.
    ProcessVmWrite,
    /// A file that lives in memory only was made.
    MemfdCreate,
    /// A kernel module was loaded.
    ModuleLoad,
    /// A process changed its ids or capabilities.
    CredChange,
    /// A BPF program or map was made, attached, pinned or taken hold of.
    Bpf,
    /// Something was mounted, moved or unmounted.
    Mount,
    /// A process went into other namespaces, or made one in new ones.
    NsChange,
    /// Memory was made executable that is, or was, writable.
    MemoryProtect,
    /// A name was looked up.
    DnsQuery,
    /// The agent lives.
    Heartbeat,
    /// Something was not seen, or not kept.
    Lost,
    /// The agent started.
    AgentStart,
    /// The agent stops.
    AgentStop,
    /// Something was done about an alert.
    Response,
    /// A kind that this version does not know.
    Unknown,
}

impl EventKind {
    /// Every kind that this version knows.
    pub const ALL: [Self; 31] = [
        Self::Exec,
        Self::Fork,
        Self::Exit,
        Self::FileOpen,
        Self::FileDelete,
        Self::FileRename,
        Self::FileLink,
        Self::FileMode,
        Self::NetConnect,
        Self::NetBind,
        Self::NetListen,
        Self::NetAccept,
        Self::NetSend,
        Self::ExecFailed,
        Self::IoUring,
        Self::Signal,
        Self::Ptrace,
        Self::ProcessVmWrite,
        Self::MemfdCreate,
        Self::ModuleLoad,
        Self::CredChange,
        Self::Bpf,
        Self::Mount,
        Self::NsChange,
        Self::MemoryProtect,
        Self::DnsQuery,
        Self::Heartbeat,
        Self::Lost,
        Self::AgentStart,
        Self::AgentStop,
        Self::Response,
    ];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::FileOpen => "file_open",
            Self::FileDelete => "file_delete",
            Self::FileRename => "file_rename",
            Self::FileLink => "file_link",
            Self::FileMode => "file_mode",
            Self::NetConnect => "net_connect",
            Self::NetBind => "net_bind",
            Self::NetListen => "net_listen",
            Self::NetAccept => "net_accept",
            Self::NetSend => "net_send",
            Self::ExecFailed => "exec_failed",
            Self::IoUring => "io_uring",
            Self::Signal => "signal",
            Self::Ptrace => "ptrace",
            Self::ProcessVmWrite => "process_vm_write",
            Self::MemfdCreate => "memfd_create",
            Self::ModuleLoad => "module_load",
            Self::CredChange => "cred_change",
            Self::Bpf => "bpf",
            Self::Mount => "mount",
            Self::NsChange => "ns_change",
            Self::MemoryProtect => "memory_protect",
            Self::DnsQuery => "dns_query",
            Self::Heartbeat => "heartbeat",
            Self::Lost => "lost",
            Self::AgentStart => "agent_start",
            Self::AgentStop => "agent_stop",
            Self::Response => "response",
            Self::Unknown => "unknown",
        }
    }

    /// How much an event of this kind matters when not all can be kept.
    pub const fn priority(self) -> Priority {
        match self {
            Self::FileOpen
            | Self::FileDelete
            | Self::FileRename
            | Self::FileLink
            | Self::FileMode
            | Self::IoUring => Priority::File,
            Self::NetConnect
            | Self::NetBind
            | Self::NetListen
            | Self::NetAccept
            | Self::NetSend
            | Self::ExecFailed
            | Self::DnsQuery
            | Self::Signal
            | Self::Ptrace
            | Self::ProcessVmWrite
            | Self::MemfdCreate
            | Self::ModuleLoad
            | Self::CredChange
            | Self::Bpf
            | Self::Mount
            | Self::NsChange
            | Self::MemoryProtect => Priority::Network,
            _ => Priority::Process,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<EventKind> for &'static str {
    fn from(kind: EventKind) -> Self {
        kind.as_str()
    }
}

impl From<String> for EventKind {
    fn from(name: String) -> Self {
        Self::from_name(&name)
    }
}

impl EventKind {
    fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Unknown)
    }
}

impl FromStr for EventKind {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_name(name))
    }
}

/// What is shed first when not all can be kept: the lowest. Each has a ring of its own in the kernel, so
/// that a flood of one never evicts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Files: the bulk.
    File,
    /// Network, failed execs, credentials, and what programs do to others and to memory, as fast as they like.
    Network,
    /// Process life, and what the agent says of itself.
    Process,
}

impl Priority {
    /// From the lowest to the highest.
    pub const ALL: [Self; 3] = [Self::File, Self::Network, Self::Process];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Network => "network",
            Self::Process => "process",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

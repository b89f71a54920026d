//! Events: what was observed, typed and immutable.

mod agent;
mod bpf;
mod canary;
mod change;
mod container;
mod credentials;
mod dns;
mod exec_failed;
mod file;
mod hash;
mod io_uring;
mod kind;
mod loss;
mod memory;
mod mount;
mod namespace;
mod network;
mod process;
mod socket;
mod tamper;
mod target;
mod tree;

use std::sync::Arc;

use bytes::Bytes;

pub use self::agent::{
    AgentStart, AgentStop, Heartbeat, RulesetHealth, RulesetInUse, SpoolHealth, StopReason,
};
pub use self::bpf::{Bpf, BpfCommand, BpfMapType, BpfProgramType};
pub use self::canary::{CanaryHealth, CanaryMissing};
pub use self::change::{FileDelete, FileLink, FileMode, FileRename};
pub use self::container::{Container, Pod, QosClass, Undescribed};
pub use self::credentials::{CredCall, CredChange};
pub use self::dns::{DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode};
pub use self::exec_failed::ExecFailed;
pub use self::file::{FileAccess, FileOpen, OpenFlags, SyscallResult};
pub use self::hash::{ExecutableHash, Sha256Digest, Sha256Error, Unhashed};
pub use self::io_uring::{IoUring, IoUringOperation};
pub use self::kind::{EventKind, Priority};
pub use self::loss::{Loss, LossStage};
pub use self::memory::{MemoryCall, MemoryProtect, MemoryProtection};
pub use self::mount::{Mount, MountCall};
pub use self::namespace::{NamespaceTypes, NsCall, NsChange};
pub use self::network::{NetConnect, NetworkTransport};
pub use self::process::{
    Arguments, Credentials, Exec, Executable, Exit, ExitStatus, Fork, Namespaces, Process, Terminal,
};
pub use self::socket::{NetAccept, NetBind, NetListen, NetSend};
pub use self::tamper::{MemfdCreate, ModuleLoad, ProcessVmWrite, Ptrace, PtraceRequest};
pub use self::target::{ProcessTarget, Signal, SignalOutcome};
use crate::id::EventId;
use crate::response::ResponseOutcome;
use crate::time::{BootTime, Timestamp};

/// One observation.
///
/// Shared as `Arc<Event>`; the process that it is about is itself shared by all its events, so that an
/// event says who did it without any state at the reader's.
///
/// ```
/// use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage};
/// use lavender_core::{AgentId, BootId, BootTime, Origin, Sequencer, TenantId, Timestamp};
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let ids = Sequencer::new(Origin::new(
///     &TenantId::new("acme")?,
///     &AgentId::new("web-1")?,
///     BootId::from_u128(7),
/// ));
/// let event = Event {
///     id: ids.next(),
///     observed_at: Timestamp::from_millis(1_700_000_000_000),
///     boot_time: BootTime::from_nanos(5),
///     tid: 0,
///     process: None,
///     data: EventData::Lost(Loss::new(LossStage::KernelRing, EventKind::FileOpen, 12)),
/// };
/// assert_eq!(event.kind(), EventKind::Lost);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Agent, boot and sequence.
    pub id: EventId,
    /// When it happened, by the kernel's clock, as wall time. Derived once per batch.
    pub observed_at: Timestamp,
    /// When it happened on the host's boot clock: what orders a host's events.
    pub boot_time: BootTime,
    /// The thread that did it, in the initial pid namespace; 0 where there is none.
    pub tid: u32,
    /// The process that it is about: for [`Fork`] the child, for [`Exec`] the process with its new
    /// program, otherwise the one that acted. `None` where it is about no process or that is not known.
    pub process: Option<Arc<Process>>,
    /// What happened.
    pub data: EventData,
}

impl Event {
    /// Which kind of event this is.
    pub const fn kind(&self) -> EventKind {
        self.data.kind()
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventData {
    /// A process began to run a program.
    Exec(Exec),
    /// A process was made.
    Fork(Fork),
    /// A process ended: its last thread is gone.
    Exit(Exit),
    /// A file was opened, or could not be.
    FileOpen(FileOpen),
    /// A name of a file was removed, or could not be.
    FileDelete(FileDelete),
    /// A file was given another name, or could not be.
    FileRename(FileRename),
    /// A file was given a further name, or a symbolic link was made, or could not be.
    FileLink(FileLink),
    /// A file's mode or owner was set, or could not be.
    FileMode(FileMode),
    /// A socket was connected to a peer, or could not be.
    NetConnect(NetConnect),
    /// A socket was given an address of this side, or could not be.
    NetBind(NetBind),
    /// A socket was made to wait for connections, or could not be.
    NetListen(NetListen),
    /// A connection was accepted.
    NetAccept(NetAccept),
    /// A message was sent to a peer that is new to the process, or could not be.
    NetSend(NetSend),
    /// A program could not be started.
    ExecFailed(ExecFailed),
    /// A file was opened or removed, or a socket connected, through `io_uring`.
    IoUring(IoUring),
    /// A process sent another a signal.
    Signal(Signal),
    /// A process took hold of another by `ptrace`, or changed it so, or could not.
    Ptrace(Ptrace),
    /// A process wrote another's memory, or could not.
    ProcessVmWrite(ProcessVmWrite),
    /// A file that lives in memory only was made, or could not be.
    MemfdCreate(MemfdCreate),
    /// A kernel module was loaded, or could not be.
    ModuleLoad(ModuleLoad),
    /// A process changed its ids or capabilities, or could not.
    CredChange(CredChange),
    /// A BPF program or map was made, attached, pinned or taken hold of, or could not be.
    Bpf(Bpf),
    /// Something was mounted, moved or unmounted, or could not be.
    Mount(Mount),
    /// A process went into other namespaces, or made one in new ones, or could not.
    NsChange(NsChange),
    /// Memory was made executable that is, or was, writable, or could not be.
    MemoryProtect(MemoryProtect),
    /// A name was looked up.
    DnsQuery(DnsQuery),
    /// The agent lives.
    Heartbeat(Box<Heartbeat>),
    /// Something was not seen, or not kept.
    Lost(Loss),
    /// The agent started.
    AgentStart(AgentStart),
    /// The agent stops.
    AgentStop(AgentStop),
    /// Something was done about an alert, or would have been.
    Response(ResponseOutcome),
    /// An event of a kind that this version does not know; kept and passed on as it came.
    Unknown {
        /// The name of its kind.
        kind: Arc<str>,
        /// Its data, as JSON text.
        body: Bytes,
    },
}

impl EventData {
    /// Which kind of event this is the data of.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Exec(_) => EventKind::Exec,
            Self::Fork(_) => EventKind::Fork,
            Self::Exit(_) => EventKind::Exit,
            Self::FileOpen(_) => EventKind::FileOpen,
            Self::FileDelete(_) => EventKind::FileDelete,
            Self::FileRename(_) => EventKind::FileRename,
            Self::FileLink(_) => EventKind::FileLink,
            Self::FileMode(_) => EventKind::FileMode,
            Self::NetConnect(_) => EventKind::NetConnect,
            Self::NetBind(_) => EventKind::NetBind,
            Self::NetListen(_) => EventKind::NetListen,
            Self::NetAccept(_) => EventKind::NetAccept,
            Self::NetSend(_) => EventKind::NetSend,
            Self::ExecFailed(_) => EventKind::ExecFailed,
            Self::IoUring(_) => EventKind::IoUring,
            Self::Signal(_) => EventKind::Signal,
            Self::Ptrace(_) => EventKind::Ptrace,
            Self::ProcessVmWrite(_) => EventKind::ProcessVmWrite,
            Self::MemfdCreate(_) => EventKind::MemfdCreate,
            Self::ModuleLoad(_) => EventKind::ModuleLoad,
            Self::CredChange(_) => EventKind::CredChange,
            Self::Bpf(_) => EventKind::Bpf,
            Self::Mount(_) => EventKind::Mount,
            Self::NsChange(_) => EventKind::NsChange,
            Self::MemoryProtect(_) => EventKind::MemoryProtect,
            Self::DnsQuery(_) => EventKind::DnsQuery,
            Self::Heartbeat(_) => EventKind::Heartbeat,
            Self::Lost(_) => EventKind::Lost,
            Self::AgentStart(_) => EventKind::AgentStart,
            Self::AgentStop(_) => EventKind::AgentStop,
            Self::Response(_) => EventKind::Response,
            Self::Unknown { .. } => EventKind::Unknown,
        }
    }
}

/// Events in the order in which they happened, and what was lost beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventBatch {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// What the source could not deliver since the last batch. The pipeline turns each into a
    /// [`Lost`](EventData::Lost) event.
    pub lost: Vec<Loss>,
}

impl EventBatch {
    /// Whether there is neither an event nor a loss in it.
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost.is_empty()
    }
}

//! Which of Lavender's events are of which log source.

use lavender_core::event::{Event, EventData, EventKind};

use super::field::EventField;
use crate::logsource::LogSource;

/// Under which log source an event is evaluated. One event may have several: a file opened for reading and writing
/// is both a `file_access` and a `file_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// `exec`: a program began to run.
    ProcessCreation,
    /// `exit`.
    ProcessTermination,
    /// `file_open` that succeeded and may change the file's content, or make the file.
    FileEvent,
    /// `file_open` for reading, whether it succeeded or not (see the field `Result`).
    FileAccess,
    /// `file_delete`, whether it succeeded or not.
    FileDelete,
    /// `file_rename`, whether it succeeded or not.
    FileRename,
    /// `file_link`, whether it succeeded or not.
    FileLink,
    /// `file_mode`, whether it succeeded or not.
    FileMode,
    /// `net_connect`.
    NetworkConnection,
    /// `net_bind`, whether it succeeded or not.
    NetBind,
    /// `net_listen`, whether it succeeded or not.
    NetListen,
    /// `net_accept`.
    NetAccept,
    /// `net_send`, whether it succeeded or not.
    NetSend,
    /// `exec_failed`.
    ExecFailed,
    /// `io_uring`.
    IoUring,
    /// `signal`.
    Signal,
    /// `ptrace`, whether it succeeded or not.
    Ptrace,
    /// `process_vm_write`, whether it succeeded or not.
    ProcessVmWrite,
    /// `memfd_create`, whether it succeeded or not.
    MemfdCreate,
    /// `module_load`, whether it succeeded or not.
    ModuleLoad,
    /// `cred_change`, whether it succeeded or not.
    CredChange,
    /// `bpf`, whether it succeeded or not.
    Bpf,
    /// `mount`, whether it succeeded or not.
    Mount,
    /// `ns_change`, whether it succeeded or not.
    NsChange,
    /// `memory_protect`, whether it succeeded or not.
    MemoryProtect,
    /// `dns_query`.
    DnsQuery,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 26] = [
        Self::ProcessCreation,
        Self::ProcessTermination,
        Self::FileEvent,
        Self::FileAccess,
        Self::FileDelete,
        Self::FileRename,
        Self::FileLink,
        Self::FileMode,
        Self::NetworkConnection,
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
    ];

    /// Sigma's category.
    pub const fn category(self) -> &'static str {
        match self {
            Self::ProcessCreation => "process_creation",
            Self::ProcessTermination => "process_termination",
            Self::FileEvent => "file_event",
            Self::FileAccess => "file_access",
            Self::FileDelete => "file_delete",
            Self::FileRename => "file_rename",
            Self::FileLink => "file_link",
            Self::FileMode => "file_mode",
            Self::NetworkConnection => "network_connection",
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
        }
    }

    /// Which events are of it.
    pub const fn description(self) -> &'static str {
        match self {
            Self::ProcessCreation => "A program began to run.",
            Self::ProcessTermination => "A process ended.",
            Self::FileEvent => {
                "A file was opened so that its content may change, or was made. Opens that failed are none of these."
            }
            Self::FileAccess => {
                "A file was opened for reading, or could not be: see `Result`. One opened for both is of both."
            }
            Self::FileDelete => {
                "A name of a file or of a directory was removed, or could not be: see `Result`."
            }
            Self::FileRename => "A file was given another name, or could not be: see `Result`.",
            Self::FileLink => {
                "A file was given a further name, or a symbolic link was made, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::FileMode => {
                "The mode or owner of a file was set, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::NetworkConnection => "A socket was connected, or could not be: see `Result`.",
            Self::NetBind => {
                "A socket was given an address of this side, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::NetListen => {
                "A socket was made to wait for connections, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::NetAccept => "A connection was accepted. The category is Lavender's own.",
            Self::NetSend => {
                "A message was sent without a connection to a peer that is new to the process, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::ExecFailed => {
                "A program could not be started: see `Result`. `Image` is the program that tried. The category is Lavender's own."
            }
            Self::IoUring => {
                "A file was opened or removed, or a socket connected, through io_uring, and so by no event of those kinds: see `Operation`. Whether it succeeded is not known. The category is Lavender's own."
            }
            Self::Signal => "A process sent another a signal. The category is Lavender's own.",
            Self::Ptrace => {
                "A process took hold of another by `ptrace`, or changed it so, or could not: see `Result`. The category is Lavender's own."
            }
            Self::ProcessVmWrite => {
                "A process wrote another's memory, or could not: see `Result`. The category is Lavender's own."
            }
            Self::MemfdCreate => {
                "A file that lives in memory only was made, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::ModuleLoad => {
                "A kernel module was loaded, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::CredChange => {
                "A process changed its ids or capabilities, or could not: see `Result`. The category is Lavender's own."
            }
            Self::Bpf => {
                "A BPF program or map was made, attached, pinned or taken hold of, or could not be: see `Result`. What is done with the contents of maps is none of these. The category is Lavender's own."
            }
            Self::Mount => {
                "Something was mounted, moved or unmounted, or could not be: see `Result`. The category is Lavender's own."
            }
            Self::NsChange => {
                "A process went into other namespaces, or made a process in new ones, or could not: see `Result`. The category is Lavender's own."
            }
            Self::MemoryProtect => {
                "A process made memory writable and executable, or executable when it may have been written before, or could not: see `Result`. The category is Lavender's own."
            }
            Self::DnsQuery => "A name was looked up.",
        }
    }

    /// The log source: the category, of Linux.
    pub fn logsource(self) -> LogSource {
        LogSource::linux(self.category())
    }

    /// The routes of an event.
    pub fn of(event: &Event) -> impl Iterator<Item = Self> {
        let routes = match &event.data {
            EventData::Exec(_) => [Some(Self::ProcessCreation), None],
            EventData::Exit(_) => [Some(Self::ProcessTermination), None],
            EventData::FileDelete(_) => [Some(Self::FileDelete), None],
            EventData::FileRename(_) => [Some(Self::FileRename), None],
            EventData::FileLink(_) => [Some(Self::FileLink), None],
            EventData::FileMode(_) => [Some(Self::FileMode), None],
            EventData::NetConnect(_) => [Some(Self::NetworkConnection), None],
            EventData::NetBind(_) => [Some(Self::NetBind), None],
            EventData::NetListen(_) => [Some(Self::NetListen), None],
            EventData::NetAccept(_) => [Some(Self::NetAccept), None],
            EventData::NetSend(_) => [Some(Self::NetSend), None],
            EventData::ExecFailed(_) => [Some(Self::ExecFailed), None],
            EventData::IoUring(_) => [Some(Self::IoUring), None],
            EventData::Signal(_) => [Some(Self::Signal), None],
            EventData::Ptrace(_) => [Some(Self::Ptrace), None],
            EventData::ProcessVmWrite(_) => [Some(Self::ProcessVmWrite), None],
            EventData::MemfdCreate(_) => [Some(Self::MemfdCreate), None],
            EventData::ModuleLoad(_) => [Some(Self::ModuleLoad), None],
            EventData::CredChange(_) => [Some(Self::CredChange), None],
            EventData::Bpf(_) => [Some(Self::Bpf), None],
            EventData::Mount(_) => [Some(Self::Mount), None],
            EventData::NsChange(_) => [Some(Self::NsChange), None],
            EventData::MemoryProtect(_) => [Some(Self::MemoryProtect), None],
            EventData::DnsQuery(_) => [Some(Self::DnsQuery), None],
            EventData::FileOpen(open) => {
                let changes = open.flags.writes() || open.flags.may_create();
                [
                    (changes && open.result.is_ok()).then_some(Self::FileEvent),
                    open.flags.reads().then_some(Self::FileAccess),
                ]
            }
            _ => [None, None],
        };
        routes.into_iter().flatten()
    }

    /// The kind of its events.
    pub const fn kind(self) -> EventKind {
        match self {
            Self::ProcessCreation => EventKind::Exec,
            Self::ProcessTermination => EventKind::Exit,
            Self::FileEvent | Self::FileAccess => EventKind::FileOpen,
            Self::FileDelete => EventKind::FileDelete,
            Self::FileRename => EventKind::FileRename,
            Self::FileLink => EventKind::FileLink,
            Self::FileMode => EventKind::FileMode,
            Self::NetworkConnection => EventKind::NetConnect,
            Self::NetBind => EventKind::NetBind,
            Self::NetListen => EventKind::NetListen,
            Self::NetAccept => EventKind::NetAccept,
            Self::NetSend => EventKind::NetSend,
            Self::ExecFailed => EventKind::ExecFailed,
            Self::IoUring => EventKind::IoUring,
            Self::Signal => EventKind::Signal,
            Self::Ptrace => EventKind::Ptrace,
            Self::ProcessVmWrite => EventKind::ProcessVmWrite,
            Self::MemfdCreate => EventKind::MemfdCreate,
            Self::ModuleLoad => EventKind::ModuleLoad,
            Self::CredChange => EventKind::CredChange,
            Self::Bpf => EventKind::Bpf,
            Self::Mount => EventKind::Mount,
            Self::NsChange => EventKind::NsChange,
            Self::MemoryProtect => EventKind::MemoryProtect,
            Self::DnsQuery => EventKind::DnsQuery,
        }
    }

    /// The fields that its events can have.
    pub fn fields(self) -> impl Iterator<Item = EventField> {
        EventField::ALL.iter().copied().filter(move |field| self.carries(*field))
    }

    const fn is_of_files(self) -> bool {
        matches!(
            self,
            Self::FileEvent
                | Self::FileAccess
                | Self::FileDelete
                | Self::FileRename
                | Self::FileLink
                | Self::FileMode
        )
    }

    const fn is_tampering(self) -> bool {
        matches!(self, Self::Ptrace | Self::ProcessVmWrite | Self::MemfdCreate | Self::ModuleLoad)
    }

    const fn is_of_kernel(self) -> bool {
        matches!(self, Self::Bpf | Self::Mount | Self::NsChange | Self::MemoryProtect)
    }

    /// Whether its events can have a field.
    pub(crate) const fn carries(self, field: EventField) -> bool {
        use EventField as F;
        match field {
            F::ScriptPath | F::PreviousImage => matches!(self, Self::ProcessCreation),
            F::ExitCode | F::ExitSignal => matches!(self, Self::ProcessTermination),
            F::Access | F::OpenFlags => {
                matches!(self, Self::FileEvent | Self::FileAccess | Self::IoUring)
            }
            F::Operation => matches!(self, Self::IoUring),
            F::TargetFilename => {
                self.is_of_files() || matches!(self, Self::ExecFailed | Self::IoUring)
            }
            F::TargetCommandLine => matches!(self, Self::ExecFailed),
            F::Result => {
                self.is_of_files()
                    || self.is_tampering()
                    || self.is_of_kernel()
                    || matches!(
                        self,
                        Self::NetworkConnection
                            | Self::CredChange
                            | Self::NetBind
                            | Self::NetListen
                            | Self::NetSend
                            | Self::ExecFailed
                    )
            }
            F::SourceFilename => matches!(self, Self::FileRename | Self::FileLink),
            F::SignalNumber | F::SignalOutcome => matches!(self, Self::Signal),
            F::TargetImage | F::TargetProcessId | F::TargetProcessGuid => {
                matches!(self, Self::Signal | Self::Ptrace | Self::ProcessVmWrite)
            }
            F::CredCall
            | F::RequestedRealId
            | F::RequestedEffectiveId
            | F::RequestedSavedId
            | F::RequestedFilesystemId
            | F::PreviousUserId
            | F::PreviousEffectiveUserId => matches!(self, Self::CredChange),
            F::PtraceRequest => matches!(self, Self::Ptrace),
            F::BpfCommand
            | F::BpfProgramType
            | F::BpfMapType
            | F::BpfName
            | F::BpfId
            | F::BpfPath => matches!(self, Self::Bpf),
            F::MountCall | F::MountSource | F::MountTarget | F::FilesystemType | F::MountFlags => {
                matches!(self, Self::Mount)
            }
            F::NamespaceCall | F::NamespaceTypes => matches!(self, Self::NsChange),
            F::MemoryCall | F::MemoryProtection | F::MemoryLength | F::MemoryPath => {
                matches!(self, Self::MemoryProtect)
            }
            F::MemfdName | F::MemfdSecret => matches!(self, Self::MemfdCreate),
            F::ModulePath | F::ModuleParameters => matches!(self, Self::ModuleLoad),
            F::IsDirectory => matches!(self, Self::FileDelete),
            F::IsSymbolicLink => matches!(self, Self::FileLink),
            F::FileMode | F::OwnerId | F::OwnerGroupId => matches!(self, Self::FileMode),
            F::Protocol => matches!(
                self,
                Self::NetworkConnection
                    | Self::NetBind
                    | Self::NetListen
                    | Self::NetAccept
                    | Self::NetSend
                    | Self::DnsQuery
                    | Self::IoUring
            ),
            F::SourceIp | F::SourcePort => matches!(
                self,
                Self::NetworkConnection
                    | Self::NetBind
                    | Self::NetListen
                    | Self::NetAccept
                    | Self::NetSend
            ),
            F::Initiated => {
                matches!(self, Self::NetworkConnection | Self::NetAccept | Self::NetSend)
            }
            F::DestinationIp | F::DestinationPort | F::DestinationIsIpv6 => matches!(
                self,
                Self::NetworkConnection
                    | Self::NetAccept
                    | Self::NetSend
                    | Self::DnsQuery
                    | Self::IoUring
            ),
            F::Backlog => matches!(self, Self::NetListen),
            F::QueryName | F::QueryType | F::QueryStatus | F::QueryResults => {
                matches!(self, Self::DnsQuery)
            }
            // What no event carries yet.
            F::DestinationHostname => false,
            _ => true,
        }
    }
}

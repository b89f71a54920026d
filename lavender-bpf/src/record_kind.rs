//! Which events records become.

use lavender_core::event::EventKind;

use crate::record::kind;

/// The kind of the events that such records become; `None` for those that become none by themselves.
pub(crate) const fn event_of(record: u16) -> Option<EventKind> {
    Some(match record {
        kind::EXEC => EventKind::Exec,
        kind::FORK => EventKind::Fork,
        kind::EXIT => EventKind::Exit,
        kind::OPEN => EventKind::FileOpen,
        kind::DELETE => EventKind::FileDelete,
        kind::RENAME => EventKind::FileRename,
        kind::LINK => EventKind::FileLink,
        kind::MODE => EventKind::FileMode,
        kind::SIGNAL => EventKind::Signal,
        kind::PTRACE => EventKind::Ptrace,
        kind::VM_WRITE => EventKind::ProcessVmWrite,
        kind::MEMFD | kind::SECRET => EventKind::MemfdCreate,
        kind::MODULE => EventKind::ModuleLoad,
        kind::CREDENTIALS => EventKind::CredChange,
        kind::BPF => EventKind::Bpf,
        kind::MOUNT => EventKind::Mount,
        kind::NAMESPACE => EventKind::NsChange,
        kind::MEMORY => EventKind::MemoryProtect,
        kind::CONNECT => EventKind::NetConnect,
        kind::BIND => EventKind::NetBind,
        kind::LISTEN => EventKind::NetListen,
        kind::ACCEPT => EventKind::NetAccept,
        kind::SEND => EventKind::NetSend,
        kind::DNS => EventKind::DnsQuery,
        kind::IO_URING => EventKind::IoUring,
        kind::EXEC_FAILED => EventKind::ExecFailed,
        kind::ARGUMENTS | kind::TASK => return None,
        _ => EventKind::Unknown,
    })
}

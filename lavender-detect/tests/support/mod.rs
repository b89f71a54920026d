//! Lavender events made by hand.

#![allow(dead_code, reason = "every test that includes this uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;

use lavender_core::event::{
    Arguments, Credentials, Event, EventData, Exec, Executable, FileOpen, Namespaces, NetConnect,
    NetworkTransport, OpenFlags, Process, SyscallResult,
};
use lavender_core::{
    AgentId, BootId, BootTime, Captured, ExecId, Origin, ProcessId, Provenance, Sequencer,
    TenantId, Timestamp,
};

const BOOT: BootId = BootId::from_u128(7);

/// A process of this program, with these arguments.
pub(crate) fn process(image: &str, arguments: &[&str], parent: Option<Arc<Process>>) -> Process {
    let name = image.rsplit('/').next().unwrap();
    let depth = parent.as_ref().map_or(0, |parent| parent.ancestors().count() as u32 + 1);
    Process {
        exec_id: ExecId {
            process: ProcessId::new(BOOT, u64::from(depth) * 1_000, 100 + depth),
            generation: 1,
        },
        pid: 100 + depth,
        namespace_pid: 100 + depth,
        name: name.into(),
        executable: Executable { path: Captured::complete(image.into()), ..Executable::default() },
        arguments: Captured::complete(Arguments::from_list(arguments)),
        working_directory: Captured::complete("/root".into()),
        credentials: Credentials { login_uid: Some(1000), ..Credentials::default() },
        user: Some("root".into()),
        group: Some("root".into()),
        terminal: None,
        cgroup_id: 1,
        container: None,
        namespaces: Namespaces::default(),
        tree: None,
        parent_id: parent.as_ref().map(|parent| parent.exec_id),
        parent,
    }
}

/// An event of this process.
pub(crate) fn event(process: Process, data: EventData) -> Arc<Event> {
    let origin =
        Origin::new(&TenantId::new("acme").unwrap(), &AgentId::new("web-1").unwrap(), BOOT);
    Arc::new(Event {
        id: Sequencer::new(origin).next(),
        observed_at: Timestamp::from_millis(1_767_225_599_123),
        boot_time: BootTime::from_nanos(1),
        tid: process.pid,
        process: Some(Arc::new(process)),
        data,
    })
}

/// The process began to run its program.
pub(crate) fn exec(process: Process) -> Arc<Event> {
    let filename = process.executable.path.clone();
    event(process, EventData::Exec(Exec { filename, previous_executable: None }))
}

/// The process opened a file.
pub(crate) fn open(process: Process, path: &str, flags: u32, result: i64) -> Arc<Event> {
    event(
        process,
        EventData::FileOpen(FileOpen {
            path: Captured::complete(path.into()),
            flags: OpenFlags(flags),
            mode: 0,
            result: SyscallResult(result),
            inode: 1,
            device: 1,
        }),
    )
}

/// The process connected.
pub(crate) fn connect(process: Process, destination: SocketAddr, result: i64) -> Arc<Event> {
    event(
        process,
        EventData::NetConnect(NetConnect {
            transport: NetworkTransport::Tcp,
            source: None,
            destination,
            result: SyscallResult(result),
        }),
    )
}

/// The same process with its arguments cut after so many bytes.
pub(crate) fn truncated(mut process: Process, kept: usize) -> Process {
    let raw = process.arguments.value.raw();
    let provenance = Provenance::Truncated { true_length: raw.len() as u32 };
    process.arguments = Captured::new(Arguments::new(&raw[..kept]), provenance);
    process
}

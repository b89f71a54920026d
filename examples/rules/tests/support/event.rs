//! Lines as `lavender-agent --events` prints them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::sync::Arc;

use lavender_core::event::{
    Arguments, Credentials, Event, EventData, Exec, Executable, ExitStatus, Namespaces, Process,
};
use lavender_core::{
    AgentId, BootId, BootTime, ByteString, Captured, ExecId, Origin, ProcessId, Provenance,
    Sequencer, TenantId, Timestamp, codec,
};

fn process(arguments: &[u8], provenance: Provenance) -> Process {
    let boot = BootId::from_u128(7);
    Process {
        exec_id: ExecId { process: ProcessId::new(boot, 5_000, 42), generation: 1 },
        executable: Executable {
            path: Captured::complete(ByteString::from("/usr/bin/nc")),
            ..Executable::default()
        },
        arguments: Captured::new(Arguments::new(arguments), provenance),
        pid: 42,
        namespace_pid: 42,
        name: ByteString::from("nc"),
        working_directory: Captured::complete(ByteString::from("/")),
        credentials: Credentials::default(),
        user: None,
        group: None,
        terminal: None,
        cgroup_id: 1,
        container: None,
        namespaces: Namespaces::default(),
        tree: None,
        parent_id: None,
        parent: None,
    }
}

fn line(process: Process, data: EventData) -> String {
    let (tenant, agent) = (TenantId::new("acme").unwrap(), AgentId::new("web-1").unwrap());
    let ids = Sequencer::new(Origin::new(&tenant, &agent, BootId::from_u128(7)));
    let event = Event {
        id: ids.next(),
        observed_at: Timestamp::from_millis(1_700_000_000_000),
        boot_time: BootTime::from_nanos(5_000),
        tid: 42,
        process: Some(Arc::new(process)),
        data,
    };
    codec::event_to_json(&event).unwrap()
}

fn exec_data() -> EventData {
    EventData::Exec(Exec {
        filename: Captured::complete(ByteString::from("nc")),
        previous_executable: None,
    })
}

/// A program begins to run.
pub fn exec() -> String {
    line(process(b"nc\0-e\0/bin/sh\0", Provenance::Complete), exec_data())
}

/// The same, of whose arguments only the first was captured.
pub fn exec_truncated() -> String {
    line(process(b"nc\0", Provenance::Truncated { true_length: 99 }), exec_data())
}

/// It ends.
pub fn exit() -> String {
    let exit = lavender_core::event::Exit { status: ExitStatus::Code(0) };
    line(process(b"nc\0-e\0/bin/sh\0", Provenance::Complete), EventData::Exit(exit))
}

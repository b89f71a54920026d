//! `docs/fields.md` says what the code says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use lavender_core::Captured;
use lavender_core::event::{
    Arguments, Bpf, BpfCommand, BpfMapType, BpfProgramType, Container, CredCall, CredChange,
    DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, Event, EventData, Exec,
    ExecFailed, ExecutableHash, Exit, ExitStatus, FileDelete, FileLink, FileMode, FileRename,
    IoUring, IoUringOperation, MemfdCreate, MemoryCall, MemoryProtect, MemoryProtection,
    ModuleLoad, Mount, MountCall, NamespaceTypes, NetAccept, NetBind, NetConnect, NetListen,
    NetSend, NetworkTransport, NsCall, NsChange, OpenFlags, Pod, ProcessTarget, ProcessVmWrite,
    Ptrace, PtraceRequest, QosClass, Sha256Digest, Signal, SignalOutcome, SyscallResult, Terminal,
};
use lavender_detect::{
    AuditField, AuditView, EventField, EventRecord, FieldValue, Route, RuleSet, ValueKind,
};
use support::{connect, event, exec, open, process};

const HEAD: &str = "\
# Fields

What the fields of rules stand for, one table per log source. The tables are made from the code
(`lavender-detect/src/event/`), and `lavender-detect/tests/fields.rs` fails where they differ from it. To write them
anew:

    UPDATE_DOCS=1 cargo test -p lavender-detect --test fields

A field that an event does not have is absent. What was captured in part, or could not be read, leaves a rule that
depends on it undetermined. Numbers, booleans, addresses and times have a text form too, so that tests on texts work
on every value. Of a list, any element will do.
";

const DNS: &str = "
There is one event for each answer, and one for each question that is not answered within 3 s, which has no
`QueryStatus`. What is asked over TLS, HTTPS or QUIC, or of a server at another port than 53, is not seen; the connection to
it is.
";

const AUDIT: &str = "
An event is evaluated as each of the records that Linux audit would have written for it, one at a time, by the rules of
`product: linux, service: auditd` and by no others. Values are in audit's interpreted form. What the event does not
know is absent: `a0` to `a3` of a system call, `key`, `arch`, `suid`, `fsuid` and the like. There are no records of
other system calls, of users and services (`ADD_USER`, `SERVICE_STOP`), nor of terminals (`TTY`).
";

fn row(out: &mut String, name: &str, description: &str, kind: ValueKind) {
    // A bar ends a cell, in code too.
    let description = description.replace('|', r"\|");
    writeln!(out, "| `{name}` | {description} | {} |", kind.as_str()).unwrap();
}

fn table(out: &mut String, fields: impl IntoIterator<Item = EventField>) {
    out.push_str("\n| field | what it holds | value |\n|---|---|---|\n");
    for field in fields {
        row(out, field.name(), field.description(), field.value_kind());
    }
}

fn in_every_route(field: EventField) -> bool {
    Route::ALL.into_iter().all(|route| route.fields().any(|other| other == field))
}

fn render() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n## Every category\n\nWho did it, and when.\n");
    table(&mut out, EventField::ALL.iter().copied().filter(|field| in_every_route(*field)));
    for route in Route::ALL {
        let (source, kind) = (route.logsource(), route.kind());
        let what = route.description();
        write!(out, "\n## `{source}`\n\n{what} Of events of kind `{kind}`, beside the fields of every category.\n").unwrap();
        if route == Route::DnsQuery {
            out.push_str(DNS);
        }
        table(&mut out, route.fields().filter(|field| !in_every_route(*field)));
    }
    write!(out, "\n## `{}`\n{AUDIT}", AuditView::logsource()).unwrap();
    out.push_str("\n| record | of events of kind | fields |\n|---|---|---|\n");
    for view in AuditView::ALL {
        let fields: Vec<_> = view.fields().map(|field| format!("`{}`", field.name())).collect();
        let (record, kind) = (view.record_type(), view.kind());
        writeln!(out, "| `{record}` | `{kind}` | {} |", fields.join(" ")).unwrap();
    }
    out.push_str("\n| field | what it holds | value |\n|---|---|---|\n");
    for field in AuditField::NAMED.iter().copied().chain([AuditField::Argument(0)]) {
        row(&mut out, field.name(), field.description(), field.value_kind());
    }
    let nowhere = |field: &EventField| {
        !Route::ALL.into_iter().any(|route| route.fields().any(|other| other == *field))
    };
    out.push_str("\n## Not yet\n\nFields that have a name, and that no event carries: rules that need them cannot fire.\n");
    table(&mut out, EventField::ALL.iter().copied().filter(nowhere));
    out
}

#[test]
fn the_document_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fields.md");
    let rendered = render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(rendered.lines()).find(|(written, code)| written != code);
    assert!(
        written == rendered,
        "docs/fields.md is not what the code says; first difference: {differs:#?}\n\
         Write it anew with: UPDATE_DOCS=1 cargo test -p lavender-detect --test fields"
    );
}

/// Whether a value is of the kind that the table says. A name that is not known gives way to its number.
fn is_of(kind: ValueKind, value: &FieldValue<'_>) -> bool {
    match value {
        FieldValue::Int(_) | FieldValue::Uint(_) => kind == ValueKind::Number,
        FieldValue::Bool(_) => kind == ValueKind::Boolean,
        FieldValue::Ip(_) => kind == ValueKind::Address,
        FieldValue::Time(_) => kind == ValueKind::Time,
        FieldValue::List => kind == ValueKind::List,
        FieldValue::Text(_) | FieldValue::Short(_) => kind == ValueKind::Text,
        _ => false,
    }
}

/// An event of each route that has every field there is.
fn full() -> Vec<Arc<Event>> {
    let init = Arc::new(process("/usr/lib/systemd/systemd", &["/sbin/init"], None));
    let server = Arc::new(process("/usr/sbin/nginx", &["nginx"], Some(init)));
    let mut shell = process("/usr/bin/bash", &["bash", "-c"], Some(server));
    shell.terminal = Some(Terminal { major: 136, minor: 0 });
    shell.credentials.session_id = Some(3);
    shell.executable.inode = 9;
    shell.executable.hash = Some(ExecutableHash::Sha256(Sha256Digest::from_bytes(&[7; 32])));
    shell.container = Some(Arc::new(Container {
        name: Some("web".into()),
        image: Some("nginx:1.27".into()),
        pod: Some(Pod {
            name: Some("web-0".into()),
            namespace: Some("shop".into()),
            ..Pod::new("b0d", QosClass::BestEffort)
        }),
        ..Container::new("c", Some("docker"))
    }));
    let program = EventData::Exec(Exec {
        filename: shell.executable.path.clone(),
        previous_executable: Some("/usr/bin/dash".into()),
    });
    let connected = NetConnect {
        transport: NetworkTransport::Udp,
        source: Some("192.0.2.9:1".parse().unwrap()),
        destination: "192.0.2.1:53".parse().unwrap(),
        result: SyscallResult(0),
    };
    let path = || Captured::complete("/etc/motd".into());
    let target =
        || ProcessTarget { exec_id: shell.exec_id, executable: shell.executable.path.clone() };
    let exit = |status| event(shell.clone(), EventData::Exit(Exit { status }));
    vec![
        event(shell.clone(), program),
        exec(shell.clone()),
        exit(ExitStatus::Code(1)),
        exit(ExitStatus::Signal(9)),
        open(shell.clone(), "/etc/motd", 0o2, 3),
        event(
            shell.clone(),
            EventData::FileDelete(FileDelete {
                path: path(),
                directory: true,
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::FileRename(FileRename {
                path: path(),
                previous_path: path(),
                exchange: false,
                result: SyscallResult(-13),
            }),
        ),
        event(
            shell.clone(),
            EventData::FileLink(FileLink {
                path: path(),
                target: path(),
                symbolic: true,
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::FileMode(FileMode {
                path: path(),
                mode: Some(0o4755),
                uid: Some(0),
                gid: Some(0),
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::Signal(Signal {
                signal: 9,
                target: target(),
                target_tid: None,
                outcome: SignalOutcome::Delivered,
            }),
        ),
        event(
            shell.clone(),
            EventData::Ptrace(Ptrace {
                request: PtraceRequest::Seize,
                target: Some(target()),
                target_tid: None,
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::ProcessVmWrite(ProcessVmWrite {
                target: Some(target()),
                result: SyscallResult(16),
            }),
        ),
        event(
            shell.clone(),
            EventData::MemfdCreate(MemfdCreate {
                name: path(),
                flags: 1,
                secret: false,
                result: SyscallResult(3),
            }),
        ),
        event(
            shell.clone(),
            EventData::ModuleLoad(ModuleLoad {
                path: Some(path()),
                parameters: path(),
                result: SyscallResult(-1),
            }),
        ),
        event(
            shell.clone(),
            EventData::CredChange(CredChange {
                call: CredCall::Setresuid,
                real_id: Some(0),
                effective_id: Some(0),
                saved_id: Some(0),
                filesystem_id: Some(0),
                before: Some(shell.credentials),
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::Bpf(Bpf {
                command: BpfCommand::PROG_LOAD,
                program_type: Some(BpfProgramType::KPROBE),
                map_type: Some(BpfMapType::ARRAY),
                name: Some("hide".into()),
                id: Some(7),
                path: Some(path()),
                result: SyscallResult(3),
            }),
        ),
        event(
            shell.clone(),
            EventData::Mount(Mount {
                call: MountCall::Mount,
                source: Some(path()),
                target: Some(path()),
                filesystem: Some("overlay".into()),
                flags: Mount::BIND,
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::NsChange(NsChange {
                call: NsCall::Unshare,
                types: NamespaceTypes::USER,
                before: None,
                after: None,
                children_pid: None,
                target: None,
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::MemoryProtect(MemoryProtect {
                call: MemoryCall::Mmap,
                address: 4096,
                length: 4096,
                protection: MemoryProtection(7),
                path: Some(path()),
                result: SyscallResult(0),
            }),
        ),
        connect(shell.clone(), "192.0.2.1:80".parse().unwrap(), 0),
        event(shell.clone(), EventData::NetConnect(connected)),
        event(
            shell.clone(),
            EventData::ExecFailed(ExecFailed {
                path: path(),
                arguments: Captured::complete(Arguments::from_list(["motd", "-x"])),
                result: SyscallResult(-13),
            }),
        ),
        event(
            shell.clone(),
            EventData::NetSend(NetSend {
                transport: NetworkTransport::Udp,
                source: Some("192.0.2.9:1".parse().unwrap()),
                destination: "192.0.2.1:2".parse().unwrap(),
                result: SyscallResult(4),
            }),
        ),
        event(
            shell.clone(),
            EventData::IoUring(IoUring {
                operation: IoUringOperation::OPENAT,
                path: Some(path()),
                flags: Some(OpenFlags(0o2)),
                transport: None,
                destination: None,
            }),
        ),
        event(
            shell.clone(),
            EventData::IoUring(IoUring {
                operation: IoUringOperation::CONNECT,
                path: None,
                flags: None,
                transport: Some(NetworkTransport::Tcp),
                destination: Some("192.0.2.1:2".parse().unwrap()),
            }),
        ),
        event(
            shell.clone(),
            EventData::NetBind(NetBind {
                transport: NetworkTransport::Tcp,
                local: "192.0.2.9:1".parse().unwrap(),
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::NetListen(NetListen {
                transport: NetworkTransport::Tcp,
                local: "192.0.2.9:1".parse().unwrap(),
                backlog: -1,
                result: SyscallResult(0),
            }),
        ),
        event(
            shell.clone(),
            EventData::NetAccept(NetAccept {
                transport: NetworkTransport::Tcp,
                local: "192.0.2.9:1".parse().unwrap(),
                peer: "192.0.2.1:2".parse().unwrap(),
            }),
        ),
        event(
            shell.clone(),
            EventData::DnsQuery(DnsQuery {
                name: Captured::complete("a.example".into()),
                record_type: DnsRecordType::A,
                response_code: Some(DnsResponseCode::NO_ERROR),
                answers: Captured::complete(vec![DnsAnswer {
                    record_type: DnsRecordType::A,
                    data: DnsData::Address([192, 0, 2, 1].into()),
                }]),
                transaction_id: Some(1),
                transport: Some(NetworkTransport::Udp),
                server: Some("192.0.2.53:53".parse().unwrap()),
            }),
        ),
    ]
}

#[test]
fn events_have_the_fields_of_their_route_and_the_kinds_of_values_that_are_told() {
    let mut seen = BTreeSet::new();
    for event in full() {
        for route in Route::of(&event) {
            assert_eq!(route.kind(), event.kind());
            for field in EventField::ALL {
                let value = EventRecord::new(&event).field(*field);
                if value == FieldValue::Absent {
                    continue;
                }
                let told = route.fields().any(|other| other == *field);
                assert!(told, "{route:?} has {}", field.name());
                assert!(is_of(field.value_kind(), &value), "{} is {value:?}", field.name());
                seen.insert((route.category(), field.name()));
            }
        }
    }
    for route in Route::ALL {
        for field in route.fields() {
            assert!(seen.contains(&(route.category(), field.name())), "{route:?} {}", field.name());
        }
    }
}

#[test]
fn audit_records_have_the_kinds_of_values_that_are_told() {
    let rules = RuleSet::empty();
    for event in full() {
        for view in AuditView::of(event.kind()) {
            let record = rules.audit_record(view, &event);
            for field in view.fields() {
                let value = record.field(field);
                let fits = value == FieldValue::Absent || is_of(field.value_kind(), &value);
                assert!(fits, "{view:?} {} is {value:?}", field.name());
            }
        }
    }
}

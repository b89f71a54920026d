//! The wire format: what is written comes back, and what is damaged is refused without a panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lavender_core::codec::{self, BatchDecoder, CodecError};
use lavender_core::event::{
    Arguments, Bpf, BpfCommand, BpfMapType, BpfProgramType, Container, CredCall, CredChange,
    Credentials, DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, Event, EventData,
    EventKind, Exec, ExecFailed, Executable, ExecutableHash, Exit, ExitStatus, FileDelete,
    FileLink, FileMode, FileOpen, FileRename, Fork, IoUring, IoUringOperation, Loss, LossStage,
    MemfdCreate, MemoryCall, MemoryProtect, MemoryProtection, ModuleLoad, Mount, MountCall,
    NamespaceTypes, Namespaces, NetAccept, NetBind, NetConnect, NetListen, NetSend,
    NetworkTransport, NsCall, NsChange, OpenFlags, Pod, Priority, Process, ProcessTarget,
    ProcessVmWrite, Ptrace, PtraceRequest, QosClass, Sha256Digest, Signal, SignalOutcome,
    SyscallResult, Terminal, Undescribed,
};
use lavender_core::{
    AgentId, AgentIdentity, Alert, BootId, BootTime, ByteString, Captured, Certainty, Detection,
    Evidence, ExecId, Origin, ProcessId, Provenance, RuleMeta, Sequencer, Severity, TenantId,
    Timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;

const BOOT: BootId = BootId::from_u128(7);

fn identity() -> AgentIdentity {
    AgentIdentity {
        tenant: TenantId::new("acme").unwrap(),
        agent: AgentId::new("web-1").unwrap(),
        host: "web-1.example".into(),
    }
}

fn provenance() -> impl Strategy<Value = Provenance> {
    prop_oneof![
        4 => Just(Provenance::Complete),
        1 => any::<u32>().prop_map(|true_length| Provenance::Truncated { true_length }),
        1 => Just(Provenance::Unreadable),
        1 => Just(Provenance::FromProc),
    ]
}

fn text() -> impl Strategy<Value = ByteString> {
    prop_oneof![
        "[ -~]{0,24}".prop_map(ByteString::from),
        vec(any::<u8>(), 0..24).prop_map(ByteString::from)
    ]
}

/// BPF, mounts, namespaces and executable memory.
fn kernel_call() -> impl Strategy<Value = EventData> {
    let path = proptest::option::of(captured());
    (process(), any::<u64>(), path, 0..4).prop_map(|(process, number, path, which)| {
        let (low, result) = (number as u32, SyscallResult(number as i64));
        match which {
            0 => EventData::Bpf(Bpf {
                command: BpfCommand(low),
                program_type: path.as_ref().map(|_| BpfProgramType(low)),
                map_type: path.as_ref().map(|_| BpfMapType(low)),
                name: path.as_ref().map(|path| path.value.clone()),
                id: path.as_ref().map(|_| low),
                path,
                result,
            }),
            1 => EventData::Mount(Mount {
                call: MountCall::from_record(low % 9),
                source: path.clone(),
                filesystem: path.as_ref().map(|path| path.value.clone()),
                target: path,
                flags: number,
                result,
            }),
            2 => EventData::NsChange(NsChange {
                call: NsCall::from_record(low % 5),
                types: NamespaceTypes(low),
                before: path.as_ref().map(|_| process.namespaces),
                after: path.map(|_| Namespaces { user: low, ..process.namespaces }),
                children_pid: Some(low),
                target: None,
                result,
            }),
            _ => EventData::MemoryProtect(MemoryProtect {
                call: MemoryCall::from_record(low % 6),
                address: number,
                length: number,
                protection: MemoryProtection(low),
                path,
                result,
            }),
        }
    })
}

fn captured() -> impl Strategy<Value = Captured<ByteString>> {
    (text(), provenance()).prop_map(|(value, provenance)| Captured::new(value, provenance))
}

fn arguments() -> impl Strategy<Value = Captured<Arguments>> {
    (vec(vec(1_u8.., 0..12), 0..4), provenance())
        .prop_map(|(list, provenance)| Captured::new(Arguments::from_list(list), provenance))
}

prop_compose! {
    fn process()(
        (start, tgid, generation) in (any::<u32>(), 1_u32..1 << 22, any::<u32>()),
        (name, path, cwd) in (text(), captured(), captured()),
        arguments in arguments(),
        (uid, euid, login_uid) in (any::<u32>(), any::<u32>(), any::<Option<u32>>()),
        capabilities_effective: u64,
        user in proptest::option::of("[a-z]{1,8}"),
        (cgroup_id, in_container, on_terminal) in any::<(u64, bool, bool)>(),
        (memory_backed, deleted) in any::<(bool, bool)>(),
    ) -> Process {
        Process {
            exec_id: ExecId { process: ProcessId::new(BOOT, start.into(), tgid), generation },
            pid: tgid,
            namespace_pid: 1,
            name,
            executable: Executable {
                path,
                inode: u64::MAX,
                device: 3,
                memory_backed,
                deleted,
                changed_at: memory_backed.then_some(Timestamp::from_nanos(-1)),
                hash: deleted
                    .then(|| ExecutableHash::Sha256(Sha256Digest::from_bytes(&[tgid as u8; 32]))),
            },
            arguments,
            working_directory: cwd,
            credentials: Credentials {
                uid, euid, gid: uid, egid: euid, login_uid, session_id: login_uid, capabilities_effective,
            },
            user: user.map(Into::into),
            group: None,
            terminal: on_terminal.then_some(Terminal { major: 136, minor: 4 }),
            cgroup_id,
            container: in_container.then(|| Arc::new(Container {
                name: deleted.then(|| "web".into()),
                image: memory_backed.then(|| "nginx:1.27".into()),
                pod: Some(Pod {
                    name: deleted.then(|| "web-0".into()),
                    namespace: memory_backed.then(|| "shop".into()),
                    ..Pod::new("b0d", QosClass::Burstable)
                }),
                undescribed: (!deleted).then_some(Undescribed::Pending),
                ..Container::new("abc", None)
            })),
            namespaces: Namespaces { pid: 1, ..Namespaces::default() },
            tree: None,
            parent_id: None,
            parent: None,
        }
    }
}

/// A line of processes, the youngest last.
fn family() -> impl Strategy<Value = Arc<Process>> {
    vec(process(), 1..4).prop_map(|line| {
        let mut parent: Option<Arc<Process>> = None;
        for process in line {
            let parent_id = parent.as_ref().map(|parent| parent.exec_id);
            parent = Some(Arc::new(Process { parent_id, parent, ..process }));
        }
        parent.unwrap()
    })
}

fn answer() -> impl Strategy<Value = DnsAnswer> {
    let data = prop_oneof![
        any::<IpAddr>().prop_map(DnsData::Address),
        text().prop_map(DnsData::Name),
        text().prop_map(DnsData::Bytes),
    ];
    (any::<u16>(), data).prop_map(|(record_type, data)| {
        let record_type = DnsRecordType(record_type);
        DnsAnswer { record_type, data }
    })
}

fn data() -> impl Strategy<Value = EventData> {
    prop_oneof![
        (captured(), proptest::option::of(text())).prop_map(|(filename, previous_executable)| {
            EventData::Exec(Exec { filename, previous_executable })
        }),
        Just(EventData::Fork(Fork {})),
        any::<u8>().prop_map(|code| EventData::Exit(Exit { status: ExitStatus::Code(code) })),
        any::<u8>().prop_map(|signal| EventData::Exit(Exit { status: ExitStatus::Signal(signal) })),
        (captured(), any::<u32>(), any::<i64>()).prop_map(|(path, flags, result)| {
            EventData::FileOpen(FileOpen {
                path,
                flags: OpenFlags(flags),
                mode: 0o644,
                result: SyscallResult(result),
                inode: 9,
                device: 1,
            })
        }),
        (any::<SocketAddr>(), any::<Option<SocketAddr>>(), any::<u16>()).prop_map(
            |(destination, source, protocol)| {
                EventData::NetConnect(NetConnect {
                    transport: NetworkTransport::from_ip_protocol(protocol),
                    source: source.map(without_scope),
                    destination: without_scope(destination),
                    result: SyscallResult(-111),
                })
            }
        ),
        (any::<SocketAddr>(), any::<u16>(), any::<i64>()).prop_map(|(local, protocol, result)| {
            EventData::NetBind(NetBind {
                transport: NetworkTransport::from_ip_protocol(protocol),
                local: without_scope(local),
                result: SyscallResult(result),
            })
        }),
        (any::<SocketAddr>(), any::<i32>()).prop_map(|(local, backlog)| {
            EventData::NetListen(NetListen {
                transport: NetworkTransport::Tcp,
                local: without_scope(local),
                backlog,
                result: SyscallResult(0),
            })
        }),
        (any::<SocketAddr>(), any::<Option<SocketAddr>>(), any::<i64>()).prop_map(
            |(destination, source, result)| {
                EventData::NetSend(NetSend {
                    transport: NetworkTransport::Udp,
                    source: source.map(without_scope),
                    destination: without_scope(destination),
                    result: SyscallResult(result),
                })
            }
        ),
        any::<[SocketAddr; 2]>().prop_map(|addresses| {
            let [local, peer] = addresses.map(without_scope);
            EventData::NetAccept(NetAccept { transport: NetworkTransport::Tcp, local, peer })
        }),
        (any::<u8>(), proptest::option::of(captured()), any::<Option<u32>>()).prop_map(
            |(operation, path, flags)| {
                EventData::IoUring(IoUring {
                    operation: IoUringOperation(operation),
                    path,
                    flags: flags.map(OpenFlags),
                    transport: flags.map(|_| NetworkTransport::Udp),
                    destination: flags.map(|_| SocketAddr::from(([192, 0, 2, 7], 1))),
                })
            }
        ),
        (captured(), process(), any::<i64>()).prop_map(|(path, process, result)| {
            let arguments = process.arguments;
            EventData::ExecFailed(ExecFailed { path, arguments, result: SyscallResult(result) })
        }),
        (captured(), any::<u16>(), any::<[Option<u16>; 2]>(), vec(answer(), 0..4), provenance())
            .prop_map(|(name, record_type, [code, id], answers, provenance)| {
                EventData::DnsQuery(DnsQuery {
                    name,
                    record_type: DnsRecordType(record_type),
                    response_code: code.map(DnsResponseCode),
                    answers: Captured::new(answers, provenance),
                    transaction_id: id,
                    transport: id.map(NetworkTransport::from_ip_protocol),
                    server: id.map(|port| SocketAddr::from(([192, 0, 2, 53], port))),
                })
            }),
        (captured(), any::<bool>(), any::<i64>()).prop_map(|(path, directory, result)| {
            EventData::FileDelete(FileDelete { path, directory, result: SyscallResult(result) })
        }),
        (captured(), captured(), any::<bool>()).prop_map(|(path, previous_path, exchange)| {
            let result = SyscallResult(-17);
            EventData::FileRename(FileRename { path, previous_path, exchange, result })
        }),
        (captured(), captured(), any::<bool>()).prop_map(|(path, target, symbolic)| {
            let result = SyscallResult(0);
            EventData::FileLink(FileLink { path, target, symbolic, result })
        }),
        (captured(), any::<[Option<u32>; 3]>()).prop_map(|(path, [mode, uid, gid])| {
            EventData::FileMode(FileMode { path, mode, uid, gid, result: SyscallResult(0) })
        }),
        (process(), any::<u32>(), any::<Option<u32>>(), 0_u32..5).prop_map(
            |(target, signal, target_tid, outcome)| {
                let (exec_id, executable) = (target.exec_id, target.executable.path);
                EventData::Signal(Signal {
                    signal,
                    target: ProcessTarget { exec_id, executable },
                    target_tid,
                    outcome: SignalOutcome::from_kernel(outcome),
                })
            }
        ),
        (process(), any::<bool>(), any::<u32>(), any::<i64>()).prop_map(
            |(target, known, number, result)| {
                let (exec_id, executable) = (target.exec_id, target.executable.path);
                EventData::Ptrace(Ptrace {
                    request: PtraceRequest::from_kernel(number % 20),
                    target: known.then_some(ProcessTarget { exec_id, executable }),
                    target_tid: known.then_some(number),
                    result: SyscallResult(result),
                })
            }
        ),
        (process(), any::<i64>()).prop_map(|(target, result)| {
            let (exec_id, executable) = (target.exec_id, target.executable.path);
            let target = Some(ProcessTarget { exec_id, executable });
            EventData::ProcessVmWrite(ProcessVmWrite { target, result: SyscallResult(result) })
        }),
        (captured(), any::<u32>(), any::<bool>()).prop_map(|(name, flags, secret)| {
            let result = SyscallResult(3);
            EventData::MemfdCreate(MemfdCreate { name, flags, secret, result })
        }),
        (captured(), captured(), any::<bool>()).prop_map(|(path, parameters, by_file)| {
            let (path, result) = (by_file.then_some(path), SyscallResult(-1));
            EventData::ModuleLoad(ModuleLoad { path, parameters, result })
        }),
        (process(), any::<u32>(), proptest::option::of(any::<u32>()), any::<i64>()).prop_map(
            |(process, call, id, result)| {
                EventData::CredChange(CredChange {
                    call: CredCall::from_record(call % 11),
                    real_id: id,
                    effective_id: Some(call),
                    saved_id: id,
                    filesystem_id: id,
                    before: id.map(|_| process.credentials),
                    result: SyscallResult(result),
                })
            }
        ),
        kernel_call(),
        any::<u64>().prop_map(|count| {
            EventData::Lost(Loss {
                cpu: Some(3),
                ..Loss::new(LossStage::Spool, EventKind::FileOpen, count)
            })
        }),
        "[ -~]{0,8}".prop_map(|word| EventData::Unknown {
            kind: "not_yet_invented".into(),
            body: serde_json::json!({ "word": word }).to_string().into(),
        }),
    ]
}

/// Flow labels and scope ids are not part of an address's text.
fn without_scope(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn events() -> impl Strategy<Value = Vec<Arc<Event>>> {
    let parts = (family(), vec((data(), any::<(i64, u64, u32, bool)>()), 0..12));
    parts.prop_map(|(process, data)| {
        let identity = identity();
        let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, BOOT));
        data.into_iter()
            .map(|(data, (observed_at, boot_time, tid, attributed))| {
                Arc::new(Event {
                    id: ids.next(),
                    observed_at: Timestamp::from_nanos(observed_at),
                    boot_time: BootTime::from_nanos(boot_time),
                    tid,
                    process: attributed.then(|| Arc::clone(&process)),
                    data,
                })
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was(events in events()) {
        let wire = codec::encode_batch(&identity(), &events).unwrap();
        let (source, back) = codec::decode_batch(&wire).unwrap();
        prop_assert_eq!(source, identity());
        prop_assert_eq!(&back, &events);
        // Events of one process share it again.
        let shared: Vec<_> = back.iter().filter_map(|event| event.process.as_ref()).collect();
        prop_assert!(shared.windows(2).all(|pair| Arc::ptr_eq(pair[0], pair[1])));
    }

    #[test]
    fn events_come_back_without_whose_they_are(events in events(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut wire = codec::encode_events(&events).unwrap();
        prop_assert_eq!(&codec::decode_events(&wire).unwrap(), &events);
        prop_assert!(wire.len() < codec::encode_batch(&identity(), &events).unwrap().len());
        let at = at.index(wire.len());
        if cut { wire.truncate(at) } else { wire[at] = byte }
        if let Ok(back) = codec::decode_events(&wire) {
            prop_assert_eq!(back.len(), events.len());
        }
    }

    #[test]
    fn what_is_remembered_changes_nothing(events in events(), at: prop::sample::Index, byte: u8, cut: bool) {
        let whole = codec::encode_batch(&identity(), &events).unwrap();
        let mut damaged = whole.clone();
        let at = at.index(whole.len());
        if cut { damaged.truncate(at) } else { damaged[at] = byte }
        let mut decoder = BatchDecoder::new();
        for wire in [&whole, &damaged, &whole, &damaged] {
            let (fresh, remembered) = (codec::decode_batch(wire), decoder.decode(wire));
            prop_assert_eq!(fresh.is_ok(), remembered.is_ok());
            if let (Ok(fresh), Ok(remembered)) = (fresh, remembered) {
                prop_assert_eq!(fresh, remembered);
            }
        }
    }

    #[test]
    fn one_event_comes_back_as_it_was(events in events()) {
        for event in events {
            let line = codec::event_to_json(&event).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(codec::event_from_json(&line).unwrap(), (*event).clone());
        }
    }

    #[test]
    fn one_alert_comes_back_as_it_was(events in events(), value in text(), certain: bool) {
        for event in events {
            let certainty = if certain {
                Certainty::Certain
            } else {
                Certainty::Undetermined { fields: vec!["CommandLine".into()] }
            };
            let rule = RuleMeta { id: "r".into(), title: "t".into(), level: Severity::High, ..RuleMeta::default() };
            let evidence = vec![Evidence { field: "Image".into(), value: value.clone() }];
            let detection = Detection {
                rule: Arc::new(rule),
                event,
                evidence,
                certainty,
                correlated: None,
            };
            let alert = Alert::from_detection(&identity(), detection, Timestamp::from_millis(5));
            let line = codec::alert_to_json(&alert).unwrap();
            prop_assert_eq!(codec::alert_from_json(&line).unwrap(), alert);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_and_do_not_panic(events in events(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut wire = codec::encode_batch(&identity(), &events).unwrap();
        let at = at.index(wire.len());
        if cut { wire.truncate(at) } else { wire[at] = byte }
        if let Ok((_, back)) = codec::decode_batch(&wire) {
            // Whatever is accepted is complete.
            prop_assert_eq!(back.len(), events.len());
        }
        let _ = codec::event_from_json(&String::from_utf8_lossy(&wire));
        let _ = codec::alert_from_json(&String::from_utf8_lossy(&wire));
    }
}

fn refused(wire: &str) -> CodecError {
    codec::decode_batch(wire.as_bytes()).unwrap_err()
}

const HEADER: &str =
    r#"{"lavender":1,"tenant":"a","agent":"b","host":"c","events":1,"processes":0}"#;

#[test]
fn what_is_wrong_is_said_with_its_line() {
    assert!(matches!(refused(""), CodecError::Empty));
    assert!(matches!(
        refused(&HEADER.replace(":1,\"t", ":2,\"t")),
        CodecError::Version { found: 2 }
    ));
    assert!(matches!(refused(HEADER), CodecError::Count { expected: 1, found: 0 }));
    assert!(matches!(refused(&format!("{HEADER}\n{{")), CodecError::Line { line: 2, .. }));
    assert!(matches!(
        refused(&HEADER.replace("\"events\":1", "\"events\":9999999")),
        CodecError::TooLarge { found: 9_999_999 }
    ));
    let hostile = HEADER.replace("\"a\"", "\"a.>\"");
    assert!(refused(&hostile).to_string().contains("not a valid name"));
}

#[test]
fn a_line_of_processes_without_end_is_refused() {
    let mut wire = HEADER.replace("\"processes\":0", "\"processes\":100");
    let process = family_of_one();
    for index in 0..100_u32 {
        let parent = index.checked_sub(1);
        wire.push('\n');
        wire.push_str(&serde_json::json!({ "process": process, "parent": parent }).to_string());
    }
    assert!(matches!(refused(&wire), CodecError::Ancestors { line: 67 }), "{}", refused(&wire));
}

/// Batches of lines that are written by hand, read by one that remembers.
fn remembering(lines: &[&[String]]) -> Vec<Result<Vec<Arc<Event>>, CodecError>> {
    let mut decoder = BatchDecoder::new();
    let event = r#"{"id":"00000000-0000-8000-8000-000000000001","kind":"fork","observed_at":1,"boot_time":2,"process":1,"data":{}}"#;
    let mut read = |lines: &&[String]| {
        let header = HEADER.replace("\"processes\":0", &format!("\"processes\":{}", lines.len()));
        let wire = format!("{header}\n{}\n{event}", lines.join("\n"));
        decoder.decode(wire.as_bytes()).map(|(_, events)| events)
    };
    lines.iter().map(&mut read).collect()
}

#[test]
fn a_process_is_known_again_by_its_text_and_its_parent() {
    let line = |pid: u32, ending: &str| {
        let mut process = family_of_one();
        process["pid"] = pid.into();
        format!("{{\"process\":{process}{ending}}}")
    };
    let (init, other) = (line(1, ""), line(2, ""));
    let child = |ending: &str| line(3, ending);
    let process_of = |read: &Result<Vec<Arc<Event>>, CodecError>| {
        Arc::clone(read.as_ref().unwrap()[0].process.as_ref().unwrap())
    };
    let read = remembering(&[
        &[init.clone(), child(",\"parent\":0")],
        // The same two, elsewhere in the batch.
        &[init.clone(), child(",\"parent\":0"), other.clone()],
        &[other, child(",\"parent\":0")],
        &[init.clone(), child("")],
        &[init.clone(), child(",\"parent\":0")],
        // None of these can be read, whatever is remembered.
        &[init.clone(), child(",\"parent\":00")],
        &[init.clone(), child(",\"parent\":0,\"parent\":0")],
        &[init.clone(), child(",\"parent\":7")],
        &[init, child(",\"parent\":0}")],
    ]);
    let first = process_of(&read[0]);
    assert_eq!(first.parent.as_ref().unwrap().pid, 1);
    assert!(Arc::ptr_eq(&first, &process_of(&read[1])));
    assert_eq!(process_of(&read[2]).parent.as_ref().unwrap().pid, 2);
    assert_eq!(process_of(&read[3]).parent, None);
    assert!(Arc::ptr_eq(&first, &process_of(&read[4])));
    for bad in &read[5..] {
        assert!(bad.is_err(), "{bad:?}");
    }
}

#[test]
fn the_kind_may_stand_behind_the_data() {
    let line = |fields: &str| {
        let line = format!(
            r#"{{"id":"00000000-0000-8000-8000-000000000001","observed_at":1,"boot_time":2,{fields}}}"#
        );
        codec::event_from_json(&line)
    };
    let data = r#""data":{"code":3}"#;
    let exit = line(&format!(r#""kind":"exit",{data}"#)).unwrap();
    assert_eq!(exit.kind(), EventKind::Exit);
    assert_eq!(line(&format!(r#"{data},"kind":"exit""#)).unwrap(), exit);
    for twice in [r#""kind":"exit""#, data] {
        assert!(line(&format!(r#""kind":"exit",{data},{twice}"#)).is_err(), "{twice}");
    }
    for missing in [r#""kind":"exit""#, data] {
        assert!(line(missing).is_err(), "{missing}");
    }
}

#[test]
fn added_fields_are_ignored_and_unknown_kinds_kept() {
    let line = r#"{"id":"00000000-0000-8000-8000-000000000001","kind":"quantum_leap","observed_at":1,"boot_time":2,"novel":true,"data":{"far":1}}"#;
    let event = codec::event_from_json(line).unwrap();
    assert_eq!(event.kind(), EventKind::Unknown);
    let again = codec::event_to_json(&event).unwrap();
    assert!(
        again.contains(r#""kind":"quantum_leap""#) && again.contains(r#""data":{"far":1}"#),
        "{again}"
    );
}

#[test]
fn a_look_up_is_written_as_the_documentation_of_its_fields_says() {
    let json = r#"{"name":"a.example","record_type":16,"response_code":3,"answers":[{"record_type":1,"address":"192.0.2.1"},{"record_type":5,"name":{"base64":"/w=="}}]}"#;
    let data = codec::data_from_json("dns_query", json).unwrap();
    assert_eq!(codec::data_to_json(&data).unwrap(), json);
    let mut written = b"before".to_vec();
    codec::write_data(&data, &mut written).unwrap();
    assert_eq!(written, ["before", json].concat().as_bytes());
    assert_eq!(data.kind().priority(), Priority::Network);
    // A question without an answer needs neither code nor answers.
    let bare = codec::data_from_json("dns_query", r#"{"name":"a","record_type":1}"#).unwrap();
    let EventData::DnsQuery(query) = bare else { panic!("{bare:?}") };
    assert_eq!((query.response_code, query.answers), (None, Captured::complete(vec![])));
    assert_eq!(DnsRecordType(65_280).to_string(), "TYPE65280");
    for hostile in [
        r#"{"name":7,"record_type":1}"#,
        r#"{"name":"a","record_type":65536}"#,
        r#"{"name":"a","record_type":1,"answers":[{"record_type":1,"address":"nowhere"}]}"#,
        r#"{"name":"a","record_type":1,"answers":[{"record_type":1}]}"#,
    ] {
        assert!(codec::data_from_json("dns_query", hostile).is_err(), "{hostile}");
    }
}

fn family_of_one() -> serde_json::Value {
    serde_json::json!({
        "exec_id": { "process": ProcessId::new(BOOT, 1, 1), "generation": 0 },
        "pid": 1, "namespace_pid": 1, "name": "x",
        "executable": { "path": "/x", "inode": 1, "device": 1 },
        "arguments": ["x"], "working_directory": "/",
        "credentials": { "uid": 4294967294_u32, "euid": 0, "gid": 0, "egid": 0, "capabilities_effective": 0 },
        "cgroup_id": 1,
        "namespaces": { "cgroup": 0, "mnt": 0, "net": 0, "pid": 0, "user": 0, "uts": 0 },
    })
}

#[test]
fn the_line_of_ancestors_stays_bounded() {
    let first: Process = serde_json::from_value(family_of_one()).unwrap();
    let mut process = Arc::new(first);
    let mut longest = 0;
    for _ in 0..1_000 {
        let parent = Some(process.as_parent());
        process = Arc::new(Process { parent, ..(*process).clone() });
        longest = longest.max(process.ancestors().count());
    }
    assert_eq!(longest, Process::MAX_ANCESTORS - 1);
    assert!(process.ancestors().count() >= Process::MAX_ANCESTORS / 2);
}

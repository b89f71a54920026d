//! Events of every kind, of processes with ancestors, as proptest makes them up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lavender_core::event::{
    Arguments, Bpf, BpfCommand, BpfMapType, BpfProgramType, Container, CredCall, CredChange,
    Credentials, DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, Event, EventData,
    EventKind, Exec, ExecFailed, Executable, ExecutableHash, Exit, ExitStatus, FileDelete,
    FileLink, FileMode, FileOpen, FileRename, Fork, IoUring, IoUringOperation, Loss, LossStage,
    MemfdCreate, MemoryCall, MemoryProtect, MemoryProtection, ModuleLoad, Mount, MountCall,
    NamespaceTypes, Namespaces, NetAccept, NetBind, NetConnect, NetListen, NetSend,
    NetworkTransport, NsCall, NsChange, OpenFlags, Pod, Process, ProcessTarget, ProcessVmWrite,
    Ptrace, PtraceRequest, QosClass, Sha256Digest, Signal, SignalOutcome, SyscallResult, Terminal,
    Undescribed,
};
use lavender_core::{
    AgentId, AgentIdentity, BootId, BootTime, ByteString, Captured, ExecId, Origin, ProcessId,
    Provenance, Sequencer, TenantId, Timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) const BOOT: BootId = BootId::from_u128(7);

pub(crate) fn identity() -> AgentIdentity {
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

pub(crate) fn text() -> impl Strategy<Value = ByteString> {
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

pub(crate) fn events() -> impl Strategy<Value = Vec<Arc<Event>>> {
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

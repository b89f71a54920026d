//! Events, processes and alerts to test with: every kind, every extreme, the same for the same seed.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::event::{
    AgentStart, AgentStop, Arguments, CanaryHealth, Container, CredCall, CredChange, Credentials,
    DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, Event, EventData, EventKind,
    Exec, ExecFailed, Executable, ExecutableHash, Exit, ExitStatus, FileDelete, FileLink, FileMode,
    FileOpen, FileRename, Fork, Heartbeat, IoUring, IoUringOperation, Loss, LossStage, MemfdCreate,
    ModuleLoad, Namespaces, NetAccept, NetBind, NetConnect, NetListen, NetSend, NetworkTransport,
    OpenFlags, Pod, Process, ProcessTarget, ProcessVmWrite, Ptrace, PtraceRequest, QosClass,
    RulesetHealth, RulesetInUse, Signal, SignalOutcome, StopReason, SyscallResult, Terminal,
    Undescribed, Unhashed,
};
use crate::prevention::{PreventionCounts, PreventionHealth};
use crate::ruleset::RulesetDigest;
use crate::{
    AgentId, AgentIdentity, Alert, AlertId, BootId, BootTime, ByteString, Bytes, Captured,
    Certainty, CommandCounts, CommandsRefused, Detection, Evidence, ExecId, FileIdentity,
    FileTarget, Origin, Outcome, ProcessId, Provenance, ResponseAction, ResponseCause,
    ResponseOrder, ResponseOutcome, ResponseTarget, Risk, RiskContribution, RiskSequence, RuleMeta,
    Sequencer, Severity, TenantId, Timestamp,
};

/// When the first event of a sample happens: 2023-11-14T22:13:20Z.
pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A user id that does not fit 31 bits.
pub const LARGE_UID: u32 = 4_294_967_294;

/// One agent on one host that makes up what it sees. Events are a millisecond apart.
///
/// ```
/// use lavender_core::conformance::sample::Sample;
///
/// let mut sample = Sample::new("acme", "web-1", 7);
/// let shell = sample.process();
/// let event = sample.file_open(&shell, "/etc/shadow");
/// assert_eq!(event.id.sequence(), 1);
/// assert!(shell.ancestors().count() >= 2);
/// ```
#[derive(Debug)]
pub struct Sample {
    source: AgentIdentity,
    boot: BootId,
    ids: Sequencer,
    now: Timestamp,
    boot_ns: u64,
    random: u64,
    next_pid: u32,
    root: Arc<Process>,
}

impl Sample {
    /// An agent by name; the seed also names the boot.
    ///
    /// # Panics
    ///
    /// When a name is not one.
    pub fn new(tenant: &str, agent: &str, seed: u64) -> Self {
        let source = AgentIdentity {
            tenant: TenantId::new(tenant).unwrap(),
            agent: AgentId::new(agent).unwrap(),
            host: format!("{agent}.{tenant}.example").into(),
        };
        let boot = BootId::from_u128(u128::from(seed) << 64 | 0x5eed);
        let ids = Sequencer::new(Origin::new(&source.tenant, &source.agent, boot));
        let root = Arc::new(process(boot, 1, 1, "/usr/lib/systemd/systemd", &["systemd"], None));
        Self {
            source,
            boot,
            ids,
            now: START,
            boot_ns: 1_000_000_000,
            random: seed | 1,
            next_pid: 100,
            root,
        }
    }

    /// Whose events these are.
    pub const fn source(&self) -> &AgentIdentity {
        &self.source
    }

    /// What the events' ids are made of.
    pub const fn origin(&self) -> Origin {
        self.ids.origin()
    }

    /// When the next event happens.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves on to a time.
    pub const fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// The first process of the host.
    pub const fn root(&self) -> &Arc<Process> {
        &self.root
    }

    /// A number, the next of those that the seed gives.
    pub const fn random(&mut self) -> u64 {
        // xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// A child of a process that runs a program.
    pub fn child(&mut self, parent: &Arc<Process>, path: &str, arguments: &[&str]) -> Arc<Process> {
        self.next_pid += 1;
        self.boot_ns += 1_000;
        let (boot, pid, start) = (self.boot, self.next_pid, self.boot_ns);
        Arc::new(process(boot, pid, start, path, arguments, Some(parent.as_parent())))
    }

    /// A shell that came in over the network, with its ancestors.
    pub fn process(&mut self) -> Arc<Process> {
        let root = Arc::clone(&self.root);
        let daemon = self.child(&root, "/usr/sbin/sshd", &["sshd: dev [priv]"]);
        self.child(&daemon, "/usr/bin/bash", &["-bash"])
    }

    /// A process at the edges: bytes that are no UTF-8, a NUL, the largest numbers, fields cut and fields
    /// missing.
    pub fn extreme_process(&mut self) -> Arc<Process> {
        let parent = self.process();
        let base = self.child(&parent, "/x", &["x"]);
        let raw = ByteString::from(vec![0xff, 0xfe, 0x00, b'"', b'\\', b'\n', 0x80, b'/']);
        Arc::new(Process {
            name: raw.clone(),
            executable: Executable {
                path: Captured::new(raw.clone(), Provenance::Truncated { true_length: u32::MAX }),
                inode: u64::MAX,
                device: u32::MAX,
                memory_backed: true,
                deleted: true,
                changed_at: Some(Timestamp::from_nanos(i64::MIN)),
                hash: Some(ExecutableHash::Missing(Unhashed::TooLarge)),
            },
            arguments: Captured::new(
                Arguments::from_list([&b"\xff\xfe"[..], b"", b"a b", b"\"\\\n"]),
                Provenance::Truncated { true_length: 131_072 },
            ),
            working_directory: Captured::new(ByteString::default(), Provenance::Unreadable),
            credentials: Credentials {
                uid: LARGE_UID,
                euid: LARGE_UID,
                gid: LARGE_UID,
                egid: u32::MAX,
                login_uid: Some(LARGE_UID),
                session_id: Some(u32::MAX - 1),
                capabilities_effective: u64::MAX,
            },
            user: None,
            group: Some("größe".into()),
            terminal: Some(Terminal { major: 136, minor: u32::MAX }),
            cgroup_id: u64::MAX,
            container: Some(Arc::new(Container {
                name: Some("größe".into()),
                image: Some("registry.example/a\"b:\u{0}".into()),
                pod: Some(Pod {
                    name: Some("p\u{7f}".into()),
                    ..Pod::new("b0d", QosClass::BestEffort)
                }),
                undescribed: Some(Undescribed::TooLarge),
                ..Container::new("c0ffee", None)
            })),
            ..(*base).clone()
        })
    }

    /// An event now; the clock moves on.
    pub fn event(&mut self, process: Option<&Arc<Process>>, data: EventData) -> Arc<Event> {
        let event = Event {
            id: self.ids.next(),
            observed_at: self.now,
            boot_time: BootTime::from_nanos(self.boot_ns),
            tid: process.map_or(0, |process| process.pid),
            process: process.map(Arc::clone),
            data,
        };
        self.now = self.now.saturating_add(std::time::Duration::from_millis(1));
        self.boot_ns += 1_000_000;
        Arc::new(event)
    }

    /// A program begins.
    pub fn exec(&mut self, process: &Arc<Process>) -> Arc<Event> {
        let filename = process.executable.path.clone();
        let data = Exec { filename, previous_executable: Some("/usr/bin/dash".into()) };
        self.event(Some(process), EventData::Exec(data))
    }

    /// A file is opened.
    pub fn file_open(&mut self, process: &Arc<Process>, path: &str) -> Arc<Event> {
        let data = FileOpen {
            path: Captured::complete(path.into()),
            flags: OpenFlags(0o2000000),
            mode: 0,
            result: SyscallResult(3),
            inode: self.random(),
            device: 0xfe00_0001,
        };
        self.event(Some(process), EventData::FileOpen(data))
    }

    /// A file is removed, renamed, linked in both ways, and its mode and owner are set.
    pub fn file_changes(&mut self, process: &Arc<Process>, path: &str) -> Vec<Arc<Event>> {
        let path = || Captured::complete(ByteString::from(path));
        let odd = || {
            let bytes = ByteString::from(vec![b'/', 0xff, b'"', b'\n']);
            Captured::new(bytes, Provenance::Truncated { true_length: 0 })
        };
        let result = SyscallResult(0);
        let failed = SyscallResult(-13);
        [
            EventData::FileDelete(FileDelete { path: path(), directory: true, result: failed }),
            EventData::FileRename(FileRename {
                path: odd(),
                previous_path: path(),
                exchange: true,
                result,
            }),
            EventData::FileLink(FileLink { path: path(), target: odd(), symbolic: true, result }),
            EventData::FileLink(FileLink {
                path: Captured::unreadable(),
                target: path(),
                symbolic: false,
                result: failed,
            }),
            EventData::FileMode(FileMode {
                path: path(),
                mode: Some(0o4755),
                uid: None,
                gid: None,
                result,
            }),
            EventData::FileMode(FileMode {
                path: odd(),
                mode: None,
                uid: Some(0),
                gid: Some(u32::MAX - 1),
                result,
            }),
        ]
        .map(|data| self.event(Some(process), data))
        .into()
    }

    /// Signals are sent to this process, as a whole and to one of its threads.
    pub fn signals(&mut self, process: &Arc<Process>, target: &Process) -> Vec<Arc<Event>> {
        let target =
            ProcessTarget { exec_id: target.exec_id, executable: target.executable.path.clone() };
        let unknown = ProcessTarget { executable: Captured::unreadable(), ..target.clone() };
        [
            Signal { signal: 9, target, target_tid: None, outcome: SignalOutcome::Delivered },
            Signal {
                signal: 64,
                target: unknown,
                target_tid: Some(u32::MAX),
                outcome: SignalOutcome::AlreadyPending,
            },
        ]
        .map(|signal| self.event(Some(process), EventData::Signal(signal)))
        .into()
    }

    /// A process is traced and written to, files are made in memory, and kernel modules are loaded.
    pub fn tampering(&mut self, process: &Arc<Process>, target: &Process) -> Vec<Arc<Event>> {
        let target =
            ProcessTarget { exec_id: target.exec_id, executable: target.executable.path.clone() };
        let odd = || {
            let bytes = ByteString::from(vec![b'/', 0xff, b'"', b'\n']);
            Captured::new(bytes, Provenance::Truncated { true_length: 0 })
        };
        [
            EventData::Ptrace(Ptrace {
                request: PtraceRequest::Seize,
                target: Some(target.clone()),
                target_tid: Some(u32::MAX),
                result: SyscallResult(0),
            }),
            EventData::Ptrace(Ptrace {
                request: PtraceRequest::Other,
                target: None,
                target_tid: None,
                result: SyscallResult(-3),
            }),
            EventData::ProcessVmWrite(ProcessVmWrite {
                target: Some(target),
                result: SyscallResult(i64::MAX),
            }),
            EventData::MemfdCreate(MemfdCreate {
                name: odd(),
                flags: u32::MAX,
                secret: false,
                result: SyscallResult(3),
            }),
            EventData::MemfdCreate(MemfdCreate {
                name: Captured::complete(ByteString::default()),
                flags: 0,
                secret: true,
                result: SyscallResult(-38),
            }),
            EventData::ModuleLoad(ModuleLoad {
                path: Some(odd()),
                parameters: Captured::unreadable(),
                result: SyscallResult(-1),
            }),
            EventData::ModuleLoad(ModuleLoad {
                path: None,
                parameters: Captured::complete("debug=1".into()),
                result: SyscallResult(0),
            }),
        ]
        .map(|data| self.event(Some(process), data))
        .into()
    }

    /// A process changes its ids, and may not.
    pub fn cred_changes(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        [
            CredChange {
                call: CredCall::Setresuid,
                real_id: Some(0),
                effective_id: Some(u32::MAX - 1),
                saved_id: Some(1000),
                filesystem_id: None,
                before: Some(process.credentials),
                result: SyscallResult(0),
            },
            CredChange {
                call: CredCall::Setfsgid,
                real_id: None,
                effective_id: None,
                saved_id: None,
                filesystem_id: Some(7),
                before: None,
                result: SyscallResult(-1),
            },
        ]
        .map(|change| self.event(Some(process), EventData::CredChange(change)))
        .into()
    }

    /// BPF, mounts, namespaces and executable memory: what is done, and what cannot be.
    pub fn kernel_calls(&mut self, process: &Arc<Process>, child: &Process) -> Vec<Arc<Event>> {
        let child =
            ProcessTarget { exec_id: child.exec_id, executable: child.executable.path.clone() };
        super::kernel_sample::calls(process, child)
            .into_iter()
            .map(|data| self.event(Some(process), data))
            .collect()
    }

    /// A socket is connected.
    pub fn net_connect(&mut self, process: &Arc<Process>, to: SocketAddr) -> Arc<Event> {
        let data = NetConnect {
            transport: NetworkTransport::Tcp,
            source: None,
            destination: to,
            result: SyscallResult(-115),
        };
        self.event(Some(process), EventData::NetConnect(data))
    }

    /// A socket is bound, listens and accepts; one that cannot be bound, one that cannot listen, one of another
    /// protocol.
    pub fn sockets(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        let transport = NetworkTransport::Tcp;
        let local = SocketAddr::from(([127, 0, 0, 1], 4_444));
        let any = SocketAddr::from(([0; 16], u16::MAX));
        let raw = NetworkTransport::Other(u16::MAX);
        [
            EventData::NetBind(NetBind { transport, local, result: SyscallResult(0) }),
            EventData::NetBind(NetBind {
                transport: raw,
                local: any,
                result: SyscallResult(i64::MIN),
            }),
            EventData::NetListen(NetListen {
                transport,
                local,
                backlog: 128,
                result: SyscallResult(0),
            }),
            EventData::NetListen(NetListen {
                transport: raw,
                local: any,
                backlog: i32::MIN,
                result: SyscallResult(-95),
            }),
            EventData::NetAccept(NetAccept { transport, local, peer: any }),
        ]
        .map(|data| self.event(Some(process), data))
        .into()
    }

    /// Messages are sent: one that is, and one that cannot be.
    pub fn net_sends(&mut self, process: &Arc<Process>, to: SocketAddr) -> Vec<Arc<Event>> {
        let (udp, other) = (NetworkTransport::Udp, NetworkTransport::Other(1));
        let source = SocketAddr::from(([0, 0, 0, 0], 50_000));
        [(udp, Some(source), 512), (other, None, i64::MIN)]
            .map(|(transport, source, result)| {
                let result = SyscallResult(result);
                let send = NetSend { transport, source, destination: to, result };
                self.event(Some(process), EventData::NetSend(send))
            })
            .into()
    }

    /// Requests of `io_uring`: an open, a removal, a connect, and one that this version has no name for.
    pub fn io_urings(&mut self, process: &Arc<Process>, path: &str) -> Vec<Arc<Event>> {
        let request = |operation| IoUring {
            operation,
            path: None,
            flags: None,
            transport: None,
            destination: None,
        };
        [
            IoUring {
                path: Some(Captured::complete(path.into())),
                flags: Some(OpenFlags(0o1101)),
                ..request(IoUringOperation::OPENAT)
            },
            IoUring { path: Some(Captured::unreadable()), ..request(IoUringOperation::UNLINKAT) },
            IoUring {
                transport: Some(NetworkTransport::Tcp),
                destination: Some(SocketAddr::from(([192, 0, 2, 7], 4_444))),
                ..request(IoUringOperation::CONNECT)
            },
            request(IoUringOperation(u8::MAX)),
        ]
        .map(|request| self.event(Some(process), EventData::IoUring(request)))
        .into()
    }

    /// Programs cannot be started: one whose arguments are known, one of which nothing is.
    pub fn failed_execs(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        let odd = Arguments::from_list([&b"\xff\xfe"[..], b"", b"\"\n"]);
        let truncated = Provenance::Truncated { true_length: 0 };
        [
            ExecFailed {
                path: Captured::complete("/usr/bin/nmap".into()),
                arguments: Captured::complete(Arguments::from_list(["nmap", "-sS", "192.0.2.7"])),
                result: SyscallResult(-2),
            },
            ExecFailed {
                path: Captured::unreadable(),
                arguments: Captured::new(odd, truncated),
                result: SyscallResult(i64::MIN),
            },
        ]
        .map(|failed| self.event(Some(process), EventData::ExecFailed(failed)))
        .into()
    }

    /// A name is looked up, and found.
    pub fn dns_query(&mut self, process: &Arc<Process>, name: &str) -> Arc<Event> {
        let answer = |record_type, data| DnsAnswer { record_type, data };
        let data = DnsQuery {
            name: Captured::complete(name.into()),
            record_type: DnsRecordType::AAAA,
            response_code: Some(DnsResponseCode::NO_ERROR),
            answers: Captured::complete(vec![
                answer(DnsRecordType::CNAME, DnsData::Name("edge.example.net".into())),
                answer(DnsRecordType::AAAA, DnsData::Address([0xfe80, 0, 0, 0, 0, 0, 0, 1].into())),
            ]),
            transaction_id: Some(u16::MAX),
            transport: Some(NetworkTransport::Udp),
            server: Some(SocketAddr::from(([192, 0, 2, 53], 53))),
        };
        self.event(Some(process), EventData::DnsQuery(data))
    }

    /// Something was lost.
    pub fn lost(&mut self, stage: LossStage, kind: EventKind, count: u64) -> Arc<Event> {
        self.event(None, EventData::Lost(Loss { cpu: Some(1), ..Loss::new(stage, kind, count) }))
    }

    /// The agent starts.
    pub fn agent_start(&mut self, version: &str) -> Arc<Event> {
        let data = AgentStart {
            host: Arc::clone(&self.source.host),
            version: version.into(),
            kernel_release: "6.1.0-test".into(),
            rules: 6,
            kinds: vec!["exec".into(), "file_open".into()],
        };
        self.event(None, EventData::AgentStart(data))
    }

    /// The agent stops.
    pub fn agent_stop(&mut self) -> Arc<Event> {
        self.event(None, EventData::AgentStop(AgentStop { reason: StopReason::Shutdown }))
    }

    /// The agent lives.
    pub fn heartbeat(&mut self) -> Arc<Event> {
        let data = Heartbeat {
            uptime_ms: u64::MAX,
            events: 1,
            alerts: 2,
            lost: 3,
            suppressed: 4,
            forgotten: 5,
            late: 6,
            filtered: [(EventKind::FileOpen, 7)].into(),
            unhashed: [(Unhashed::Gone, 2)].into(),
            undescribed: [(Undescribed::NotFound, 3)].into(),
            spool: None,
            ruleset: Some(RulesetHealth {
                in_use: Some(RulesetInUse {
                    revision: 8,
                    digest: RulesetDigest::from_bytes([9; 32]),
                }),
                fault: Some("of a later one".into()),
            }),
            commands: Some(CommandCounts {
                admitted: 10,
                repeated: 11,
                refused: CommandsRefused { forged: 12, ..CommandsRefused::default() },
            }),
            canary: Some(Box::new(CanaryHealth {
                seen: 13,
                missed: 14,
                last_seen_at: Some(self.now()),
                latency_ms: Some(15),
                missing: None,
            })),
            prevention: Some(Box::new(PreventionHealth {
                dry_run: true,
                rules: 16,
                unavailable: [("prevent_open".into(), "it is not there".into())].into(),
                counts: PreventionCounts { acts: 17, untold: 18, spared: 19, missed: 20 },
            })),
        };
        self.event(None, EventData::Heartbeat(data))
    }

    /// An event of a kind that this version does not know.
    pub fn unknown(&mut self) -> Arc<Event> {
        let body = Bytes::from_static(br#"{"a":[1,2,{"b":null}],"large":18446744073709551615}"#);
        self.event(None, EventData::Unknown { kind: "from_the_future".into(), body })
    }

    /// One event of every kind at least, of ordinary and of extreme processes.
    pub fn every_kind(&mut self) -> Vec<Arc<Event>> {
        let shell = self.process();
        let extreme = self.extreme_process();
        let path = ByteString::from(vec![b'/', 0xff, 0x00, b'x']);
        let odd_open = FileOpen {
            path: Captured::new(path, Provenance::FromProc),
            flags: OpenFlags(u32::MAX),
            mode: u32::MAX,
            result: SyscallResult(i64::MIN),
            inode: u64::MAX,
            device: u32::MAX,
        };
        let odd = ByteString::from(vec![0xff, b'.', 0x00, b'"', b'\n']);
        let odd_answer =
            DnsAnswer { record_type: DnsRecordType(u16::MAX), data: DnsData::Bytes(odd.clone()) };
        let odd_query = DnsQuery {
            name: Captured::new(odd, Provenance::Truncated { true_length: u32::MAX }),
            record_type: DnsRecordType(u16::MAX),
            response_code: Some(DnsResponseCode(u16::MAX)),
            answers: Captured::new(vec![odd_answer], Provenance::Truncated { true_length: 0 }),
            transaction_id: None,
            transport: None,
            server: None,
        };
        let mut events = vec![
            self.agent_start("0.1.0"),
            self.exec(&shell),
            self.exec(&extreme),
            self.event(Some(&shell), EventData::Fork(Fork {})),
            self.event(Some(&shell), EventData::Exit(Exit { status: ExitStatus::Code(255) })),
            self.event(Some(&extreme), EventData::Exit(Exit { status: ExitStatus::Signal(9) })),
            self.file_open(&shell, "/etc/shadow"),
            self.event(Some(&extreme), EventData::FileOpen(odd_open)),
            self.net_connect(&shell, SocketAddr::from(([127, 0, 0, 1], 4_444))),
            self.net_connect(&extreme, SocketAddr::from(([0xfe80, 0, 0, 0, 0, 0, 0, 1], 53))),
            self.dns_query(&shell, "updates.example.org"),
            self.event(Some(&extreme), EventData::DnsQuery(odd_query)),
            self.heartbeat(),
            self.lost(LossStage::KernelRing, EventKind::FileOpen, u64::MAX),
            self.unknown(),
        ];
        let alert = AlertId::new("rule", &[self.origin().event(1)]);
        events.extend(self.responses(&shell, alert));
        events.extend(self.file_changes(&shell, "/etc/motd"));
        events.extend(self.signals(&shell, &extreme));
        events.extend(self.sockets(&shell));
        events.extend(self.failed_execs(&extreme));
        events.extend(self.io_urings(&shell, "/etc/shadow"));
        events.extend(self.net_sends(&shell, SocketAddr::from(([192, 0, 2, 7], 53))));
        events.extend(self.tampering(&shell, &extreme));
        events.extend(self.cred_changes(&shell));
        events.extend(self.kernel_calls(&shell, &extreme));
        events.push(self.prevented(&shell));
        events.push(self.agent_stop());
        events
    }

    /// What the kernel prevented by itself.
    fn prevented(&mut self, process: &Arc<Process>) -> Arc<Event> {
        let order = ResponseOrder {
            cause: ResponseCause::Rule("a rule".into()),
            action: ResponseAction::Deny,
            target: ResponseTarget::Process(process.id()),
            decided_by: "the kernel".into(),
        };
        self.event(None, EventData::Response(ResponseOutcome::new(order, Outcome::Done)))
    }

    /// What was done about an alert: something to everything that something can be done to.
    pub fn responses(&mut self, process: &Arc<Process>, alert: AlertId) -> Vec<Arc<Event>> {
        let response = |action, target, outcome| {
            let order = ResponseOrder {
                cause: ResponseCause::Alert(alert),
                action,
                target,
                decided_by: "severity".into(),
            };
            ResponseOutcome::new(order, outcome)
        };
        let target = ResponseTarget::Process(process.id());
        let in_tree = ResponseOutcome {
            tree_of: Some(process.id()),
            ..response(ResponseAction::KillTree, target.clone(), Outcome::Gone)
        };
        let file = FileTarget {
            path: ByteString::from(vec![b'/', 0xff, b'x']),
            identity: Some(FileIdentity { inode: u64::MAX, device: u32::MAX }),
        };
        let quarantined = ResponseOutcome {
            quarantine_entry: Some("00-1".into()),
            ..response(ResponseAction::Quarantine, ResponseTarget::File(file), Outcome::Done)
        };
        let failed = Outcome::Failed { reason: "EPERM".into() };
        let open = Outcome::CircuitOpen { closes_in_secs: 7 };
        [
            response(ResponseAction::Kill, target.clone(), Outcome::DryRun),
            response(ResponseAction::Stop, target, failed),
            response(ResponseAction::Isolate, ResponseTarget::Host, open),
            in_tree,
            quarantined,
        ]
        .map(|answer| self.event(Some(process), EventData::Response(answer)))
        .into()
    }

    /// So many events of a busy host: a fifth are new processes, the others their opens and connects.
    pub fn busy(&mut self, count: usize) -> Vec<Arc<Event>> {
        let mut shell = self.process();
        (0..count)
            .map(|number| match number % 5 {
                0 => {
                    let parent = Arc::clone(&self.root);
                    let argument = format!("--job={}", self.random());
                    shell = self.child(&parent, "/usr/bin/make", &["make", "-j2", &argument]);
                    self.exec(&shell)
                }
                1 => self.net_connect(&shell, SocketAddr::from(([10, 0, 0, 7], 5_432))),
                _ => {
                    let path = format!("/srv/app/{:016x}.o", self.random());
                    self.file_open(&shell, &path)
                }
            })
            .collect()
    }

    /// An alert about an event.
    pub fn alert(&self, event: &Arc<Event>, rule: &str, severity: Severity) -> Arc<Alert> {
        let rule = RuleMeta {
            id: rule.into(),
            title: format!("The rule {rule}").into(),
            level: severity,
            description: Some("what it is about".into()),
            tags: vec!["attack.t1059.004".into()],
            false_positives: vec!["administrators".into()],
            references: Vec::new(),
            response: vec![ResponseAction::KillTree],
            risk: Some(40),
            unsuppressed: true,
        };
        let detection = Detection {
            rule: Arc::new(rule),
            event: Arc::clone(event),
            evidence: vec![Evidence {
                field: "Image".into(),
                value: ByteString::from(vec![b'/', 0xff, 0x00]),
            }],
            certainty: Certainty::Undetermined { fields: vec!["CommandLine".into()] },
            correlated: None,
        };
        let created_at = event.observed_at.saturating_add(std::time::Duration::from_millis(3));
        let risk = event.process.as_ref().map(|process| Risk {
            tree: process.tree_id(),
            score: 50,
            contributions: vec![RiskContribution {
                rule: "earlier".into(),
                title: "An earlier rule".into(),
                points: 40,
                why: "40 by the rule".into(),
                observed_at: event.observed_at,
                event: event.id,
            }],
            other_points: 0,
            sequence: Some(RiskSequence {
                points: 10,
                tactics: vec!["execution".into(), "impact".into()],
            }),
        });
        let alert = Alert::from_detection(&self.source, detection, created_at);
        Arc::new(Alert { risk: risk.map(Arc::new), ..alert })
    }
}

fn process(
    boot: BootId,
    pid: u32,
    start_ns: u64,
    path: &str,
    arguments: &[&str],
    parent: Option<Arc<Process>>,
) -> Process {
    Process {
        exec_id: ExecId { process: ProcessId::new(boot, start_ns, pid), generation: 1 },
        pid,
        namespace_pid: pid,
        name: path.rsplit('/').next().unwrap_or(path).into(),
        executable: Executable {
            path: Captured::complete(path.into()),
            inode: 4_242,
            device: 0xfe00,
            ..Executable::default()
        },
        arguments: Captured::complete(Arguments::from_list(arguments)),
        working_directory: Captured::complete("/".into()),
        credentials: Credentials { uid: 1_000, euid: 1_000, ..Credentials::default() },
        user: Some("dev".into()),
        group: None,
        terminal: None,
        cgroup_id: 7,
        container: None,
        namespaces: Namespaces { pid: 4_026_531_836, ..Namespaces::default() },
        tree: None,
        parent_id: parent.as_ref().map(|parent| parent.exec_id),
        parent,
    }
}

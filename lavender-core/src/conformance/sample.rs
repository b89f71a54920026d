//! Events, processes and alerts to test with: every kind, every extreme, the same for the same seed.

mod agent;
mod alert;
mod files;
mod network;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::event::{
    Arguments, Container, Credentials, DnsAnswer, DnsData, DnsQuery, DnsRecordType,
    DnsResponseCode, Event, EventData, EventKind, Executable, ExecutableHash, Exit, ExitStatus,
    FileOpen, Fork, LossStage, Namespaces, OpenFlags, Pod, Process, QosClass, SyscallResult,
    Terminal, Undescribed, Unhashed,
};
use crate::{
    AgentId, AgentIdentity, AlertId, BootId, BootTime, ByteString, Captured, ExecId, Origin,
    ProcessId, Provenance, Sequencer, TenantId, Timestamp,
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

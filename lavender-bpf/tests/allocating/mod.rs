//! Records as probes write them, and an assembler whose events are on their way for a while.
#![allow(clippy::unwrap_used, clippy::redundant_pub_crate)]

use std::collections::VecDeque;
use std::sync::Arc;

use lavender_bpf::assemble::{Assembler, BatchInput};
use lavender_bpf::host::{
    ContainerDescription, DescribeAnswer, ExecutableFile, FoundProcess, HashAnswer, HashCause, Host,
};
use lavender_bpf::record::{
    ArgumentsRecord, BpfRecord, ChangeRecord, ConnectRecord, CredentialsRecord, DnsRecord,
    ExecFailedRecord, ExitRecord, ForkRecord, IoUringRecord, ListenRecord, MemoryRecord,
    MountRecord, NamespaceRecord, OpenRecord, Place, ProgramRecord, RecordHeader, SignalRecord,
    THROTTLED, TamperRecord, TaskBody, ThrottledRecord, change, flag, kind, object, tamper,
};
use lavender_core::event::{
    Container, EventBatch, EventKind, ExecutableHash, Process, Undescribed,
};
use lavender_core::{AgentId, BootId, BootTime, ByteString, Origin, ProcessId, TenantId};
use zerocopy::{Immutable, IntoBytes};

/// How many batches are on their way at once.
const BATCHES: usize = 3;

/// The process that acts, and the one that is acted on.
pub(crate) const ACTOR: u32 = 77;
const TARGET: u32 = 78;

/// A host of one container, in which everything runs: it is described when it has been asked for.
#[derive(Debug, Default)]
pub(crate) struct OneContainer {
    asked: Option<Arc<str>>,
}

const CGROUP: &str =
    "/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/init.scope";

impl Host for OneContainer {
    fn user(&mut self, _uid: u32) -> Option<Arc<str>> {
        None
    }

    fn group(&mut self, _gid: u32) -> Option<Arc<str>> {
        None
    }

    fn cgroup(&mut self, _id: u64, _process: ProcessId) -> Option<Arc<str>> {
        Some(CGROUP.into())
    }

    fn arguments(&mut self, _process: ProcessId) -> Option<ByteString> {
        None
    }

    fn process(&mut self, _process: ProcessId) -> Option<FoundProcess> {
        None
    }

    fn hash(&mut self, _: ExecutableFile, _process: &Process, _: HashCause) -> HashAnswer {
        HashAnswer::Off
    }

    fn take_hashes(&mut self) -> Vec<(ExecutableFile, ExecutableHash)> {
        Vec::new()
    }

    fn describe(&mut self, container: &Container) -> DescribeAnswer {
        self.asked = Some(Arc::clone(&container.id));
        DescribeAnswer::Coming
    }

    fn take_descriptions(&mut self) -> Vec<(Arc<str>, Result<ContainerDescription, Undescribed>)> {
        let Some(id) = self.asked.take() else { return Vec::new() };
        let image = Some("nginx:1.27".into());
        vec![(id, Ok(ContainerDescription { image, ..ContainerDescription::default() }))]
    }
}

/// An assembler, and whoever takes its events: a few batches behind.
pub(crate) struct Run {
    pub(crate) assembler: Assembler<OneContainer>,
    origin: Origin,
    on_their_way: VecDeque<EventBatch>,
    now_ns: u64,
}

impl Run {
    /// One that knows the process that acts and the one that is acted on.
    pub(crate) fn new() -> Self {
        let boot = BootId::from_u128(1);
        let mut run = Self {
            assembler: Assembler::new(boot, OneContainer::default()),
            origin: Origin::new(&TenantId::default(), &AgentId::new("test").unwrap(), boot),
            on_their_way: (0..BATCHES).map(|_| EventBatch::default()).collect(),
            now_ns: 1_000_000_000_000,
        };
        run.batch(&[exec(ACTOR, "/usr/bin/actor"), exec(TARGET, "/usr/bin/target")].concat());
        // By now it is known of what image the container was made that they run in.
        let told = run.batch(&exec(ACTOR, "/usr/bin/actor"));
        let container = told.events[0].process.as_ref().unwrap().container.as_ref().unwrap();
        assert_eq!(container.image.as_deref(), Some("nginx:1.27"));
        run
    }

    /// Makes the events of some records where those of a few batches ago were, which are let go of. Eleven seconds after
    /// the batch before: whatever waits or is kept for a while has waited or been kept for long enough.
    pub(crate) fn batch(&mut self, records: &[u8]) -> &EventBatch {
        self.now_ns += 11_000_000_000;
        let input = BatchInput {
            drained_at: BootTime::from_nanos(self.now_ns),
            records,
            ..BatchInput::default()
        };
        let mut batch = self.on_their_way.pop_front().unwrap();
        let origin = self.origin;
        self.assembler.assemble_into(input, |_| (origin, 1), &mut batch);
        self.on_their_way.push_back(batch);
        self.on_their_way.back().unwrap()
    }
}

/// A record with its strings, and its true length.
fn record<T: IntoBytes + Immutable>(fixed: &T, strings: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [fixed.as_bytes(), &strings.concat()].concat();
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

pub(crate) fn header(kind: u16, pid: u32) -> RecordHeader {
    RecordHeader {
        kind: kind.into(),
        boot_ns: 5_000.into(),
        start_ns: 1_000.into(),
        tgid: pid.into(),
        tid: pid.into(),
        generation: 3.into(),
        ..RecordHeader::default()
    }
}

/// A path as the kernel walks it: from the leaf up.
fn walk(path: &str) -> Vec<u8> {
    path.split('/')
        .rev()
        .filter(|name| !name.is_empty())
        .flat_map(|n| [n, "\0"].concat().into_bytes())
        .collect()
}

const fn length(bytes: &[u8]) -> zerocopy::little_endian::U16 {
    zerocopy::little_endian::U16::new(bytes.len() as u16)
}

pub(crate) fn exec(pid: u32, path: &str) -> Vec<u8> {
    let (name, program, directory) = ([path, "\0"].concat(), walk(path), b"tmp\0");
    let arguments = b"program\0--with\0arguments\0";
    let fixed = ProgramRecord {
        header: header(kind::EXEC, pid),
        arguments_total: (arguments.len() as u32).into(),
        arguments_length: (arguments.len() as u32).into(),
        name_length: length(name.as_bytes()),
        program_length: length(&program),
        directory_length: length(directory),
        ..ProgramRecord::default()
    };
    record(&fixed, &[name.as_bytes(), &program, directory, arguments])
}

pub(crate) fn fork(pid: u32) -> Vec<u8> {
    let task = TaskBody {
        parent_start_ns: 1_000.into(),
        parent_tgid: ACTOR.into(),
        parent_generation: 3.into(),
        ..TaskBody::default()
    };
    record(&ForkRecord { header: header(kind::FORK, pid), task }, &[])
}

pub(crate) fn exit(pid: u32) -> Vec<u8> {
    record(&ExitRecord { header: header(kind::EXIT, pid), ..ExitRecord::default() }, &[])
}

/// More of the arguments of an exec that has them all.
pub(crate) fn arguments(pid: u32) -> Vec<u8> {
    record(&ArgumentsRecord { header: header(kind::ARGUMENTS, pid), ..Default::default() }, &[])
}

fn change(kind: u16, what: u32, path: &str) -> Vec<u8> {
    let (walk, name) = (walk(path), b"a/../new\0");
    let place = Place { walk_length: length(&walk), name_length: length(name), ..Place::default() };
    let fixed = ChangeRecord {
        header: header(kind, ACTOR),
        what: what.into(),
        places: [place; 2],
        ..ChangeRecord::default()
    };
    record(&fixed, &[&walk, name, &walk, name])
}

/// An IPv4 socket with this protocol.
fn socket(kind: u16, protocol: u16) -> ConnectRecord {
    ConnectRecord {
        header: header(kind, ACTOR),
        family: 2.into(),
        protocol: protocol.into(),
        source_port: 40_000.into(),
        destination_port: 53.into(),
        source: [127; 16],
        destination: [192; 16],
        ..ConnectRecord::default()
    }
}

/// A question about a name, or its answer with an address, a name and a text.
fn dns(protocol: u16, name: &str, is_answer: bool) -> Vec<u8> {
    let flags = if is_answer { 0x8180 } else { 0x0100_u16 };
    let answers: u16 = if is_answer { 3 } else { 0 };
    let mut message = [7, flags, 1, answers, 0, 0].map(u16::to_be_bytes).concat();
    for label in name.as_bytes().chunks(50) {
        message.push(label.len() as u8);
        message.extend_from_slice(label);
    }
    message.extend_from_slice(b"\0\0\x01\0\x01");
    if is_answer {
        for (of, data) in [(1, &[192, 0, 2, 7][..]), (5, b"\x03www\xc0\x0c"), (16, b"\x02v=\x01x")]
        {
            message.extend_from_slice(&[0xc0, 12, 0, of, 0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
            message.extend_from_slice(data);
        }
    }
    let in_stream = (message.len() as u16).to_be_bytes();
    let before = if protocol == 6 { &in_stream[..] } else { &[] };
    let total = (before.len() + message.len()) as u32;
    let fixed = DnsRecord {
        socket: socket(kind::DNS, protocol),
        length: total.into(),
        total: total.into(),
        received: u32::from(is_answer).into(),
        ..DnsRecord::default()
    };
    record(&fixed, &[before, &message])
}

fn tampering(kind: u16, number: u32, path: &str) -> Vec<u8> {
    let (walk, name) = (walk(path), b"name or parameters\0");
    let fixed = TamperRecord {
        header: header(kind, ACTOR),
        target_start_ns: 1_000.into(),
        target_tgid: TARGET.into(),
        target_generation: 3.into(),
        number: number.into(),
        walk_length: length(&walk),
        name_length: length(name),
        ..TamperRecord::default()
    };
    record(&fixed, &[&walk, name])
}

/// A process that waits for connections.
pub(crate) fn listen(pid: u32) -> Vec<u8> {
    let socket = ConnectRecord { header: header(kind::LISTEN, pid), ..socket(kind::LISTEN, 6) };
    record(&ListenRecord { socket, ..ListenRecord::default() }, &[])
}

/// A change of ids after which the process acts as this user.
pub(crate) fn credentials(uid: u32) -> Vec<u8> {
    let header = RecordHeader { uid: uid.into(), ..header(kind::CREDENTIALS, ACTOR) };
    record(&CredentialsRecord { header, ..CredentialsRecord::default() }, &[])
}

/// A call after which the process is in this namespace of mounts.
pub(crate) fn namespace(ns_mnt: u32) -> Vec<u8> {
    let task = TaskBody { ns_mnt: ns_mnt.into(), ..TaskBody::default() };
    let header = header(kind::NAMESPACE, ACTOR);
    record(&NamespaceRecord { header, call: 1.into(), task, ..NamespaceRecord::default() }, &[])
}

/// Records of acts of known processes that become events of this kind, by every way that there is, and how many events;
/// `None` for kinds that the sensor does not make. What the act is about has this path, or name.
pub(crate) fn act(of: EventKind, path: &str) -> Option<(Vec<u8>, usize)> {
    let walk = walk(path);
    let (walk_length, name) = (length(&walk), b"../name\0");
    let name_length = length(name);
    let records: Vec<Vec<u8>> = match of {
        // Of processes that are made for it: see where it is called.
        EventKind::Exit => return None,
        EventKind::FileOpen => {
            [flag::WALK_IS_FILE, 0, flag::NAME_IN_ROOT, flag::WALK_CUT, flag::NAME_UNREADABLE]
                .map(|flags| {
                    let header = RecordHeader { flags: flags.into(), ..header(kind::OPEN, ACTOR) };
                    record(
                        &OpenRecord { header, walk_length, name_length, ..OpenRecord::default() },
                        &[&walk, name],
                    )
                })
                .into()
        }
        EventKind::FileDelete => vec![change(kind::DELETE, 0, path)],
        EventKind::FileRename => vec![change(kind::RENAME, 0, path)],
        EventKind::FileLink => {
            vec![change(kind::LINK, 0, path), change(kind::LINK, change::SYMBOLIC, path)]
        }
        EventKind::FileMode => vec![change(kind::MODE, change::MODE, path)],
        EventKind::NetConnect => vec![record(&socket(kind::CONNECT, 6), &[])],
        EventKind::NetBind => vec![record(&socket(kind::BIND, 6), &[])],
        EventKind::NetListen => {
            let socket = socket(kind::LISTEN, 6);
            vec![record(&ListenRecord { socket, ..ListenRecord::default() }, &[])]
        }
        EventKind::NetAccept => vec![record(&socket(kind::ACCEPT, 6), &[])],
        EventKind::NetSend => vec![record(&socket(kind::SEND, 17), &[])],
        EventKind::DnsQuery => {
            // A name has at most 255 bytes.
            let path = &path[path.len().saturating_sub(200)..];
            // Two are answered, and one is given up. What a message has more than a datagram is in streams.
            let question = dns(17, path, false);
            let answered =
                [question.clone(), dns(17, path, true), dns(6, path, false), dns(6, path, true)];
            return Some(([answered.concat(), question].concat(), 3));
        }
        EventKind::ExecFailed => {
            let arguments = [path.as_bytes(), b"\0-v\0"].concat();
            let header = RecordHeader {
                flags: flag::WALK_IS_FILE.into(),
                ..header(kind::EXEC_FAILED, ACTOR)
            };
            let arguments_length = length(&arguments);
            let fixed = ExecFailedRecord {
                header,
                walk_length,
                arguments_length,
                ..ExecFailedRecord::default()
            };
            vec![record(&fixed, &[&walk, &arguments])]
        }
        EventKind::IoUring => [(18, 0), (36, 0), (16, 2)]
            .map(|(operation, family): (u32, u16)| {
                let fixed = IoUringRecord {
                    header: header(kind::IO_URING, ACTOR),
                    operation: operation.into(),
                    family: family.into(),
                    walk_length,
                    name_length,
                    ..IoUringRecord::default()
                };
                record(&fixed, &[&walk, name])
            })
            .into(),
        EventKind::Signal => {
            let fixed = SignalRecord {
                header: header(kind::SIGNAL, ACTOR),
                target_start_ns: 1_000.into(),
                target_tgid: TARGET.into(),
                target_generation: 3.into(),
                ..SignalRecord::default()
            };
            vec![record(&fixed, &[])]
        }
        EventKind::Ptrace => vec![tampering(kind::PTRACE, 16, "")],
        EventKind::ProcessVmWrite => vec![tampering(kind::VM_WRITE, 0, "")],
        EventKind::MemfdCreate => {
            vec![tampering(kind::MEMFD, 1, ""), tampering(kind::SECRET, 0, "")]
        }
        EventKind::ModuleLoad => vec![
            tampering(kind::MODULE, tamper::MODULE_BY_DESCRIPTOR, path),
            tampering(kind::MODULE, 0, ""),
        ],
        // That leave the process as it was.
        EventKind::CredChange => vec![credentials(0)],
        EventKind::NsChange => vec![namespace(0)],
        EventKind::Bpf => [5, 6]
            .map(|command: u32| {
                let fixed = BpfRecord {
                    header: header(kind::BPF, ACTOR),
                    command: command.into(),
                    object: object::PROGRAM.into(),
                    name: *b"filter_all\0\0\0\0\0\0",
                    walk_length,
                    name_length,
                    ..BpfRecord::default()
                };
                record(&fixed, &[&walk, name])
            })
            .into(),
        EventKind::Mount => [0_u64, 0x1000]
            .map(|flags| {
                let place = Place { walk_length, name_length, ..Place::default() };
                let mut filesystem = [0; 32];
                filesystem[..5].copy_from_slice(b"tmpfs");
                let fixed = MountRecord {
                    header: header(kind::MOUNT, ACTOR),
                    flags: flags.into(),
                    call: 1.into(),
                    places_there: 3.into(),
                    filesystem,
                    places: [place; 2],
                    ..MountRecord::default()
                };
                record(&fixed, &[&walk, name, &walk, name])
            })
            .into(),
        EventKind::MemoryProtect => [0, 1]
            .map(|anonymous: u32| {
                let fixed = MemoryRecord {
                    header: header(kind::MEMORY, ACTOR),
                    call: 1.into(),
                    anonymous: anonymous.into(),
                    walk_length,
                    ..MemoryRecord::default()
                };
                record(&fixed, &[&walk])
            })
            .into(),
        EventKind::Lost => {
            let header = header(THROTTLED, ACTOR);
            let of_kind = u32::from(kind::OPEN).into();
            vec![record(&ThrottledRecord { header, of_kind, ..ThrottledRecord::default() }, &[])]
        }
        _ => return None,
    };
    let events = records.len();
    Some((records.concat(), events))
}

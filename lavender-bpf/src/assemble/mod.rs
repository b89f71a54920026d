//! From records to events: who did it, with what arguments, below whom.
//!
//! What comes out depends on what goes in and on nothing else: no clock is read and nothing is asked but the
//! [`Host`], so that a capture, which holds both, gives the same events again.

mod arguments;
mod credentials;
mod describe;
mod exec_failed;
mod hash;
mod held;
mod io_uring;
mod kernel;
mod known;
mod look_up;
mod names;
mod observe;
mod snapshot;
mod socket;
mod tamper;
mod target;
mod throttled;

use std::collections::VecDeque;
use std::sync::Arc;

use lavender_core::event::{Event, EventBatch, EventData, EventKind, Loss, LossStage, Process};
use lavender_core::{BootDigest, BootId, BootTime, ExecId, Origin, ProcessId};

use self::arguments::PendingArguments;
use self::hash::Hashes;
pub use self::held::Held;
use self::look_up::Questions;
use self::names::Names;
use crate::decode::{Record, Records, decode};
use crate::host::Host;
use crate::process_table::ProcessTable;
use crate::record::{RecordHeader, kind};

/// The most processes that are known at once, those that ended of late included.
const PROCESSES_MAX: usize = 65_536;

/// How often a record waits for the next batch because its process is not known yet, before the host is asked.
const WAITS_MAX: u8 = 2;

/// The most bytes of records that wait.
const WAITING_MAX_BYTES: usize = 8 << 20;

/// One reading of the rings.
#[derive(Clone, Debug, Default)]
pub struct BatchInput<'a> {
    /// When the rings were read.
    pub drained_at: BootTime,
    /// What the wall clock was ahead of the boot clock, in ns.
    pub wall_offset_ns: i64,
    /// The records of a snapshot, and when it was begun, where one was taken.
    pub snapshot: Option<(BootTime, &'a [u8])>,
    /// The records of all rings, one after the other, in any order.
    pub records: &'a [u8],
    /// What was lost in the kernel since the last batch.
    pub lost: Vec<Loss>,
    /// Nothing will follow: nothing waits for more.
    pub last: bool,
}

/// Makes events of records.
///
/// ```
/// use lavender_bpf::assemble::{Assembler, BatchInput};
/// use lavender_bpf::host::NoHost;
/// use lavender_core::{AgentId, BootId, Origin, TenantId};
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let boot = BootId::from_u128(7);
/// let origin = Origin::new(&TenantId::default(), &AgentId::new("web-1")?, boot);
/// let mut assembler = Assembler::new(boot, NoHost);
/// let batch = assembler.assemble(BatchInput::default(), |_count| (origin, 1));
/// assert!(batch.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Assembler<H> {
    boot: BootDigest,
    host: H,
    names: Names,
    processes: ProcessTable,
    pending: PendingArguments,
    questions: Questions,
    hashes: Hashes,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// The process of the last record: most records come in runs.
    last: Option<(ExecId, Arc<Process>)>,
}

/// A record whose process is not known yet.
#[derive(Debug)]
struct Waiting {
    waits: u8,
    record: Vec<u8>,
}

/// What is known while one batch is assembled.
struct Batch {
    drained_at: BootTime,
    wall_offset_ns: i64,
    last: bool,
    /// In the order in which they were found.
    events: Vec<Draft>,
}

/// An event that has no number yet: those are drawn when the batch is whole and in order.
#[derive(Debug)]
struct Draft {
    boot_time: BootTime,
    tid: u32,
    process: Arc<Process>,
    data: EventData,
}

impl Batch {
    const fn may_wait(&self, waits: u8) -> bool {
        waits < WAITS_MAX && !self.last
    }

    fn push(&mut self, header: &RecordHeader, process: Arc<Process>, data: EventData) {
        let boot_time = BootTime::from_nanos(header.boot_ns.get());
        self.events.push(Draft { boot_time, tid: header.tid.get(), process, data });
    }
}

impl<H: Host> Assembler<H> {
    /// An assembler that knows no process yet.
    pub fn new(boot: BootId, host: H) -> Self {
        Self {
            boot: BootDigest::new(boot),
            host,
            names: Names::default(),
            processes: ProcessTable::new(PROCESSES_MAX),
            pending: PendingArguments::default(),
            questions: Questions::default(),
            hashes: Hashes::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last: None,
        }
    }

    /// The host that it asks.
    pub const fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }

    /// Whether records wait for the next batch, which should then come soon though it be empty.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.pending.is_empty()
    }

    /// Whether execs wait for the hash of their program, which may come though no record does.
    pub fn awaits_hashes(&self) -> bool {
        self.hashes.held() > 0
    }

    /// Makes the events of one batch, in the order in which they happened. `number` is called once, with how
    /// many events there are, and gives their origin and the sequence number of the first.
    ///
    /// Costs some hundred ns an event.
    pub fn assemble(
        &mut self,
        input: BatchInput<'_>,
        number: impl FnOnce(u64) -> (Origin, u64),
    ) -> EventBatch {
        let mut lost = input.lost;
        let mut batch = Batch {
            drained_at: input.drained_at,
            wall_offset_ns: input.wall_offset_ns,
            last: input.last,
            events: Vec::new(),
        };
        self.take_hashes(&mut batch);
        if let Some((at, records)) = input.snapshot {
            let damaged = self.take_snapshot(at, records, &batch);
            push_damaged(&mut lost, damaged);
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let (records, damaged) = in_order(&waiting, input.records);
        push_damaged(&mut lost, damaged);
        batch.events.reserve(records.len());
        for incoming in &records {
            self.take(&mut batch, incoming);
        }
        if input.last {
            self.finish_all_arguments(&mut batch);
        }
        self.finish_stale_arguments(&mut batch);
        self.finish_questions(&mut batch);
        self.finish_held(&mut batch);
        self.processes.expire(input.drained_at);
        EventBatch { events: numbered(batch, number), lost }
    }

    fn take(&mut self, batch: &mut Batch, incoming: &Incoming<'_>) {
        let Incoming { waits, bytes, record } = *incoming;
        let header = record.header();
        if !matches!(record, Record::Arguments(..)) {
            // A process that does the next thing has written all its arguments: what is missing is lost.
            self.finish_arguments_of(batch, self.process_id(header));
        }
        match record {
            Record::Exec(program) => self.exec(batch, bytes, &program),
            Record::Arguments(part, bytes) => self.arguments(batch, part, bytes),
            Record::Fork(fork) => self.fork(batch, fork),
            Record::Exit(exit) => self.exit(batch, exit),
            Record::Open(open) => {
                if let Some(process) = self.actor(batch, header, waits) {
                    batch.push(header, process, observe::open(&open));
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::Change(change) => {
                if let Some(process) = self.actor(batch, header, waits) {
                    batch.push(header, process, observe::changed(&change));
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::Connect(connect) => {
                // Another address family never leaves the kernel.
                let Some(data) = observe::connect(connect) else { return };
                if let Some(process) = self.actor(batch, header, waits) {
                    batch.push(header, process, data);
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::Socket(record) => {
                self.of_actor(batch, incoming, socket::socket(record));
            }
            Record::Listen(listen) => self.of_actor(batch, incoming, socket::listens(listen)),
            Record::IoUring(request) => {
                self.of_actor(batch, incoming, io_uring::requested(&request));
            }
            Record::Dns(dns) => {
                let Some(message) = look_up::read(&dns) else { return };
                if let Some(process) = self.actor(batch, header, waits) {
                    self.look_up(batch, header, process, message);
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::ExecFailed(failed) => {
                self.of_actor(batch, incoming, Some(exec_failed::exec_failed(&failed)));
            }
            Record::Signal(signal) => {
                if let Some(process) = self.actor(batch, header, waits) {
                    let data = self.signal(signal);
                    batch.push(header, process, data);
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::Tamper(tamper) => {
                if let Some(process) = self.actor(batch, header, waits) {
                    let data = self.tampered(&tamper);
                    batch.push(header, process, data);
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::Credentials(record) => {
                // Looked up first: the actor has the ids of after the call.
                let before = self.credentials_before(header);
                if let Some(process) = self.actor(batch, header, waits) {
                    batch.push(header, process, credentials::changed(record, before));
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::Throttled(record) => match self.throttled(batch, header, waits) {
                Some(process) => batch.push(header, process, throttled::throttled(record)),
                None => self.wait(waits, bytes),
            },
            Record::Bpf(bpf) => self.of_actor(batch, incoming, Some(kernel::bpf(&bpf))),
            Record::Mount(mount) => self.of_actor(batch, incoming, Some(kernel::mounted(&mount))),
            Record::Namespace(record) => self.namespaces_changed(batch, incoming, record),
            Record::Memory(record, walk) => {
                self.of_actor(batch, incoming, Some(kernel::memory(record, walk)));
            }
            // Stands in the snapshot's own part, never among the others.
            Record::Task(_) => {}
        }
    }

    /// What a process did, once it is known which it is. `None`: nothing that is an event.
    fn of_actor(&mut self, batch: &mut Batch, incoming: &Incoming<'_>, data: Option<EventData>) {
        let Some(data) = data else { return };
        let header = incoming.record.header();
        match self.actor(batch, header, incoming.waits) {
            Some(process) => batch.push(header, process, data),
            None => self.wait(incoming.waits, incoming.bytes),
        }
    }

    /// Keeps a record for the next batch.
    fn wait(&mut self, waits: u8, bytes: &[u8]) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Waiting { waits: waits + 1, record: bytes.to_vec() });
    }

    /// Puts a process, or another state of one, into the table.
    fn keep(&mut self, process: &Arc<Process>) {
        if self.last.as_ref().is_some_and(|(last, _)| *last == process.exec_id) {
            self.last = None;
        }
        self.processes.insert(Arc::clone(process));
    }

    fn process_id(&self, header: &RecordHeader) -> ProcessId {
        ProcessId::with_boot_digest(self.boot, header.start_ns.get(), header.tgid.get())
    }

    fn exec_id(&self, header: &RecordHeader) -> ExecId {
        ExecId { process: self.process_id(header), generation: header.generation.get() }
    }

    /// The process that acts, as it was then; `None` when it is worth waiting for.
    fn actor(&mut self, batch: &Batch, header: &RecordHeader, waits: u8) -> Option<Arc<Process>> {
        let exec = self.exec_id(header);
        let known = match &self.last {
            Some((last, process)) if *last == exec => Some(Arc::clone(process)),
            _ => self.processes.with_program(exec).cloned(),
        };
        let process = match known {
            Some(process) => process,
            None if batch.may_wait(waits) && self.waiting_bytes < WAITING_MAX_BYTES => return None,
            None => self.find(batch, header),
        };
        let process = self.with_credentials(batch, process, header);
        self.last = Some((exec, Arc::clone(&process)));
        Some(process)
    }
}

fn push_damaged(lost: &mut Vec<Loss>, damaged: u64) {
    if damaged > 0 {
        lost.push(Loss::new(LossStage::Decode, EventKind::Unknown, damaged));
    }
}

/// A record of the batch, and how often it has waited.
struct Incoming<'a> {
    waits: u8,
    bytes: &'a [u8],
    record: Record<'a>,
}

/// All records of a batch by time, and how many could not be read.
fn in_order<'a>(waiting: &'a VecDeque<Waiting>, bytes: &'a [u8]) -> (Vec<Incoming<'a>>, u64) {
    let mut damaged = 0;
    let mut records: Vec<Incoming<'a>> = waiting
        .iter()
        .filter_map(|Waiting { waits, record: bytes }| {
            Some(Incoming { waits: *waits, bytes, record: decode(bytes).ok()? })
        })
        .collect();
    for record in Records::new(bytes) {
        match record {
            Ok((bytes, record)) => records.push(Incoming { waits: 0, bytes, record }),
            Err(_) => damaged += 1,
        }
    }
    // Equal times: process life first. The sort is stable, and each ring is nearly in order already.
    records.sort_by_key(|incoming| {
        let header = incoming.record.header();
        let late = matches!(
            header.kind.get(),
            kind::OPEN
                | kind::CONNECT
                | kind::DELETE
                | kind::RENAME
                | kind::LINK
                | kind::MODE
                | kind::SIGNAL
                | kind::BIND
                | kind::LISTEN
                | kind::ACCEPT
                | kind::EXEC_FAILED
                | kind::SEND
                | kind::DNS
                | kind::IO_URING
                | kind::PTRACE
                | kind::VM_WRITE
                | kind::MEMFD
                | kind::SECRET
                | kind::MODULE
                | kind::CREDENTIALS
                | kind::BPF
                | kind::MOUNT
                | kind::NAMESPACE
                | kind::MEMORY
        );
        (header.boot_ns.get(), late)
    });
    (records, damaged)
}

fn numbered(batch: Batch, number: impl FnOnce(u64) -> (Origin, u64)) -> Vec<Arc<Event>> {
    let Batch { mut events, wall_offset_ns, .. } = batch;
    if events.is_empty() {
        return Vec::new();
    }
    // An exec whose arguments came in parts stands where the last of them came.
    events.sort_by_key(|event| event.boot_time);
    let (origin, first) = number(events.len() as u64);
    let number = |(event, sequence): (Draft, u64)| {
        Arc::new(Event {
            id: origin.event(sequence),
            observed_at: event.boot_time.to_wall(wall_offset_ns),
            boot_time: event.boot_time,
            tid: event.tid,
            process: Some(event.process),
            data: event.data,
        })
    };
    events.into_iter().zip(first..).map(number).collect()
}

//! From records to events: who did it, with what arguments, below whom.
//!
//! What comes out depends on what goes in and on nothing else: no clock is read and nothing is asked but the
//! [`Host`], so that a capture, which holds both, gives the same events again.

mod arguments;
mod containers;
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
mod order;
mod pool;
mod snapshot;
mod socket;
mod tamper;
mod target;
mod throttled;

use std::collections::VecDeque;
use std::sync::Arc;

use lavender_core::event::{Event, EventBatch, EventData, EventKind, Loss, LossStage, Process};
use lavender_core::{BootDigest, BootId, BootTime, EventId, ExecId, Origin, ProcessId};

use self::arguments::PendingArguments;
use self::containers::Containers;
use self::hash::Hashes;
pub use self::held::Held;
use self::look_up::Questions;
use self::names::Names;
use self::order::{Incoming, Order};
use self::pool::EventPool;
use crate::decode::Record;
use crate::host::Host;
use crate::process_table::ProcessTable;
use crate::record::RecordHeader;
use crate::texts::Texts;

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
    containers: Containers,
    processes: ProcessTable,
    pending: PendingArguments,
    questions: Questions,
    hashes: Hashes,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Where the texts of events are written.
    texts: Texts,
    /// In whose memory events are made, between two batches.
    pool: EventPool,
    /// The order of the records of a batch; kept for its room.
    order: Order,
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
    /// In the order in which they were found. They have no numbers yet: those are drawn when the batch is whole and in
    /// order.
    events: Vec<Arc<Event>>,
    pool: EventPool,
}

/// An event that is not told yet.
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
        self.tell(Draft { boot_time, tid: header.tid.get(), process, data });
    }

    fn tell(&mut self, Draft { boot_time, tid, process, data }: Draft) {
        let event = self.pool.make(Event {
            id: EventId::UNNUMBERED,
            observed_at: boot_time.to_wall(self.wall_offset_ns),
            boot_time,
            tid,
            process: Some(process),
            data,
        });
        self.events.push(event);
    }
}

impl<H: Host> Assembler<H> {
    /// An assembler that knows no process yet.
    pub fn new(boot: BootId, host: H) -> Self {
        Self {
            boot: BootDigest::new(boot),
            host,
            names: Names::default(),
            containers: Containers::default(),
            processes: ProcessTable::new(PROCESSES_MAX),
            pending: PendingArguments::default(),
            questions: Questions::default(),
            hashes: Hashes::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            texts: Texts::default(),
            pool: EventPool::default(),
            order: Order::default(),
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
    /// Costs some hundred ns an event, and one allocation for each batch: see [`assemble_into`](Self::assemble_into).
    pub fn assemble(
        &mut self,
        input: BatchInput<'_>,
        number: impl FnOnce(u64) -> (Origin, u64),
    ) -> EventBatch {
        let mut batch = EventBatch::default();
        self.assemble_into(input, number, &mut batch);
        batch
    }

    /// As [`assemble`](Self::assemble), into a batch whose room is used again; what it held is let go of.
    ///
    /// Once as many events are on their way as there will be, this allocates nothing: events and their texts are written
    /// where those stood that nobody has any more. That holds for what known processes do, whatever the files are that
    /// they do it with. A new process allocates, and so does a new state of one: an exec, other credentials or namespaces;
    /// a record that waits for its process; a loss; more than 16,384 events, or 2 MiB of texts of about the same length,
    /// that are on their way at once.
    pub fn assemble_into(
        &mut self,
        input: BatchInput<'_>,
        number: impl FnOnce(u64) -> (Origin, u64),
        into: &mut EventBatch,
    ) {
        into.events.clear();
        into.lost.clear();
        into.lost.extend(input.lost);
        self.take_back();
        let mut batch = Batch {
            drained_at: input.drained_at,
            wall_offset_ns: input.wall_offset_ns,
            last: input.last,
            events: std::mem::take(&mut into.events),
            pool: std::mem::take(&mut self.pool),
        };
        self.take_descriptions();
        self.take_hashes(&mut batch);
        if let Some((at, records)) = input.snapshot {
            let damaged = self.take_snapshot(at, records, &batch);
            push_damaged(&mut into.lost, damaged);
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let mut order = std::mem::take(&mut self.order);
        let damaged = order.sort(&waiting, input.records);
        push_damaged(&mut into.lost, damaged);
        batch.events.reserve(order.len());
        for incoming in order.records(&waiting, input.records) {
            self.take(&mut batch, &incoming);
        }
        order.shrink();
        self.order = order;
        if input.last {
            self.finish_all_arguments(&mut batch);
        }
        self.finish_stale_arguments(&mut batch);
        self.finish_questions(&mut batch);
        self.finish_held(&mut batch);
        self.processes.expire(input.drained_at);
        let Batch { mut events, mut pool, .. } = batch;
        number_events(&mut events, number);
        pool.wait_for(&events);
        self.pool = pool;
        into.events = events;
    }

    /// Lets go of what events hold that nobody has any more. Each batch begins with it.
    pub(crate) fn take_back(&mut self) {
        self.pool.take_back();
        self.texts.take_back();
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
                    batch.push(header, process, observe::open(&mut self.texts, &open));
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::Change(change) => {
                if let Some(process) = self.actor(batch, header, waits) {
                    batch.push(header, process, observe::changed(&mut self.texts, &change));
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
                let data = io_uring::requested(&mut self.texts, &request);
                self.of_actor(batch, incoming, data);
            }
            Record::Dns(dns) => {
                let Some(message) = self.read_message(batch, &dns) else { return };
                if let Some(process) = self.actor(batch, header, waits) {
                    self.look_up(batch, header, process, message);
                } else {
                    self.wait(waits, bytes);
                }
            }
            Record::ExecFailed(failed) => {
                let data = exec_failed::exec_failed(&mut self.texts, &failed);
                self.of_actor(batch, incoming, Some(data));
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
            Record::Bpf(bpf) => {
                let data = kernel::bpf(&mut self.texts, &bpf);
                self.of_actor(batch, incoming, Some(data));
            }
            Record::Mount(mount) => {
                let data = kernel::mounted(&mut self.texts, &mount);
                self.of_actor(batch, incoming, Some(data));
            }
            Record::Namespace(record) => self.namespaces_changed(batch, incoming, record),
            Record::Memory(record, walk) => {
                let data = kernel::memory(&mut self.texts, record, walk);
                self.of_actor(batch, incoming, Some(data));
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

/// Gives events their ids, and the order in which they happened.
fn number_events(events: &mut [Arc<Event>], number: impl FnOnce(u64) -> (Origin, u64)) {
    if events.is_empty() {
        return;
    }
    let (origin, first) = number(events.len() as u64);
    // An exec whose arguments came in parts stands where the last of them came.
    if !events.is_sorted_by_key(|event| event.boot_time) {
        // Of equal times the one that was found first, without a sort that allocates.
        set_ids(events, origin, 0);
        events.sort_unstable_by_key(|event| (event.boot_time, event.id));
    }
    set_ids(events, origin, first);
}

fn set_ids(events: &mut [Arc<Event>], origin: Origin, first: u64) {
    for (event, sequence) in events.iter_mut().zip(first..) {
        // Nobody else has it yet.
        if let Some(event) = Arc::get_mut(event) {
            event.id = origin.event(sequence);
        }
    }
}

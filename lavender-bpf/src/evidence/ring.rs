//! The most recent batches, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use lavender_core::event::Process;

use super::met::{Met, Mets, known_before};
use crate::capture::{BatchMeta, CaptureHeader, Known};
use crate::host::{Fact, FactKey};

/// What a batch takes beside its records, and each process that it met, in bytes: about what they have.
const BATCH_BYTES: usize = 512;
const MET_BYTES: usize = 1_024;
const FACT_BYTES: usize = 256;

/// The most batches that are kept, however small they are.
const BATCHES_MAX: usize = 16_384;

/// The most answers of the host that are kept of batches that are gone: more than a host has users, groups and control
/// groups in use.
const FACTS_MAX: usize = 32_768;

/// One reading of the rings.
#[derive(Debug)]
pub(crate) struct KeptBatch {
    pub(super) meta: BatchMeta,
    pub(super) records: Box<[u8]>,
    /// Its events rest on records of batches before it.
    pub(super) carries: bool,
    mets: Vec<Met>,
    bytes: usize,
}

impl KeptBatch {
    /// Whether the event of this number is here or behind it. The last batch of which that is so has the event, or, where no
    /// record made it (what is told to the sensor, a loss), what was seen just before it.
    const fn begins_before(&self, sequence: u64) -> bool {
        self.meta.events > 0 && self.meta.first_sequence <= sequence
    }
}

/// The most recent records, as the kernel wrote them, with what a replay of them needs. Clones share it: one is for the
/// [sensor](crate::SensorBuilder::with_evidence), which fills it, one for the stage that writes it out.
///
/// It takes so many bytes at the most, about: the oldest batches go first. Where one reading of the rings alone is more,
/// nothing is kept of it. Filling it costs a copy of the records, and a few allocations each time that the rings are read.
#[derive(Clone, Debug)]
pub struct EvidenceRing {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    max_bytes: usize,
    bytes: usize,
    header: Option<CaptureHeader>,
    batches: VecDeque<Arc<KeptBatch>>,
    /// What the host said while batches were read that are gone.
    facts: Arc<BTreeMap<FactKey, Fact>>,
}

impl EvidenceRing {
    /// An empty one, of so many bytes at the most.
    pub fn new(max_bytes: usize) -> Self {
        let inner = Inner {
            max_bytes,
            bytes: 0,
            header: None,
            batches: VecDeque::new(),
            facts: Arc::default(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// How many bytes it takes now, about.
    pub fn bytes(&self) -> usize {
        self.with(|inner| inner.bytes)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A sensor begins to fill it.
    pub(crate) fn begin(&self, header: CaptureHeader) {
        self.with(|inner| {
            inner.header = Some(CaptureHeader { midway: true, ..header });
            inner.batches.clear();
            inner.bytes = 0;
        });
    }

    /// Takes a batch. `carries`: its events rest on records of batches before it.
    pub(crate) fn push(&self, meta: &BatchMeta, records: &[u8], carries: bool, mets: &mut Mets) {
        let mets = mets.take();
        let bytes = records.len()
            + BATCH_BYTES
            + meta.facts.len() * FACT_BYTES
            + mets.iter().map(met_bytes).sum::<usize>();
        let batch = Arc::new(KeptBatch {
            meta: meta.clone(),
            records: records.into(),
            carries,
            mets,
            bytes,
        });
        self.with(|inner| inner.push(batch));
    }

    /// What it holds now, where the event with this number is among it, or came after it.
    pub(super) fn window(&self, sequence: u64) -> Option<Window> {
        self.with(|inner| {
            if !inner.batches.iter().any(|batch| batch.begins_before(sequence)) {
                return None;
            }
            Some(Window {
                header: inner.header.clone()?,
                batches: inner.batches.iter().cloned().collect(),
                facts: Arc::clone(&inner.facts),
            })
        })
    }
}

fn met_bytes(met: &Met) -> usize {
    match met {
        Met::Seen(_) => MET_BYTES,
        // Its arguments are kept alive here, twice: as they are, and joined.
        Met::Made(process) => MET_BYTES + 2 * process.arguments.value.raw().len(),
    }
}

impl Inner {
    fn push(&mut self, batch: Arc<KeptBatch>) {
        self.bytes += batch.bytes;
        self.batches.push_back(batch);
        while self.bytes > self.max_bytes || self.batches.len() > BATCHES_MAX {
            let Some(gone) = self.batches.pop_front() else { return };
            self.bytes -= gone.bytes;
            remember(&mut self.facts, &gone.meta.facts);
        }
    }
}

/// Keeps what the host said that later batches may rest on.
fn remember(kept: &mut Arc<BTreeMap<FactKey, Fact>>, facts: &[Fact]) {
    for fact in facts {
        let Some(key) = fact.lasting_key() else { continue };
        if kept.get(&key) == Some(fact) {
            continue;
        }
        let kept = Arc::make_mut(kept);
        if kept.len() < FACTS_MAX || kept.contains_key(&key) {
            kept.insert(key, fact.clone());
        }
    }
}

/// What a ring held at a moment.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) header: CaptureHeader,
    batches: Vec<Arc<KeptBatch>>,
    facts: Arc<BTreeMap<FactKey, Fact>>,
}

impl Window {
    /// The numbers of its first event and of the one behind its last.
    pub(super) fn sequences(&self) -> (u64, u64) {
        let batches = || self.batches.iter().filter(|batch| batch.meta.events > 0);
        let first = batches().next().map_or(0, |batch| batch.meta.first_sequence);
        let end = batches()
            .next_back()
            .map_or(0, |batch| batch.meta.first_sequence.saturating_add(batch.meta.events));
        (first, end)
    }

    /// Leaves out the first batches, where those behind can be told without them, until `keep` batches are left at the
    /// most; never the one with the event of this number.
    pub(super) fn begin_cleanly(&mut self, keep: usize, sequence: u64) {
        let wanted = self.batches.iter().rposition(|batch| batch.begins_before(sequence));
        let Some(wanted) = wanted else { return };
        let first = self.batches.len().saturating_sub(keep).min(wanted);
        let clean = (first..=wanted).find(|at| !self.batches[*at].carries);
        for gone in self.batches.drain(..clean.unwrap_or(first)) {
            remember(&mut self.facts, &gone.meta.facts);
        }
    }

    pub(super) fn batches(&self) -> &[Arc<KeptBatch>] {
        &self.batches
    }

    /// What is to be known before the first batch.
    pub(super) fn known(&self) -> Known {
        let mets = self.batches.iter().flat_map(|batch| &batch.mets);
        let processes: Vec<Arc<Process>> = known_before(mets);
        Known::new(&processes, self.facts.values().cloned().collect())
    }
}

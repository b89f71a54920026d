//! The live sensor: reads rings, assembles events, counts what was lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{EventBatch, EventKind, Undescribed, Unhashed};
use lavender_core::{BootTime, Clock, SensorPlan, Sequencer};
use rustix::thread::{MembarrierCommand, membarrier};

use super::filtered::Filtered;
use super::losses::{Losses, Lost};
use super::misses::Misses;
use super::object::{Loaded, load_what_loads, reason};
use super::plan::{Planned, left_out};
use super::rings::Rings;
use super::stats::{CaptureState, SensorStats, SharedStats};
use super::throttled::Throttled;
use super::{SensorBuilder, SensorError, snapshot};
use crate::assemble::{Assembler, BatchInput};
use crate::capture::{BatchMeta, CaptureHeader, CaptureWriter};
use crate::evidence::{EvidenceRing, Mets};
use crate::host::{Counts, LiveHost, Recorder};
use crate::record::RECORD_VERSION;
use crate::support::{Probe, ProbeReport, ProbeStatus};

/// How often the process table is rebuilt at the most, however much is lost.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// How often all counters are read at the least.
const COUNTERS_INTERVAL: Duration = Duration::from_millis(500);

/// How many records at a time are so many that the reader leaves them the whole interval to gather. To be woken costs more than
/// to read one, and the program that is watched pays for it too.
const MANY_RECORDS: u64 = 32;

/// By how much sooner it reads where there are fewer.
const FEW_SOONER: u32 = 5;

/// How records come, which says for how long the reader sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// None came for an interval: the next one is to wake the reader, which sleeps without a timer.
    Idle,
    /// Few at a time.
    Few,
    /// Many at a time.
    Many,
}

impl Pace {
    const fn of(records: u64) -> Self {
        match records {
            0 => Self::Idle,
            1..MANY_RECORDS => Self::Few,
            _ => Self::Many,
        }
    }
}

/// The live sensor, owned by one thread. Dropping it detaches and unloads the probes.
#[derive(Debug)]
pub struct Sensor {
    loaded: Loaded,
    rings: Rings,
    losses: Losses,
    misses: Misses,
    throttled: Throttled,
    planned: Planned,
    filtered: Arc<Filtered>,
    unhashed: Arc<Counts<Unhashed>>,
    undescribed: Arc<Counts<Undescribed>>,
    /// When the counters are to be read, though nothing came: they change without a record only where a probe
    /// could not read or did not run.
    counters_due: BootTime,
    assembler: Assembler<Recorder<LiveHost>>,
    ids: Sequencer,
    clock: Arc<dyn Clock>,
    drain_interval: Duration,
    capture: Option<CaptureWriter>,
    evidence: Option<EvidenceRing>,
    mets: Mets,
    probes: Vec<ProbeReport>,
    stats: Arc<SharedStats>,
    /// The bytes of the current batch; kept for their room.
    records: Vec<u8>,
    pace: Pace,
    snapshot_due: bool,
    snapshot_at: Option<BootTime>,
}

impl Sensor {
    pub(super) fn open(builder: SensorBuilder) -> Result<Self, SensorError> {
        let mut builder = builder;
        let config = builder.config()?;
        let (mut loaded, probes) = load_what_loads(&builder.probes(), &config, &builder.rings)?;
        let failed = |error: libbpf_rs::Error| SensorError::Read {
            what: "the rings",
            source: io::Error::other(error),
        };
        let rings = Rings::new(&loaded).map_err(failed)?;
        let losses = Losses::new(loaded.map("losses").map_err(failed)?);
        let misses = Misses::new(&loaded).map_err(failed)?;
        let totals = loaded.map("throttle_totals").map_err(failed)?;
        let throttled = Throttled::new(totals, loaded.map("throttled").map_err(failed)?);
        let filtered = Arc::new(Filtered::new(loaded.map("filtered").map_err(failed)?));
        let mut planned = Planned::new(&loaded).map_err(failed)?;
        planned.apply(&mut loaded, &builder.plan).map_err(refused)?;
        filtered.set_kinds(left_out(&loaded.probes, &builder.plan));
        let stats = Arc::new(SharedStats::default());
        let capture = begin_capture(&mut builder, &stats)?;
        let evidence = builder.evidence.take();
        if let Some(ring) = &evidence {
            ring.begin(capture_header(&builder));
        }
        let recording = capture.is_some() || evidence.is_some();
        let mut host = LiveHost::new(Arc::clone(&builder.clock))
            .with_watched(&builder.included_cgroups, &builder.included_uids);
        if let Some(options) = builder.hashes {
            host = host.with_hashes(options).map_err(|source| SensorError::Thread { source })?;
        }
        if let Some(files) = builder.container_files {
            let with = host.with_container_files(files);
            host = with.map_err(|source| SensorError::Thread { source })?;
        }
        host.set_execs_wait(builder.plan.awaits_hashes());
        let (unhashed, undescribed) = (host.unhashed(), host.undescribed());
        for row in &probes {
            if let ProbeStatus::Unavailable { reason } = &row.status {
                tracing::warn!(probe = %row.probe, reason, "a probe cannot be used here");
            }
        }
        Ok(Self {
            assembler: Assembler::new(builder.boot, Recorder::new(host, recording)),
            loaded,
            rings,
            losses,
            misses,
            throttled,
            planned,
            filtered,
            unhashed,
            undescribed,
            counters_due: BootTime::default(),
            ids: builder.ids,
            clock: builder.clock,
            drain_interval: builder.drain_interval,
            capture,
            evidence,
            mets: Mets::default(),
            probes,
            stats,
            records: Vec::new(),
            pace: Pace::Few,
            snapshot_due: true,
            snapshot_at: None,
        })
    }

    /// Puts another plan in place of the one that it has: probes that nothing needs any more are detached, others
    /// attached. Meanwhile all that either plan needs is delivered. Costs some ms.
    ///
    /// # Errors
    ///
    /// When the kernel does not take it. What the plan before needs is delivered all the same.
    pub fn apply_plan(&mut self, plan: &SensorPlan) -> Result<(), SensorError> {
        self.planned.apply(&mut self.loaded, plan).map_err(refused)?;
        self.filtered.set_kinds(left_out(&self.loaded.probes, plan));
        self.assembler.host_mut().inner_mut().set_execs_wait(plan.awaits_hashes());
        Ok(())
    }

    /// Whether the hook of a probe is attached now: not where its plan needs nothing that is seen there.
    pub fn is_attached(&self, probe: Probe) -> bool {
        self.loaded.is_attached(probe)
    }

    /// How many events of each kind the plan has left out so far: of every kind of which it does not need all. What the
    /// kernel was not even asked to watch is not counted, so that a kind of which nothing is needed may have none.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn filtered(&self) -> Result<BTreeMap<EventKind, u64>, SensorError> {
        self.filtered.read()
    }

    /// How many files of programs were not hashed so far, by why.
    pub fn unhashed(&self) -> BTreeMap<Unhashed, u64> {
        self.unhashed.read()
    }

    /// Of how many containers it was not found out so far what their runtime says, by why.
    pub fn undescribed(&self) -> BTreeMap<Undescribed, u64> {
        self.undescribed.read()
    }

    pub(super) fn shared_unhashed(&self) -> Arc<Counts<Unhashed>> {
        Arc::clone(&self.unhashed)
    }

    pub(super) fn shared_undescribed(&self) -> Arc<Counts<Undescribed>> {
        Arc::clone(&self.undescribed)
    }

    pub(super) fn shared_filtered(&self) -> Arc<Filtered> {
        Arc::clone(&self.filtered)
    }

    /// Waits for events, at the most for `timeout`, and returns what there is: often nothing.
    ///
    /// # Errors
    ///
    /// When the rings cannot be read.
    pub fn poll(&mut self, timeout: Duration) -> Result<EventBatch, SensorError> {
        let start = self.clock.boot_time();
        loop {
            let left = timeout.saturating_sub(self.clock.boot_time().since(start));
            if self.pace == Pace::Idle {
                self.rings.arm().map_err(|error| SensorError::Read {
                    what: "the rings",
                    source: io::Error::other(error),
                })?;
                let batch = self.drain(false)?;
                if !batch.is_empty() {
                    return Ok(batch);
                }
            }
            // The first time there is something at once: the processes that run already.
            if self.snapshot_at.is_some() {
                let wait = self.rings.wait(left.min(self.interval()));
                wait.map_err(|source| SensorError::Read { what: "the rings", source })?;
            }
            let batch = self.drain(false)?;
            if !batch.is_empty() || left.is_zero() {
                return Ok(batch);
            }
        }
    }

    /// For how long what comes may gather.
    fn interval(&self) -> Duration {
        match self.pace {
            Pace::Idle => COUNTERS_INTERVAL,
            Pace::Few => self.drain_interval / FEW_SOONER,
            Pace::Many => self.drain_interval,
        }
    }

    /// Detaches the probes and returns what was still in the rings, with the last losses. What the probes had
    /// seen is then delivered or counted, to the last record. Closes the capture.
    ///
    /// # Errors
    ///
    /// When the rings cannot be read.
    pub fn finish(mut self) -> Result<Vec<EventBatch>, SensorError> {
        self.loaded.detach_all();
        // A probe may still run on another processor. Once every processor has been through the scheduler,
        // none does.
        if membarrier(MembarrierCommand::Global).is_err() {
            let wait = self.rings.wait(Duration::from_millis(50));
            wait.map_err(|source| SensorError::Read { what: "the rings", source })?;
        }
        let mut batches = Vec::new();
        // Nothing is added any more: a reading that leaves nothing is the last one, however much it gave.
        loop {
            let batch = self.drain(false)?;
            if !batch.is_empty() {
                batches.push(batch);
            }
            if !self.rings.has_more() {
                break;
            }
        }
        let last = self.drain(true)?;
        if !last.is_empty() {
            batches.push(last);
        }
        if let Some(capture) = self.capture.take()
            && let Err(error) = capture.close()
        {
            tracing::error!(%error, "the capture could not be closed");
            self.stats.set_capture(CaptureState::Failed);
        }
        Ok(batches)
    }

    /// The probes that were asked for, and whether each could be used.
    pub fn probes(&self) -> &[ProbeReport] {
        &self.probes
    }

    /// What it has done so far.
    pub fn stats(&self) -> SensorStats {
        self.stats.read()
    }

    pub(super) const fn assembler(&self) -> &Assembler<Recorder<LiveHost>> {
        &self.assembler
    }

    pub(super) fn ids_and_clock(&self) -> (&Sequencer, &dyn Clock) {
        (&self.ids, &*self.clock)
    }

    pub(super) const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    pub(super) fn shared_stats(&self) -> Arc<SharedStats> {
        Arc::clone(&self.stats)
    }

    /// One reading of everything. `last`: nothing waits for more.
    fn drain(&mut self, last: bool) -> Result<EventBatch, SensorError> {
        self.records.clear();
        let snapshot_at = self.take_snapshot()?;
        let snapshot_bytes = self.records.len();
        let records = self
            .rings
            .drain(&mut self.records)
            .map_err(|source| SensorError::Read { what: "the rings", source })?;
        let mut lost = self.count_losses(records > 0 || last)?;
        self.note(records, &lost);
        self.tell_throttled(last, &mut lost)?;
        let waits = self.assembler.is_waiting() || self.assembler.awaits_hashes();
        self.pace = if records == 0 && waits { Pace::Few } else { Pace::of(records) };
        let drained_at = self.clock.boot_time();
        let host = self.assembler.host_mut().inner_mut();
        let nothing = self.records.is_empty() && lost.events.is_empty() && !host.has_answers();
        if nothing && !self.assembler.is_waiting() && !self.assembler.is_due(drained_at, last) {
            self.assembler.take_back();
            return Ok(EventBatch::default());
        }
        let meta = BatchMeta {
            drained_at,
            wall_offset_ns: self.clock.wall_offset_ns(),
            snapshot_at,
            snapshot_bytes: snapshot_bytes as u64,
            last,
            lost: lost.events,
            ..BatchMeta::default()
        };
        let batch = self.assemble(meta);
        SharedStats::add(&self.stats.events, batch.events.len() as u64);
        let lost = batch.lost.iter().filter(|loss| !loss.stage.is_throttled());
        SharedStats::add(&self.stats.lost, lost.map(|loss| loss.count).sum());
        Ok(batch)
    }

    /// What was lost since the last time. After the rings were read: what is counted from here on comes with
    /// the next batch.
    fn count_losses(&mut self, now: bool) -> Result<Lost, SensorError> {
        let time = self.clock.boot_time();
        let due = time >= self.counters_due;
        if !now && !due {
            return Ok(Lost::default());
        }
        let mut lost = self.losses.read().map_err(|error| SensorError::Read {
            what: "the loss counters",
            source: io::Error::other(error),
        })?;
        // More system calls than the one above, for what hardly any kernel does: not with every batch.
        if due || self.loaded.is_detached() {
            let next = time.as_nanos() + COUNTERS_INTERVAL.as_nanos() as u64;
            self.counters_due = BootTime::from_nanos(next);
            lost.events.extend(self.misses.read(&self.loaded));
        }
        Ok(lost)
    }

    fn note(&mut self, records: u64, lost: &Lost) {
        SharedStats::add(&self.stats.records, records);
        SharedStats::add(&self.stats.argument_parts_lost, lost.argument_parts);
        self.snapshot_due |= lost.process_life;
    }

    /// Puts a record of each process that was over a limit into the batch.
    fn tell_throttled(&mut self, last: bool, lost: &mut Lost) -> Result<(), SensorError> {
        let time = self.clock.boot_time();
        let told = self.throttled.read(time, last, &mut self.records).map_err(|error| {
            SensorError::Read {
                what: "the counters of what is over a limit",
                source: io::Error::other(error),
            }
        })?;
        SharedStats::add(&self.stats.throttled, told.count);
        lost.events.extend(told.of_nobody);
        Ok(())
    }

    /// Puts the records of a snapshot into the batch, if one is due. Returns when it was begun.
    fn take_snapshot(&mut self) -> Result<Option<BootTime>, SensorError> {
        let now = self.clock.boot_time();
        let too_soon = self.snapshot_at.is_some_and(|at| now.since(at) < SNAPSHOT_INTERVAL);
        if !self.snapshot_due || too_soon || self.loaded.is_detached() {
            return Ok(None);
        }
        self.snapshot_due = false;
        self.snapshot_at = Some(now);
        let Some(records) = snapshot::read(&self.loaded)? else { return Ok(None) };
        self.records.extend_from_slice(&records);
        SharedStats::add(&self.stats.snapshots, 1);
        Ok(Some(now))
    }

    fn assemble(&mut self, mut meta: BatchMeta) -> EventBatch {
        let carries = self.assembler.carries();
        let (snapshot, records) = self.records.split_at(meta.snapshot_bytes as usize);
        let input = BatchInput {
            drained_at: meta.drained_at,
            wall_offset_ns: meta.wall_offset_ns,
            snapshot: meta.snapshot_at.map(|at| (at, snapshot)),
            records,
            lost: meta.lost.clone(),
            last: meta.last,
        };
        let ids = &self.ids;
        let mut first = 0;
        let batch = self.assembler.assemble(input, |count| {
            first = ids.reserve(count);
            (ids.origin(), first)
        });
        meta.first_sequence = first;
        meta.events = batch.events.len() as u64;
        meta.facts = self.assembler.host_mut().take();
        if let Some(evidence) = &self.evidence {
            self.assembler.note_processes((&batch.events, meta.drained_at), &mut self.mets);
            evidence.push(&meta, &self.records, carries, &mut self.mets);
        }
        self.record(&meta);
        batch
    }

    /// Writes the batch to the capture, where there is one.
    fn record(&mut self, meta: &BatchMeta) {
        let Some(capture) = &mut self.capture else { return };
        let state = match capture.batch(meta, &self.records) {
            Ok(()) if capture.is_open() => return,
            Ok(()) => CaptureState::Full,
            Err(error) => {
                tracing::error!(%error, "the capture ends here");
                CaptureState::Failed
            }
        };
        self.stats.set_capture(state);
        self.capture = None;
        if self.evidence.is_none() {
            self.assembler.host_mut().stop();
        }
    }
}

fn refused(error: libbpf_rs::Error) -> SensorError {
    SensorError::Plan { reason: reason(&error) }
}

fn begin_capture(
    builder: &mut SensorBuilder,
    stats: &SharedStats,
) -> Result<Option<CaptureWriter>, SensorError> {
    let Some(mut capture) = builder.capture.take() else { return Ok(None) };
    capture.begin(&capture_header(builder))?;
    stats.set_capture(CaptureState::Recording);
    Ok(Some(capture))
}

fn capture_header(builder: &SensorBuilder) -> CaptureHeader {
    let kernel = rustix::system::uname();
    CaptureHeader {
        record_version: RECORD_VERSION,
        identity: builder.identity.clone(),
        boot: builder.boot,
        kernel_release: kernel.release().to_string_lossy().into(),
        architecture: kernel.machine().to_string_lossy().into(),
        created_at: builder.clock.now(),
        midway: false,
    }
}

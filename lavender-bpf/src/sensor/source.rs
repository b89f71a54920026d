//! The live sensor on a thread of its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use lavender_core::event::{EventBatch, EventKind, Undescribed, Unhashed};
use lavender_core::{Error, ErrorKind, ResponseOutcome, SensorPlan, Source, async_trait};

use super::filtered::Filtered;
use super::live::Sensor;
use super::outcomes::{self, OutcomeHandle};
use super::stats::{SensorStats, SharedStats};
use super::{SensorBuilder, SensorError};
use crate::host::Counts;
use crate::support::ProbeReport;

/// How many batches wait to be taken. Beyond it the thread waits, the rings fill, and what they cannot take is
/// counted there.
const BATCHES_MAX: usize = 16;

/// How often the thread looks whether it is to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// The live sensor on a thread of its own: a [`Source`].
///
/// After [`stop`](Source::stop) it detaches the probes, delivers what is in the rings and the last losses, and
/// ends. Dropping it ends the thread too.
#[derive(Debug)]
pub struct SensorSource {
    batches: Receiver<Result<EventBatch, SensorError>>,
    stopping: Arc<AtomicBool>,
    probes: Vec<ProbeReport>,
    stats: Arc<SharedStats>,
    filtered: Arc<Filtered>,
    unhashed: Arc<Counts<Unhashed>>,
    undescribed: Arc<Counts<Undescribed>>,
    plans: Sender<NewPlan>,
    outcomes: OutcomeHandle,
}

/// Changes the plan of a [`SensorSource`] from elsewhere.
#[derive(Clone, Debug)]
pub struct PlanHandle {
    plans: Sender<NewPlan>,
}

/// A plan, and where to say what became of it.
#[derive(Debug)]
struct NewPlan {
    plan: SensorPlan,
    done: Sender<Result<(), SensorError>>,
}

impl PlanHandle {
    /// Has the sensor go by another plan, and waits until it does: within 100 ms where its batches are taken. As
    /// [`Sensor::apply_plan`].
    ///
    /// # Errors
    ///
    /// When the kernel does not take it, or the sensor has ended.
    pub fn apply(&self, plan: SensorPlan) -> Result<(), SensorError> {
        let ended = || SensorError::Thread { source: io::Error::other("the sensor has ended") };
        let (done, is_done) = async_channel::bounded(1);
        self.plans.send_blocking(NewPlan { plan, done }).map_err(|_| ended())?;
        is_done.recv_blocking().unwrap_or_else(|_| Err(ended()))
    }
}

/// What the thread tells once it watches.
struct Ready {
    probes: Vec<ProbeReport>,
    stats: Arc<SharedStats>,
    filtered: Arc<Filtered>,
    unhashed: Arc<Counts<Unhashed>>,
    undescribed: Arc<Counts<Undescribed>>,
}

impl SensorSource {
    pub(super) fn spawn(builder: SensorBuilder) -> Result<Self, SensorError> {
        let (sender, batches) = async_channel::bounded(BATCHES_MAX);
        let (ready, is_ready) = async_channel::bounded(1);
        let (plans, new_plans) = async_channel::bounded(1);
        let (outcomes, told) = OutcomeHandle::new();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        thread::Builder::new()
            .name("lavender-sensor".into())
            .spawn(move || run(builder, &ready, &sender, (&new_plans, &told), &stop))
            .map_err(|source| SensorError::Thread { source })?;
        let Ready { probes, stats, filtered, unhashed, undescribed } =
            is_ready.recv_blocking().unwrap_or_else(|_| {
                Err(SensorError::Thread { source: io::Error::other("it ended before it watched") })
            })?;
        Ok(Self {
            batches,
            stopping,
            probes,
            stats,
            filtered,
            unhashed,
            undescribed,
            plans,
            outcomes,
        })
    }

    /// The probes that were asked for, and whether each could be used.
    pub fn probes(&self) -> &[ProbeReport] {
        &self.probes
    }

    /// A handle by which its plan is changed.
    pub fn plan_handle(&self) -> PlanHandle {
        PlanHandle { plans: self.plans.clone() }
    }

    /// A handle by which it is told what was done to processes.
    pub fn outcome_handle(&self) -> OutcomeHandle {
        self.outcomes.clone()
    }

    /// What it has done so far.
    pub fn stats(&self) -> SensorStats {
        self.stats.read()
    }
}

type Batches = Sender<Result<EventBatch, SensorError>>;

/// What reaches the thread from elsewhere.
type Asked<'a> = (&'a Receiver<NewPlan>, &'a Receiver<ResponseOutcome>);

fn run(
    builder: SensorBuilder,
    ready: &Sender<Result<Ready, SensorError>>,
    batches: &Batches,
    asked: Asked<'_>,
    stop: &AtomicBool,
) {
    let sensor = match builder.open() {
        Ok(sensor) => sensor,
        Err(error) => {
            // The other side waits for this answer, or is gone.
            let _ = ready.send_blocking(Err(error));
            return;
        }
    };
    let watching = Ready {
        probes: sensor.probes().to_vec(),
        stats: sensor.shared_stats(),
        filtered: sensor.shared_filtered(),
        unhashed: sensor.shared_unhashed(),
        undescribed: sensor.shared_undescribed(),
    };
    if ready.send_blocking(Ok(watching)).is_ok()
        && let Err(error) = deliver(sensor, batches, asked, stop)
    {
        let _ = batches.send_blocking(Err(error));
    }
}

fn deliver(
    mut sensor: Sensor,
    batches: &Batches,
    (plans, told): Asked<'_>,
    stop: &AtomicBool,
) -> Result<(), SensorError> {
    while !stop.load(Ordering::Relaxed) {
        while let Ok(NewPlan { plan, done }) = plans.try_recv() {
            // Whoever asked may have gone.
            let _ = done.send_blocking(sensor.apply_plan(&plan));
        }
        let batch = outcomes::poll(&mut sensor, told, STOP_INTERVAL)?;
        if !batch.is_empty() && batches.send_blocking(Ok(batch)).is_err() {
            return Ok(()); // nobody listens
        }
    }
    // Whoever tells more knows that it becomes no event.
    told.close();
    let batch = outcomes::poll(&mut sensor, told, Duration::ZERO)?;
    if !batch.is_empty() && batches.send_blocking(Ok(batch)).is_err() {
        return Ok(());
    }
    for batch in sensor.finish()? {
        if batches.send_blocking(Ok(batch)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

#[async_trait]
impl Source for SensorSource {
    async fn next_batch(&mut self) -> lavender_core::Result<Option<EventBatch>> {
        match self.batches.recv().await {
            Ok(Ok(batch)) => Ok(Some(batch)),
            Ok(Err(error)) => Err(Error::new(ErrorKind::Internal, "sensor", error)),
            Err(_) if self.stopping.load(Ordering::Relaxed) => Ok(None),
            // It ends when it is told to, or tells why: its thread is gone, and nothing is watched any more.
            Err(_) => {
                let source = io::Error::other("it ended without being told to");
                let error = SensorError::Thread { source };
                Err(Error::new(ErrorKind::Internal, "sensor", error))
            }
        }
    }

    fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn filtered(&self) -> BTreeMap<EventKind, u64> {
        self.filtered.read().unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known what the plan left out");
            BTreeMap::new()
        })
    }

    fn unhashed(&self) -> BTreeMap<Unhashed, u64> {
        self.unhashed.read()
    }

    fn undescribed(&self) -> BTreeMap<Undescribed, u64> {
        self.undescribed.read()
    }
}

impl Drop for SensorSource {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.batches.close();
    }
}

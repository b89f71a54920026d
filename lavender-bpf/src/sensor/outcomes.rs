//! What was done to processes by others than the sensor, as events of those processes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use lavender_core::event::{Event, EventBatch, EventData};
use lavender_core::{ResponseOutcome, ResponseTarget};

use super::SensorError;
use super::live::Sensor;

/// How many outcomes may wait to become events; whoever tells more waits.
const OUTCOMES_MAX: usize = 256;

/// Tells a [`SensorSource`](super::SensorSource) what was done, such as what [`Prevention`](crate::Prevention) says. It becomes
/// an event among the others, so that rules see it, with the process that it was done to.
#[derive(Clone, Debug)]
pub struct OutcomeHandle {
    outcomes: Sender<ResponseOutcome>,
}

impl OutcomeHandle {
    pub(super) fn new() -> (Self, Receiver<ResponseOutcome>) {
        let (outcomes, told) = async_channel::bounded(OUTCOMES_MAX);
        (Self { outcomes }, told)
    }

    /// Tells it. It is an event within 100 ms where the source's batches are taken; waits while 256 wait already.
    ///
    /// # Errors
    ///
    /// When the sensor has ended: nobody makes an event of it any more.
    pub fn tell(&self, outcome: ResponseOutcome) -> Result<(), SensorError> {
        let ended = |_| SensorError::Thread { source: io::Error::other("the sensor has ended") };
        self.outcomes.send_blocking(outcome).map_err(ended)
    }

    /// Whether the sensor has ended.
    pub fn is_closed(&self) -> bool {
        self.outcomes.is_closed()
    }
}

/// What the sensor has, and what is told meanwhile; waits for events no longer than `wait`.
pub(super) fn poll(
    sensor: &mut Sensor,
    told: &Receiver<ResponseOutcome>,
    wait: Duration,
) -> Result<EventBatch, SensorError> {
    // Before the rings are read: then they have had what makes the process known.
    let told: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    let mut batch = sensor.poll(if told.is_empty() { wait } else { Duration::ZERO })?;
    batch.events.extend(told.into_iter().map(|outcome| sensor.event_of(outcome)));
    Ok(batch)
}

impl Sensor {
    /// An event of what was done: of the process that it was done to, as it is now, if the sensor knows it. Costs one look into
    /// the process table.
    pub fn event_of(&self, outcome: ResponseOutcome) -> Arc<Event> {
        let process = match outcome.order.target {
            ResponseTarget::Process(id) => self.assembler().process(id).map(Arc::clone),
            _ => None,
        };
        let (ids, clock) = self.ids_and_clock();
        Arc::new(Event {
            id: ids.next(),
            observed_at: clock.now(),
            boot_time: clock.boot_time(),
            tid: 0,
            process,
            data: EventData::Response(outcome),
        })
    }
}

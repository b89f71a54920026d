//! Detection on the telemetry of many agents, by any number of workers.

mod agent;
mod known;
mod options;
mod step;
mod value;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::options::{DetectionOptions, DetectionProgress, DetectionReport};
use self::step::Steps;
use crate::alert::AgentIdentity;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::fleet::FleetDetector;
use crate::store::StateStore;
use crate::time::Clock;
use crate::transport::{Ack, Consumer, Delivery, Payload, Publisher};

/// Looks at the telemetry of many agents and publishes alerts: one of any number of workers that share a durable.
///
/// A worker keeps nothing that it could lose. What is known of an agent is one value in a [`StateStore`]. Of a batch,
/// only the events that [concern](FleetDetector::concerns) it are given to its detector and stages: the value is read,
/// alerts are published, and only then is it swapped for the new one; again from the beginning, when another worker was
/// faster. The batch is acknowledged when that is done. So whoever is killed in between leaves the same to another: an
/// alert is published twice by the same id, and never missed. Batches without such an event, almost all, touch no
/// store.
///
/// # What comes out
///
/// The same alerts, by their ids, as of one process that sees all events in order, whatever comes again, in another
/// order, or to another worker, as long as it comes within the lateness of detectors and stages: choose that longer than
/// the transport waits for an acknowledgement. What comes later is counted ([`DetectionReport::late`]).
///
/// What only time decides is decided by the agent's own events, or when the agent has said nothing for
/// [`silence`](DetectionOptions::silence): by the clock, as far as the telemetry of others has come.
///
/// The example of the `cookbook` tests, `detection_workers.rs`, runs several of them.
#[derive(Debug)]
pub struct DetectionWorker {
    consumer: Box<dyn Consumer>,
    steps: Steps,
}

/// What deliveries hold of one agent.
struct Batch {
    source: AgentIdentity,
    events: Vec<Arc<Event>>,
    acks: Vec<Box<dyn Ack>>,
}

impl DetectionWorker {
    /// A worker that consumes telemetry, keeps states in `store`, and publishes alerts to `publisher`.
    pub fn new(
        consumer: Box<dyn Consumer>,
        detector: impl FleetDetector,
        store: Arc<dyn StateStore>,
        publisher: Arc<dyn Publisher>,
    ) -> Self {
        Self { consumer, steps: Steps::new(Box::new(detector), store, publisher) }
    }

    /// How it works.
    #[must_use]
    pub fn with_options(mut self, options: DetectionOptions) -> Self {
        self.steps.set_options(options);
        self
    }

    /// Reads the time elsewhere than from the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.steps.clock = clock;
        self
    }

    /// What tells how far it is while it runs.
    pub fn progress(&self) -> DetectionProgress {
        self.steps.progress.clone()
    }

    /// Runs until the consumer is at its end or `shutdown` resolves. What is being done then is finished, unless store
    /// or transport do not answer; it is left to another worker.
    ///
    /// # Errors
    ///
    /// When the consumer cannot go on, or store or transport refuse for good.
    pub async fn run<T>(
        mut self,
        shutdown: impl Future<Output = T> + Send,
    ) -> Result<DetectionReport> {
        let period = self.steps.options.tick.max(Duration::from_millis(1));
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut shutdown = std::pin::pin!(shutdown);
        let progress = self.progress();
        let messages = self.steps.options.messages;
        loop {
            let batches = tokio::select! {
                biased;
                _ = &mut shutdown => return Ok(progress.report()),
                _ = tick.tick() => {
                    if let Err(error) = self.steps.decide_what_is_due().await {
                        // It is still due at the next tick.
                        progress.add(|report| report.failures += 1);
                        tracing::error!(%error, "what is due was not decided, will try again");
                    }
                    continue;
                }
                deliveries = self.consumer.next(messages) => match deliveries? {
                    deliveries if deliveries.is_empty() => return Ok(progress.report()),
                    deliveries => by_agent(deliveries),
                },
            };
            for batch in batches {
                let mut failures = Failures::new(&self.steps.options);
                while let Err(error) = self.steps.take(&batch.source, &batch.events).await {
                    progress.add(|report| report.failures += 1);
                    tokio::select! {
                        biased;
                        _ = &mut shutdown => return Ok(progress.report()),
                        waited = failures.wait(error) => waited?,
                    }
                }
                self.steps.acknowledge(batch).await;
            }
        }
    }
}

/// Joins what is of one agent; what is no telemetry is acknowledged with the rest, and is nothing to do.
fn by_agent(deliveries: Vec<Delivery>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut places: HashMap<AgentIdentity, usize> = HashMap::new();
    for Delivery { message, ack, .. } in deliveries {
        let subject = message.subject();
        let place = *places.entry(message.source.clone()).or_insert_with(|| {
            batches.push(Batch { source: message.source, events: Vec::new(), acks: Vec::new() });
            batches.len() - 1
        });
        let batch = &mut batches[place];
        batch.acks.push(ack);
        match message.payload {
            Payload::Events(events) => batch.events.extend(events),
            Payload::Alerts(_) => tracing::warn!(%subject, "detection: not for me"),
        }
    }
    batches
}

/// Waits between tries, longer each time.
struct Failures {
    delay: Duration,
    delay_max: Duration,
}

impl Failures {
    const fn new(options: &DetectionOptions) -> Self {
        Self { delay: options.retry_delay, delay_max: options.retry_delay_max }
    }

    /// Gives the error back where trying again does not help.
    async fn wait(&mut self, error: Error) -> Result<()> {
        if !error.is_retryable() {
            return Err(error);
        }
        let retry_in_ms = self.delay.as_millis() as u64;
        tracing::error!(%error, retry_in_ms, "detection: not done, will try again");
        tokio::time::sleep(self.delay).await;
        self.delay = (self.delay * 2).min(self.delay_max);
        Ok(())
    }
}

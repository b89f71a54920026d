//! The stage: reads, checks, publishes, notes, acknowledges.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use lavender_core::envelope::Envelope;
use lavender_core::event::Event;
use lavender_core::transport::{Ack as _, Subscription, Topic};
use lavender_core::{Error, ErrorKind, Result, StateStore, Timestamp};
use tokio::time::{MissedTickBehavior, interval};

use super::check::{Checked, check};
use super::flood::Waiting;
use super::gaps::Gaps;
use super::{IngestCounts, IngestOptions};
use crate::nats::{EnvelopeConsumer, EnvelopeDelivery, JetStream, JetStreamAck};
use crate::{AgentLimits, EnvelopePublisher as _};

/// How many messages are worked on at once.
const MESSAGES: usize = 256;

/// The wait after a first failure, doubled up to the second.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often gaps are looked at within the time that they are waited for.
const LOOKS: u32 = 4;

/// After how many looks the state is looked through for gaps that nobody watches.
const FIND_EVERY: u32 = 8;

/// The shortest wait for an agent's limit.
const LIMIT_DELAY_MIN: Duration = Duration::from_millis(20);

/// Checks what agents send, and passes it on. See the [module](super).
#[derive(Debug)]
pub struct Ingest {
    transport: JetStream,
    options: IngestOptions,
    limits: AgentLimits,
    waiting: Waiting,
    gaps: Gaps,
    counts: Arc<IngestCounts>,
}

/// A message that passes, and how to answer for it.
struct Passing {
    checked: Checked,
    delivery: EnvelopeDelivery,
}

impl Ingest {
    /// An ingest on a transport, with the state that all who share the durable share.
    pub fn new(transport: JetStream, state: Arc<dyn StateStore>, options: IngestOptions) -> Self {
        let IngestOptions { events_per_second, burst, clock, .. } = &options;
        let limits = AgentLimits::new(*events_per_second, *burst, Arc::clone(clock));
        let (waiting, counts) = Default::default();
        Self { transport, options, limits, waiting, gaps: Gaps::new(state), counts }
    }

    /// What it reads.
    pub fn subscription() -> Subscription {
        Subscription { topic: Topic::TelemetryRaw, durable: "ingest".into() }
    }

    /// What it does, counted as it goes.
    pub fn counts(&self) -> Arc<IngestCounts> {
        Arc::clone(&self.counts)
    }

    /// Runs until `stop` resolves, or the transport is closed and nothing is left. What it has taken by then is done
    /// with first; that takes for ever while the broker or the state store is away, and may be dropped at any time:
    /// what is not acknowledged comes again.
    ///
    /// # Errors
    ///
    /// When the durable is gone, or the broker does not permit what ingest must do.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let transport = self.transport.clone();
        // Boxed, since the compiler cannot show of the whole that it may change threads.
        let opening: BoxFuture<'_, Result<EnvelopeConsumer>> =
            Box::pin(transport.subscribe_envelopes(Self::subscription()));
        let mut consumer = opening.await?;
        let look = (self.options.gap_wait / LOOKS).max(Duration::from_millis(10));
        let mut looks = interval(look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = 0;
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                _ = looks.tick() => {
                    if let Err(error) = self.look(look % FIND_EVERY == 0).await {
                        if error.kind() == ErrorKind::Denied {
                            return Err(error);
                        }
                        tracing::warn!(%error, "gaps are looked at later");
                    }
                    look = look.wrapping_add(1);
                }
                deliveries = consumer.next(MESSAGES) => {
                    let deliveries = deliveries?;
                    if deliveries.is_empty() {
                        return Ok(());
                    }
                    self.take(deliveries).await?;
                }
            }
        }
    }

    async fn take(&mut self, deliveries: Vec<EnvelopeDelivery>) -> Result<()> {
        let mut passing = Vec::with_capacity(deliveries.len());
        let (mut poison, mut limited) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            let now = self.options.clock.now();
            match check(delivery.envelope(), delivery.body_bytes(), &self.options, now) {
                Err(why) => poison.push((delivery, why.to_string())),
                Ok(checked) => match self.admit(&checked) {
                    Ok(()) => passing.push(Passing { checked, delivery }),
                    Err(Some(wait)) => limited.push((delivery.ack, wait)),
                    Err(None) => {
                        let why = "the agent sends more than it may, and too much of it waits";
                        poison.push((delivery, why.to_owned()));
                    }
                },
            }
        }
        self.counts.limited.fetch_add(limited.len() as u64, Relaxed);
        for (ack, wait) in limited {
            if let Err(error) = Box::new(ack).nak(wait).await {
                tracing::warn!(%error, "a message that must wait comes again by its time");
            }
        }
        poison.extend(self.publish(&mut passing).await?);
        self.reject(poison);
        self.note(&passing).await;
        let events: usize = passing.iter().map(|passed| passed.checked.events.len()).sum();
        let acks = passing.into_iter().map(|passed| acknowledge(passed.delivery.ack));
        let messages = join_all(acks).await.len();
        self.counts.messages.fetch_add(messages as u64, Relaxed);
        self.counts.events.fetch_add(events as u64, Relaxed);
        Ok(())
    }

    /// Whether the agent may send this now; else how long it waits, or `None` where too much waits already.
    fn admit(&mut self, checked: &Checked) -> Result<(), Option<Duration>> {
        let Checked { source, events, .. } = checked;
        let Err(wait) = self.limits.check(&source.tenant, &source.agent, events.len()) else {
            return Ok(());
        };
        let wait = wait.max(LIMIT_DELAY_MIN);
        let agent = (source.tenant.clone(), source.agent.clone());
        let now = self.options.clock.boot_time();
        let admitted = self.waiting.admit(agent, now, wait, self.options.waiting_max);
        Err(admitted.then_some(wait))
    }

    /// Puts aside, in its own time: what follows does not wait for it.
    fn reject(&self, poison: Vec<(EnvelopeDelivery, String)>) {
        self.counts.rejected.fetch_add(poison.len() as u64, Relaxed);
        for (delivery, why) in poison {
            tokio::spawn(async move {
                if let Err(error) = delivery.reject(why).await {
                    tracing::error!(%error, "a message that is poison comes again");
                }
            });
        }
    }

    /// Publishes until the broker has everything. Takes out, with the reason, what it will never take.
    async fn publish(&self, passing: &mut Vec<Passing>) -> Result<Vec<(EnvelopeDelivery, String)>> {
        let mut refused = Vec::new();
        let mut open: Vec<Envelope> =
            passing.iter().map(|passed| passed.checked.envelope.clone()).collect();
        let (mut delay, longest) = RETRY_DELAY;
        loop {
            let results = self.transport.publish_envelopes(&open).await;
            let mut again = Vec::new();
            for (envelope, result) in open.into_iter().zip(results) {
                let Err(error) = result else { continue };
                match error.kind() {
                    ErrorKind::Denied => return Err(error),
                    ErrorKind::Invalid => {
                        let same = |passed: &Passing| passed.checked.envelope.id() == envelope.id();
                        if let Some(at) = passing.iter().position(same) {
                            refused.push((passing.swap_remove(at).delivery, error.to_string()));
                        }
                    }
                    _ => {
                        tracing::debug!(%error, "not passed on yet, will try again");
                        again.push(envelope);
                    }
                }
            }
            if again.is_empty() {
                return Ok(refused);
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(longest);
            open = again;
        }
    }

    /// Notes the numbers of what was passed on, until the state store has them.
    async fn note(&mut self, passing: &[Passing]) {
        let now = self.options.clock.now();
        let mut boots: BTreeMap<String, (String, Vec<Arc<Event>>)> = BTreeMap::new();
        for Passing { checked, .. } in passing {
            let Some(first) = checked.events.first() else { continue };
            let key = Gaps::key(&checked.source, first.id.origin());
            let (_, events) =
                boots.entry(key).or_insert_with(|| (checked.source.host.to_string(), Vec::new()));
            events.extend_from_slice(&checked.events);
        }
        // No more at once than there are messages.
        let noted = boots
            .into_iter()
            .map(|(key, (host, events))| note_boot(&self.gaps, key, host, events, now));
        let open: Vec<_> = join_all(noted.collect::<Vec<_>>()).await;
        open.into_iter().flatten().for_each(|key| self.gaps.watch(key));
    }

    /// Reports gaps that are due.
    async fn look(&mut self, find: bool) -> Result<()> {
        if find {
            self.limits.forget_quiet();
            self.gaps.find().await?;
        }
        for key in self.gaps.watched() {
            let now = self.options.clock.now();
            let reports = self.gaps.settle(&key, now, self.options.gap_wait).await?;
            if reports.is_empty() {
                continue;
            }
            let results = self.transport.publish_envelopes(&reports).await;
            results.into_iter().collect::<Result<(), Error>>()?;
            self.gaps.reported(&key, &reports).await?;
            tracing::warn!(%key, gaps = reports.len(), "telemetry was lost on its way");
            self.counts.gaps.fetch_add(reports.len() as u64, Relaxed);
        }
        Ok(())
    }
}

/// Notes the numbers of one boot, however long that takes. Gives the key back when it has gaps.
async fn note_boot(
    gaps: &Gaps,
    key: String,
    host: String,
    events: Vec<Arc<Event>>,
    now: Timestamp,
) -> Option<String> {
    let (mut delay, longest) = RETRY_DELAY;
    loop {
        match gaps.observe(&key, &host, &events, now).await {
            Ok(open) => return open.then_some(key),
            Err(error) => tracing::warn!(%error, "numbers are not noted yet, will try again"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(longest);
    }
}

async fn acknowledge(ack: JetStreamAck) {
    if let Err(error) = Box::new(ack).ack().await {
        // It comes again, and the broker knows what it became by its id.
        tracing::warn!(%error, "passed on, but not acknowledged");
    }
}

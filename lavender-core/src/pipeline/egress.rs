//! The bounded queues between detection and the transport.
//!
//! Detection never waits for telemetry to be taken: what does not fit is shed, the lowest priority
//! first, and counted by kind. Three things are never shed: alerts, the events that an alert rests on, and
//! the counts of what was lost.
//!
//! Telemetry gathers for a moment before it is published: what takes it, a disk or a broker, takes one message as
//! soon as ten. What may not wait takes with it what did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

use super::Overflow;
use crate::AgentIdentity;
use crate::alert::Alert;
use crate::error::Result;
use crate::event::{Event, EventKind, Loss, LossStage, Priority};
use crate::transport::{Message, Payload, Publisher, Topic};

/// The most items in one message: where a batch stops getting cheaper by the event.
pub(super) const MESSAGE_ITEMS: usize = 256;

/// The most alerts that wait for the transport; detection waits beyond that.
const QUEUED_ALERTS: usize = 16_384;

/// So many events do not wait for more.
const GATHERED_ITEMS: usize = 4_096;

/// The most pieces of a queue that are published at once.
const PIECES: usize = 1_024;

/// The side of the queues that detection sees.
pub(super) struct Egress {
    events: Lane<Event>,
    alerts: Lane<Alert>,
    capacity: usize,
    overflow: Overflow,
}

/// The side that publishes.
pub(super) struct Drain {
    events: LaneDrain<Event>,
    alerts: LaneDrain<Alert>,
    source: AgentIdentity,
    telemetry: Topic,
    publisher: Arc<dyn Publisher>,
}

/// `delay` is how long telemetry may wait for more.
pub(super) fn queue(
    (capacity, overflow, delay): (usize, Overflow, Duration),
    (source, telemetry): (AgentIdentity, Topic),
    publisher: Arc<dyn Publisher>,
) -> (Egress, Drain) {
    let (events, event_drain) = lane(capacity, delay);
    let (alerts, alert_drain) = lane(QUEUED_ALERTS, Duration::ZERO);
    (
        Egress { events, alerts, capacity, overflow },
        Drain { events: event_drain, alerts: alert_drain, source, telemetry, publisher },
    )
}

impl Egress {
    /// Queues telemetry. What does not fit is shed and counted in `shed`, but for the events that
    /// `keep` holds for.
    pub(super) async fn push_telemetry(
        &self,
        mut events: Vec<Arc<Event>>,
        keep: impl Fn(&Event) -> bool,
        shed: &mut LossCounts,
    ) {
        let urgency =
            if events.iter().any(|event| keep(event)) { Urgency::Now } else { Urgency::Soon };
        if self.overflow == Overflow::Shed {
            let free = self.events.free.available_permits();
            let mut taken = 0;
            events.retain(|event| {
                let reserved = match event.kind().priority() {
                    Priority::File => self.capacity / 2,
                    Priority::Network => self.capacity / 4,
                    Priority::Process => 0,
                };
                let fits = free.saturating_sub(taken) > reserved || keep(event);
                if fits {
                    taken += 1;
                } else {
                    shed.add(Loss::new(LossStage::Queue, event.kind(), 1));
                }
                fits
            });
        }
        self.events.push(events, urgency).await;
    }

    /// Queues what must not be shed; waits for room.
    pub(super) async fn push_kept(&self, events: Vec<Arc<Event>>) {
        self.events.push(events, Urgency::Now).await;
    }

    /// Queues alerts; waits for room.
    pub(super) async fn push_alerts(&self, alerts: Vec<Arc<Alert>>) {
        self.alerts.push(alerts, Urgency::Now).await;
    }

    /// Whether this many events fit without waiting.
    pub(super) fn has_room(&self, events: usize) -> bool {
        self.events.free.available_permits() >= events
    }
}

impl Drain {
    /// Publishes until the queues are closed and empty. Alerts do not wait behind telemetry.
    pub(super) async fn run(self) -> Result<()> {
        let Self { events, alerts, source, telemetry, publisher } = self;
        let publisher = &*publisher;
        let message = |topic, payload| Message { source: source.clone(), topic, payload };
        tokio::try_join!(
            events.publish(publisher, |items| { message(telemetry, Payload::Events(items)) }),
            alerts.publish(publisher, |items| message(Topic::Alerts, Payload::Alerts(items))),
        )?;
        Ok(())
    }
}

/// Whether something may wait for more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Soon,
    Now,
}

/// One queue. Bounded by a semaphore, which counts items where the channel counts pieces.
struct Lane<T> {
    out: mpsc::UnboundedSender<Vec<Arc<T>>>,
    free: Arc<Semaphore>,
    /// That what has gathered is to be published.
    hurry: Arc<Notify>,
    capacity: usize,
}

struct LaneDrain<T> {
    queue: mpsc::UnboundedReceiver<Vec<Arc<T>>>,
    free: Arc<Semaphore>,
    hurry: Arc<Notify>,
    delay: Duration,
}

fn lane<T>(capacity: usize, delay: Duration) -> (Lane<T>, LaneDrain<T>) {
    let (out, queue) = mpsc::unbounded_channel();
    let (free, hurry) = (Arc::new(Semaphore::new(capacity)), Arc::<Notify>::default());
    let drain = LaneDrain { queue, free: Arc::clone(&free), hurry: Arc::clone(&hurry), delay };
    (Lane { out, free, hurry, capacity }, drain)
}

impl<T> Lane<T> {
    /// Queues items in pieces, each as soon as there is room for it.
    async fn push(&self, mut items: Vec<Arc<T>>, urgency: Urgency) {
        if items.is_empty() {
            return;
        }
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(MESSAGE_ITEMS));
            // A closed semaphore means that the drain has failed; its own error tells why.
            if let Ok(permits) = self.free.acquire_many(items.len() as u32).await {
                permits.forget();
                let _ = self.out.send(items);
            }
            // Long before there is no room, so that nobody waits for room that has yet to be made.
            let queued = self.capacity - self.free.available_permits();
            if queued >= GATHERED_ITEMS.min(self.capacity / 4) {
                self.hurry.notify_one();
            }
            items = rest;
        }
        if urgency == Urgency::Now {
            self.hurry.notify_one();
        }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        // Nothing more comes.
        self.hurry.notify_one();
    }
}

impl<T> LaneDrain<T> {
    async fn publish(
        mut self,
        publisher: &dyn Publisher,
        message: impl Fn(Vec<Arc<T>>) -> Message + Send,
    ) -> Result<()>
    where
        T: Send + Sync,
    {
        let mut waiting = Vec::new();
        let result = loop {
            if self.queue.recv_many(&mut waiting, PIECES).await == 0 {
                break Ok(());
            }
            if !self.delay.is_zero() {
                // Asleep and not at the queue, whose every piece would wake it.
                let _ = timeout(self.delay, self.hurry.notified()).await;
                while waiting.len() < PIECES
                    && let Ok(piece) = self.queue.try_recv()
                {
                    waiting.push(piece);
                }
            }
            let items = waiting.iter().map(Vec::len).sum();
            let messages = joined(waiting.drain(..)).into_iter().map(&message).collect();
            if let Err(error) = publisher.publish(messages).await {
                break Err(error);
            }
            self.free.add_permits(items);
        };
        self.free.close();
        result
    }
}

/// The same items in their order, in as few messages as they fit in.
fn joined<T>(pieces: impl Iterator<Item = Vec<T>>) -> Vec<Vec<T>> {
    let mut messages: Vec<Vec<T>> = Vec::new();
    for mut piece in pieces {
        match messages.last_mut() {
            Some(last) if last.len() + piece.len() <= MESSAGE_ITEMS => last.append(&mut piece),
            _ => messages.push(piece),
        }
    }
    messages
}

/// Losses that have not been made events yet, summed up, so that however many there are they need little
/// room and no count is ever dropped.
#[derive(Debug, Default)]
pub(super) struct LossCounts(BTreeMap<(LossStage, EventKind, Option<u32>), u64>);

impl LossCounts {
    pub(super) fn add(&mut self, loss: Loss) {
        *self.0.entry((loss.stage, loss.kind, loss.cpu)).or_default() += loss.count;
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Loss> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|((stage, kind, cpu), count)| Loss {
            stage,
            kind,
            cpu,
            count,
        })
    }
}

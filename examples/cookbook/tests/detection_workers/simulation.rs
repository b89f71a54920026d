//! Workers on one durable, one store, one thread: each goes on by one step at a time, and is killed, as a seed says.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lavender_core::event::Event;
use lavender_core::pipeline::{DetectionOptions, DetectionReport, DetectionWorker};
use lavender_core::store::{PutMode, Version};
use lavender_core::transport::{
    Ack, Consumer, Delivery, Message, Payload, Subscriber as _, Subscription, Topic,
};
use lavender_core::{
    AgentIdentity, Bytes, EventId, ManualClock, Publisher, Result, StateStore, Timestamp,
    async_trait,
};
use lavender_detect::{FleetOptions, RuleHandle, RuleSet, SigmaFleetDetector};
use lavender_transport::{MemoryOptions, MemoryTransport};

use super::fleet::{LATENESS, Random, START_S};
use super::single::{Alerts, Published};

/// Lets others go on, and whoever waits be killed.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// A store whose operations can be interrupted.
#[derive(Debug)]
struct Interruptible(Arc<dyn StateStore>);

#[async_trait]
impl StateStore for Interruptible {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        pause().await;
        let value = self.0.get(key).await;
        pause().await;
        value
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<Duration>,
    ) -> Result<Version> {
        pause().await;
        let version = self.0.put(key, value, mode, ttl).await;
        pause().await;
        version
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        pause().await;
        self.0.keys(prefix, after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }
}

#[derive(Debug)]
struct InterruptiblePublisher(Arc<Published>);

#[async_trait]
impl Publisher for InterruptiblePublisher {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        pause().await;
        for message in messages {
            self.0.add(&[message]);
            pause().await;
        }
        Ok(())
    }
}

/// When each message that is not acknowledged has arrived.
type Outstanding = Arc<Mutex<BTreeMap<(EventId, usize), i64>>>;

/// Tells of what is acknowledged.
#[derive(Debug)]
struct Watched(Box<dyn Consumer>, Outstanding);

#[async_trait]
impl Consumer for Watched {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>> {
        let mut deliveries = self.0.next(max).await?;
        for delivery in &mut deliveries {
            let Payload::Events(events) = &delivery.message.payload else { continue };
            let key = (events[0].id, events.len());
            let ack = std::mem::replace(&mut delivery.ack, Box::new(NoAck));
            delivery.ack = Box::new(WatchedAck(ack, key, Arc::clone(&self.1)));
        }
        Ok(deliveries)
    }
}

#[derive(Debug)]
struct WatchedAck(Box<dyn Ack>, (EventId, usize), Outstanding);

#[async_trait]
impl Ack for WatchedAck {
    async fn ack(self: Box<Self>) -> Result<()> {
        pause().await;
        let Self(ack, key, outstanding) = *self;
        ack.ack().await?;
        outstanding.lock().unwrap().remove(&key);
        pause().await;
        Ok(())
    }

    async fn nak(self: Box<Self>, delay: Duration) -> Result<()> {
        self.0.nak(delay).await
    }
}

#[derive(Debug)]
struct NoAck;

#[async_trait]
impl Ack for NoAck {
    async fn ack(self: Box<Self>) -> Result<()> {
        unreachable!("it is replaced at once")
    }

    async fn nak(self: Box<Self>, _: Duration) -> Result<()> {
        unreachable!("it is replaced at once")
    }
}

/// A batch, and when it arrives.
struct Arrival {
    at: i64,
    source: AgentIdentity,
    events: Vec<Arc<Event>>,
}

/// How far one worker may be behind another, and how late batches arrive. What a batch spans comes to this.
const SLACK: i64 = LATENESS.as_nanos() as i64 / 4;

/// In which order batches arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they happened, by and large.
    Late,
    /// In any, for what happens altogether takes no longer than may be late.
    Any,
}

fn arrivals(
    random: &mut Random,
    order: Order,
    agents: &[(AgentIdentity, Vec<Arc<Event>>)],
) -> VecDeque<Arrival> {
    let mut arrivals = Vec::new();
    let mut known = HashSet::new();
    for (source, events) in agents {
        let (last, mut rest) = events.split_last().unwrap();
        let first = Arc::clone(&events[0]);
        while !rest.is_empty() {
            let (events, later) = rest.split_at(rest.len().min(1 + random.below(9) as usize));
            rest = later;
            for _ in 0..if random.one_in(6) { 2 } else { 1 } {
                // One that comes twice comes as another message.
                let len = events.len() - usize::from(!known.insert((events[0].id, events.len())));
                let events = events[..len].to_vec();
                let Some(newest) = events.last() else { continue };
                let from = match order {
                    Order::Late => newest,
                    Order::Any => &first,
                };
                let at = from.observed_at.as_nanos() + random.below(SLACK as u64) as i64;
                arrivals.push(Arrival { at, source: source.clone(), events });
            }
        }
        let at = last.observed_at.as_nanos();
        arrivals.push(Arrival { at, source: source.clone(), events: vec![Arc::clone(last)] });
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    arrivals.into()
}

type Running = Pin<Box<dyn Future<Output = Result<DetectionReport>> + Send>>;

pub(crate) struct Simulation {
    pub(crate) rules: RuleSet,
    pub(crate) options: FleetOptions,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) random: Random,
    pub(crate) published: Arc<Published>,
    transport: MemoryTransport,
    clock: Arc<ManualClock>,
    outstanding: Outstanding,
    pub(crate) order: Order,
    pub(crate) kills: u32,
    pub(crate) conflicts: u64,
    pub(crate) late: u64,
    pub(crate) forgotten: u64,
}

impl Simulation {
    pub(crate) fn new(
        rules: RuleSet,
        options: FleetOptions,
        store: Arc<dyn StateStore>,
        seed: u64,
    ) -> Self {
        let messages_max = NonZeroUsize::new(1 << 16).unwrap();
        let bounds = MemoryOptions { messages_max, ..MemoryOptions::default() };
        Self {
            rules,
            options,
            store: Arc::new(Interruptible(store)),
            random: Random(seed),
            published: Arc::default(),
            transport: MemoryTransport::new(bounds),
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(START_S * 1_000))),
            outstanding: Outstanding::default(),
            order: Order::Late,
            kills: 0,
            conflicts: 0,
            late: 0,
            forgotten: 0,
        }
    }

    async fn worker(&self) -> (Running, lavender_core::pipeline::DetectionProgress) {
        let topic = Topic::TelemetryAccepted;
        let subscription = Subscription { topic, durable: "detection".into() };
        let consumer = self.transport.subscribe(subscription).await.unwrap();
        let consumer = Box::new(Watched(consumer, Arc::clone(&self.outstanding)));
        let handle = RuleHandle::new(self.rules.clone());
        let detector = SigmaFleetDetector::new(handle.detector(), self.options.clone()).unwrap();
        let publisher = Arc::new(InterruptiblePublisher(Arc::clone(&self.published)));
        let mut options = DetectionOptions::default();
        options.messages = 2;
        let worker = DetectionWorker::new(consumer, detector, Arc::clone(&self.store), publisher)
            .with_clock(Arc::clone(&self.clock) as _)
            .with_options(options);
        let progress = worker.progress();
        (Box::pin(worker.run(std::future::pending::<()>())), progress)
    }

    /// Publishes what may arrive: nobody may be left too far behind.
    async fn arrive(&mut self, arrivals: &mut VecDeque<Arrival>) {
        while let Some(first) = arrivals.front() {
            let oldest = self.outstanding.lock().unwrap().values().min().copied();
            if oldest.is_some_and(|oldest| first.at > oldest + SLACK) {
                return;
            }
            let Some(Arrival { at, source, events }) = arrivals.pop_front() else { return };
            self.outstanding.lock().unwrap().insert((events[0].id, events.len()), at);
            let topic = Topic::TelemetryAccepted;
            let message = Message { source, topic, payload: Payload::Events(events) };
            self.transport.publish(vec![message]).await.unwrap();
        }
    }

    /// Runs workers until everything is decided, and gives what they raised.
    pub(crate) async fn run(
        &mut self,
        workers: usize,
        agents: &[(AgentIdentity, Vec<Arc<Event>>)],
    ) -> Alerts {
        let mut arrivals = arrivals(&mut self.random, self.order, agents);
        let mut running = Vec::new();
        for _ in 0..workers {
            running.push(self.worker().await);
        }
        // After everything was acknowledged, long enough for silence to be noticed.
        let mut rest = 400;
        while rest > 0 {
            self.arrive(&mut arrivals).await;
            let number = self.random.below(workers as u64) as usize;
            if self.random.one_in(120) {
                self.kills += 1;
                self.done(&running[number].1);
                running[number] = self.worker().await;
            }
            let poll = running[number].0.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll.is_pending(), "a worker ended: {poll:?}");
            if arrivals.is_empty() && self.outstanding.lock().unwrap().is_empty() {
                if rest == 400 {
                    self.clock.advance(Duration::from_secs(24 * 3_600));
                }
                rest -= 1;
                for _ in 0..40 {
                    for (worker, _) in &mut running {
                        let _ = worker.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    }
                }
                tokio::time::advance(Duration::from_secs(1)).await;
            } else if self.random.one_in(50) {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        for (_, progress) in &running {
            self.done(progress);
        }
        self.published.0.lock().unwrap().clone()
    }

    fn done(&mut self, progress: &lavender_core::pipeline::DetectionProgress) {
        let report = progress.report();
        assert_eq!(report.unreadable, 0, "every state can be read");
        self.conflicts += report.conflicts;
        self.late += report.late;
        self.forgotten += report.forgotten;
    }
}

//! What only time decides, of agents that say nothing any more; and losses, which one worker hears of and all know.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage};
use lavender_core::pipeline::{
    DetectionOptions, DetectionProgress, DetectionReport, DetectionWorker,
};
use lavender_core::transport::{Message, Payload, Publisher, Subscriber as _, Subscription, Topic};
use lavender_core::{
    Alert, AlertStatus, ManualClock, Result, StateStore as _, Timestamp, async_trait,
};
use lavender_detect::{RuleHandle, RuleSet, SigmaFleetDetector};
use lavender_store::MemoryStore;
use lavender_transport::{MemoryOptions, MemoryTransport};
use tokio::task::JoinHandle;

use super::fleet::{self, LATENESS, Random, START_S};

/// Every alert, as often as it is published.
#[derive(Debug, Default)]
struct All(Mutex<Vec<Arc<Alert>>>);

#[async_trait]
impl Publisher for All {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        for message in messages {
            let Payload::Alerts(alerts) = message.payload else { panic!("{message:?}") };
            self.0.lock().unwrap().extend(alerts);
        }
        Ok(())
    }
}

struct Setting {
    transport: MemoryTransport,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    raised: Arc<All>,
}

/// For a window of 5 s in which there is one detection where two should be.
const RULES: &str = "
title: Any\nid: any\nlogsource: {category: process_creation, product: linux}
detection: {s: {Image|exists: true}, condition: s}
---
title: Few\nid: few\nlevel: high
correlation: {type: event_count, rules: [any], timespan: 5s, condition: {lt: 2}}
";

impl Setting {
    fn new() -> Self {
        Self {
            transport: MemoryTransport::new(MemoryOptions::default()),
            store: Arc::default(),
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(START_S * 1_000))),
            raised: Arc::default(),
        }
    }

    async fn worker(&self) -> (JoinHandle<Result<DetectionReport>>, DetectionProgress) {
        let topic = Topic::TelemetryAccepted;
        let subscription = Subscription { topic, durable: "detection".into() };
        let consumer = self.transport.subscribe(subscription).await.unwrap();
        let handle = RuleHandle::new(RuleSet::from_yaml(RULES).unwrap());
        let detector = SigmaFleetDetector::new(handle.detector(), fleet::options()).unwrap();
        let (store, raised) = (Arc::clone(&self.store), Arc::clone(&self.raised));
        let worker = DetectionWorker::new(consumer, detector, store, raised)
            .with_clock(Arc::clone(&self.clock) as _)
            .with_options(DetectionOptions::default());
        let progress = worker.progress();
        let running = worker.run(std::future::pending::<()>());
        (tokio::spawn(running), progress)
    }

    async fn publish(&self, agent: u64, events: &[Arc<Event>]) {
        let (source, topic) = (fleet::identity(agent), Topic::TelemetryAccepted);
        let message = Message { source, topic, payload: Payload::Events(events.to_vec()) };
        self.transport.publish(vec![message]).await.unwrap();
        self.pass(Duration::from_millis(500)).await;
    }

    /// Time goes by for everybody.
    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_millis() / 500 {
            self.clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn raised(&self) -> Vec<Arc<Alert>> {
        self.raised.0.lock().unwrap().clone()
    }
}

/// The first process of an agent, at the beginning.
fn first(agent: u64) -> Arc<Event> {
    let events = fleet::events(&mut Random(3), &fleet::identity(agent), 5);
    let mut event = (*events[0]).clone();
    assert!(event.process.is_some());
    event.observed_at = Timestamp::from_millis(START_S * 1_000);
    Arc::new(event)
}

#[tokio::test(start_paused = true)]
async fn the_window_of_an_agent_that_fell_silent_is_closed_once_by_whoever_is_left() {
    let setting = Setting::new();
    let (gone, _) = setting.worker().await;
    let event = first(1);
    setting.publish(1, std::slice::from_ref(&event)).await;
    gone.abort();
    assert_eq!(setting.store.keys("detection/", None, 9).await.unwrap().len(), 1);
    let others = [setting.worker().await, setting.worker().await];
    setting.pass(Duration::from_secs(5) + LATENESS + Duration::from_secs(100)).await;
    assert!(setting.raised().is_empty(), "it may still be on its way");
    setting.pass(Duration::from_secs(120)).await;
    let raised = setting.raised();
    assert_eq!(raised.len(), 1, "{raised:?}");
    let alert = &raised[0];
    assert_eq!((&*alert.rule.id, alert.status), ("few", AlertStatus::Open));
    assert_eq!((&alert.source, &alert.events[..]), (&fleet::identity(1), &[event.id][..]));
    assert_eq!(alert.process, event.process, "whoever closes it knows the process");
    let steps = || others.iter().map(|(_, progress)| progress.report().steps).sum::<u64>();
    let before = steps();
    setting.pass(Duration::from_secs(600)).await;
    assert_eq!((steps(), setting.raised().len()), (before, 1), "nothing waits any more");
    assert!(others.iter().all(|(running, _)| !running.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_closed_by_the_clock_while_there_is_a_backlog() {
    let setting = Setting::new();
    setting.clock.advance(Duration::from_secs(3_600));
    let (_running, _) = setting.worker().await;
    let (event, other) = (first(1), first(2));
    setting.publish(1, &[event]).await;
    // The telemetry of another agent, of an hour ago, comes all the time.
    let mut later = (*other).clone();
    for second in 0..200 {
        let origin = later.id.origin();
        later.id = origin.event(second + 1_000);
        later.observed_at = other.observed_at.saturating_add(Duration::from_millis(second * 100));
        setting.publish(2, &[Arc::new(later.clone())]).await;
        setting.pass(Duration::from_secs(2)).await;
    }
    let of_silent =
        setting.raised().iter().filter(|alert| alert.source == fleet::identity(1)).count();
    assert_eq!(of_silent, 0);
    setting.pass(Duration::from_secs(300)).await;
    let of_silent =
        setting.raised().iter().filter(|alert| alert.source == fleet::identity(1)).count();
    assert_eq!(of_silent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_one_worker_heard_of_marks_what_another_raises() {
    for is_lost in [true, false] {
        let setting = Setting::new();
        let (running, _) = setting.worker().await;
        let event = first(1);
        let mut lost = (*event).clone();
        lost.id = event.id.origin().event(2);
        lost.process = None;
        lost.data = match is_lost {
            true => EventData::Lost(Loss::new(LossStage::Queue, EventKind::Exec, 7)),
            false => EventData::Heartbeat(Box::default()),
        };
        setting.publish(1, &[event, Arc::new(lost)]).await;
        running.abort();
        let (_other, _) = setting.worker().await;
        setting.pass(Duration::from_secs(400)).await;
        let raised = setting.raised();
        assert_eq!(raised.len(), 1);
        assert_eq!(raised[0].incomplete, is_lost);
    }
}

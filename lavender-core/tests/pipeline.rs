//! The runner: nothing is lost without being counted, alerts are never shed, and a stop flushes.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use lavender_core::event::{
    AgentStart, Event, EventBatch, EventData, EventKind, Exec, FileOpen, Fork, Loss, LossStage,
    NetConnect, NetworkTransport, OpenFlags, SyscallResult,
};
use lavender_core::pipeline::{Overflow, Pipeline, Writer, WriterOptions};
use lavender_core::store::{
    AgentRecord, AlertQuery, EventQuery, Inserted, LossEntry, LossQuery, Page, StatusChange,
    StoredEvent,
};
use lavender_core::transport::{Ack, Consumer, Delivery, Message, Payload, Topic};
use lavender_core::{
    AgentId, AgentIdentity, Alert, AlertId, AlertStore, BootId, BootTime, Captured, Certainty,
    Detection, Detector, Error, ErrorKind, EventStore, ExecId, Origin, Publisher, Result, RuleMeta,
    Sequencer, Sink, Source, TenantId, Timestamp, async_trait,
};
use tokio::sync::{Notify, Semaphore};

fn identity() -> AgentIdentity {
    AgentIdentity {
        tenant: TenantId::new("acme").unwrap(),
        agent: AgentId::new("web-1").unwrap(),
        host: "web-1".into(),
    }
}

fn sequencer() -> Sequencer {
    Sequencer::new(Origin::new(&identity().tenant, &identity().agent, BootId::from_u128(7)))
}

fn event(ids: &Sequencer, data: EventData) -> Arc<Event> {
    Arc::new(Event {
        id: ids.next(),
        observed_at: Timestamp::from_millis(1),
        boot_time: BootTime::from_nanos(1),
        tid: 0,
        process: None,
        data,
    })
}

fn open() -> EventData {
    EventData::FileOpen(FileOpen {
        path: Captured::complete("/x".into()),
        flags: OpenFlags(0),
        mode: 0,
        result: SyscallResult(3),
        inode: 1,
        device: 1,
    })
}

fn connect() -> EventData {
    EventData::NetConnect(NetConnect {
        transport: NetworkTransport::Tcp,
        source: None,
        destination: "127.0.0.1:1".parse().unwrap(),
        result: SyscallResult(0),
    })
}

fn exec() -> EventData {
    EventData::Exec(Exec {
        filename: Captured::complete("/bin/true".into()),
        previous_executable: None,
    })
}

/// Delivers what it is given; then ends, or waits to be stopped and delivers one last batch.
#[derive(Debug)]
struct Script {
    batches: VecDeque<EventBatch>,
    last: Option<EventBatch>,
    stopped: Arc<Notify>,
}

impl Script {
    fn new(batches: impl IntoIterator<Item = EventBatch>) -> Self {
        Self { batches: batches.into_iter().collect(), last: None, stopped: Arc::default() }
    }
}

#[async_trait]
impl Source for Script {
    async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
        if let Some(batch) = self.batches.pop_front() {
            return Ok(Some(batch));
        }
        if self.last.is_some() {
            self.stopped.notified().await;
        }
        Ok(self.last.take())
    }

    fn stop(&mut self) {
        self.stopped.notify_one();
    }
}

/// Keeps what is published, once its gate is open.
#[derive(Debug)]
struct Kept {
    gate: Semaphore,
    messages: Mutex<Vec<Message>>,
}

impl Kept {
    fn open() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(1), messages: Mutex::default() })
    }

    fn shut() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(0), messages: Mutex::default() })
    }

    fn events(&self) -> Vec<Arc<Event>> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .filter_map(|message| match &message.payload {
                Payload::Events(events) => Some(events.clone()),
                _ => None,
            })
            .flatten()
            .collect()
    }

    fn alerts(&self) -> Vec<Arc<Alert>> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .filter_map(|message| match &message.payload {
                Payload::Alerts(alerts) => Some(alerts.clone()),
                _ => None,
            })
            .flatten()
            .collect()
    }
}

#[async_trait]
impl Publisher for Kept {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let _open = self.gate.acquire().await.unwrap();
        self.messages.lock().unwrap().extend(messages);
        Ok(())
    }
}

/// Finds something in every event of one kind.
#[derive(Debug)]
struct Finds(EventKind);

impl Detector for Finds {
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        if event.kind() == self.0 {
            out.push(Detection {
                rule: Arc::new(RuleMeta { id: "rule".into(), ..RuleMeta::default() }),
                event: Arc::clone(event),
                evidence: Vec::new(),
                certainty: Certainty::Certain,
                correlated: None,
            });
        }
    }
}

fn count(events: &[Arc<Event>], kind: EventKind) -> u64 {
    events.iter().filter(|event| event.kind() == kind).count() as u64
}

fn lost(events: &[Arc<Event>], of: EventKind, at: LossStage) -> u64 {
    events
        .iter()
        .filter_map(|event| match &event.data {
            EventData::Lost(loss) if loss.kind == of && loss.stage == at => Some(loss.count),
            _ => None,
        })
        .sum()
}

#[tokio::test]
async fn everything_delivered_is_published_with_its_losses_and_alerts() {
    let ids = sequencer();
    let batch = |n: usize| EventBatch {
        events: (0..n).map(|_| event(&ids, exec())).collect(),
        lost: vec![Loss {
            cpu: Some(1),
            ..Loss::new(LossStage::KernelRing, EventKind::FileOpen, 5)
        }],
    };
    let source = Script::new([batch(1_000), batch(1), batch(300)]);
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let report = Pipeline::new(source, identity(), ids, publisher)
        .with_detector(Finds(EventKind::Exec))
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!((report.events, report.alerts, report.lost), (1_301, 1_301, 15));
    let events = kept.events();
    assert_eq!(count(&events, EventKind::Exec), 1_301);
    assert_eq!(lost(&events, EventKind::FileOpen, LossStage::KernelRing), 15);
    assert_eq!(kept.alerts().len(), 1_301);
    // The sequence proves that nothing is missing.
    let mut sequence: Vec<u64> = events.iter().map(|event| event.id.sequence()).collect();
    sequence.sort_unstable();
    assert_eq!(sequence, (1..=events.len() as u64).collect::<Vec<_>>());
}

/// A source that knows who lost it gives a loss as an event: it is counted, and never shed.
#[tokio::test]
async fn a_loss_that_is_an_event_is_counted_and_kept() {
    let ids = sequencer();
    let over = Loss::new(LossStage::ThrottledProcess, EventKind::FileOpen, 70);
    let mut events: Vec<_> = (0..3_000).map(|_| event(&ids, exec())).collect();
    events.push(event(&ids, EventData::Lost(over)));
    let source = Script {
        last: Some(EventBatch::default()),
        ..Script::new([EventBatch { events, lost: Vec::new() }])
    };
    let kept = Kept::shut();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let pipeline =
        Pipeline::new(source, identity(), ids, publisher).with_queue(1_024, Overflow::Shed);
    let running = tokio::spawn(pipeline.run(stopped));
    tokio::time::sleep(Duration::from_millis(50)).await;
    kept.gate.add_permits(1);
    stop.send(()).unwrap();
    let report = running.await.unwrap().unwrap();
    let events = kept.events();
    assert_eq!(lost(&events, EventKind::FileOpen, LossStage::ThrottledProcess), 70);
    let shed = lost(&events, EventKind::Exec, LossStage::Queue);
    assert!(shed > 0);
    assert_eq!(report.lost, 70 + shed);
}

/// What was beyond a limit is told of by itself: it is no want of room, and somebody has set it.
#[tokio::test(start_paused = true)]
async fn heartbeats_tell_by_kind_what_was_throttled() {
    let ids = sequencer();
    let told = [
        Loss::new(LossStage::ThrottledProcess, EventKind::FileOpen, 70),
        Loss::new(LossStage::ThrottledCgroup, EventKind::FileOpen, 7),
        Loss::new(LossStage::KernelRing, EventKind::FileOpen, 600),
    ];
    let events = told.map(|loss| event(&ids, EventData::Lost(loss))).into();
    let lost = vec![Loss::new(LossStage::ThrottledCgroup, EventKind::NetConnect, 3)];
    let source =
        Script { last: Some(EventBatch::default()), ..Script::new([EventBatch { events, lost }]) };
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    Pipeline::new(source, identity(), ids, publisher)
        .with_heartbeat(Duration::from_secs(1))
        .run(tokio::time::sleep(Duration::from_millis(1_500)))
        .await
        .unwrap();
    let events = kept.events();
    let beats: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.data {
            EventData::Heartbeat(beat) => Some((beat.lost, &beat.throttled)),
            _ => None,
        })
        .collect();
    let expected = BTreeMap::from([(EventKind::FileOpen, 77), (EventKind::NetConnect, 3)]);
    assert_eq!(beats, [(0, &BTreeMap::new()), (680, &expected)]);
}

#[tokio::test]
async fn a_full_queue_sheds_files_first_and_counts_them_and_never_what_an_alert_rests_on() {
    let ids = sequencer();
    let mixed = |data: fn() -> EventData, n: usize| EventBatch {
        events: (0..n).map(|_| event(&ids, data())).collect(),
        lost: Vec::new(),
    };
    let produced = 1_024 + 4_000 + 600;
    let mut batches = vec![mixed(open, 4_000), mixed(exec, 600), mixed(connect, 1_000)];
    batches.push(mixed(connect, 24));
    let source = Script { last: Some(EventBatch::default()), ..Script::new(batches) };
    let kept = Kept::shut();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let pipeline = Pipeline::new(source, identity(), ids, publisher)
        .with_detector(Finds(EventKind::NetConnect))
        .with_queue(2_048, Overflow::Shed);
    let running = tokio::spawn(pipeline.run(stopped));
    // Connects carry alerts here, so they wait for room where the opens were shed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    kept.gate.add_permits(1);
    stop.send(()).unwrap();
    let report = running.await.unwrap().unwrap();

    let events = kept.events();
    assert_eq!(report.events, produced);
    let shed = lost(&events, EventKind::FileOpen, LossStage::Queue);
    assert_eq!(count(&events, EventKind::FileOpen), 1_024, "files may fill half of the queue");
    assert_eq!(count(&events, EventKind::FileOpen) + shed, 4_000);
    assert_eq!(count(&events, EventKind::Exec), 600);
    assert_eq!(count(&events, EventKind::NetConnect), 1_024);
    assert_eq!(kept.alerts().len(), 1_024);
    assert_eq!(report.lost, shed);
}

#[tokio::test]
async fn a_source_that_can_wait_loses_nothing_to_a_small_queue() {
    let ids = sequencer();
    let batch =
        EventBatch { events: (0..10_000).map(|_| event(&ids, open())).collect(), lost: Vec::new() };
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let report = Pipeline::new(Script::new([batch]), identity(), ids, publisher)
        .with_queue(1_024, Overflow::Wait)
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!((report.events, report.lost), (10_000, 0));
    assert_eq!(kept.events().len(), 10_000);
}

#[tokio::test]
async fn a_stop_delivers_what_the_source_still_held_and_says_so_last() {
    let ids = sequencer();
    let held = EventBatch {
        events: vec![event(&ids, EventData::Fork(Fork {}))],
        lost: vec![Loss::new(LossStage::KernelRing, EventKind::Exec, 2)],
    };
    let source = Script { last: Some(held), ..Script::new([]) };
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let start = AgentStart {
        host: "web-1".into(),
        version: "0".into(),
        kernel_release: "6".into(),
        rules: 0,
        kinds: Vec::new(),
    };
    Pipeline::new(source, identity(), ids, publisher)
        .with_agent_start(start)
        .run(async {})
        .await
        .unwrap();
    let kinds: Vec<EventKind> = kept.events().iter().map(|event| event.kind()).collect();
    assert_eq!(
        kinds,
        [EventKind::AgentStart, EventKind::Fork, EventKind::Lost, EventKind::AgentStop]
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_source_does_not_hold_up_heartbeats_or_the_stop() {
    /// Never waits.
    #[derive(Debug)]
    struct Busy(bool);

    #[async_trait]
    impl Source for Busy {
        async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
            tokio::time::sleep(Duration::from_micros(10)).await;
            Ok((!self.0).then(EventBatch::default))
        }

        fn stop(&mut self) {
            self.0 = true;
        }
    }

    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    Pipeline::new(Busy(false), identity(), sequencer(), publisher)
        .with_heartbeat(Duration::from_secs(1))
        .run(tokio::time::sleep(Duration::from_millis(3_500)))
        .await
        .unwrap();
    assert_eq!(count(&kept.events(), EventKind::Heartbeat), 4, "at 0, 1, 2 and 3 s");
}

/// Hands out messages once, and remembers how they were answered.
#[derive(Debug)]
struct Inbox {
    messages: VecDeque<Message>,
    acknowledged: Arc<Mutex<u64>>,
}

#[derive(Debug)]
struct Answer(Arc<Mutex<u64>>);

#[async_trait]
impl Ack for Answer {
    async fn ack(self: Box<Self>) -> Result<()> {
        *self.0.lock().unwrap() += 1;
        Ok(())
    }

    async fn nak(self: Box<Self>, _delay: Duration) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Consumer for Inbox {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>> {
        let ready = self.messages.len().min(max);
        Ok(self
            .messages
            .drain(..ready)
            .map(|message| Delivery {
                message,
                attempt: 1,
                ack: Box::new(Answer(Arc::clone(&self.acknowledged))),
            })
            .collect())
    }
}

/// Refuses so many times before it takes anything.
#[derive(Debug, Default)]
struct Fickle {
    refusals: Mutex<u32>,
    /// Of each write, how many events.
    writes: Mutex<Vec<usize>>,
    events: Mutex<Vec<Arc<Event>>>,
    alerts: Mutex<Vec<Arc<Alert>>>,
}

impl Fickle {
    fn refuse(&self) -> Result<()> {
        let mut left = self.refusals.lock().unwrap();
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(Error::new(ErrorKind::Unavailable, "store", "the disk is full"))
    }
}

#[async_trait]
impl EventStore for Fickle {
    async fn append(&self, _: &AgentIdentity, events: &[Arc<Event>]) -> Result<Inserted> {
        self.refuse()?;
        self.writes.lock().unwrap().push(events.len());
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(Inserted { new: events.len() as u64, duplicate: 0 })
    }
    async fn events(&self, _: &EventQuery) -> Result<Page<StoredEvent>> {
        Ok(Page { items: Vec::new(), next: None })
    }
    async fn process(&self, _: ExecId) -> Result<Option<Arc<lavender_core::event::Process>>> {
        Ok(None)
    }
    async fn last_sequence(&self, _: Origin) -> Result<Option<u64>> {
        Ok(None)
    }
    async fn agents(&self) -> Result<Vec<AgentRecord>> {
        Ok(Vec::new())
    }
    async fn losses(&self, _: &LossQuery) -> Result<Vec<LossEntry>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl AlertStore for Fickle {
    async fn insert(&self, alerts: &[Arc<Alert>]) -> Result<Inserted> {
        self.refuse()?;
        self.alerts.lock().unwrap().extend_from_slice(alerts);
        Ok(Inserted { new: alerts.len() as u64, duplicate: 0 })
    }
    async fn alerts(&self, _: &AlertQuery) -> Result<Page<Arc<Alert>>> {
        Ok(Page { items: Vec::new(), next: None })
    }
    async fn alert(&self, _: AlertId) -> Result<Option<Arc<Alert>>> {
        Ok(None)
    }
    async fn set_status(&self, _: AlertId, _: &StatusChange) -> Result<()> {
        Ok(())
    }
    async fn status_history(&self, _: AlertId) -> Result<Vec<StatusChange>> {
        Ok(Vec::new())
    }
}

/// Counts what it is shown, and how much of it was stored by then.
#[derive(Debug)]
struct Watcher(Arc<Mutex<Vec<usize>>>);

#[async_trait]
impl<T: Send + Sync + 'static> Sink<T> for Watcher {
    async fn write(&self, items: &[T]) -> Result<()> {
        self.0.lock().unwrap().push(items.len());
        Ok(())
    }
}

fn inbox(payloads: Vec<(Topic, Payload)>) -> (Box<dyn Consumer>, Arc<Mutex<u64>>) {
    let message = |(topic, payload)| Message { source: identity(), topic, payload };
    inbox_of(payloads.into_iter().map(message).collect())
}

fn inbox_of(messages: VecDeque<Message>) -> (Box<dyn Consumer>, Arc<Mutex<u64>>) {
    let acknowledged = Arc::new(Mutex::new(0));
    (Box::new(Inbox { messages, acknowledged: Arc::clone(&acknowledged) }), acknowledged)
}

#[tokio::test(start_paused = true)]
async fn a_writer_tries_again_until_the_store_takes_it_and_shows_it_once() {
    let ids = sequencer();
    let payload = || (Topic::TelemetryAccepted, Payload::Events(vec![event(&ids, exec()); 3]));
    let (consumer, acknowledged) = inbox(vec![payload(), payload()]);
    let store = Arc::new(Fickle { refusals: Mutex::new(4), ..Fickle::default() });
    let shown = Arc::new(Mutex::new(Vec::new()));
    let as_store: Arc<dyn EventStore> = store.clone();
    let report = Writer::of_events(consumer, as_store)
        .with_observer(Watcher(Arc::clone(&shown)))
        .run()
        .await
        .unwrap();
    assert_eq!((report.stored, report.failures), (6, 4));
    assert_eq!(store.events.lock().unwrap().len(), 6);
    assert_eq!(*acknowledged.lock().unwrap(), 2);
    assert_eq!(*shown.lock().unwrap(), [6], "messages of one agent are stored and shown at once");
}

#[tokio::test]
async fn what_many_agents_send_in_turns_is_one_write_an_agent_and_stays_in_order() {
    let agents: Vec<AgentIdentity> = ["a", "b", "c"]
        .map(|name| AgentIdentity { agent: AgentId::new(name).unwrap(), ..identity() })
        .into();
    let ids: Vec<_> = agents
        .iter()
        .map(|of| Sequencer::new(Origin::new(&of.tenant, &of.agent, BootId::from_u128(7))))
        .collect();
    let mut messages = VecDeque::new();
    for _ in 0..5 {
        for (source, ids) in agents.iter().zip(&ids) {
            let payload = Payload::Events(vec![event(ids, exec()), event(ids, open())]);
            let (source, topic) = (source.clone(), Topic::TelemetryAccepted);
            messages.push_back(Message { source, topic, payload });
        }
    }
    let (consumer, acknowledged) = inbox_of(messages);
    let store = Arc::new(Fickle::default());
    let as_store: Arc<dyn EventStore> = store.clone();
    let report = Writer::of_events(consumer, as_store).run().await.unwrap();
    assert_eq!(report.stored, 30);
    assert_eq!(*store.writes.lock().unwrap(), [10, 10, 10]);
    assert_eq!(*acknowledged.lock().unwrap(), 15);
    let stored = store.events.lock().unwrap();
    for of_agent in stored.chunks(10) {
        let sequences: Vec<u64> = of_agent.iter().map(|event| event.id.sequence()).collect();
        assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_down_hides_no_alert_and_acknowledges_nothing() {
    let ids = sequencer();
    let mut found = Vec::new();
    Finds(EventKind::Exec).detect(&event(&ids, exec()), &mut found);
    let alert =
        Arc::new(Alert::from_detection(&identity(), found.remove(0), Timestamp::from_millis(2)));
    let (consumer, acknowledged) = inbox(vec![(Topic::Alerts, Payload::Alerts(vec![alert]))]);
    let store = Arc::new(Fickle { refusals: Mutex::new(u32::MAX), ..Fickle::default() });
    let shown = Arc::new(Mutex::new(Vec::new()));
    let error = Writer::of_alerts(consumer, store)
        .with_observer(Watcher(Arc::clone(&shown)))
        .with_options(WriterOptions { max_failures: 3, ..WriterOptions::default() })
        .run()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(*shown.lock().unwrap(), [1]);
    assert_eq!(*acknowledged.lock().unwrap(), 0);
}

//! A pipeline that is killed and started again, and one on which nothing happens: what detectors know is not lost, and
//! what waits for time to pass is decided.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{
    Arguments, Credentials, Event, EventBatch, EventData, Exec, Executable, Namespaces, Process,
};
use lavender_core::pipeline::{Checkpoint, Pipeline};
use lavender_core::store::{AlertQuery, TimeRange};
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    AgentId, AgentIdentity, Alert, AlertStore as _, BootId, BootTime, ByteString, Captured,
    Clock as _, EventId, EventStore as _, ExecId, Origin, ProcessId, Publisher, Result, Sequencer,
    Source, SystemClock, TenantId, Timestamp, async_trait,
};
use lavender_detect::correlate::{CorrelatingDetector, CorrelatorOptions};
use lavender_detect::{RuleHandle, RuleSet};
use lavender_store::MemoryStore;
use tokio::sync::mpsc;

/// Delivers what it is told to, and ends when whoever tells is gone.
#[derive(Debug)]
struct Told(mpsc::UnboundedReceiver<Arc<Event>>);

#[async_trait]
impl Source for Told {
    async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
        Ok(self.0.recv().await.map(|event| EventBatch { events: vec![event], lost: Vec::new() }))
    }

    fn stop(&mut self) {
        self.0.close();
    }
}

/// Stores what is published; alerts only when it is told to.
#[derive(Debug)]
struct Storing {
    store: Arc<MemoryStore>,
    alerts: bool,
}

#[async_trait]
impl Publisher for Storing {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        for message in messages {
            match message.payload {
                Payload::Events(events) => {
                    self.store.append(&message.source, &events).await?;
                }
                Payload::Alerts(alerts) if self.alerts => {
                    let inserted = self.store.insert(&alerts).await?;
                    assert_eq!(inserted.duplicate, 0, "an alert came twice");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn identity() -> AgentIdentity {
    AgentIdentity {
        tenant: TenantId::default(),
        agent: AgentId::new("web-1").unwrap(),
        host: "web-1".into(),
    }
}

fn exec(ids: &Sequencer, at: Timestamp) -> Arc<Event> {
    let text = |text: &str| Captured::complete(ByteString::from(text));
    let id = ids.next();
    let process = Process {
        exec_id: ExecId { process: ProcessId::new(BootId::from_u128(7), 10, 100), generation: 1 },
        pid: 100,
        namespace_pid: 100,
        name: ByteString::from("test"),
        executable: Executable { path: text("/usr/bin/test"), ..Executable::default() },
        arguments: Captured::complete(Arguments::new(b"test\0")),
        working_directory: text("/"),
        credentials: Credentials::default(),
        user: None,
        group: None,
        terminal: None,
        cgroup_id: 1,
        container: None,
        namespaces: Namespaces::default(),
        tree: None,
        parent_id: None,
        parent: None,
    };
    Arc::new(Event {
        id,
        observed_at: at,
        boot_time: BootTime::from_nanos(id.sequence()),
        tid: 100,
        process: Some(Arc::new(process)),
        data: EventData::Exec(Exec { filename: text("test"), previous_executable: None }),
    })
}

struct Host {
    store: Arc<MemoryStore>,
    ids: Sequencer,
    condition: &'static str,
}

impl Host {
    fn new(condition: &'static str) -> Self {
        let origin = Origin::new(&identity().tenant, &identity().agent, BootId::from_u128(7));
        Self { store: Arc::new(MemoryStore::new()), ids: Sequencer::new(origin), condition }
    }

    /// A pipeline over the store, whose source delivers what is sent.
    fn pipeline(&self, alerts: bool) -> (mpsc::UnboundedSender<Arc<Event>>, Pipeline) {
        let rules = RuleSet::from_yaml(&format!(
            "title: Exec\nid: exec\nlogsource: {{category: process_creation}}\n\
             detection: {{s: {{Image|exists: true}}, condition: s}}\n---\n\
             title: C\nid: c\nlevel: high\ncorrelation: {{type: event_count, rules: [exec], \
             group-by: [ProcessGuid], {}}}\n",
            self.condition
        ));
        let handle = RuleHandle::new(rules.unwrap());
        let mut options = CorrelatorOptions::default();
        options.lateness = Duration::from_millis(100);
        let detector = CorrelatingDetector::new(handle.detector(), options);
        let (send, told) = mpsc::unbounded_channel();
        let publisher = Arc::new(Storing { store: Arc::clone(&self.store), alerts });
        let kept = Arc::clone(&self.store);
        let checkpoint = Checkpoint::new(kept.clone(), kept.clone(), kept);
        let pipeline = Pipeline::new(Told(told), identity(), self.ids.clone(), publisher)
            .with_detector(detector)
            .with_checkpoint(checkpoint.with_interval(Duration::from_millis(20)))
            .with_idle_after(Duration::from_millis(50));
        (send, pipeline)
    }

    /// Runs it on so many events of now, and kills it once they are stored and `more` has passed.
    async fn killed_after(&self, alerts: bool, count: usize, more: Duration) -> Vec<EventId> {
        let (send, pipeline) = self.pipeline(alerts);
        let events: Vec<Arc<Event>> =
            (0..count).map(|_| exec(&self.ids, SystemClock.now())).collect();
        events.iter().for_each(|event| send.send(Arc::clone(event)).unwrap());
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let running = tokio::spawn(pipeline.run(std::future::pending::<()>()));
        let last = ids.last().map(|id| id.sequence());
        while self.store.last_sequence(self.ids.origin()).await.unwrap() < last {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(more).await;
        running.abort();
        running.await.unwrap_err();
        ids
    }

    async fn alerts(&self) -> Vec<Arc<Alert>> {
        self.store.alerts(&AlertQuery::new(TimeRange::ALL)).await.unwrap().items
    }
}

const NOTHING: Duration = Duration::ZERO;
const SAVED: Duration = Duration::from_millis(200);

#[tokio::test]
async fn what_came_before_a_kill_counts_after_it_whether_it_was_saved_or_not() {
    for waits in [[NOTHING, NOTHING], [SAVED, NOTHING], [NOTHING, SAVED], [SAVED, SAVED]] {
        let host = Host::new("timespan: 9999d, condition: {gte: 4}");
        // The first is saved, so that there is a place to go on from.
        let mut execs = host.killed_after(true, 1, SAVED).await;
        for wait in waits {
            execs.extend(host.killed_after(true, 1, wait).await);
        }
        assert!(host.alerts().await.is_empty());
        execs.extend(host.killed_after(true, 1, SAVED).await);
        for _ in 0..2 {
            host.killed_after(true, 1, SAVED).await;
        }
        let alerts = host.alerts().await;
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!(alerts[0].events, execs);
    }
}

#[tokio::test]
async fn an_alert_that_was_raised_and_not_stored_is_raised_by_the_next_run() {
    for wait in [NOTHING, SAVED] {
        let host = Host::new("timespan: 9999d, condition: {gte: 3}");
        host.killed_after(false, 1, SAVED).await;
        host.killed_after(false, 2, wait).await;
        assert!(host.alerts().await.is_empty(), "it went to nobody");
        host.killed_after(true, 0, SAVED).await;
        assert_eq!(host.alerts().await.len(), 1);
        host.killed_after(true, 0, SAVED).await;
    }
}

#[tokio::test]
async fn a_window_closes_on_a_host_where_nothing_happens() {
    let host = Host::new("timespan: 1s, condition: {lt: 2}");
    let (send, pipeline) = host.pipeline(true);
    let event = exec(&host.ids, SystemClock.now());
    send.send(Arc::clone(&event)).unwrap();
    let running = tokio::spawn(pipeline.run(std::future::pending::<()>()));
    while host.alerts().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    let alerts = host.alerts().await;
    assert_eq!(alerts[0].events, [event.id]);
    assert_eq!(alerts[0].observed_at, event.observed_at.saturating_add(Duration::from_secs(1)));
    assert!(alerts[0].created_at >= alerts[0].observed_at, "not before its time");
}

//! Writers: what is stored is acknowledged, and what is not stays with the transport.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::event::{Event, EventKind};
use lavender_core::pipeline::{Writer, WriterOptions};
use lavender_core::store::{
    AgentRecord, AlertQuery, EventQuery, Inserted, LossEntry, LossQuery, Page, StatusChange,
    StoredEvent,
};
use lavender_core::transport::{Ack, Consumer, Delivery, Message, Payload, Topic};
use lavender_core::{
    AgentId, AgentIdentity, Alert, AlertId, AlertStore, BootId, Detector, Error, ErrorKind,
    EventStore, ExecId, Origin, Result, Sequencer, Sink, Timestamp, async_trait,
};

use support::{Finds, event, exec, identity, open, sequencer};

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

#[tokio::test(start_paused = true)]
async fn what_comes_while_the_store_takes_nothing_is_shown_at_once_and_stored_in_its_order() {
    let ids = sequencer();
    for (refusals, max_failures) in [(u32::MAX, 2), (3, u32::MAX)] {
        let one = || (Topic::TelemetryAccepted, Payload::Events(vec![event(&ids, exec())]));
        let (consumer, acknowledged) = inbox((0..5).map(|_| one()).collect());
        let store = Arc::new(Fickle { refusals: Mutex::new(refusals), ..Fickle::default() });
        let as_store: Arc<dyn EventStore> = store.clone();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let ended = Writer::of_events(consumer, as_store)
            .with_observer(Watcher(Arc::clone(&shown)))
            .with_options(WriterOptions { max_failures, messages: 2, ..WriterOptions::default() })
            .run()
            .await;
        assert_eq!(*shown.lock().unwrap(), [2, 2, 1], "each once");
        let stored = store.events.lock().unwrap();
        let Ok(report) = ended else {
            assert_eq!((stored.len(), *acknowledged.lock().unwrap()), (0, 0));
            continue;
        };
        assert_eq!((report.stored, report.failures), (5, 3));
        assert_eq!(*store.writes.lock().unwrap(), [2, 2, 1]);
        assert!(stored.is_sorted_by_key(|event| event.id.sequence()));
        assert_eq!(*acknowledged.lock().unwrap(), 5);
    }
}

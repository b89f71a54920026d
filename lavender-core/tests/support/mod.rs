//! What the tests of the runner and its writers share: events, a source that is a script, a publisher that keeps.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use lavender_core::event::{
    Event, EventBatch, EventData, EventKind, Exec, FileOpen, LossStage, NetConnect,
    NetworkTransport, OpenFlags, SyscallResult,
};
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    AgentId, AgentIdentity, Alert, BootId, BootTime, Captured, Certainty, Detection, Detector,
    Origin, Publisher, Result, RuleMeta, Sequencer, Source, TenantId, Timestamp, async_trait,
};
use tokio::sync::{Notify, Semaphore};

pub fn identity() -> AgentIdentity {
    AgentIdentity {
        tenant: TenantId::new("acme").unwrap(),
        agent: AgentId::new("web-1").unwrap(),
        host: "web-1".into(),
    }
}

pub fn sequencer() -> Sequencer {
    Sequencer::new(Origin::new(&identity().tenant, &identity().agent, BootId::from_u128(7)))
}

pub fn event(ids: &Sequencer, data: EventData) -> Arc<Event> {
    Arc::new(Event {
        id: ids.next(),
        observed_at: Timestamp::from_millis(1),
        boot_time: BootTime::from_nanos(1),
        tid: 0,
        process: None,
        data,
    })
}

pub fn open() -> EventData {
    EventData::FileOpen(FileOpen {
        path: Captured::complete("/x".into()),
        flags: OpenFlags(0),
        mode: 0,
        result: SyscallResult(3),
        inode: 1,
        device: 1,
    })
}

pub fn connect() -> EventData {
    EventData::NetConnect(NetConnect {
        transport: NetworkTransport::Tcp,
        source: None,
        destination: "127.0.0.1:1".parse().unwrap(),
        result: SyscallResult(0),
    })
}

pub fn exec() -> EventData {
    EventData::Exec(Exec {
        filename: Captured::complete("/bin/true".into()),
        previous_executable: None,
    })
}

/// Delivers what it is given; then ends, or waits to be stopped and delivers one last batch.
#[derive(Debug)]
pub struct Script {
    pub batches: VecDeque<EventBatch>,
    pub last: Option<EventBatch>,
    pub stopped: Arc<Notify>,
}

impl Script {
    pub fn new(batches: impl IntoIterator<Item = EventBatch>) -> Self {
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
pub struct Kept {
    pub gate: Semaphore,
    pub messages: Mutex<Vec<Message>>,
}

impl Kept {
    pub fn open() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(1), messages: Mutex::default() })
    }

    pub fn shut() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(0), messages: Mutex::default() })
    }

    pub fn events(&self) -> Vec<Arc<Event>> {
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

    pub fn alerts(&self) -> Vec<Arc<Alert>> {
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
pub struct Finds(pub EventKind);

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

pub fn count(events: &[Arc<Event>], kind: EventKind) -> u64 {
    events.iter().filter(|event| event.kind() == kind).count() as u64
}

pub fn lost(events: &[Arc<Event>], of: EventKind, at: LossStage) -> u64 {
    events
        .iter()
        .filter_map(|event| match &event.data {
            EventData::Lost(loss) if loss.kind == of && loss.stage == at => Some(loss.count),
            _ => None,
        })
        .sum()
}

//! A server with what ingest needs, workers on it, agents that send, and a reader of what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::Envelope;
use lavender_core::event::{Event, EventData, LossStage};
use lavender_core::transport::{Ack as _, Message, Payload, Publisher as _, Topic};
use lavender_core::{Clock as _, Error, Result, StateStore, SystemClock};
use lavender_transport::ingest::{Ingest, IngestCounts, IngestMonitor, IngestOptions};
use lavender_transport::nats::{
    BucketOptions, EnvelopeConsumer, JetStream, JetStreamOptions, JetStreamState,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::load::writer;
use crate::server::{Server, small};

/// Longer than anything takes here.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Site {
    pub(super) server: Server,
    pub(super) transport: JetStream,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut JetStreamOptions)) -> Self {
        let server = Server::start().await;
        let mut options = small(server.options());
        options.durables = vec![Ingest::subscription(), writer()];
        change(&mut options);
        let transport = JetStream::open(options).await.unwrap();
        Self { server, transport }
    }

    pub(super) async fn state(&self) -> JetStreamState {
        let mut options = BucketOptions::default();
        options.bytes_max = 32 << 20;
        self.transport.state(options).await.unwrap()
    }

    pub(super) async fn worker(&self, options: IngestOptions) -> Worker {
        self.worker_on(Arc::new(self.state().await), options).await
    }

    pub(super) async fn worker_on(
        &self,
        state: Arc<dyn StateStore>,
        options: IngestOptions,
    ) -> Worker {
        let ingest = Ingest::open(&self.transport, state, options).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let monitor = ingest.monitor();
        let task = tokio::spawn(ingest.run(stopped));
        Worker { monitor, stop, task }
    }

    pub(super) async fn reader(&self) -> Reader {
        Reader { consumer: self.transport.subscribe_envelopes(writer()).await.unwrap() }
    }

    /// How many messages of agents wait for ingest.
    pub(super) async fn waiting(&self) -> u64 {
        let client = async_nats::connect(self.server.url()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let mut stream = context.get_stream("TELEMETRY_RAW").await.unwrap();
        stream.info().await.unwrap().state.messages
    }

    pub(super) async fn until_worked_off(&self) {
        for _ in 0..600 {
            if self.waiting().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} messages still wait for ingest", self.waiting().await);
    }
}

pub(super) struct Worker {
    pub(super) monitor: IngestMonitor,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Worker {
    pub(super) fn counts(&self) -> IngestCounts {
        self.monitor.counts()
    }

    pub(super) async fn until(&self, what: impl Fn(&IngestCounts) -> bool) {
        for _ in 0..3_000 {
            if what(&self.counts()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not come to that: {:?}", self.counts());
    }

    /// Asks it to stop, and says what it has done.
    pub(super) async fn stop(self) -> IngestCounts {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
        self.monitor.counts()
    }

    /// Why it ended by itself.
    pub(super) async fn failure(self) -> Error {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap_err()
    }

    /// Ends it in the middle of whatever it does.
    pub(super) async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// An agent whose clock is right.
pub(super) fn agent(tenant: &str, name: &str, seed: u64) -> Sample {
    let mut sample = Sample::new(tenant, name, seed);
    sample.set_now(SystemClock.now());
    sample
}

pub(super) fn raw_message(sample: &Sample, events: Vec<Arc<Event>>) -> Message {
    let source = sample.source().clone();
    Message { source, topic: Topic::TelemetryRaw, payload: Payload::Events(events) }
}

pub(super) fn batch(sample: &mut Sample, events: usize) -> Message {
    let events = sample.busy(events);
    raw_message(sample, events)
}

/// Reads what came out, as a writer would.
pub(super) struct Reader {
    consumer: EnvelopeConsumer,
}

impl Reader {
    pub(super) async fn next(&mut self) -> Vec<Envelope> {
        let next = tokio::time::timeout(PATIENCE, self.consumer.next(256)).await;
        let mut envelopes = Vec::new();
        for delivery in next.expect("nothing comes").unwrap() {
            envelopes.push(delivery.envelope().unwrap());
            Box::new(delivery.ack).ack().await.unwrap();
        }
        envelopes
    }

    pub(super) async fn take(&mut self, count: usize) -> Vec<Envelope> {
        let envelopes = self.take_at_least(count).await;
        assert_eq!(envelopes.len(), count);
        envelopes
    }

    pub(super) async fn take_at_least(&mut self, count: usize) -> Vec<Envelope> {
        let mut envelopes = Vec::new();
        while envelopes.len() < count {
            envelopes.extend(self.next().await);
        }
        envelopes
    }

    /// What comes until nothing has for a while.
    pub(super) async fn rest(&mut self, quiet: Duration) -> Vec<Envelope> {
        let mut envelopes = Vec::new();
        while let Ok(more) = tokio::time::timeout(quiet, self.next()).await {
            envelopes.extend(more);
        }
        envelopes
    }
}

/// Gaps: agent, first missing number, how many; and how often each was told.
pub(super) type Gaps = BTreeMap<(String, u64, u64), u32>;

/// What of it tells of gaps.
pub(super) fn gaps(envelopes: &[Envelope]) -> Gaps {
    let mut found = Gaps::new();
    for message in envelopes.iter().map(|envelope| envelope.decode().unwrap()) {
        let Payload::Events(events) = message.payload else { panic!() };
        for event in events {
            if let EventData::Lost(loss) = &event.data
                && loss.stage == LossStage::Transport
            {
                let key =
                    (message.source.agent.as_str().to_owned(), event.id.sequence(), loss.count);
                *found.entry(key).or_default() += 1;
            }
        }
    }
    found
}

pub(super) async fn publish(transport: &JetStream, messages: Vec<Message>) {
    transport.publish(messages).await.unwrap();
}

//! A broker that takes, refuses or is away, as a test says, and remembers what it took by id.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::conformance::sample::{START, Sample};
use lavender_core::envelope::Envelope;
use lavender_core::event::{Event, EventData, EventKind, LossStage};
use lavender_core::transport::{Message, Payload, Topic};
use lavender_core::{
    AlertId, BootId, Error, ErrorKind, EventId, ManualClock, Origin, Result, Sequencer, async_trait,
};
use lavender_transport::EnvelopePublisher;
use lavender_transport::spool::{Connect, Reporter, SpoolOptions, SpoolStatus, Spooled};

/// What it does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    Away,
    /// Takes what stands at even places, and nothing at odd ones.
    TakesHalf,
    /// Says that the third of each call can never be taken.
    Refuses,
}

#[derive(Debug, Default)]
struct Seen {
    ids: Vec<String>,
    events: Vec<EventId>,
    alerts: Vec<AlertId>,
    lost: Vec<(EventKind, u64)>,
    calls: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Broker {
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Seen>>,
}

impl Broker {
    pub(crate) fn new(mood: Mood) -> Self {
        Self { mood: Arc::new(Mutex::new(mood)), seen: Arc::default() }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The sequence numbers of the events that it took, in order; losses are not among them.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        self.seen.lock().unwrap().events.iter().map(|id| id.sequence()).collect()
    }

    pub(crate) fn events(&self) -> Vec<EventId> {
        self.seen.lock().unwrap().events.clone()
    }

    pub(crate) fn alerts(&self) -> Vec<AlertId> {
        self.seen.lock().unwrap().alerts.clone()
    }

    pub(crate) fn lost(&self) -> Vec<(EventKind, u64)> {
        self.seen.lock().unwrap().lost.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().calls
    }

    fn take(&self, envelope: &Envelope) {
        let mut seen = self.seen.lock().unwrap();
        if seen.ids.iter().any(|id| id == envelope.id()) {
            return;
        }
        seen.ids.push(envelope.id().to_owned());
        match envelope.decode().unwrap().payload {
            Payload::Events(events) => {
                for event in events {
                    match &event.data {
                        EventData::Lost(loss) => {
                            assert_eq!(loss.stage, LossStage::Spool);
                            seen.lost.push((loss.kind, loss.count));
                        }
                        _ => seen.events.push(event.id),
                    }
                }
            }
            Payload::Alerts(alerts) => seen.alerts.extend(alerts.iter().map(|alert| alert.id)),
            other => panic!("{other:?}"),
        }
    }
}

#[async_trait]
impl EnvelopePublisher for Broker {
    async fn publish_envelopes(&self, envelopes: &[Envelope]) -> Vec<Result<()>> {
        let mood = *self.mood.lock().unwrap();
        self.seen.lock().unwrap().calls += 1;
        let fail = |kind| Err(Error::new(kind, "broker", "as it was told to"));
        let mut results = Vec::new();
        for (at, envelope) in envelopes.iter().enumerate() {
            results.push(match mood {
                Mood::Away => fail(ErrorKind::Unavailable),
                Mood::TakesHalf if at % 2 == 1 => fail(ErrorKind::Timeout),
                Mood::Refuses if at == 2 => fail(ErrorKind::Invalid),
                _ => {
                    self.take(envelope);
                    Ok(())
                }
            });
        }
        results
    }

    fn body_bytes_max(&self) -> usize {
        1 << 20
    }
}

#[async_trait]
impl Connect for Broker {
    async fn connect(&self) -> Result<Arc<dyn EnvelopePublisher>> {
        match *self.mood.lock().unwrap() {
            Mood::Away => Err(Error::new(ErrorKind::Unavailable, "broker", "it is down")),
            _ => Ok(Arc::new(self.clone())),
        }
    }
}

pub(crate) fn sample() -> Sample {
    Sample::new("acme", "web-1", 1)
}

/// The ids of reports are of another boot, so that a test can tell them from the sample's.
pub(crate) fn reporter(sample: &Sample) -> Reporter {
    let source = sample.source().clone();
    let origin = Origin::new(&source.tenant, &source.agent, BootId::from_u128(99));
    let sequencer = Sequencer::new(origin);
    Reporter { source, sequencer, clock: Arc::new(ManualClock::new(START)) }
}

pub(crate) fn small(bytes_max: u64, segment_bytes: u64) -> SpoolOptions {
    let mut options = SpoolOptions::default();
    (options.bytes_max, options.segment_bytes) = (bytes_max, segment_bytes);
    options
}

pub(crate) fn open(directory: &Path, options: SpoolOptions, broker: &Broker) -> Spooled {
    Spooled::open(directory, options, reporter(&sample()), broker.clone()).unwrap()
}

pub(crate) fn telemetry(sample: &Sample, events: Vec<Arc<Event>>) -> Message {
    let source = sample.source().clone();
    Message { source, topic: Topic::TelemetryRaw, payload: Payload::Events(events) }
}

pub(crate) async fn drained(spool: &Spooled) -> SpoolStatus {
    for _ in 0..20_000 {
        let status = spool.status();
        if status.waiting == 0 {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never drained: {:?}", spool.status());
}

pub(crate) fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    found.sort();
    found
}

//! The stages of the backend on what fifty agents send: each by itself with a backlog, and all of them at once.

use std::sync::Arc;
use std::time::Duration;

use lavender_benches::{SEED, rules};
use lavender_core::EventStore as _;
use lavender_core::envelope::Envelope;
use lavender_core::pipeline::{DetectionProgress, DetectionReport, DetectionWorker, Writer};
use lavender_core::transport::{Payload, Subscriber as _, Subscription, Topic};
use lavender_detect::{
    FleetOptions, RuleHandle, RuleSet, RuleSetBuilder, SigmaFleetDetector, builtin,
};
use lavender_store::{PostgresOptions, PostgresStore};
use lavender_transport::EnvelopePublisher as _;
use lavender_transport::ingest::{Ingest, IngestMonitor, IngestOptions};
use lavender_transport::nats::{BucketOptions, JetStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::broker::Broker;
use super::corpus::{BATCH, Corpus, sealed};
use super::cost::{Cost, cost_of, middle};
use super::{Effort, postgres};

const AGENTS: usize = 50;

/// The workers of a fleet, on one connection each.
struct Fleet {
    broker: Broker,
    rules: RuleSet,
    corpus: Corpus,
    tasks: JoinSet<()>,
    transports: Vec<JetStream>,
    durables: &'static [&'static str],
}

impl Fleet {
    fn new(durables: &'static [&'static str]) -> Self {
        let mut builder = RuleSetBuilder::new().with_placeholders(builtin::placeholders());
        builder.add_builtin();
        builder.add_str("bench.yml", &rules(SEED, 1_000));
        Self {
            broker: Broker::start(),
            rules: builder.build().unwrap().rules,
            corpus: Corpus::new(AGENTS),
            tasks: JoinSet::new(),
            transports: Vec::new(),
            durables,
        }
    }

    async fn connect(&mut self) -> JetStream {
        let transport = self.broker.open(self.durables).await;
        self.transports.push(transport.clone());
        transport
    }

    fn fresh(&mut self, topic: Topic, each: usize) -> Vec<Envelope> {
        sealed(&self.corpus.messages(BATCH, each, topic))
    }

    async fn ingest(&mut self) -> IngestMonitor {
        let transport = self.connect().await;
        let mut bucket = BucketOptions::default();
        bucket.name = "lavender-ingest".into();
        bucket.bytes_max = 64 << 20;
        let state = Arc::new(transport.state(bucket).await.unwrap());
        let ingest = Ingest::open(&transport, state, IngestOptions::default()).await.unwrap();
        let monitor = ingest.monitor();
        self.tasks.spawn(async move { ingest.run(std::future::pending::<()>()).await.unwrap() });
        monitor
    }

    async fn detect(&mut self) -> DetectionProgress {
        let transport = self.connect().await;
        let state = Arc::new(transport.state(BucketOptions::default()).await.unwrap());
        let durable = Subscription { topic: Topic::TelemetryAccepted, durable: "detection".into() };
        let consumer = transport.subscribe_by_agent(durable).await.unwrap();
        let options = FleetOptions::new(Duration::from_secs(60));
        let detector =
            SigmaFleetDetector::new(RuleHandle::new(self.rules.clone()).detector(), options)
                .unwrap();
        let worker = DetectionWorker::new(consumer, detector, state, Arc::new(transport));
        let progress = worker.progress();
        self.tasks.spawn(async move {
            worker.run(std::future::pending::<()>()).await.unwrap();
        });
        progress
    }

    async fn write(&mut self, store: Arc<PostgresStore>) {
        let transport = self.connect().await;
        let name = "telemetry-writer".into();
        let durable = Subscription { topic: Topic::TelemetryAccepted, durable: name };
        let consumer = transport.subscribe(durable).await.unwrap();
        let writer = Writer::of_events(consumer, store);
        self.tasks.spawn(async move {
            writer.run().await.unwrap();
        });
    }

    async fn stop(&mut self) {
        self.tasks.shutdown().await;
        self.transports.clear();
    }
}

async fn publish(transport: &JetStream, envelopes: &[Envelope]) {
    // Some at a time, as many agents do.
    for some in envelopes.chunks(128) {
        for result in transport.publish_envelopes(some).await {
            result.unwrap();
        }
    }
}

async fn until(done: impl AsyncFn() -> bool) {
    while !done().await {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn events_of(envelopes: &[Envelope]) -> usize {
    envelopes.iter().map(|envelope| envelope.count() as usize).sum()
}

pub fn ratios(runtime: &Runtime, effort: Effort) -> Vec<String> {
    let mut ratios = runtime.block_on(ingest(effort));
    ratios.extend(runtime.block_on(end_to_end(effort)));
    ratios.extend(with_postgres(runtime, effort));
    ratios
}

/// A worker that has a backlog.
async fn ingest(effort: Effort) -> Vec<String> {
    let (mut costs, mut events) = (Vec::new(), 0);
    let mut fleet = Fleet::new(&["ingest"]);
    let agents = fleet.broker.open(fleet.durables).await;
    for _ in 0..effort.rounds {
        let envelopes = fleet.fresh(Topic::TelemetryRaw, effort.messages_each);
        events = events_of(&envelopes);
        publish(&agents, &envelopes).await;
        let all = envelopes.len() as u64;
        let broker = fleet.broker.pid();
        let work = async {
            let monitor = fleet.ingest().await;
            until(async || monitor.counts().messages >= all).await;
        };
        costs.push(cost_of(&[broker], work).await);
        fleet.stop().await;
    }
    let cost = middle(&costs);
    println!("ingest, one worker:             {}", cost.per_event(events));
    vec![format!("ingest {:.0} events/s", cost.rate(events))]
}

/// One, two and four workers that share a backlog.
pub async fn detection(effort: Effort) -> Vec<String> {
    const WORKERS: [usize; 3] = [1, 2, 4];
    let mut costs = WORKERS.map(|_| Vec::new());
    let mut fleet = Fleet::new(&["detection"]);
    let agents = fleet.broker.open(fleet.durables).await;
    let mut events = 0;
    for _ in 0..effort.rounds {
        for (workers, costs) in WORKERS.iter().zip(&mut costs) {
            let envelopes = fleet.fresh(Topic::TelemetryAccepted, effort.messages_each);
            events = events_of(&envelopes);
            publish(&agents, &envelopes).await;
            let all = envelopes.len() as u64;
            let mut progress = Vec::new();
            let broker = fleet.broker.pid();
            let work = async {
                for _ in 0..*workers {
                    progress.push(fleet.detect().await);
                }
                let done = || progress.iter().map(|each| each.report().messages).sum::<u64>();
                until(async || done() >= all).await;
            };
            costs.push(cost_of(&[broker], work).await);
            let sum = |of: fn(&DetectionReport) -> u64| -> u64 {
                progress.iter().map(|each| of(&each.report())).sum()
            };
            assert!(sum(|report| report.alerts) > 0, "there is an attack in every backlog");
            let (steps, bytes) = (sum(|report| report.steps), sum(|report| report.state_bytes));
            println!(
                "{workers} workers: {:.0} % of events concern what is known; {steps} steps, {} done again, {:.0} KiB written by each",
                100.0 * sum(|report| report.concerning) as f64 / events as f64,
                sum(|report| report.conflicts),
                bytes as f64 / 1_024.0 / steps.max(1) as f64,
            );
            fleet.stop().await;
        }
    }
    let costs = costs.map(|costs| middle(&costs));
    for (workers, cost) in WORKERS.iter().zip(costs) {
        println!("detection, {workers} workers:           {}", cost.per_event(events));
    }
    let [one, two, four] = costs.map(|cost| cost.rate(events));
    vec![
        format!("detection {one:.0} events/s"),
        format!("two workers/one {:.2}, four/one {:.2}", two / one, four / one),
    ]
}

async fn all_stages(fleet: &mut Fleet, agents: &JetStream, envelopes: &[Envelope]) -> Cost {
    let all = envelopes.len() as u64;
    let _ingest = fleet.ingest().await;
    let progress = fleet.detect().await;
    let broker = fleet.broker.pid();
    let work = async {
        publish(agents, envelopes).await;
        until(async || progress.report().messages >= all).await;
    };
    let cost = cost_of(&[broker], work).await;
    fleet.stop().await;
    cost
}

/// Agents' batches, ingest and detection at once, each one worker.
async fn end_to_end(effort: Effort) -> Vec<String> {
    let mut costs = Vec::new();
    let mut fleet = Fleet::new(&["ingest", "detection"]);
    let agents = fleet.broker.open(fleet.durables).await;
    let mut events = 0;
    for _ in 0..effort.rounds {
        let envelopes = fleet.fresh(Topic::TelemetryRaw, effort.messages_each);
        events = events_of(&envelopes);
        costs.push(all_stages(&mut fleet, &agents, &envelopes).await);
    }
    let cost = middle(&costs);
    println!("agents, ingest, detection:      {}", cost.per_event(events));
    let of_two = cost.of_two_cores(events);
    vec![format!(
        "end to end {:.0} events/s, {of_two:.0} on two cores of its own by CPU time",
        cost.rate(events)
    )]
}

/// The same with a writer to PostgreSQL beside it, and what the store takes alone.
fn with_postgres(runtime: &Runtime, effort: Effort) -> Vec<String> {
    let Some((mut server, pid)) = postgres::server() else { return Vec::new() };
    let url = runtime.block_on(server.database());
    let store = Arc::new(PostgresStore::open(&url, PostgresOptions::default()).unwrap());
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut events = 0;
    runtime.block_on(async {
        let durables = &["ingest", "detection", "telemetry-writer"];
        let mut fleet = Fleet::new(durables);
        let broker = fleet.broker.pid();
        let agents = fleet.broker.open(durables).await;
        for _ in 0..effort.rounds {
            let messages = fleet.corpus.messages(BATCH, effort.messages_each, Topic::TelemetryRaw);
            let append = async {
                for message in &messages {
                    let Payload::Events(events) = &message.payload else { continue };
                    store.append(&message.source, events).await.unwrap();
                }
            };
            alone.push(cost_of(&[pid], append).await);
            let envelopes = fleet.fresh(Topic::TelemetryRaw, effort.messages_each);
            events = events_of(&envelopes);
            let all = envelopes.len() as u64;
            let ingest = fleet.ingest().await;
            fleet.detect().await;
            fleet.write(Arc::clone(&store)).await;
            let stream = accepted(&fleet.broker).await;
            let work = async {
                publish(&agents, &envelopes).await;
                until(async || {
                    ingest.counts().messages >= all
                        && stream.get_info().await.unwrap().state.messages == 0
                })
                .await;
            };
            beside.push(cost_of(&[broker, pid], work).await);
            fleet.stop().await;
        }
    });
    let (alone, beside) = (middle(&alone), middle(&beside));
    println!("PostgreSQL store alone:         {}", alone.per_event(events));
    println!("all stages and the writer:      {}", beside.per_event(events));
    let ratio = beside.rate(events) / alone.rate(events);
    vec![format!("all stages with the writer/PostgreSQL store alone {ratio:.2}")]
}

/// The accepted telemetry, which is empty when every durable has all of it.
async fn accepted(broker: &Broker) -> async_nats::jetstream::stream::Stream {
    let client = async_nats::connect(&broker.url).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.get_stream("TELEMETRY_CANONICAL").await.unwrap()
}

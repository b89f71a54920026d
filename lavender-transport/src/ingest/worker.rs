//! The worker: takes what came, judges it, passes it on, notes it down, and only then acknowledges.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::codec::BatchDecoder;
use lavender_core::envelope::{Content, Envelope};
use lavender_core::transport::{Ack as _, Subscription, Topic};
use lavender_core::{Clock, Result, StateStore, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::counts::{Counts, IngestCounts};
use super::dead_letters::DeadLetters;
use super::ledger::{Agent, Ledger, agent_of};
use super::options::IngestOptions;
use super::output::{Halt, Output};
use super::pace::{Pace, Verdict};
use super::record::{Note, Noted};
use super::{Checks, watch as watcher};
use crate::nats::{EnvelopeConsumer, EnvelopeDelivery, Hold, JetStream, JetStreamAck};
use crate::{AgentLimits, EnvelopePublisher};

/// How often those are forgotten who are within their limits.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// A worker that checks telemetry and passes it on. See the [module](super).
#[derive(Debug)]
pub struct Ingest {
    consumer: EnvelopeConsumer,
    output: Arc<Output>,
    bench: Bench,
    scan_interval: Duration,
    batch_max: usize,
}

/// Where a worker can be asked how it does, also while it runs. Clones ask the same worker.
#[derive(Clone, Debug)]
pub struct IngestMonitor {
    output: Arc<Output>,
}

impl IngestMonitor {
    /// What it has done since it was made.
    pub fn counts(&self) -> IngestCounts {
        *self.output.counts.lock()
    }

    /// How many agents are watched since numbers of theirs are missing.
    pub fn watched(&self) -> usize {
        self.output.watched().len()
    }
}

impl Ingest {
    /// What it reads: `telemetry.raw`, by the durable `ingest`.
    pub fn subscription() -> Subscription {
        Subscription { topic: Topic::TelemetryRaw, durable: "ingest".into() }
    }

    /// A worker that reads from a transport and publishes there.
    ///
    /// # Errors
    ///
    /// When the durable cannot be read.
    pub async fn open(
        transport: &JetStream,
        state: Arc<dyn StateStore>,
        options: IngestOptions,
    ) -> Result<Self> {
        let consumer = transport.subscribe_envelopes(Self::subscription()).await?;
        Ok(Self::new(consumer, Arc::new(transport.clone()), state, options))
    }

    /// A worker on a consumer of [its subscription](Self::subscription), that publishes wherever. Its state may lie
    /// anywhere that all workers reach.
    pub fn new(
        consumer: EnvelopeConsumer,
        publisher: Arc<dyn EnvelopePublisher>,
        state: Arc<dyn StateStore>,
        options: IngestOptions,
    ) -> Self {
        let clock = options.clock;
        let output = Arc::new(Output {
            publisher,
            ledger: Ledger {
                state,
                clock: Arc::clone(&clock),
                gap_wait: options.gap_wait,
                forget_after: options.forget_after,
            },
            clock: Arc::clone(&clock),
            counts: Counts::default(),
            stop: watch::Sender::new(false),
            watched: Mutex::new(HashMap::new()),
            watched_max: options.watched_max,
        });
        let pace = options.events_per_agent.map(|rate| {
            let limits = AgentLimits::new(rate.per_second, rate.burst, Arc::clone(&clock));
            let waiting = (options.waiting_per_agent, options.waiting_max);
            Pace::new(limits, Arc::clone(&clock), waiting, options.gap_wait)
        });
        let rate = options.dead_letters_per_agent;
        let dead_letters = DeadLetters::new(Arc::clone(&output), rate, Arc::clone(&clock));
        let bench = Bench {
            checks: options.checks,
            decoder: BatchDecoder::new(),
            pace,
            dead_letters,
            clock,
            forgotten_at: Instant::now(),
        };
        let (scan_interval, batch_max) = (options.scan_interval, options.batch_max.max(1));
        Self { consumer, output, bench, scan_interval, batch_max }
    }

    /// How it does.
    pub fn monitor(&self) -> IngestMonitor {
        IngestMonitor { output: Arc::clone(&self.output) }
    }

    /// Works until `shutdown` resolves or the transport is closed and nothing is left. What was taken is then done
    /// with, or comes again.
    ///
    /// # Errors
    ///
    /// What trying again does not mend: the durable was deleted, the broker does not permit to publish, a record
    /// of the state store cannot be read.
    pub async fn run<S: fmt::Debug>(self, shutdown: impl Future<Output = S>) -> Result<()> {
        let Self { consumer, output, bench, scan_interval, batch_max } = self;
        let reading = async {
            let result = read(consumer, &output, bench, batch_max).await;
            output.stop.send_replace(true);
            result
        };
        let watching = async {
            match watcher::watch(&output, scan_interval).await {
                Ok(()) | Err(Halt::Stopping) => Ok(()),
                Err(Halt::Failed(error)) => Err(error),
            }
        };
        let mut work = pin!(async { tokio::try_join!(reading, watching).map(|_| ()) });
        tokio::select! {
            result = &mut work => return result,
            why = shutdown => tracing::info!(?why, "ingest stops"),
        }
        output.stop.send_replace(true);
        work.await
    }
}

async fn read(
    mut consumer: EnvelopeConsumer,
    output: &Arc<Output>,
    mut bench: Bench,
    batch_max: usize,
) -> Result<()> {
    let mut stop = output.stop.subscribe();
    let hold_for = consumer.ack_wait() / 3;
    let result = loop {
        let deliveries = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break Ok(()),
            deliveries = consumer.next(batch_max) => match deliveries {
                Ok(deliveries) if deliveries.is_empty() => break Ok(()),
                Ok(deliveries) => deliveries,
                Err(error) => break Err(error),
            },
        };
        output.counts.lock().deliveries += deliveries.len() as u64;
        match bench.work_off(output, deliveries, hold_for).await {
            Ok(()) => {}
            Err(Halt::Stopping) => break Ok(()),
            Err(Halt::Failed(error)) => break Err(error),
        }
    };
    bench.dead_letters.finish().await;
    result
}

/// Where messages are judged.
#[derive(Debug)]
struct Bench {
    checks: Checks,
    decoder: BatchDecoder,
    pace: Option<Pace>,
    dead_letters: DeadLetters,
    clock: Arc<dyn Clock>,
    forgotten_at: Instant,
}

/// What becomes of a message.
enum Judgement {
    /// It is passed on.
    Passes { envelope: Envelope, note: AgentNote },
    /// It comes again.
    Waits(Duration),
    /// Its agent has sent too much.
    Refused(AgentNote),
    /// It is put aside.
    NoGood(String),
}

/// What is to be noted of a message.
struct AgentNote {
    agent: Agent,
    /// The host's name, where it is known.
    host: Option<Arc<str>>,
    note: Note,
}

/// A message on its way through.
struct Item {
    delivery: EnvelopeDelivery,
    note: AgentNote,
}

impl Bench {
    /// Takes messages all the way to their acknowledgements.
    async fn work_off(
        &mut self,
        output: &Arc<Output>,
        deliveries: Vec<EnvelopeDelivery>,
        hold_for: Duration,
    ) -> Result<(), Halt> {
        let holds: Vec<Hold> = deliveries.iter().map(|delivery| delivery.ack.hold()).collect();
        tokio::select! {
            result = self.pass_on(output, deliveries) => result,
            never = keep(&holds, hold_for) => match never {},
        }
    }

    async fn pass_on(
        &mut self,
        output: &Arc<Output>,
        deliveries: Vec<EnvelopeDelivery>,
    ) -> Result<(), Halt> {
        let now = self.clock.now();
        let (mut items, mut envelopes, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for delivery in deliveries {
            match self.judge(&delivery, now) {
                Judgement::Passes { envelope, note } => {
                    envelopes.push(envelope);
                    items.push(Item { delivery, note });
                }
                Judgement::Waits(delay) => {
                    output.counts.lock().rate_limited += 1;
                    if let Err(error) = Box::new(delivery.ack).nak(delay).await {
                        tracing::warn!(%error, "a message that waits comes again by its time");
                    }
                }
                Judgement::Refused(note) => {
                    output.counts.lock().rate_refused += 1;
                    done.push(Item { delivery, note });
                }
                Judgement::NoGood(reason) => self.dead_letters.put(delivery, reason).await,
            }
            // To read a large one takes a while.
            tokio::task::yield_now().await;
        }
        let refused = output.until_taken(&envelopes).await?;
        for ((item, envelope), refused) in items.into_iter().zip(&envelopes).zip(refused) {
            match refused {
                Some(error) => self.dead_letters.put(item.delivery, error.to_string()).await,
                None => {
                    let mut counts = output.counts.lock();
                    counts.messages += 1;
                    counts.events += u64::from(envelope.count());
                    drop(counts);
                    done.push(item);
                }
            }
        }
        finish(output, done).await?;
        if self.forgotten_at.elapsed() >= FORGET_EVERY {
            self.forgotten_at = Instant::now();
            self.dead_letters.forget();
            if let Some(pace) = &mut self.pace {
                pace.forget();
            }
        }
        Ok(())
    }

    fn judge(&mut self, delivery: &EnvelopeDelivery, now: Timestamp) -> Judgement {
        let envelope = match delivery.envelope() {
            Ok(envelope) => envelope,
            Err(error) => return Judgement::NoGood(error.to_string()),
        };
        let agent = agent_of(envelope.subject());
        let attempt = delivery.attempt;
        if let Some(pace) = &mut self.pace
            && let Some(verdict) = pace.is_over(&agent, attempt)
        {
            return held_up(verdict, &envelope, agent);
        }
        let checked = match self.checks.check_with(&mut self.decoder, &envelope, now) {
            Ok(checked) => checked,
            Err(refusal) => return Judgement::NoGood(refusal.to_string()),
        };
        // Only now: what a header says of the count may be too little.
        if let Some(pace) = &mut self.pace
            && let Some(verdict) = pace.charge(&agent, checked.events, attempt)
        {
            return held_up(verdict, &envelope, agent);
        }
        let note = Note { origin: checked.origin, what: Noted::Seen(checked.seen) };
        let note = AgentNote { agent, host: Some(checked.source.host), note };
        let envelope = envelope.with_topic(Topic::TelemetryAccepted).with_received_at(now);
        Judgement::Passes { envelope, note }
    }
}

fn held_up(verdict: Verdict, envelope: &Envelope, agent: Agent) -> Judgement {
    match (verdict, envelope.content()) {
        (Verdict::Later(delay), _) => Judgement::Waits(delay),
        (Verdict::Refused, Content::Events { origin, first, last }) => {
            let note = Note { origin, what: Noted::Refused(first, last) };
            Judgement::Refused(AgentNote { agent, host: None, note })
        }
        (Verdict::Refused, Content::Alerts) => Judgement::NoGood("it is no telemetry".into()),
    }
}

/// Lets nothing of it come again while it is worked on.
async fn keep(holds: &[Hold], every: Duration) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(every).await;
        for hold in holds {
            hold.renew().await;
        }
    }
}

/// Notes down what became of messages, and acknowledges them.
async fn finish(output: &Arc<Output>, items: Vec<Item>) -> Result<(), Halt> {
    type Noted = (Option<Arc<str>>, Vec<Note>, Vec<JetStreamAck>);
    let mut agents: BTreeMap<Agent, Noted> = BTreeMap::new();
    for Item { delivery, note: AgentNote { agent, host, note } } in items {
        let noted = agents.entry(agent).or_default();
        noted.0 = host.or(noted.0.take());
        noted.1.push(note);
        noted.2.push(delivery.ack);
    }
    let mut tasks = JoinSet::new();
    for (agent, (host, notes, acks)) in agents {
        let output = Arc::clone(output);
        tasks.spawn(async move {
            let note = || output.ledger.note(&agent, host.as_deref(), &notes);
            let standing = output.until_kept(note).await?;
            let mut answers: JoinSet<_> = acks.into_iter().map(|ack| Box::new(ack).ack()).collect();
            while let Some(answer) = answers.join_next().await {
                if let Ok(Err(error)) = answer {
                    tracing::warn!(%error, "a message that is done with comes again");
                }
            }
            output.follow(&agent, standing).await
        });
    }
    let mut result = Ok(());
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(Ok(())) => {}
            Ok(Err(halt)) => result = Err(halt),
            Err(error) => {
                let why =
                    lavender_core::Error::new(lavender_core::ErrorKind::Internal, "ingest", error);
                result = Err(Halt::Failed(why));
            }
        }
    }
    result
}

//! The process of simulated agents: their events go through the spool and the publisher of the real one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::transport::{Message, Payload, Publisher as _, Topic};
use lavender_core::{Clock as _, Sequencer, SystemClock, Timestamp};
use lavender_transport::nats::{JetStreamOptions, Setup};
use lavender_transport::spool::{Reporter, SpoolOptions, Spooled};
use tokio::task::JoinSet;

use super::own::OwnDetector;
use super::stream::Streams;
use crate::error::{FleetError, Result};
use crate::site::TENANT;

/// The file whose presence lets the agents say their last.
pub const FINISH: &str = "finish";
/// What the process says when every event but the last is with the broker.
pub const DELIVERED: &str = "all is delivered but the last";
/// What it says of what an agent had to give up.
pub const SHED: &str = "shed:";

/// The most events of a message.
const BATCH: u64 = 256;
/// How often events are due.
const PERIOD: Duration = Duration::from_millis(100);
/// How long the broker may be away at the end.
const PATIENCE: Duration = Duration::from_secs(300);

/// Which agents, and what they are told.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "simulated")]
pub struct Simulate {
    /// The number of the first agent.
    #[arg(long)]
    first: usize,
    /// How many.
    #[arg(long)]
    agents: usize,
    /// How many events each of them has.
    #[arg(long)]
    events: u64,
    /// How many happen in a second.
    #[arg(long)]
    rate: u64,
    /// What decides the events.
    #[arg(long)]
    seed: u64,
    /// When the first event happens, in ms since 1970.
    #[arg(long)]
    begin_ms: i64,
    /// The broker's URL, with `{agent}` where an agent's name belongs.
    #[arg(long)]
    nats: String,
    /// Where spools are.
    #[arg(long)]
    dir: PathBuf,
    /// The most bytes of a spool.
    #[arg(long)]
    spool_bytes: u64,
}

impl Simulate {
    /// The arguments that say the same.
    pub fn arguments(&self) -> Vec<String> {
        let Self { first, agents, events, rate, seed, begin_ms, nats, dir, spool_bytes } = self;
        vec![
            "simulate".into(),
            format!("--first={first}"),
            format!("--agents={agents}"),
            format!("--events={events}"),
            format!("--rate={rate}"),
            format!("--seed={seed}"),
            format!("--begin-ms={begin_ms}"),
            format!("--nats={nats}"),
            format!("--dir={}", dir.display()),
            format!("--spool-bytes={spool_bytes}"),
        ]
    }

    /// Some agents of streams.
    pub fn new(
        streams: &Streams,
        (first, agents): (usize, usize),
        rate: u64,
        nats: String,
        dir: &Path,
        spool_bytes: u64,
    ) -> Self {
        let begin_ms = streams.begin.as_nanos() / 1_000_000;
        let Streams { seed, events, .. } = *streams;
        let dir = dir.to_owned();
        Self { first, agents, events, rate, seed, begin_ms, nats, dir, spool_bytes }
    }

    /// Plays all agents until everything of theirs is with the broker.
    ///
    /// # Errors
    ///
    /// When a spool cannot be used, or the broker is away for too long at the end.
    pub async fn run(self) -> Result<()> {
        let mut agents = JoinSet::new();
        for number in self.first..self.first + self.agents {
            agents.spawn(Agent::open(&self, number)?.play());
        }
        let mut opened = Vec::new();
        while let Some(agent) = agents.join_next().await {
            opened.push(joined(agent)?);
        }
        say(DELIVERED)?;
        while !self.dir.join(FINISH).exists() {
            tokio::time::sleep(PERIOD).await;
        }
        let mut ending = JoinSet::new();
        for agent in opened {
            ending.spawn(agent.finish());
        }
        while let Some(agent) = ending.join_next().await {
            joined(agent)?;
        }
        Ok(())
    }
}

fn joined<T>(agent: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    agent.unwrap_or_else(|error| Err(FleetError::Broken(error.to_string())))
}

fn say(line: impl std::fmt::Display) -> Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").map_err(FleetError::io("stdout"))
}

/// An agent with its spool.
struct Agent {
    number: usize,
    streams: Streams,
    rate: u64,
    reporter: Reporter,
    spool: Spooled,
    detector: OwnDetector,
}

impl Agent {
    fn open(told: &Simulate, number: usize) -> Result<Self> {
        let source = Streams::identity(number)?;
        let name = Streams::agent(number);
        let mut broker = JetStreamOptions::from_url(&told.nats.replace("{agent}", &name))?;
        broker.setup = Setup::Skip;
        broker.inbox_prefix = Some(format!("_INBOX.{TENANT}.{name}"));
        let sequencer = Sequencer::new(Streams::origin(&source));
        let reporter = Reporter { source, sequencer, clock: Arc::new(SystemClock) };
        let mut options = SpoolOptions::default();
        options.bytes_max = told.spool_bytes;
        let directory = told.dir.join(format!("spool-{name}"));
        // The numbers go on behind what the disk has seen.
        let spool = Spooled::open(directory, options, reporter.clone(), broker)?;
        let begin = Timestamp::from_millis(told.begin_ms);
        let streams = Streams { seed: told.seed, begin, events: told.events };
        let detector = OwnDetector::new()?;
        Ok(Self { number, streams, rate: told.rate, reporter, spool, detector })
    }

    /// Plays its stream, at its pace, and waits until the broker has it.
    async fn play(mut self) -> Result<Self> {
        let ids = self.reporter.sequencer.clone();
        let began = SystemClock.boot_time();
        let (first, last) = (ids.peek(), self.streams.events);
        while ids.peek() <= last {
            let elapsed = SystemClock.boot_time().since(began).as_nanos();
            let due = first + (elapsed * u128::from(self.rate) / 1_000_000_000) as u64;
            let from = ids.peek();
            let count = due.min(last + 1).saturating_sub(from).min(BATCH);
            if count == 0 {
                tokio::time::sleep(PERIOD).await;
                continue;
            }
            // Reports of the spool's own take numbers of the same sequence, meanwhile.
            let from = ids.reserve(count);
            self.publish(from..from + count).await?;
        }
        while self.spool.status().waiting > 0 {
            tokio::time::sleep(PERIOD).await;
        }
        Ok(self)
    }

    /// Says that it still lives, and ends.
    async fn finish(mut self) -> Result<()> {
        let last = self.reporter.sequencer.reserve(1);
        self.publish(last..last + 1).await?;
        let status = self.spool.close(PATIENCE).await;
        if status.shed > 0 {
            say(format!("{SHED} {}", status.shed))?;
        }
        match status.waiting {
            0 => Ok(()),
            waiting => Err(FleetError::Broken(format!(
                "{waiting} messages of {} stay in its spool: {:?}",
                self.reporter.source.agent, status.fault
            ))),
        }
    }

    async fn publish(&mut self, numbers: std::ops::Range<u64>) -> Result<()> {
        let origin = self.reporter.sequencer.origin();
        let events: Vec<_> =
            numbers.map(|number| self.streams.event(self.number, origin, number)).collect();
        let source = &self.reporter.source;
        let alerts = self.detector.alerts(source, &events, SystemClock.now());
        let message =
            |topic, payload| Message { source: self.reporter.source.clone(), topic, payload };
        let mut messages = Vec::new();
        // Before the events: an agent that is killed in between looks at those again.
        if !alerts.is_empty() {
            messages.push(message(Topic::Alerts, Payload::Alerts(alerts)));
        }
        messages.push(message(Topic::TelemetryRaw, Payload::Events(events)));
        Ok(self.spool.publish(messages).await?)
    }
}

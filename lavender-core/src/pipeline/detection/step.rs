//! The steps of a worker: what an agent's events, or the time, do to what is known of it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::super::egress::MESSAGE_ITEMS;
use super::Batch;
use super::agent::{Agent, Work};
use super::known::Known;
use super::options::{DetectionOptions, DetectionProgress};
use super::value;
use crate::alert::{AgentIdentity, Alert};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventData};
use crate::fleet::FleetDetector;
use crate::id::TenantId;
use crate::store::{PutMode, StateStore};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::transport::{Message, Payload, Publisher, Topic};

/// Before the keys of states: `detection/<tenant>/<agent>`.
const PREFIX: &str = "detection/";
/// How many keys are listed at once.
const PAGE: usize = 256;

fn key_of(source: &AgentIdentity) -> String {
    format!("{PREFIX}{}/{}", source.tenant, source.agent)
}

/// The tenant of a state.
fn tenant_of(key: &str) -> Result<TenantId> {
    let name = key.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next());
    TenantId::new(name.unwrap_or_default())
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("the state `{key}`"), error))
}

/// Everything of a worker but where its deliveries come from.
pub(super) struct Steps {
    detector: Box<dyn FleetDetector>,
    store: Arc<dyn StateStore>,
    publisher: Arc<dyn Publisher>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: DetectionOptions,
    pub(super) progress: DetectionProgress,
    known: Known,
    /// The time of the newest event of what came last, and when it came.
    stream: Option<(Timestamp, Instant)>,
    started: Option<Instant>,
    scan: Scan,
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Steps {
    pub(super) fn new(
        detector: Box<dyn FleetDetector>,
        store: Arc<dyn StateStore>,
        publisher: Arc<dyn Publisher>,
    ) -> Self {
        let options = DetectionOptions::default();
        Self {
            detector,
            store,
            publisher,
            clock: Arc::new(SystemClock),
            known: Known::new(options.agents_max, options.cached_bytes_max),
            options,
            progress: DetectionProgress::default(),
            stream: None,
            started: None,
            scan: Scan::Due,
        }
    }

    pub(super) fn set_options(&mut self, options: DetectionOptions) {
        self.known = Known::new(options.agents_max.max(2), options.cached_bytes_max);
        self.options = options;
    }

    /// Takes in events of one agent.
    pub(super) async fn take(
        &mut self,
        source: &AgentIdentity,
        events: &[Arc<Event>],
    ) -> Result<()> {
        if self.detector.take_renewed() {
            self.known.meet_again();
        }
        let of_agent = events.iter().filter(|event| !is_loss(event));
        let times = of_agent.map(|event| event.observed_at);
        let (oldest, newest) = (times.clone().min(), times.max());
        if let Some(newest) = newest {
            self.stream = Some((newest, Instant::now()));
        }
        let key = key_of(source);
        let heard = self.known.of(&key);
        // It may be the first of all that its detector has to know the time of.
        let is_first = oldest.is_some_and(|oldest| heard.oldest.is_none_or(|known| oldest < known));
        let looked_at = self.worth_looking_at(&source.tenant, events, is_first);
        if !looked_at.is_empty() {
            self.step(&key, Work::Events(source, &looked_at)).await?;
        }
        let heard = self.known.of(&key);
        heard.newest = heard.newest.max(newest);
        heard.oldest = heard.oldest.into_iter().chain(oldest).min();
        if let (Some(due), Some(newest)) = (heard.due, heard.newest)
            && due <= newest
        {
            self.step(&key, Work::Idle(newest)).await?;
        }
        Ok(())
    }

    /// The events that concern what is known of their agent, and before each the newest of the others, for the time.
    fn worth_looking_at(
        &mut self,
        tenant: &TenantId,
        events: &[Arc<Event>],
        first: bool,
    ) -> Vec<Arc<Event>> {
        let mut worth = Vec::new();
        let mut passed: Option<&Arc<Event>> = None;
        let mut concerning = 0;
        for event in events {
            if self.detector.concerns(tenant, event) {
                concerning += 1;
                worth.extend(passed.take().map(Arc::clone));
                worth.push(Arc::clone(event));
            } else if !is_loss(event)
                && passed.is_none_or(|passed| passed.observed_at <= event.observed_at)
            {
                passed = Some(event);
            }
        }
        if first {
            let of_agent = events.iter().filter(|event| !is_loss(event));
            let oldest = of_agent.min_by_key(|event| event.observed_at);
            worth.splice(0..0, oldest.map(Arc::clone));
        }
        if !worth.is_empty() {
            worth.extend(passed.map(Arc::clone));
        }
        self.progress.add(|report| {
            report.events += events.len() as u64;
            report.concerning += concerning;
        });
        worth
    }

    /// Does work on the state of an agent: publishes what it comes to, and swaps the state.
    async fn step(&mut self, key: &str, work: Work<'_>) -> Result<()> {
        let tenant = tenant_of(key)?;
        for _ in 0..self.options.attempts_max.max(1) {
            let mut agent = self.newest(key, &tenant).await?;
            let version = agent.version;
            if let Work::Idle(time) = work
                && agent.due().is_none_or(|due| due > time)
            {
                // Another worker was here.
                self.known.cache(key, agent);
                return Ok(());
            }
            let outcome = agent.apply(work, self.clock.now())?;
            let (alerts, updates) = (outcome.alerts.len(), outcome.updates.len());
            self.publish(outcome.alerts).await?;
            self.publish(outcome.updates).await?;
            self.progress.add(|report| {
                report.alerts += alerts as u64;
                report.updates += updates as u64;
            });
            let Some(change) = agent.change(self.options.state_bytes_max) else {
                self.known.cache(key, agent);
                return Ok(());
            };
            let mode = version.map_or(PutMode::Create, PutMode::Update);
            let bytes = change.value.len();
            match self.store.put(key, change.value, mode, None).await {
                Ok(version) => {
                    let gaps = agent.take_gaps();
                    self.progress.add(|report| {
                        report.steps += 1;
                        report.state_bytes += bytes as u64;
                        report.suppressed += outcome.suppressed;
                        report.forgotten += gaps.forgotten + change.forgotten;
                        report.late += gaps.late;
                        report.unreadable += agent.unreadable;
                    });
                    agent.written(version);
                    self.known.of(key).due = agent.due();
                    // What it had to leave out is still in the detector's memory.
                    if change.forgotten == 0 {
                        self.known.cache(key, agent);
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.progress.add(|report| report.conflicts += 1);
                }
                Err(error) => return Err(error),
            }
        }
        let reason = format!("{key} was changed by others {} times", self.options.attempts_max);
        Err(Error::new(ErrorKind::Conflict, "detection", reason))
    }

    /// What is known of an agent. The store is asked even where it is at hand: what is older than a moment might decide
    /// what is not so any more.
    async fn newest(&mut self, key: &str, tenant: &TenantId) -> Result<Agent> {
        let stored = match self.known.take_cached(key) {
            Some(agent) => match agent.version {
                Some(version) => match self.store.get_newer(key, version).await? {
                    Some(newer) => Some(newer),
                    None => return Ok(agent),
                },
                None => self.store.get(key).await?,
            },
            None => self.store.get(key).await?,
        };
        Ok(Agent::load(self.detector.begin(tenant), stored))
    }

    async fn publish(&mut self, alerts: Vec<Arc<Alert>>) -> Result<()> {
        let messages: Vec<Message> = alerts
            .chunks(MESSAGE_ITEMS)
            .map(|alerts| Message {
                source: alerts[0].source.clone(),
                topic: Topic::Alerts,
                payload: Payload::Alerts(alerts.to_vec()),
            })
            .collect();
        if messages.is_empty() {
            return Ok(());
        }
        self.publisher.publish(messages).await
    }

    /// All at once: the transport confirms each, and waiting for one after the other takes longer than looking at them.
    pub(super) async fn acknowledge(&mut self, batch: Batch) {
        for answer in join_all(batch.acks.into_iter().map(|ack| ack.ack())).await {
            match answer {
                Ok(()) => self.progress.add(|report| report.messages += 1),
                // It comes again, and changes nothing.
                Err(error) => tracing::warn!(%error, "looked at, but not acknowledged"),
            }
        }
    }

    /// Decides what waited for a time that has come.
    pub(super) async fn decide_what_is_due(&mut self) -> Result<()> {
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        self.scan(now).await?;
        let silent = self.silent_since(now, started);
        let over: Vec<(String, Timestamp)> = self
            .known
            .waiting()
            .filter_map(|(key, due, newest)| {
                let time = newest.into_iter().chain(silent).max()?;
                (due <= time).then(|| (key.to_owned(), time))
            })
            .collect();
        for (key, time) in over {
            match self.step(&key, Work::Idle(time)).await {
                Err(error) if !error.is_retryable() => {
                    // Others are not to wait for it. It is found again.
                    self.known.of(&key).due = None;
                    self.progress.add(|report| report.failures += 1);
                    tracing::error!(%error, key, "what is due was not decided");
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Up to when nothing more is expected of an agent that says nothing. While others speak, no later than they do: where
    /// there is a backlog, it may be of this agent too.
    fn silent_since(&self, now: Instant, started: Instant) -> Option<Timestamp> {
        let Self { clock, options: DetectionOptions { silence, .. }, .. } = self;
        let is_quiet = |since: Instant| now.duration_since(since) >= *silence;
        let time = match self.stream {
            Some((newest, came)) if !is_quiet(came) => newest.min(clock.now()),
            _ if is_quiet(started) => clock.now(),
            _ => return None,
        };
        Some(time.saturating_sub(*silence))
    }

    /// Looks through the store for what waits for its time, whoever has left it: some of it at each tick, so that
    /// nothing that comes waits for long.
    async fn scan(&mut self, now: Instant) -> Result<()> {
        let after = match &self.scan {
            Scan::Over(at) if now.duration_since(*at) < self.options.scan => return Ok(()),
            Scan::Due | Scan::Over(_) => None,
            Scan::After(key) => Some(key.clone()),
        };
        let keys = self.store.keys(PREFIX, after.as_deref(), PAGE).await?;
        for key in &keys {
            let Some((bytes, _)) = self.store.get(key).await? else { continue };
            if let Some(due) = value::read_due(&bytes).flatten() {
                self.known.of(key).due = Some(due);
            }
        }
        self.scan = match keys.len() {
            PAGE => keys.into_iter().next_back().map_or(Scan::Over(now), Scan::After),
            _ => Scan::Over(now),
        };
        Ok(())
    }
}

/// How far the states in the store were looked through.
enum Scan {
    Due,
    /// Up to this key.
    After(String),
    /// All of them, then.
    Over(Instant),
}

/// Losses are stamped when they are told of, which is no time of the agent's events.
fn is_loss(event: &Event) -> bool {
    matches!(event.data, EventData::Lost(_))
}

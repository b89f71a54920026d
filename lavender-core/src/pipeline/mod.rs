//! The runner: source → enrich → detect → respond → publish, and subscribe → store.
//!
//! Two halves meet at a [`Transport`](crate::Transport). [`Pipeline`] is the agent's: it reads a source,
//! looks at every event, and publishes telemetry and alerts. A [`Writer`] is the
//! backend's: it consumes, stores, and acknowledges what is stored. In the embedded default both halves run in
//! one process over a transport in memory.
//!
//! Every queue is bounded. See [`Overflow`] for what happens when one is full.

mod canary;
mod checkpoint;
#[cfg(feature = "command")]
mod commands;
mod detection;
mod egress;
mod judges;
mod shutdown;
mod told;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use self::canary::{CANARY_RULE, CanaryOptions, CanaryWatch};
pub use self::checkpoint::Checkpoint;
use self::checkpoint::Saver;
#[cfg(feature = "command")]
pub use self::commands::{SharedExecutor, run_commands};
pub use self::detection::{DetectionOptions, DetectionProgress, DetectionReport, DetectionWorker};
use self::egress::{Egress, LossCounts, queue};
use self::judges::{Judges, Raised};
pub use self::shutdown::signal;
use self::told::next_response;
pub use self::writer::{Writer, WriterOptions, WriterReport};
use crate::alert::{AgentIdentity, Alert};
use crate::command_tally::CommandTally;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{
    AgentStart, AgentStop, Event, EventBatch, EventData, Heartbeat, RulesetHealth, StopReason,
};
use crate::id::{EventId, Sequencer};
use crate::prevention::PreventionHealth;
use crate::response::{Responder, ResponseOutcome};
use crate::rule::Detection;
use crate::source::{AlertStage, Detector, Enricher, Gaps, Source};
use crate::time::{Clock, SystemClock};
use crate::transport::{Publisher, Topic};

/// What happens when telemetry comes faster than it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Shed it, lowest priority first, and count what was shed: detection goes on at full speed. Files
    /// may fill half of the queue, network three quarters. For live sources.
    Shed,
    /// Wait, and let the source wait. For sources that can: replays and tests.
    Wait,
}

/// The agent's half of the picture: reads a [`Source`], enriches, detects, responds, publishes.
///
/// ```
/// # use std::sync::Arc;
/// # use lavender_core::event::EventBatch;
/// # use lavender_core::pipeline::Pipeline;
/// # use lavender_core::transport::Message;
/// # use lavender_core::{AgentId, AgentIdentity, BootId, Origin, Publisher, Result, Sequencer, Source, TenantId, async_trait};
/// /// A source that is at its end.
/// #[derive(Debug)]
/// struct Nothing;
///
/// #[async_trait]
/// impl Source for Nothing {
///     async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
///         Ok(None)
///     }
///     fn stop(&mut self) {}
/// }
///
/// /// A publisher that takes everything and keeps nothing.
/// #[derive(Debug)]
/// struct Nowhere;
///
/// #[async_trait]
/// impl Publisher for Nowhere {
///     async fn publish(&self, _messages: Vec<Message>) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = AgentIdentity {
///     tenant: TenantId::new("acme")?,
///     agent: AgentId::new("web-1")?,
///     host: "web-1".into(),
/// };
/// let ids = Sequencer::new(Origin::new(&source.tenant, &source.agent, BootId::from_u128(7)));
/// let report = Pipeline::new(Nothing, source, ids, Arc::new(Nowhere))
///     .run(std::future::pending::<()>())
///     .await?;
/// assert_eq!(report.events, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipeline {
    source: Box<dyn Source>,
    identity: AgentIdentity,
    sequencer: Sequencer,
    publisher: Arc<dyn Publisher>,
    enrichers: Vec<Box<dyn Enricher>>,
    detectors: Vec<Box<dyn Detector>>,
    stages: Vec<Box<dyn AlertStage>>,
    responder: Option<Box<dyn Responder>>,
    responses: Option<mpsc::Receiver<ResponseOutcome>>,
    ruleset: Option<watch::Receiver<RulesetHealth>>,
    commands: Option<CommandTally>,
    canary: Option<CanaryWatch>,
    prevention: Option<watch::Receiver<PreventionHealth>>,
    clock: Arc<dyn Clock>,
    start: Option<AgentStart>,
    heartbeat_interval: Option<Duration>,
    queue_events: usize,
    overflow: Overflow,
    publish_telemetry: bool,
    telemetry_topic: Topic,
    checkpoint: Option<Checkpoint>,
    idle_after: Option<Duration>,
}

/// What a pipeline did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineReport {
    /// Events that the source delivered.
    pub events: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Alerts that only repeated others, and are counted with them.
    pub suppressed: u64,
    /// Events lost before or in the pipeline, at all stages together.
    pub lost: u64,
    /// What detectors and stages could not take into account.
    pub gaps: Gaps,
}

impl Pipeline {
    /// How many events may wait for the transport unless told otherwise: about 20 MB of file events.
    pub const DEFAULT_QUEUE_EVENTS: usize = 65_536;

    /// A pipeline that publishes what `source` delivers, as `identity`. Events that the pipeline itself
    /// makes (losses, heartbeats, responses) take their ids from `sequencer`, which the source shares.
    pub fn new(
        source: impl Source,
        identity: AgentIdentity,
        sequencer: Sequencer,
        publisher: Arc<dyn Publisher>,
    ) -> Self {
        Self {
            source: Box::new(source),
            identity,
            sequencer,
            publisher,
            enrichers: Vec::new(),
            detectors: Vec::new(),
            stages: Vec::new(),
            responder: None,
            responses: None,
            ruleset: None,
            commands: None,
            canary: None,
            prevention: None,
            clock: Arc::new(SystemClock),
            start: None,
            heartbeat_interval: None,
            queue_events: Self::DEFAULT_QUEUE_EVENTS,
            overflow: Overflow::Shed,
            publish_telemetry: true,
            telemetry_topic: Topic::TelemetryAccepted,
            checkpoint: None,
            idle_after: None,
        }
    }

    /// Adds context to every event before it is looked at; in the order added.
    #[must_use]
    pub fn with_enricher(mut self, enricher: impl Enricher + 'static) -> Self {
        self.enrichers.push(Box::new(enricher));
        self
    }

    /// Looks at every event; what any detector finds becomes an alert.
    #[must_use]
    pub fn with_detector(mut self, detector: impl Detector + 'static) -> Self {
        self.detectors.push(Box::new(detector));
        self
    }

    /// Looks at every alert before it is answered and published; in the order added.
    #[must_use]
    pub fn with_alert_stage(mut self, stage: impl AlertStage + 'static) -> Self {
        self.stages.push(Box::new(stage));
        self
    }

    /// Answers every alert.
    #[must_use]
    pub fn with_responder(mut self, responder: impl Responder + 'static) -> Self {
        self.responder = Some(Box::new(responder));
        self
    }

    /// Makes events of what others have done to this host, such as commands, until all who send are gone.
    #[must_use]
    pub fn with_responses(mut self, responses: mpsc::Receiver<ResponseOutcome>) -> Self {
        self.responses = Some(responses);
        self
    }

    /// Has heartbeats tell which published rules are in use.
    #[must_use]
    pub fn with_ruleset(mut self, ruleset: watch::Receiver<RulesetHealth>) -> Self {
        self.ruleset = Some(ruleset);
        self
    }

    /// Has heartbeats tell how prevention in the kernel stands.
    #[must_use]
    pub fn with_prevention(mut self, health: watch::Receiver<PreventionHealth>) -> Self {
        self.prevention = Some(health);
        self
    }

    /// Has heartbeats tell what became of what came as commands.
    #[must_use]
    pub fn with_commands(mut self, commands: CommandTally) -> Self {
        self.commands = Some(commands);
        self
    }

    /// Looks for the acts of a canary, tells in heartbeats how they fare, and at once when one is missing, which is an
    /// alert, or seen again.
    #[must_use]
    pub fn with_canary(mut self, canary: CanaryWatch) -> Self {
        self.canary = Some(canary);
        self
    }

    /// Keeps what detectors know across restarts.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// Tells detectors the time when the source has delivered nothing for this long, so that what waits for time to pass
    /// is decided on an idle host too. For sources that deliver what happens now: no event may be older than this
    /// when it comes. At least 10 ms.
    #[must_use]
    pub fn with_idle_after(mut self, idle: Duration) -> Self {
        self.idle_after = Some(idle.max(Duration::from_millis(10)));
        self
    }

    /// Reads the time elsewhere than from the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Says so when the agent starts and when it stops.
    #[must_use]
    pub fn with_agent_start(mut self, start: AgentStart) -> Self {
        self.start = Some(start);
        self
    }

    /// Says at this interval that the agent lives.
    #[must_use]
    pub const fn with_heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = Some(interval);
        self
    }

    /// How many events may wait for the transport, and what happens when more come. At least 1,024.
    #[must_use]
    pub fn with_queue(mut self, events: usize, overflow: Overflow) -> Self {
        self.queue_events = events.max(4 * egress::MESSAGE_ITEMS);
        self.overflow = overflow;
        self
    }

    /// Publishes alerts and what the agent says of itself, and keeps the telemetry to itself.
    #[must_use]
    pub const fn without_telemetry(mut self) -> Self {
        self.publish_telemetry = false;
        self
    }

    /// Publishes telemetry as this topic: [`TelemetryRaw`](Topic::TelemetryRaw) where ingest lies between the agent and
    /// the store; [`TelemetryAccepted`](Topic::TelemetryAccepted) unless said.
    #[must_use]
    pub const fn with_telemetry_topic(mut self, topic: Topic) -> Self {
        self.telemetry_topic = topic;
        self
    }

    /// Runs until the source ends or `shutdown` resolves; then the source is asked to stop, and what it
    /// still holds is worked off. Returns once the transport owns everything.
    ///
    /// # Errors
    ///
    /// When the source or the transport cannot go on. What was published before stays published.
    pub async fn run<T>(
        mut self,
        shutdown: impl Future<Output = T> + Send,
    ) -> Result<PipelineReport> {
        let (egress, drain) = queue(
            self.queue_events,
            self.overflow,
            (self.identity.clone(), self.telemetry_topic),
            Arc::clone(&self.publisher),
        );
        let drain: JoinHandle<Result<()>> = tokio::spawn(drain.run());
        let mut stage = Stage {
            identity: self.identity,
            sequencer: self.sequencer,
            clock: self.clock,
            enrichers: self.enrichers,
            judges: Judges { detectors: self.detectors, stages: self.stages },
            responder: self.responder,
            responses: self.responses,
            ruleset: self.ruleset,
            commands: self.commands,
            canary: self.canary,
            prevention: self.prevention,
            publish_telemetry: self.publish_telemetry,
            egress,
            detections: Vec::new(),
            answers: Vec::new(),
            losses: LossCounts::default(),
            report: PipelineReport::default(),
            saver: None,
        };
        if let Some(checkpoint) = self.checkpoint {
            stage.restore(checkpoint).await?;
        }
        let announce = self.start.is_some();
        if let Some(start) = self.start {
            let start = stage.own_event(EventData::AgentStart(start));
            stage.egress.push_kept(vec![start]).await;
        }
        let intervals = (self.heartbeat_interval, self.idle_after);
        let result = stage.pump(&mut *self.source, intervals, shutdown).await;
        stage.close_responses().await;
        stage.report_losses(When::Now).await;
        let updates = stage.judges.updates(true);
        stage.egress.push_alerts(updates).await;
        if let Some(saver) = &mut stage.saver {
            saver.finish(&mut stage.judges).await;
        }
        if announce {
            let reason = match &result {
                Ok(reason) => *reason,
                Err(_) => StopReason::Failure,
            };
            let stop = stage.own_event(EventData::AgentStop(AgentStop { reason }));
            stage.egress.push_kept(vec![stop]).await;
        }
        let report = PipelineReport { gaps: stage.judges.gaps(), ..stage.report };
        drop(stage);
        drain
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "pipeline publisher", error))??;
        result.map(|_| report)
    }
}

/// What works on events between the source and the queue.
struct Stage {
    identity: AgentIdentity,
    sequencer: Sequencer,
    clock: Arc<dyn Clock>,
    enrichers: Vec<Box<dyn Enricher>>,
    judges: Judges,
    responder: Option<Box<dyn Responder>>,
    responses: Option<mpsc::Receiver<ResponseOutcome>>,
    ruleset: Option<watch::Receiver<RulesetHealth>>,
    commands: Option<CommandTally>,
    canary: Option<CanaryWatch>,
    prevention: Option<watch::Receiver<PreventionHealth>>,
    publish_telemetry: bool,
    egress: Egress,
    detections: Vec<Detection>,
    answers: Vec<ResponseOutcome>,
    losses: LossCounts,
    report: PipelineReport,
    saver: Option<Saver>,
}

impl Stage {
    /// Brings detectors to where they were, and raises what they would have raised since.
    async fn restore(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let origin = self.sequencer.origin();
        let mut saver = Saver::new(checkpoint, self.identity.clone(), origin);
        let alerts = saver.restore(&mut self.judges, &*self.clock).await?;
        self.report.alerts += alerts.len() as u64;
        self.egress.push_alerts(alerts).await;
        self.saver = Some(saver);
        Ok(())
    }

    async fn pump<T>(
        &mut self,
        source: &mut dyn Source,
        (heartbeat_interval, idle_after): (Option<Duration>, Option<Duration>),
        shutdown: impl Future<Output = T> + Send,
    ) -> Result<StopReason> {
        let started = self.clock.boot_time();
        // An interval must be set even where no heartbeat is wanted; the branch below is then off.
        let period =
            heartbeat_interval.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(1));
        let mut heartbeat = tokio::time::interval(period);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut idle = tokio::time::interval(idle_after.unwrap_or(Duration::from_secs(3600)));
        idle.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut look = tokio::time::interval(canary::look_every(self.canary.as_ref()));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut shutdown = std::pin::pin!(shutdown);
        let mut stopping = false;
        let mut quiet = false;
        loop {
            tokio::select! {
                // Stopping and living come before work: a busy source must not hold them up.
                biased;
                _ = &mut shutdown, if !stopping => {
                    stopping = true;
                    source.stop();
                }
                _ = heartbeat.tick(), if heartbeat_interval.is_some() => {
                    let uptime = self.clock.boot_time().since(started);
                    let beat = self.heartbeat(source, uptime);
                    self.say(EventData::Heartbeat(beat)).await;
                }
                _ = look.tick(), if self.canary.is_some() && !stopping => {
                    if let Some(sight) = self.look_for_canary() {
                        let uptime = self.clock.boot_time().since(started);
                        let beat = self.heartbeat(source, uptime);
                        self.tell_sight(sight, beat).await;
                    }
                }
                outcome = next_response(&mut self.responses) => self.tell(outcome).await,
                batch = source.next_batch() => match batch? {
                    Some(batch) => {
                        quiet = false;
                        self.work_off(batch).await;
                    }
                    None if stopping => return Ok(StopReason::Shutdown),
                    None => return Ok(StopReason::EndOfSource),
                },
                // Last, so that what the source has comes first.
                _ = idle.tick(), if idle_after.is_some() => {
                    if std::mem::replace(&mut quiet, true) {
                        self.be_idle(idle_after.unwrap_or_default()).await;
                    }
                }
            }
        }
    }

    /// What the agent says of itself now.
    fn heartbeat(&mut self, source: &dyn Source, uptime: Duration) -> Heartbeat {
        let gaps = self.judges.gaps();
        Heartbeat {
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            events: self.report.events,
            alerts: self.report.alerts,
            lost: self.report.lost,
            suppressed: self.report.suppressed,
            forgotten: gaps.forgotten,
            late: gaps.late,
            filtered: source.filtered(),
            unhashed: source.unhashed(),
            undescribed: source.undescribed(),
            spool: None,
            ruleset: self.ruleset.as_ref().map(|health| health.borrow().clone()),
            commands: self.commands.as_ref().map(CommandTally::counts),
            canary: self.canary.as_ref().map(|canary| Box::new(canary.health())),
            prevention: self.prevention.as_ref().map(|health| Box::new(health.borrow().clone())),
        }
    }

    /// Lets detectors decide what only time decides.
    async fn be_idle(&mut self, idle: Duration) {
        let now = self.clock.now();
        for detector in &mut self.judges.detectors {
            detector.idle(now.saturating_sub(idle), &mut self.detections);
        }
        let mut found = Found::default();
        self.raise(&mut found);
        self.send(found).await;
        if let Some(saver) = &mut self.saver {
            saver.save_if_due(&mut self.judges, self.clock.boot_time()).await;
        }
    }

    /// Looks at one batch and sends on what comes of it.
    async fn work_off(&mut self, batch: EventBatch) {
        let EventBatch { mut events, lost } = batch;
        self.report.events += events.len() as u64;
        // A source that knows who lost it gives the loss as an event of that process.
        self.report.lost += events.iter().filter_map(|event| told(event)).sum::<u64>();
        for loss in lost {
            self.losses.add(loss);
        }
        let mut found = Found::default();
        for event in &mut events {
            self.look_at(event, &mut found);
        }
        if let Some(saver) = &mut self.saver {
            events.iter().for_each(|event| saver.looked_at(event));
        }
        let evidence = std::mem::take(&mut found.evidence);
        if !self.publish_telemetry {
            events.clear();
        }
        // A count that is shed would be lost itself.
        let keep = |event: &Event| told(event).is_some() || evidence.contains(&event.id);
        self.egress.push_telemetry(events, keep, &mut self.losses).await;
        self.report_losses(When::IfThereIsRoom).await;
        self.send(found).await;
        if let Some(saver) = &mut self.saver {
            saver.save_if_due(&mut self.judges, self.clock.boot_time()).await;
        }
    }

    async fn send(&mut self, found: Found) {
        let Found { mut alerts, responses, .. } = found;
        if let Some(saver) = &mut self.saver {
            saver.raised(&alerts);
        }
        alerts.append(&mut self.judges.updates(false));
        self.egress.push_kept(responses).await;
        self.egress.push_alerts(alerts).await;
    }

    fn look_at(&mut self, event: &mut Arc<Event>, found: &mut Found) {
        for enricher in &mut self.enrichers {
            enricher.enrich(Arc::make_mut(event));
        }
        if let Some(responder) = &mut self.responder {
            responder.observe(event, &mut self.answers);
        }
        self.judges.detect(event, &mut self.detections);
        if let Some(canary) = &self.canary {
            canary.observe(event);
        }
        if !self.detections.is_empty() {
            found.evidence.push(event.id);
        }
        self.raise(found);
    }

    /// Makes alerts of what was detected together, and has them answered.
    fn raise(&mut self, found: &mut Found) {
        if !self.detections.is_empty() {
            let now = self.clock.now();
            let events: Vec<_> =
                self.detections.iter().map(|detection| Arc::clone(&detection.event)).collect();
            let Raised { raised, repeated } =
                self.judges.judge(&self.identity, self.detections.drain(..), now);
            self.report.suppressed = self.judges.suppressed();
            self.report.alerts += raised.len() as u64;
            if let Some(responder) = &mut self.responder {
                for alert in raised.iter().chain(&repeated) {
                    // An alert rests on the event that completed it, or on one that stands for all of them.
                    let event = events.iter().find(|event| alert.events.contains(&event.id));
                    if let Some(event) = event.or(events.first()) {
                        responder.respond(alert, event, &mut self.answers);
                    }
                }
            }
            found.alerts.extend(raised.into_iter().map(Arc::new));
        }
        self.report_answers(found);
    }

    /// Makes events of what was done.
    fn report_answers(&mut self, found: &mut Found) {
        for outcome in std::mem::take(&mut self.answers) {
            found.responses.push(self.own_event(EventData::Response(outcome)));
        }
    }

    fn own_event(&self, data: EventData) -> Arc<Event> {
        Arc::new(Event {
            id: self.sequencer.next(),
            observed_at: self.clock.now(),
            boot_time: self.clock.boot_time(),
            tid: 0,
            process: None,
            data,
        })
    }

    async fn say(&mut self, data: EventData) {
        let event = self.own_event(data);
        self.egress.push_telemetry(vec![event], |_| false, &mut self.losses).await;
    }

    /// Makes the losses events: at once, or only where that need not wait.
    async fn report_losses(&mut self, when: When) {
        if when == When::IfThereIsRoom && !self.egress.has_room(self.losses.len()) {
            return;
        }
        let mut events = Vec::new();
        for loss in self.losses.take() {
            self.report.lost += loss.count;
            let event = self.own_event(EventData::Lost(loss));
            // What looks at more than one event has to know of gaps. What it finds by that is raised with the next event.
            self.judges.detect(&event, &mut self.detections);
            events.push(event);
        }
        self.egress.push_kept(events).await;
    }
}

/// How many events an event says were lost.
fn told(event: &Event) -> Option<u64> {
    match event.data {
        EventData::Lost(loss) => Some(loss.count),
        _ => None,
    }
}

/// What came of looking at a batch.
#[derive(Default)]
struct Found {
    alerts: Vec<Arc<Alert>>,
    /// The events that alerts rest on.
    evidence: Vec<EventId>,
    responses: Vec<Arc<Event>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    IfThereIsRoom,
    Now,
}

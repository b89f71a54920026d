//! The agent's half: how a pipeline is put together, and what it does from its start to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::canary::CanaryWatch;
use super::checkpoint::Checkpoint;
use super::egress::{self, LossCounts, queue};
use super::judges::Judges;
use super::stage::{Stage, When};
use super::{Overflow, PipelineReport};
use crate::alert::AgentIdentity;
use crate::command_tally::CommandTally;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{AgentStart, AgentStop, EventData, RulesetHealth, StopReason};
use crate::id::Sequencer;
use crate::prevention::PreventionHealth;
use crate::response::{Responder, ResponseOutcome};
use crate::source::{AlertStage, Detector, Enricher, Source};
use crate::time::{Clock, SystemClock};
use crate::transport::{Publisher, Topic};

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
    telemetry_delay: Duration,
    checkpoint: Option<Checkpoint>,
    idle_after: Option<Duration>,
}

impl Pipeline {
    /// How many events may wait for the transport unless told otherwise: about 20 MB of file events.
    pub const DEFAULT_QUEUE_EVENTS: usize = 65_536;

    /// How long telemetry may wait for more unless told otherwise.
    pub const DEFAULT_TELEMETRY_DELAY: Duration = Duration::from_millis(100);

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
            telemetry_delay: Self::DEFAULT_TELEMETRY_DELAY,
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

    /// Has heartbeats tell how prevention in the kernel stands.
    #[must_use]
    pub fn with_prevention(mut self, health: watch::Receiver<PreventionHealth>) -> Self {
        self.prevention = Some(health);
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

    /// How long telemetry may wait for more before it is published, so that what takes it is asked seldom: a commit or a
    /// message costs as much as the storing of tens of events. It waits no longer once 4,096 events, or as many as a quarter
    /// of the queue holds, have gathered. Alerts, the events that one rests on, and losses never wait, and what came before
    /// such an event goes with it. Zero publishes each batch as it comes.
    #[must_use]
    pub const fn with_telemetry_delay(mut self, delay: Duration) -> Self {
        self.telemetry_delay = delay;
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
            (self.queue_events, self.overflow, self.telemetry_delay),
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
            throttled: BTreeMap::new(),
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

//! What works on events between the source and the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::PipelineReport;
use super::canary::{self, CanaryWatch};
use super::checkpoint::{Checkpoint, Saver};
use super::egress::{Egress, LossCounts};
use super::judges::{Judges, Raised};
use super::told::next_response;
use crate::alert::{AgentIdentity, Alert};
use crate::command_tally::CommandTally;
use crate::error::Result;
use crate::event::{
    Event, EventBatch, EventData, EventKind, Heartbeat, Loss, RulesetHealth, StopReason,
};
use crate::id::{EventId, Sequencer};
use crate::prevention::PreventionHealth;
use crate::response::{Responder, ResponseOutcome};
use crate::rule::Detection;
use crate::source::{Enricher, Source};
use crate::time::Clock;

/// What works on events between the source and the queue.
pub(super) struct Stage {
    pub(super) identity: AgentIdentity,
    pub(super) sequencer: Sequencer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) enrichers: Vec<Box<dyn Enricher>>,
    pub(super) judges: Judges,
    pub(super) responder: Option<Box<dyn Responder>>,
    pub(super) responses: Option<mpsc::Receiver<ResponseOutcome>>,
    pub(super) ruleset: Option<watch::Receiver<RulesetHealth>>,
    pub(super) commands: Option<CommandTally>,
    pub(super) canary: Option<CanaryWatch>,
    pub(super) prevention: Option<watch::Receiver<PreventionHealth>>,
    pub(super) publish_telemetry: bool,
    pub(super) egress: Egress,
    pub(super) detections: Vec<Detection>,
    pub(super) answers: Vec<ResponseOutcome>,
    pub(super) losses: LossCounts,
    pub(super) throttled: BTreeMap<EventKind, u64>,
    pub(super) report: PipelineReport,
    pub(super) saver: Option<Saver>,
}

impl Stage {
    /// Brings detectors to where they were, and raises what they would have raised since.
    pub(super) async fn restore(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let origin = self.sequencer.origin();
        let mut saver = Saver::new(checkpoint, self.identity.clone(), origin);
        let alerts = saver.restore(&mut self.judges, &*self.clock).await?;
        self.report.alerts += alerts.len() as u64;
        self.egress.push_alerts(alerts).await;
        self.saver = Some(saver);
        Ok(())
    }

    pub(super) async fn pump<T>(
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
                    self.say(EventData::Heartbeat(Box::new(beat))).await;
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
            throttled: self.throttled.clone(),
            unhashed: source.unhashed(),
            undescribed: source.undescribed(),
            isolated: self.responder.as_ref().is_some_and(|responder| responder.is_isolated()),
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
        events.iter().filter_map(|event| told(event)).for_each(|loss| self.count(loss));
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
            events.retain(|event| event.kind() == EventKind::Response);
        }
        // A count that is shed would be lost itself. What was done is said, whatever else is not.
        let keep = |event: &Event| {
            told(event).is_some()
                || event.kind() == EventKind::Response
                || evidence.contains(&event.id)
        };
        self.egress.push_telemetry(events, keep, &mut self.losses).await;
        self.report_losses(When::IfThereIsRoom).await;
        self.send(found).await;
        if let Some(saver) = &mut self.saver {
            saver.save_if_due(&mut self.judges, self.clock.boot_time()).await;
        }
    }

    pub(super) async fn send(&mut self, found: Found) {
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
    pub(super) fn raise(&mut self, found: &mut Found) {
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

    pub(super) fn own_event(&self, data: EventData) -> Arc<Event> {
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

    /// Counts what was lost, for heartbeats and the report.
    fn count(&mut self, loss: &Loss) {
        self.report.lost += loss.count;
        if loss.stage.is_throttled() {
            *self.throttled.entry(loss.kind).or_default() += loss.count;
        }
    }

    /// Makes the losses events: at once, or only where that need not wait.
    pub(super) async fn report_losses(&mut self, when: When) {
        if when == When::IfThereIsRoom && !self.egress.has_room(self.losses.len()) {
            return;
        }
        let mut events = Vec::new();
        for loss in self.losses.take() {
            self.count(&loss);
            let event = self.own_event(EventData::Lost(loss));
            // What looks at more than one event has to know of gaps. What it finds by that is raised with the next event.
            self.judges.detect(&event, &mut self.detections);
            events.push(event);
        }
        self.egress.push_kept(events).await;
    }
}

/// What an event says was lost.
const fn told(event: &Event) -> Option<&Loss> {
    match &event.data {
        EventData::Lost(loss) => Some(loss),
        _ => None,
    }
}

/// What came of looking at a batch.
#[derive(Default)]
pub(super) struct Found {
    alerts: Vec<Arc<Alert>>,
    /// The events that alerts rest on.
    evidence: Vec<EventId>,
    responses: Vec<Arc<Event>>,
}

/// When losses are made events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    IfThereIsRoom,
    Now,
}

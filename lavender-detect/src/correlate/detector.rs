//! Rules, novelty and correlations on Lavender's events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{Event, EventData};
use lavender_core::{
    Bytes, Certainty, Correlated, Detection, Detector, EventId, Gaps, Result, Stateful, Timestamp,
};

use super::alert::{CorrelationAlert, EventStamp};
use super::correlator::{CorrelationCounters, Correlator, CorrelatorOptions};
use crate::detector::SigmaDetector;
use crate::novelty::{Novelty, NoveltyOptions};

/// How many events with detections are remembered, for what is raised after them.
const RECENT: usize = 4_096;
/// How long before it is told of a loss may have happened: the sensor tells of them once a second.
const LOSS_SPAN: Duration = Duration::from_secs(1);

/// Evaluates rules on Lavender's events, and correlates what they find. One per host, since correlations are over all of
/// its events.
///
/// What a correlation raises comes with the event that completed it, so with its process; of an alert that is decided
/// later, the event is remembered for as long as there are not 4,096 newer ones with detections, and without it the
/// alert has no process.
#[derive(Debug)]
pub struct CorrelatingDetector {
    sigma: SigmaDetector,
    novelty: Novelty,
    correlator: Correlator,
    recent: VecDeque<Arc<Event>>,
    /// The time of the newest event.
    newest: Timestamp,
    alerts: Vec<CorrelationAlert>,
    /// The last event.
    last: Option<Arc<Event>>,
}

impl CorrelatingDetector {
    /// Correlates what this detector finds.
    pub fn new(sigma: SigmaDetector, options: CorrelatorOptions) -> Self {
        let correlator = Correlator::new(sigma.rules().clone(), options);
        let novelty = Novelty::new(sigma.rules().clone(), NoveltyOptions::default());
        Self {
            sigma,
            novelty,
            correlator,
            recent: VecDeque::new(),
            newest: Timestamp::default(),
            alerts: Vec::new(),
            last: None,
        }
    }

    /// Learns what is new as these options say, from the beginning.
    #[must_use]
    pub fn with_novelty(mut self, options: NoveltyOptions) -> Self {
        self.novelty = Novelty::new(self.sigma.rules().clone(), options);
        self
    }

    /// What rules with novelty have learned.
    pub const fn novelty(&self) -> &Novelty {
        &self.novelty
    }

    /// What became of the detections so far.
    pub const fn counters(&self) -> CorrelationCounters {
        self.correlator.counters()
    }

    fn remembered(&self, id: EventId) -> Option<&Arc<Event>> {
        self.recent.iter().rev().find(|event| event.id == id)
    }

    fn detection(&self, alert: CorrelationAlert, now: &Arc<Event>) -> Detection {
        let event = match self.remembered(alert.event) {
            Some(event) => Arc::clone(event),
            // Nobody may be blamed for what somebody else did.
            None => Arc::new(Event { process: None, ..(**now).clone() }),
        };
        let CorrelationAlert { id, rule, group, observed_at, events, incomplete, .. } = alert;
        let correlated = Correlated { id, observed_at, events, incomplete };
        Detection {
            rule,
            event,
            evidence: group,
            certainty: Certainty::Certain,
            correlated: Some(Box::new(correlated)),
        }
    }
}

impl Detector for CorrelatingDetector {
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        self.sigma.refresh();
        if !self.sigma.rules().is_same(self.correlator.rules()) {
            self.correlator.replace_rules(self.sigma.rules().clone());
            self.novelty.replace_rules(self.sigma.rules().clone());
        }
        if let EventData::Lost(_) = event.data {
            // It is stamped when it is told of, which in a replay is another time than that of the events.
            let from = self.newest.saturating_sub(LOSS_SPAN);
            self.correlator.lost(event.id, from, self.newest);
            self.novelty.lost(from, self.newest);
            return;
        }
        self.newest = self.newest.max(event.observed_at);
        self.last = Some(Arc::clone(event));
        self.novelty.advance(event.observed_at);
        let Self { sigma, novelty, correlator, alerts, recent, .. } = self;
        correlator.advance(event.observed_at, alerts);
        let (mut found, forgotten) = (false, novelty.counters().forgotten);
        let mut judge = |rule: &crate::Rule, record: &dyn crate::Record| {
            let sighting = novelty.sight(rule, EventStamp::of(event), record);
            if sighting.passes() {
                found = true;
                correlator.observe(rule, EventStamp::of(event), record, alerts);
            }
            sighting
        };
        sigma.evaluate(event, &mut judge, out);
        match novelty.counters().forgotten - forgotten {
            0 => {}
            values => sigma.forgot(values),
        }
        if found {
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back(Arc::clone(event));
        }
        for alert in std::mem::take(&mut self.alerts) {
            out.push(self.detection(alert, event));
        }
    }

    fn idle(&mut self, now: Timestamp, out: &mut Vec<Detection>) {
        // Without an event there is nothing to report with, so it is left to the first.
        let Some(last) = self.last.clone() else { return };
        self.newest = self.newest.max(now);
        self.novelty.advance(now);
        self.correlator.advance(now, &mut self.alerts);
        for alert in std::mem::take(&mut self.alerts) {
            out.push(self.detection(alert, &last));
        }
    }

    fn state(&mut self) -> Option<&mut dyn Stateful> {
        Some(self)
    }
}

impl Stateful for CorrelatingDetector {
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        self.novelty.changed(each);
        self.correlator.changed(each);
    }

    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match key.split_once('/') {
            Some(("novelty", _)) => self.novelty.restore(key, value),
            _ => self.correlator.restore(key, value),
        }
    }

    fn gaps(&self) -> Gaps {
        let mut gaps = self.novelty.gaps();
        gaps += self.correlator.gaps();
        gaps
    }
}

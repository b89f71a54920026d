//! Rules, novelty and correlations on Lavender's events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::event::{Event, EventData};
use lavender_core::{
    Bytes, Certainty, Correlated, Detection, Detector, Gaps, Result, Stateful, Timestamp,
};

use super::alert::{CorrelationAlert, EventStamp};
use super::correlator::{CorrelationCounters, Correlator, CorrelatorOptions};
use super::remembered::{self, Remembered};
use super::shared::Rules;
use crate::detector::SigmaDetector;
use crate::novelty::{Novelty, NoveltyOptions};
use crate::record::Record;
use crate::ruleset::{Rule, RuleSet};

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
    rules: Rules,
    novelty: Novelty,
    correlator: Correlator,
    remembered: Remembered,
    /// The time of the newest event.
    newest: Timestamp,
    alerts: Vec<CorrelationAlert>,
    /// The last event.
    last: Option<Arc<Event>>,
}

impl CorrelatingDetector {
    /// Correlates what this detector finds.
    pub fn new(sigma: SigmaDetector, options: CorrelatorOptions) -> Self {
        let rules = sigma.rules().clone();
        Self::with_rules(Rules::Own(Box::new(sigma)), &rules, options, NoveltyOptions::default())
    }

    /// One of many, each for a host, that take turns at evaluating rules. Events to which it may come back are part of
    /// its state, up to so many bytes.
    pub(crate) fn taking_turns(
        sigma: &Arc<Mutex<SigmaDetector>>,
        rules: &RuleSet,
        options: CorrelatorOptions,
        novelty: NoveltyOptions,
        event_bytes_max: usize,
    ) -> Self {
        let mut this = Self::with_rules(Rules::Shared(Arc::clone(sigma)), rules, options, novelty);
        this.remembered.saved(event_bytes_max);
        this
    }

    fn with_rules(
        from: Rules,
        rules: &RuleSet,
        options: CorrelatorOptions,
        novelty: NoveltyOptions,
    ) -> Self {
        let correlator = Correlator::new(rules.clone(), options);
        let novelty = Novelty::new(rules.clone(), novelty);
        Self {
            rules: from,
            novelty,
            correlator,
            remembered: Remembered::default(),
            newest: Timestamp::default(),
            alerts: Vec::new(),
            last: None,
        }
    }

    /// Learns what is new as these options say, from the beginning.
    #[must_use]
    pub fn with_novelty(mut self, options: NoveltyOptions) -> Self {
        self.novelty = Novelty::new(self.correlator.rules().clone(), options);
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

    /// Where no group has state, nothing comes back to an event.
    fn forget_events(&mut self) {
        if self.correlator.groups() == 0 {
            self.remembered.clear();
        }
    }

    fn detection(&self, alert: CorrelationAlert, now: &Arc<Event>) -> Detection {
        let event = match self.remembered.find(alert.event) {
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
        let Self { rules, novelty, correlator, remembered, newest, last, alerts } = self;
        rules.with(|sigma| {
            sigma.refresh();
            if !sigma.rules().is_same(correlator.rules()) {
                correlator.replace_rules(sigma.rules().clone());
                novelty.replace_rules(sigma.rules().clone());
            }
            if let EventData::Lost(_) = event.data {
                // It is stamped when it is told of, which in a replay is another time than that of the events.
                let from = newest.saturating_sub(LOSS_SPAN);
                correlator.lost(event.id, from, *newest);
                novelty.lost(from, *newest);
                return;
            }
            *newest = event.observed_at.max(*newest);
            *last = Some(Arc::clone(event));
            novelty.advance(event.observed_at);
            correlator.advance(event.observed_at, alerts);
            let forgotten = novelty.counters().forgotten;
            let mut judge = |rule: &Rule, record: &dyn Record| {
                let sighting = novelty.sight(rule, EventStamp::of(event), record);
                if sighting.passes() && correlator.takes(rule) {
                    // Before it is correlated, since that may raise an alert of it.
                    remembered.add(event);
                    correlator.observe(rule, EventStamp::of(event), record, alerts);
                }
                sighting
            };
            sigma.evaluate(event, &mut judge, out);
            match novelty.counters().forgotten - forgotten {
                0 => {}
                values => sigma.forgot(values),
            }
        });
        for alert in std::mem::take(&mut self.alerts) {
            out.push(self.detection(alert, event));
        }
        self.forget_events();
    }

    fn idle(&mut self, now: Timestamp, out: &mut Vec<Detection>) {
        // Without an event there is nothing to report with, so it is left to the first.
        let Some(last) = self.last.as_ref().or(self.remembered.newest()).cloned() else { return };
        self.newest = self.newest.max(now);
        self.novelty.advance(now);
        self.correlator.advance(now, &mut self.alerts);
        for alert in std::mem::take(&mut self.alerts) {
            out.push(self.detection(alert, &last));
        }
        self.forget_events();
    }

    fn due(&self) -> Option<Timestamp> {
        self.correlator.due()
    }

    fn state(&mut self) -> Option<&mut dyn Stateful> {
        Some(self)
    }
}

impl Stateful for CorrelatingDetector {
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        self.novelty.changed(each);
        self.correlator.changed(each);
        self.remembered.changed(each);
    }

    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match key.split_once('/') {
            Some(("novelty", _)) => self.novelty.restore(key, value),
            _ if key.starts_with(remembered::PREFIX) => self.remembered.restore(key, value),
            _ => self.correlator.restore(key, value),
        }
    }

    fn gaps(&self) -> Gaps {
        let mut gaps = self.novelty.gaps();
        gaps += self.correlator.gaps();
        gaps.forgotten += self.remembered.forgotten();
        gaps
    }
}

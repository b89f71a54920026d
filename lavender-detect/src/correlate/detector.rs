//! Rules, novelty and correlations on Lavender's events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::event::{Event, EventData};
use lavender_core::{
    Bytes, Certainty, Correlated, Detection, Detector, Gaps, Result, Stateful, Timestamp,
};

use super::alert::{CorrelationAlert, EventStamp};
use super::correlator::{CorrelationCounters, Correlator, CorrelatorOptions};
use super::remembered::Remembered;
use super::shared::Rules;
use crate::detector::SigmaDetector;
use crate::novelty::{Novelty, NoveltyOptions, Sighting};
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
    known: Known,
    /// The time of the newest event.
    newest: Timestamp,
    /// The last event.
    last: Option<Arc<Event>>,
}

/// What is known of the host.
#[derive(Debug)]
struct Known {
    novelty: Novelty,
    correlator: Correlator,
    /// The events of which correlations know, for what is raised after them.
    remembered: Remembered,
    /// The events with values that were learned, and are new should a baseline turn out to have begun earlier.
    learning: Remembered,
    alerts: Vec<CorrelationAlert>,
}

impl Known {
    /// Evaluates rules on an event; those without novelty only if it is not looked at again.
    fn look(
        &mut self,
        sigma: &mut SigmaDetector,
        event: &Arc<Event>,
        again: bool,
        out: &mut Vec<Detection>,
    ) {
        let Self { novelty, correlator, remembered, learning, alerts } = self;
        let mut judge = |rule: &Rule, record: &dyn Record| {
            if again && rule.novelty().is_none() {
                return Sighting::Known;
            }
            let sighting = novelty.sight(rule, EventStamp::of(event), record);
            if sighting.passes() && correlator.takes(rule) {
                // Before it is correlated, since that may raise an alert of it.
                remembered.add(event);
                correlator.observe(rule, EventStamp::of(event), record, alerts);
            }
            sighting
        };
        sigma.evaluate(event, &mut judge, out);
        if novelty.take_uncertain() {
            learning.add(event);
        }
    }
}

/// How much of the room for events is for those that only novelty comes back to.
const LEARNING_SHARE: usize = 4;

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
        let learning = event_bytes_max / LEARNING_SHARE;
        this.known.learning.saved(learning);
        this.known.remembered.saved(event_bytes_max - learning);
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
        let known = Known {
            novelty,
            correlator,
            remembered: Remembered::new("event/"),
            learning: Remembered::new("learning/"),
            alerts: Vec::new(),
        };
        Self { rules: from, known, newest: Timestamp::default(), last: None }
    }

    /// Learns what is new as these options say, from the beginning.
    #[must_use]
    pub fn with_novelty(mut self, options: NoveltyOptions) -> Self {
        self.known.novelty = Novelty::new(self.known.correlator.rules().clone(), options);
        self
    }

    /// What rules with novelty have learned.
    pub const fn novelty(&self) -> &Novelty {
        &self.known.novelty
    }

    /// What became of the detections so far.
    pub const fn counters(&self) -> CorrelationCounters {
        self.known.correlator.counters()
    }

    /// Forgets events that nothing comes back to any more: no group has state, or baselines are known for good.
    fn forget_events(&mut self) {
        let Known { novelty, correlator, remembered, learning, .. } = &mut self.known;
        if correlator.groups() == 0 {
            remembered.clear();
        }
        if novelty.is_settled(self.newest) {
            learning.clear();
        }
    }

    fn detection(&mut self, alert: CorrelationAlert, now: &Arc<Event>) -> Detection {
        let event = match self.known.remembered.find(alert.event) {
            Some(event) => event,
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
        let Self { rules, known, newest, last } = self;
        rules.with(|sigma| {
            sigma.refresh();
            if !sigma.rules().is_same(known.correlator.rules()) {
                known.correlator.replace_rules(sigma.rules().clone());
                known.novelty.replace_rules(sigma.rules().clone());
            }
            if let EventData::Lost(_) = event.data {
                // It is stamped when it is told of, which in a replay is another time than that of the events. Where it
                // comes first, how far events had come is known from the state of before.
                *newest = known.correlator.newest().map_or(*newest, |known| known.max(*newest));
                let from = newest.saturating_sub(LOSS_SPAN);
                known.correlator.lost(event.id, from, *newest);
                known.novelty.lost(from, *newest);
                return;
            }
            *newest = event.observed_at.max(*newest);
            *last = Some(Arc::clone(event));
            known.novelty.advance(event.observed_at);
            known.correlator.advance(event.observed_at, &mut known.alerts);
            let forgotten = known.novelty.counters().forgotten;
            if known.novelty.take_moved() {
                for earlier in known.learning.take() {
                    known.look(sigma, &earlier, true, out);
                }
            }
            known.look(sigma, event, false, out);
            match known.novelty.counters().forgotten - forgotten {
                0 => {}
                values => sigma.forgot(values),
            }
        });
        for alert in std::mem::take(&mut self.known.alerts) {
            out.push(self.detection(alert, event));
        }
        self.forget_events();
    }

    fn idle(&mut self, now: Timestamp, out: &mut Vec<Detection>) {
        // Without an event there is nothing to report with, so it is left to the first.
        let last = self.last.clone().or_else(|| self.known.remembered.newest());
        let Some(last) = last else { return };
        self.newest = self.newest.max(now);
        self.known.novelty.advance(now);
        self.known.correlator.advance(now, &mut self.known.alerts);
        for alert in std::mem::take(&mut self.known.alerts) {
            out.push(self.detection(alert, &last));
        }
        self.forget_events();
    }

    fn due(&self) -> Option<Timestamp> {
        self.known.correlator.due()
    }

    fn state(&mut self) -> Option<&mut dyn Stateful> {
        Some(self)
    }
}

impl Stateful for CorrelatingDetector {
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        let Known { novelty, correlator, remembered, learning, .. } = &mut self.known;
        novelty.changed(each);
        correlator.changed(each);
        remembered.changed(each);
        learning.changed(each);
    }

    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let Known { novelty, correlator, remembered, learning, .. } = &mut self.known;
        match key.split_once('/') {
            Some(("novelty", _)) => novelty.restore(key, value),
            _ if remembered.has(key) => remembered.restore(key, value),
            _ if learning.has(key) => learning.restore(key, value),
            _ => correlator.restore(key, value),
        }
    }

    fn gaps(&self) -> Gaps {
        let Known { novelty, correlator, remembered, learning, .. } = &self.known;
        let mut gaps = novelty.gaps();
        gaps += correlator.gaps();
        gaps.forgotten += remembered.forgotten() + learning.forgotten();
        gaps
    }
}

//! Sequences of events, for correlations and for rules with novelty.

use std::fmt::Write as _;

use lavender_core::{AgentId, BootId, Origin, TenantId, Timestamp};
use serde_json::Value;

use crate::correlate::{Correlator, CorrelatorOptions, EventStamp};
use crate::logsource::LogSource;
use crate::novelty::{Novelty, NoveltyOptions, Sighting};
use crate::record::JsonFields;
use crate::rule::{Node, Value as YamlValue, to_json};
use crate::ruleset::RuleSet;
use crate::truth::Truth;

/// An event of a sequence.
pub(super) struct Moment {
    at: f64,
    category: Option<String>,
    event: Value,
}

impl Moment {
    /// Reads what stands under `events`; a fault is its line and the reason.
    pub(super) fn read_all(list: &Node) -> Result<Vec<Self>, (u32, &'static str)> {
        let events = list.as_list().filter(|events| !events.is_empty());
        let events = events.ok_or((list.line, "`events` is a list of events"))?;
        events.iter().map(Self::read).collect()
    }

    fn read(node: &Node) -> Result<Self, (u32, &'static str)> {
        let at = match node.get("at").map(|at| &at.value) {
            Some(YamlValue::Int(seconds)) => *seconds as f64,
            Some(YamlValue::Float(seconds)) => *seconds,
            _ => return Err((node.line, "an event of a sequence has `at`: its time in seconds")),
        };
        let category = node.get("category").and_then(Node::as_text).map(str::to_owned);
        let event = node.get("event").map(to_json).filter(Value::is_object);
        let event = event.ok_or((node.line, "an event of a sequence has an `event`: a mapping"))?;
        Ok(Self { at, category, event })
    }
}

/// Rules, and how their fields are found.
pub(super) struct Sequence<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) fields: &'a JsonFields,
}

impl Sequence<'_> {
    /// Whether a correlation, or a rule with novelty, raises an alert, and what the rules found.
    pub(super) fn run(&self, id: &str, events: &[Moment]) -> (bool, String) {
        let mut correlator = Correlator::new(self.rules.clone(), CorrelatorOptions::default());
        let mut novelty = Novelty::new(self.rules.clone(), NoveltyOptions::default());
        let mut raised = false;
        let (mut alerts, mut told) = (Vec::new(), String::new());
        let Ok(agent) = AgentId::new("test") else { return (false, told) };
        let origin = Origin::new(&TenantId::default(), &agent, BootId::from_u128(0));
        // Any time will do; that of the epoch would make times before it negative.
        let start = Timestamp::from_millis(1_700_000_000_000).as_nanos();
        for (moment, number) in events.iter().zip(1..) {
            let time = Timestamp::from_nanos(start.saturating_add((moment.at * 1e9) as i64));
            let at = EventStamp { id: origin.event(number), time };
            novelty.advance(time);
            let record = self.fields.record(&moment.event);
            let mut evaluator = match &moment.category {
                Some(category) => self.rules.evaluator(&LogSource::linux(category)),
                None => self.rules.unrouted_evaluator(),
            };
            for found in evaluator.matches(&record).filter(|found| found.truth() == Truth::True) {
                // Nothing fails when a string is written to.
                let sighting = novelty.sight(found.rule(), at, &record);
                let known = if sighting.passes() { "" } else { ", of nothing new" };
                let _ = writeln!(told, "at {} s: {}{known}", moment.at, found.meta().title);
                raised |= matches!(sighting, Sighting::New(_)) && *found.meta().id == *id;
                if sighting.passes() {
                    correlator.observe(found.rule(), at, &record, &mut alerts);
                }
            }
        }
        correlator.finish(&mut alerts);
        (raised || alerts.iter().any(|alert| *alert.rule.id == *id), told)
    }
}

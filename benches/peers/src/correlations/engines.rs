//! The two engines, each with and without its correlation.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use lavender_detect::correlate::{CorrelationAlert, Correlator, CorrelatorOptions};
use lavender_detect::{Evaluator, LogSource, RuleSet};
use rsigma_eval::{CorrelationConfig, CorrelationEngine, CorrelationEventMode};

use super::stream::{Columns, Detected, Fields, RULES};

/// What is correlated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Ten in a group.
    EventCount,
    /// One rule after the other in a group.
    TemporalOrdered,
    /// Ten different values in a group.
    ValueCount,
}

impl Kind {
    /// All of them, with what they may cost on top of detection, in nanoseconds.
    pub const ALL: [(Self, u32); 3] =
        [(Self::EventCount, 150), (Self::TemporalOrdered, 200), (Self::ValueCount, 250)];

    /// The rules and the correlation.
    pub fn rules(self, timespan: &str, least: u32) -> String {
        let mut text = String::new();
        for rule in RULES {
            text += &format!(
                "title: {rule}\nid: {rule}\nlogsource: {{product: bench}}\n\
                 detection: {{s: {{rule: {rule}}}, condition: s}}\n---\n"
            );
        }
        let condition = match self {
            Self::EventCount => format!(", condition: {{gte: {least}}}"),
            Self::TemporalOrdered => String::new(),
            Self::ValueCount => format!(", condition: {{field: value, gte: {least}}}"),
        };
        text + &format!(
            "title: C\nid: correlation\ncorrelation: {{type: {self}, rules: [a, b, c], group-by: [group], \
             timespan: {timespan}{condition}}}\n"
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EventCount => "event_count",
            Self::TemporalOrdered => "temporal_ordered",
            Self::ValueCount => "value_count",
        })
    }
}

/// Lavender.
#[allow(missing_debug_implementations, reason = "as its peer, which has none")]
pub struct Lavender {
    evaluator: Evaluator,
    columns: Columns,
    pub correlator: Correlator,
    alerts: Vec<CorrelationAlert>,
}

impl Lavender {
    /// With these rules, and state of so many bytes at the most.
    pub fn new(rules: &str, bytes_max: usize) -> Result<Self, Box<dyn Error>> {
        let rules = RuleSet::from_yaml(rules)?;
        let mut options = CorrelatorOptions::default();
        options.state_bytes_max = bytes_max;
        Ok(Self {
            evaluator: rules.evaluator(&LogSource::product("bench")),
            columns: Columns::of(&rules),
            correlator: Correlator::new(rules, options),
            alerts: Vec::new(),
        })
    }

    /// Detects.
    pub fn detect(&mut self, detected: &Detected) -> usize {
        self.evaluator.matches(&Fields { detected, columns: self.columns }).len()
    }

    /// Detects and correlates.
    pub fn correlate(&mut self, detected: &Detected) -> usize {
        let record = Fields { detected, columns: self.columns };
        self.alerts.clear();
        for found in self.evaluator.matches(&record) {
            self.correlator.observe(found.rule(), detected.stamp, &record, &mut self.alerts);
        }
        self.alerts.len()
    }

    /// In which groups and cells alerts were raised by the last call of [`correlate`](Self::correlate).
    pub fn raised(&self, span: i64) -> impl Iterator<Item = (String, i64)> {
        self.alerts.iter().map(move |alert| {
            let group = alert.group[0].value.to_string();
            (group, alert.observed_at.as_nanos().div_euclid(span * 1_000_000_000))
        })
    }
}

/// rsigma-eval.
#[allow(missing_debug_implementations, reason = "the engine has none")]
pub struct Rsigma {
    pub engine: CorrelationEngine,
}

impl Rsigma {
    /// With these rules, state of so many groups at the most, and silent for so long after it raised something.
    pub fn new(
        rules: &str,
        groups_max: usize,
        silent_secs: Option<u64>,
    ) -> Result<Self, Box<dyn Error>> {
        Self::with_events(rules, groups_max, silent_secs, CorrelationEventMode::None)
    }

    /// The same, and what it raises names its events, as Lavender's alerts do.
    pub fn naming(rules: &str, groups_max: usize) -> Result<Self, Box<dyn Error>> {
        Self::with_events(rules, groups_max, None, CorrelationEventMode::Refs)
    }

    fn with_events(
        rules: &str,
        groups_max: usize,
        silent_secs: Option<u64>,
        correlation_event_mode: CorrelationEventMode,
    ) -> Result<Self, Box<dyn Error>> {
        let config = CorrelationConfig {
            correlation_event_mode,
            max_state_entries: groups_max,
            suppress: silent_secs,
            ..CorrelationConfig::default()
        };
        let mut engine = CorrelationEngine::new(config);
        engine.add_collection(&rsigma_parser::parse_sigma_yaml(rules)?)?;
        Ok(Self { engine })
    }

    /// Detects.
    pub fn detect(&mut self, detected: &Detected) -> usize {
        self.engine.evaluate(detected).len()
    }

    /// Detects and correlates.
    pub fn correlate(&mut self, detected: &Detected) -> usize {
        let found = self.engine.process_event_at(detected, detected.secs);
        found.iter().filter(|result| result.is_correlation()).count()
    }

    /// Detects and correlates, and says in which groups and cells something was raised.
    pub fn raised(&mut self, detected: &Detected, span: i64, to: &mut BTreeSet<(String, i64)>) {
        for result in self.engine.process_event_at(detected, detected.secs) {
            if let Some(body) = result.as_correlation() {
                let group = body.group_key.iter().map(|(_, value)| value.as_str()).collect();
                to.insert((group, detected.secs.div_euclid(span)));
            }
        }
    }
}

//! Correlation in one process, with state in memory.

use std::time::Duration;

use lavender_core::{EventId, Timestamp};
use serde::Serialize;

use super::alert::{CorrelationAlert, EventStamp};
use super::memory::Memory;
use super::observe::Left;
use super::state::Outcome;
use crate::record::Record;
use crate::ruleset::{Rule, RuleSet};

/// How detections are correlated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorrelatorOptions {
    /// How much later than the newest event another may come and still count. 2 s unless said.
    pub lateness: Duration,
    /// The most bytes of state, its keys and timers included. 64 MiB unless said.
    pub state_bytes_max: usize,
}

impl Default for CorrelatorOptions {
    fn default() -> Self {
        Self { lateness: Duration::from_secs(2), state_bytes_max: 64 << 20 }
    }
}

/// What became of detections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CorrelationCounters {
    /// Detections of rules that are correlated.
    pub detections: u64,
    /// Of these, those that came later than allowed, or at a time before 1823 or after 2116, and count in no
    /// correlation.
    pub late: u64,
    /// How often a detection could not be put into a group, because a field that is grouped by was not there.
    pub ungrouped: u64,
    /// How often the field that is looked at was not there, or held no number where one is asked for.
    pub valueless: u64,
    /// How often a group had more elements than are kept, so that what it decides may be inexact.
    pub overflowed: u64,
    /// Stored states that were begun anew because they could not be read.
    pub unreadable: u64,
    /// Groups that were forgotten before their time, because there was no more room.
    pub evicted: u64,
    /// Alerts raised.
    pub alerts: u64,
}

impl CorrelationCounters {
    pub(crate) fn left(&mut self, left: Left) {
        match left {
            Left::Ungrouped => self.ungrouped += 1,
            Left::Valueless => self.valueless += 1,
        }
    }

    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Taken => {}
            Outcome::Overflowed => self.overflowed += 1,
            Outcome::Late => self.late += 1,
        }
    }
}

/// Correlates what rules find, in one process: the fast way, with state in memory.
///
/// Give it every detection ([`observe`](Self::observe)) with the record at hand, and the time of every event
/// ([`advance`](Self::advance)); both may raise alerts. State is bounded in bytes: when it is full, the groups that
/// would be forgotten the soonest make room, and are counted.
///
/// ```
/// use lavender_core::{AgentId, BootId, Origin, Sequencer, TenantId, Timestamp};
/// use lavender_detect::correlate::{Correlator, CorrelatorOptions, EventStamp};
/// use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSet};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = RuleSet::from_yaml(
///     "title: Failed login
/// name: failed_login
/// logsource: {product: acme}
/// detection: {selection: {outcome: failure}, condition: selection}
/// ---
/// title: Passwords tried on one account
/// correlation:
///     type: event_count
///     rules: [failed_login]
///     group-by: [user]
///     timespan: 1m
///     condition: {gte: 3}
/// level: high
/// ",
/// )?;
/// let mut evaluator = rules.evaluator(&LogSource::product("acme"));
/// let mut correlator = Correlator::new(rules.clone(), CorrelatorOptions::default());
/// # let ids = Sequencer::new(Origin::new(&TenantId::new("acme")?, &AgentId::new("web-1")?, BootId::from_u128(7)));
/// let mut alerts = Vec::new();
/// for second in [0, 10, 20] {
///     let event = EventStamp { id: ids.next(), time: Timestamp::from_millis(second * 1_000) };
///     let fields = [("outcome", FieldValue::from("failure")), ("user", FieldValue::from("alice"))];
///     let record = FlatRecord::new(rules.fields(), fields);
///     for found in evaluator.matches(&record) {
///         correlator.observe(found.rule(), event, &record, &mut alerts);
///     }
/// }
/// assert_eq!(&*alerts[0].rule.title, "Passwords tried on one account");
/// assert_eq!(alerts[0].events.len(), 3);
/// # Ok(())
/// # }
/// ```
pub struct Correlator {
    pub(super) rules: RuleSet,
    pub(super) memory: Memory,
}

impl Correlator {
    /// A correlator without state.
    pub fn new(rules: RuleSet, options: CorrelatorOptions) -> Self {
        Self { rules, memory: Memory::new(&options) }
    }

    /// Correlates the detection of a rule of this set. Alerts go to `out`.
    ///
    /// Costs some 60 to 125 ns for each correlation of the rule, however long its window is.
    pub fn observe<R: Record + ?Sized>(
        &mut self,
        rule: &Rule,
        at: EventStamp,
        record: &R,
        out: &mut Vec<CorrelationAlert>,
    ) {
        let Self { rules, memory } = self;
        let correlations = rules.inner_correlations();
        let feeds = correlations.feeds.get(rule.number as usize).map_or(&[][..], |feeds| feeds);
        if !feeds.is_empty() {
            memory.observe(&correlations.all, feeds, at, record, out);
        }
    }

    /// Says that an event happened at this time, so that windows that ended long enough before it are decided. An
    /// event with a detection need not be announced.
    pub fn advance(&mut self, time: Timestamp, out: &mut Vec<CorrelationAlert>) {
        self.memory.advance(self.rules.correlations(), time, out);
    }

    /// The time of an event, or what [`advance`](Self::advance) is told, with which the next group has something to decide
    /// or to forget; `None` when there is no group.
    pub fn due(&self) -> Option<Timestamp> {
        self.memory.due()
    }

    /// The time to which it has come, by its own events or by the state that was given back to it.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        let watermark = self.memory.watermark;
        let nanos = watermark.saturating_add(self.memory.lateness);
        (watermark != i64::MIN).then(|| Timestamp::from_nanos(nanos))
    }

    /// Whether any correlation is over the detections of a rule of this set.
    pub fn takes(&self, rule: &Rule) -> bool {
        let feeds = self.rules.inner_correlations().feeds.get(rule.number as usize);
        feeds.is_some_and(|feeds| !feeds.is_empty())
    }

    /// Says that no more events come: every window is decided.
    pub fn finish(&mut self, out: &mut Vec<CorrelationAlert>) {
        self.memory.finish(self.rules.correlations(), out);
    }

    /// Says that events were lost between two moments; `lost` is the event that says so.
    pub fn lost(&mut self, lost: EventId, from: Timestamp, to: Timestamp) {
        self.memory.losses.add(lost, from.as_nanos(), to.as_nanos());
    }

    /// Goes on with other rules. Correlations that are the same in both keep their state.
    pub fn replace_rules(&mut self, rules: RuleSet) {
        let place = |old: u32| {
            let old = self.rules.correlations().get(old as usize)?;
            rules.correlations().iter().position(|new| new.content == old.content)
        };
        self.memory.renumber(place);
        self.rules = rules;
    }

    /// The rules that it goes by.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// What became of the detections so far.
    pub const fn counters(&self) -> CorrelationCounters {
        self.memory.counters
    }

    /// How many groups have state.
    pub fn groups(&self) -> usize {
        self.memory.groups.len()
    }

    /// What state takes, in bytes.
    pub const fn state_bytes(&self) -> usize {
        self.memory.bytes()
    }
}

impl std::fmt::Debug for Correlator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator")
            .field("rules", &self.rules)
            .field("groups", &self.groups())
            .field("bytes", &self.state_bytes())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

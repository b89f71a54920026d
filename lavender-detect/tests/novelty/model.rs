//! What novelty is by its definition: over the whole history, without any state.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) const LATENESS_NS: i64 = 2_000_000_000;
const TICK_NS: i64 = 1 << 30;

/// A match, as far as it decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Match {
    pub(crate) sequence: u64,
    pub(crate) time: i64,
    /// Whether the rule matches; other events only tell the time.
    pub(crate) matches: bool,
    pub(crate) value: u8,
    pub(crate) key: u8,
}

/// What the rule says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) keyed: bool,
    pub(crate) baseline_ns: i64,
    pub(crate) forget_ns: Option<i64>,
}

fn tick(ns: i64) -> i64 {
    ns.div_euclid(TICK_NS)
}

fn ticks(ns: i64) -> i64 {
    (ns + TICK_NS - 1) / TICK_NS
}

/// How long a cell is.
pub(crate) fn cell_ns(forget_ns: i64) -> i64 {
    ticks(forget_ns) * TICK_NS
}

/// Of a value: value and key, and the beginning of the cell.
pub(crate) type Alert = (u8, Option<u8>, i64);

/// The alerts, and the sequence numbers of the events that are new.
pub(crate) fn evaluate(rule: Rule, matches: &[Match]) -> (BTreeSet<Alert>, BTreeSet<u64>) {
    let cell_ticks = rule.forget_ns.map(ticks);
    let cell = |time: i64| cell_ticks.map_or(0, |length| tick(time) / length);
    let Some(since) = matches.iter().map(|m| tick(m.time)).min() else { return Default::default() };
    let mut of_value: BTreeMap<(u8, Option<u8>), Vec<&Match>> = BTreeMap::new();
    for one in matches.iter().filter(|one| one.matches) {
        of_value.entry((one.value, rule.keyed.then_some(one.key))).or_default().push(one);
    }
    let (mut alerts, mut new) = (BTreeSet::new(), BTreeSet::new());
    for ((value, key), sightings) in of_value {
        for one in &sightings {
            let knows = |other: &&Match| {
                let behind = cell(one.time) - cell(other.time);
                (behind == 0 || behind == 1)
                    && tick(other.time) < tick(one.time) - ticks(LATENESS_NS)
            };
            let over = rule.baseline_ns == 0 || tick(one.time) >= since + ticks(rule.baseline_ns);
            if over && !sightings.iter().any(knows) {
                let begin = cell(one.time) * cell_ticks.unwrap_or(0) * TICK_NS;
                alerts.insert((value, key, begin));
                new.insert(one.sequence);
            }
        }
    }
    (alerts, new)
}

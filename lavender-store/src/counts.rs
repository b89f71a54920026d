//! Alerts that are counted when they are stored, so that statistics need not look at each of them.
//!
//! What is counted by severity and status is kept for slots of five minutes: buckets may begin at any moment, and a slot
//! that lies in two of them is counted alert by alert. What has the most is kept for days.

use std::collections::BTreeMap;
use std::ops::Range;

use lavender_core::store::{AlertStatistics, TimeRange};
use lavender_core::{Alert, AlertStatus, Severity, Timestamp};

/// How long a slot is.
pub(crate) const SLOT_NS: i64 = 300 * 1_000_000_000;
/// How long a day is.
pub(crate) const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// What days are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dimension {
    Agent,
    Rule,
    Technique,
}

impl Dimension {
    /// As the tables have it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Rule => "rule",
            Self::Technique => "technique",
        }
    }
}

/// The slot that a moment lies in.
pub(crate) const fn slot(time: Timestamp) -> i64 {
    time.as_nanos().div_euclid(SLOT_NS)
}

/// What new alerts add. Both are in the order of their keys, in which all writers take their rows.
#[derive(Debug, Default)]
pub(crate) struct Added<'a> {
    /// By tenant, slot, severity and status.
    pub(crate) slots: BTreeMap<(&'a str, i64, Severity, AlertStatus), i64>,
    /// By tenant, what it is counted by, day and value.
    pub(crate) days: BTreeMap<(&'a str, Dimension, i64, String), i64>,
}

impl<'a> Added<'a> {
    pub(crate) fn count(&mut self, alert: &'a Alert) {
        let tenant = alert.source.tenant.as_str();
        let key = (tenant, slot(alert.observed_at), alert.severity, alert.status);
        *self.slots.entry(key).or_default() += 1;
        let day = alert.observed_at.as_nanos().div_euclid(DAY_NS);
        let named = crate::feed::techniques(&alert.rule).into_iter().filter(|(_, named)| *named);
        let values = named.map(|(technique, _)| (Dimension::Technique, technique)).chain([
            (Dimension::Rule, alert.rule.id.to_string()),
            (Dimension::Agent, alert.source.agent.as_str().to_owned()),
        ]);
        for (dimension, value) in values {
            *self.days.entry((tenant, dimension, day, value)).or_default() += 1;
        }
    }
}

/// A span of time: whole units, and the spans beside them, whose alerts are counted one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// The units between the first and the last edge.
    pub(crate) units: Range<i64>,
    /// Spans of ns outside of these units, and units within them that lie in two buckets.
    pub(crate) rows: Vec<Range<i64>>,
}

impl Split {
    /// By days.
    pub(crate) fn days(time: TimeRange) -> Self {
        Self::by(time, DAY_NS)
    }

    /// By slots, for buckets of that many ns from the span's beginning on.
    pub(crate) fn slots(time: TimeRange, bucket: i64) -> Self {
        let whole = time.from.as_nanos()..time.to.as_nanos();
        if bucket < SLOT_NS {
            return Self { units: 0..0, rows: vec![whole] };
        }
        let mut split = Self::by(time, SLOT_NS);
        let units = split.units.clone();
        let mut next = whole.start.checked_add(bucket);
        while let Some(begins) = next.filter(|begins| *begins < whole.end) {
            let cut = begins.div_euclid(SLOT_NS);
            if begins.rem_euclid(SLOT_NS) != 0 && units.contains(&cut) {
                split.rows.push(cut * SLOT_NS..(cut + 1) * SLOT_NS);
            }
            next = begins.checked_add(bucket);
        }
        split
    }

    fn by(time: TimeRange, unit: i64) -> Self {
        let (from, to) = (time.from.as_nanos(), time.to.as_nanos());
        let first = from.div_euclid(unit) + i64::from(from.rem_euclid(unit) != 0);
        let end = to.div_euclid(unit);
        if first >= end {
            let whole = from..to;
            return Self { units: 0..0, rows: vec![whole] };
        }
        Self { units: first..end, rows: vec![from..first * unit, end * unit..to] }
    }
}

/// Counts by bucket, severity and status, from wherever they come.
#[derive(Debug, Default)]
pub(crate) struct Cells(BTreeMap<(i64, Severity, AlertStatus), u64>);

impl Cells {
    pub(crate) fn add(&mut self, bucket: i64, severity: Severity, status: AlertStatus, count: u64) {
        if count > 0 {
            *self.0.entry((bucket, severity, status)).or_default() += count;
        }
    }

    /// As statistics of buckets of that many ns.
    pub(crate) fn statistics(self, from: Timestamp, bucket: i64) -> AlertStatistics {
        let mut statistics = AlertStatistics::default();
        for ((number, severity, status), count) in self.0 {
            let begins = Timestamp::from_nanos(from.as_nanos() + number * bucket);
            statistics.count(begins, severity, status, count);
        }
        statistics
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_NS, SLOT_NS, Split};
    use lavender_core::Timestamp;
    use lavender_core::store::TimeRange;

    fn span(from: i64, to: i64) -> TimeRange {
        TimeRange { from: Timestamp::from_nanos(from), to: Timestamp::from_nanos(to) }
    }

    #[test]
    fn edges_and_slots_in_two_buckets_are_counted_one_by_one() {
        let aligned = Split::slots(span(0, 4 * SLOT_NS), 2 * SLOT_NS);
        assert_eq!(aligned, Split { units: 0..4, rows: vec![0..0, 4 * SLOT_NS..4 * SLOT_NS] });
        let cut = Split::slots(span(-1, 4 * SLOT_NS + 2), 2 * SLOT_NS);
        let edges = [-1..0, 4 * SLOT_NS..4 * SLOT_NS + 2];
        let inside = [SLOT_NS..2 * SLOT_NS, 3 * SLOT_NS..4 * SLOT_NS];
        assert_eq!(cut, Split { units: 0..4, rows: [edges, inside].concat() });
        let fine = Split::slots(span(0, 4 * SLOT_NS), SLOT_NS - 1);
        let whole = 0..4 * SLOT_NS;
        assert_eq!(fine, Split { units: 0..0, rows: vec![whole] });
    }

    #[test]
    fn the_ends_of_time_and_a_span_backwards_are_no_trouble() {
        let all = Split::days(TimeRange::ALL);
        let edges = [all.units.start, all.units.end].map(|day| day.checked_mul(DAY_NS));
        assert!(edges.iter().all(Option::is_some), "{all:?}");
        let backwards = Split::slots(span(i64::MAX, 0), i64::MAX);
        assert!(backwards.units.is_empty() && backwards.rows.iter().all(|rows| rows.is_empty()));
    }
}

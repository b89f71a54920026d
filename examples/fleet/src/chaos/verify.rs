//! Whether what was produced is what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lavender_core::event::EventData;
use lavender_core::store::{AlertQuery, EventQuery, TimeRange};
use lavender_store::Store;

use super::expected;
use super::own;
use super::stream::Streams;
use crate::check::takes_numbers;
use crate::error::{FleetError, Result};

/// What is stored of all agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The numbers that agents gave out.
    pub produced: u64,
    /// Those that are stored.
    pub stored: u64,
    /// Those that are counted as lost.
    pub lost: u64,
    /// Events that are stored more than once.
    pub duplicates: u64,
    /// Alerts that are stored, by their ids.
    pub alerts: u64,
    /// Alerts that are stored more than once.
    pub duplicate_alerts: u64,
    /// Alerts of the single process that are not stored.
    pub missing_alerts: u64,
    /// Alerts that are stored and that the single process did not raise.
    pub added_alerts: u64,
    /// Alerts that agents raised while the broker was away.
    pub while_away: u64,
    /// The missing ones, by rule.
    pub missing_by_rule: BTreeMap<String, u64>,
    /// Those that are too many, by rule.
    pub added_by_rule: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.produced += other.produced;
        self.stored += other.stored;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.alerts += other.alerts;
        self.duplicate_alerts += other.duplicate_alerts;
        self.missing_alerts += other.missing_alerts;
        self.added_alerts += other.added_alerts;
        self.while_away += other.while_away;
        for (of, more) in [
            (&mut self.missing_by_rule, other.missing_by_rule),
            (&mut self.added_by_rule, other.added_by_rule),
        ] {
            for (rule, count) in more {
                *of.entry(rule).or_default() += count;
            }
        }
    }

    /// What does not hold. Where events were given up, the workers' alerts of them are gone with them, and those that
    /// rest on the absence of some come up: then what is stored is held against the numbers, and what the agents
    /// raised themselves against what they should.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let accounted = self.stored + self.lost;
        if accounted != self.produced {
            faults.push(format!("{} produced, {accounted} stored or counted", self.produced));
        }
        let mut none = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        none(self.duplicates, "events are stored more than once");
        none(self.duplicate_alerts, "alerts are stored more than once");
        if self.lost == 0 {
            none(self.missing_alerts, "alerts are missing");
            none(self.added_alerts, "alerts are not of the single process");
        } else {
            let missing = self.missing_by_rule.get(own::RULE).copied().unwrap_or_default();
            none(missing, "alerts that agents raised are missing");
        }
        faults
    }
}

/// Looks at all agents; the broker was away in the meantime of `away`.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn totals(
    store: &Arc<dyn Store>,
    streams: &Streams,
    agents: usize,
    away: Option<TimeRange>,
) -> Result<Totals> {
    let mut totals = Totals::default();
    for number in 0..agents {
        totals.add(agent(store, streams, number, away).await?);
    }
    Ok(totals)
}

async fn agent(
    store: &Arc<dyn Store>,
    streams: &Streams,
    number: usize,
    away: Option<TimeRange>,
) -> Result<Totals> {
    let source = Streams::identity(number)?;
    let own = Streams::origin(&source);
    let mut totals = Totals::default();
    let mut numbers = BTreeSet::new();
    let mut query = EventQuery {
        tenant: Some(source.tenant.clone()),
        agent: Some(source.agent.clone()),
        limit: EventQuery::MAX_LIMIT,
        ..EventQuery::new(TimeRange::ALL)
    };
    loop {
        let page = store.events(&query).await?;
        for stored in &page.items {
            let event = &stored.event;
            if let EventData::Lost(loss) = &event.data
                && takes_numbers(loss.stage)
            {
                totals.lost += loss.count;
            }
            // What ingest tells of gaps has numbers of an origin of its own.
            if own.made(event.id) && !numbers.insert(event.id.sequence()) {
                totals.duplicates += 1;
            }
        }
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    totals.stored = numbers.len() as u64;
    // The last is the heartbeat behind all events, or a report of the spool's behind it.
    totals.produced = numbers.last().copied().unwrap_or(0).max(streams.events + 1);
    let mut found = expected::Alerts::new();
    let mut query = AlertQuery {
        tenant: Some(source.tenant.clone()),
        agent: Some(source.agent.clone()),
        limit: EventQuery::MAX_LIMIT,
        ..AlertQuery::new(TimeRange::ALL)
    };
    loop {
        let page = store.alerts(&query).await?;
        let raised_away = page.items.iter().filter(|alert| {
            &*alert.rule.id == own::RULE && away.is_some_and(|away| away.contains(alert.created_at))
        });
        totals.while_away += raised_away.count() as u64;
        let again = page
            .items
            .iter()
            .filter(|alert| found.insert(alert.id, alert.rule.id.to_string()).is_some())
            .count();
        totals.duplicate_alerts += again as u64;
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    let expected = expected::alerts(streams, number, &source).await?;
    if expected.is_empty() {
        return Err(FleetError::Broken(format!("nothing happens on {}", source.agent)));
    }
    totals.alerts = found.len() as u64;
    totals.missing_alerts = expected.keys().filter(|id| !found.contains_key(id)).count() as u64;
    totals.added_alerts = found.keys().filter(|id| !expected.contains_key(id)).count() as u64;
    let of_rules = |all: &expected::Alerts, but: &expected::Alerts| {
        let mut rules = BTreeMap::new();
        for (_, rule) in all.iter().filter(|(id, _)| !but.contains_key(id)) {
            *rules.entry(rule.clone()).or_insert(0_u64) += 1;
        }
        rules
    };
    totals.missing_by_rule = of_rules(&expected, &found);
    totals.added_by_rule = of_rules(&found, &expected);
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_does_not_hold_is_a_fault() {
        let good = Totals { produced: 10, stored: 10, alerts: 3, ..Totals::default() };
        assert_eq!(good.faults(), Vec::<String>::new());
        let counted = Totals { stored: 6, lost: 4, missing_alerts: 1, ..good.clone() };
        assert_eq!(counted.faults(), Vec::<String>::new());
        let by_rule = BTreeMap::from([(own::RULE.to_owned(), 1)]);
        let own = Totals { missing_by_rule: by_rule, ..counted };
        assert_eq!(own.faults().len(), 1);
        for bad in [
            Totals { stored: 9, ..good.clone() },
            Totals { duplicates: 1, ..good.clone() },
            Totals { duplicate_alerts: 1, ..good.clone() },
            Totals { missing_alerts: 1, ..good.clone() },
            Totals { added_alerts: 1, ..good.clone() },
        ] {
            assert_eq!(bad.faults().len(), 1, "{bad:?}");
        }
    }
}

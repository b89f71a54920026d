//! Alerts in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lavender_core::store::{AlertQuery, AlertRecord, Inserted, Page, Revision, StatusChange};
use lavender_core::{Alert, AlertId, ErrorKind, Origin, Repeats, Result, TenantId};

use super::fail;
use super::feed::{Feed, Noted};
use crate::cursor::{Listing, Position};
use crate::sequence::origin_bits;

#[derive(Default)]
pub(super) struct Alerts {
    by_time: BTreeMap<Position, Kept>,
    by_id: HashMap<AlertId, Position>,
    /// The highest sequence number of each origin among the evidence.
    sequences: HashMap<u128, u64>,
    pub(super) forgotten: u64,
}

struct Kept {
    alert: Arc<Alert>,
    history: Vec<StatusChange>,
}

impl Kept {
    fn record(&self) -> AlertRecord {
        AlertRecord {
            alert: Arc::clone(&self.alert),
            revision: Revision(self.history.len() as u64),
            updated_at: self.history.last().map(|change| change.at),
        }
    }

    fn repeat(&mut self, repeats: Option<Repeats>) {
        let repeats = Repeats::merge(self.alert.repeats, repeats);
        if repeats != self.alert.repeats {
            self.alert = Arc::new(Alert { repeats, ..(*self.alert).clone() });
        }
    }
}

fn position(alert: &Alert) -> Position {
    Position { time: alert.observed_at, id: alert.id.as_u128() }
}

impl Alerts {
    pub(super) fn insert(
        &mut self,
        alerts: &[Arc<Alert>],
        max: usize,
        feed: &mut Feed,
    ) -> Inserted {
        let mut inserted = Inserted::default();
        for alert in alerts {
            if let Some(at) = self.by_id.get(&alert.id) {
                inserted.duplicate += 1;
                if let Some(kept) = self.by_time.get_mut(at) {
                    kept.repeat(alert.repeats);
                }
                continue;
            }
            inserted.new += 1;
            feed.note(&alert.source.tenant, Noted::Raised(alert.id));
            self.by_id.insert(alert.id, position(alert));
            for event in &alert.events {
                let highest = self.sequences.entry(origin_bits(*event)).or_default();
                *highest = event.sequence().max(*highest);
            }
            let kept = Kept { alert: Arc::clone(alert), history: Vec::new() };
            self.by_time.insert(position(alert), kept);
        }
        while self.by_time.len() > max {
            let Some((_, oldest)) = self.by_time.pop_first() else { break };
            self.by_id.remove(&oldest.alert.id);
            self.forgotten += 1;
        }
        inserted
    }

    pub(super) fn read(&self, query: &AlertQuery, limit: usize) -> Result<Page<AlertRecord>> {
        let after = Listing::Alerts.position(query.after.as_ref())?;
        let items = self
            .by_time
            .iter()
            .rev()
            .filter(|(at, _)| after.is_none_or(|after| **at < after))
            .map(|(_, kept)| kept)
            .filter(|kept| matches(query, &kept.alert))
            .take(limit + 1)
            .map(Kept::record)
            .collect();
        Ok(Listing::Alerts.page(items, limit, |record: &AlertRecord| position(&record.alert)))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.by_time.values().map(|kept| &kept.alert)
    }

    fn kept(&self, id: AlertId) -> Option<&Kept> {
        self.by_time.get(self.by_id.get(&id)?)
    }

    pub(super) fn record(&self, id: AlertId) -> Option<AlertRecord> {
        self.kept(id).map(Kept::record)
    }

    pub(super) fn history(&self, id: AlertId) -> Vec<StatusChange> {
        self.kept(id).map(|kept| kept.history.clone()).unwrap_or_default()
    }

    /// Changes an alert's status; returns whose it is.
    pub(super) fn set_status(&mut self, id: AlertId, change: &StatusChange) -> Result<TenantId> {
        let Some(kept) = self.by_id.get(&id).and_then(|at| self.by_time.get_mut(at)) else {
            return Err(fail(ErrorKind::NotFound, format!("there is no alert {id}")));
        };
        let StatusChange { from, to, .. } = change;
        let status = kept.alert.status;
        if status != *from {
            let why = format!("alert {id} is {status} by now, not {from}");
            return Err(fail(ErrorKind::Conflict, why));
        }
        if !from.may_become(*to) {
            let why = format!("alert {id}: what is {from} may not become {to}");
            return Err(fail(ErrorKind::Invalid, why));
        }
        kept.alert = Arc::new(Alert { status: *to, ..(*kept.alert).clone() });
        kept.history.push(change.clone());
        Ok(kept.alert.source.tenant.clone())
    }

    pub(super) fn last_sequence(&self, origin: Origin) -> Option<u64> {
        self.sequences.get(&origin_bits(origin.event(0))).copied()
    }
}

fn matches(query: &AlertQuery, alert: &Alert) -> bool {
    query.time.contains(alert.observed_at)
        && query.tenant.as_ref().is_none_or(|tenant| *tenant == alert.source.tenant)
        && query.agent.as_ref().is_none_or(|agent| *agent == alert.source.agent)
        && query.status.is_none_or(|status| status == alert.status)
        && query.min_severity.is_none_or(|severity| alert.severity >= severity)
        && query.rule.as_ref().is_none_or(|rule| *rule == alert.rule.id)
        && query.technique.as_ref().is_none_or(|technique| {
            crate::feed::techniques(&alert.rule).iter().any(|(name, _)| **name == **technique)
        })
        && query.incident.is_none_or(|incident| alert.incident == Some(incident))
}

//! Alerts as people work on them, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use lavender_core::store::{
    AgentCount, AlertQuery, AlertRecord, AlertStatistics, AuditEntry, Page, RuleCount,
    StatisticsQuery, StatusChange, StatusUpdate, TechniqueCount, TriageStore,
};
use lavender_core::{
    AgentId, AlertId, AlertStatus, ErrorKind, Result, Severity, TenantId, Timestamp, async_trait,
};

use super::feed::Noted;
use super::{Kept, MemoryStore, fail};
use crate::cursor;

impl Kept {
    /// Changes an alert's status, and notes it everywhere.
    pub(super) fn set_status(&mut self, id: AlertId, change: &StatusChange) -> Result<()> {
        let tenant = self.alerts.set_status(id, change)?;
        self.access.note(&tenant, AuditEntry::of_status(id, change));
        self.feed.note(&tenant, Noted::Status(id));
        Ok(())
    }

    fn of(&self, tenant: &TenantId, id: AlertId) -> Option<AlertRecord> {
        self.alerts.record(id).filter(|record| record.alert.source.tenant == *tenant)
    }

    fn update_status(
        &mut self,
        tenant: &TenantId,
        id: AlertId,
        update: &StatusUpdate,
    ) -> Result<AlertRecord> {
        let unknown = || fail(ErrorKind::NotFound, format!("there is no alert {id}"));
        let seen = self.of(tenant, id).ok_or_else(unknown)?;
        if seen.revision != update.revision {
            let why = format!(
                "alert {id} was changed by somebody else: it is {} by now, at revision {}",
                seen.alert.status, seen.revision
            );
            return Err(fail(ErrorKind::Conflict, why));
        }
        let change = StatusChange {
            from: seen.alert.status,
            to: update.to,
            actor: Arc::clone(&update.actor),
            reason: update.reason.clone(),
            at: update.at,
        };
        self.set_status(id, &change)?;
        self.of(tenant, id).ok_or_else(unknown)
    }

    fn statistics(
        &self,
        tenant: &TenantId,
        query: &StatisticsQuery,
        bucket: i64,
    ) -> AlertStatistics {
        let mut cells: BTreeMap<(i64, Severity, AlertStatus), u64> = BTreeMap::new();
        let mut techniques: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut rules: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut agents: BTreeMap<AgentId, u64> = BTreeMap::new();
        let from = query.time.from.as_nanos();
        let within = self.alerts.all().filter(|alert| {
            alert.source.tenant == *tenant && query.time.contains(alert.observed_at)
        });
        for alert in within {
            let number = (alert.observed_at.as_nanos() - from) / bucket;
            *cells.entry((number, alert.severity, alert.status)).or_default() += 1;
            for (technique, named) in crate::feed::techniques(&alert.rule) {
                if named {
                    *techniques.entry(technique.into()).or_default() += 1;
                }
            }
            *rules.entry(Arc::clone(&alert.rule.id)).or_default() += 1;
            *agents.entry(alert.source.agent.clone()).or_default() += 1;
        }
        let mut statistics = AlertStatistics::default();
        for ((number, severity, status), count) in cells {
            let begins = Timestamp::from_nanos(from + number * bucket);
            statistics.count(begins, severity, status, count);
        }
        let top = query.top as usize;
        statistics.techniques = most(techniques, top)
            .map(|(technique, count)| TechniqueCount { technique, count })
            .collect();
        statistics.rules =
            most(rules, top).map(|(rule, count)| RuleCount { rule, count }).collect();
        statistics.agents =
            most(agents, top).map(|(agent, count)| AgentCount { agent, count }).collect();
        statistics
    }
}

fn most<K: Ord>(counts: BTreeMap<K, u64>, top: usize) -> impl Iterator<Item = (K, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().take(top)
}

#[async_trait]
impl TriageStore for MemoryStore {
    async fn triage(&self, tenant: &TenantId, query: &AlertQuery) -> Result<Page<AlertRecord>> {
        let limit = cursor::limit(query.limit)?;
        let query = AlertQuery { tenant: Some(tenant.clone()), ..query.clone() };
        self.kept()?.alerts.read(&query, limit)
    }

    async fn alert_record(&self, tenant: &TenantId, id: AlertId) -> Result<Option<AlertRecord>> {
        Ok(self.kept()?.of(tenant, id))
    }

    async fn update_status(
        &self,
        tenant: &TenantId,
        id: AlertId,
        update: &StatusUpdate,
    ) -> Result<AlertRecord> {
        self.kept()?.update_status(tenant, id, update)
    }

    async fn alert_history(&self, tenant: &TenantId, id: AlertId) -> Result<Vec<StatusChange>> {
        let kept = self.kept()?;
        let mut history = kept.of(tenant, id).map_or_else(Vec::new, |_| kept.alerts.history(id));
        history.truncate(1_000);
        Ok(history)
    }

    async fn statistics(
        &self,
        tenant: &TenantId,
        query: &StatisticsQuery,
    ) -> Result<AlertStatistics> {
        let bucket = query.bucket_nanos()?;
        Ok(self.kept()?.statistics(tenant, query, bucket))
    }
}

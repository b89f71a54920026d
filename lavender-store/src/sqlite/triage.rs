//! Alerts as people work on them, within a tenant.

use lavender_core::store::{
    AgentCount, AlertQuery, AlertRecord, AlertStatistics, Page, RuleCount, StatisticsQuery,
    StatusChange, StatusUpdate, TechniqueCount, TriageStore,
};
use lavender_core::{AgentId, AlertId, TenantId, async_trait};
use rusqlite::Connection;

use super::error::{Result, SqliteError};
use super::{SqliteStore, alerts, counts};
use crate::counts::Dimension;
use crate::cursor::{self, Listing};

/// The most changes of one alert that are read at once.
const HISTORY: u32 = 1_000;

fn update_status(
    connection: &Connection,
    tenant: &TenantId,
    id: AlertId,
    update: &StatusUpdate,
) -> Result<AlertRecord> {
    let unknown = || SqliteError::NotFound(format!("there is no alert {id}"));
    let seen = alerts::record(connection, Some(tenant), id)?.ok_or_else(unknown)?;
    if seen.revision != update.revision {
        return Err(SqliteError::Conflict(format!(
            "alert {id} was changed by somebody else: it is {} by now, at revision {}",
            seen.alert.status, seen.revision
        )));
    }
    let change = StatusChange {
        from: seen.alert.status,
        to: update.to,
        actor: update.actor.clone(),
        reason: update.reason.clone(),
        at: update.at,
    };
    alerts::apply(connection, tenant, id, &change)?;
    alerts::record(connection, Some(tenant), id)?.ok_or_else(unknown)
}

fn statistics(
    connection: &Connection,
    tenant: &TenantId,
    query: &StatisticsQuery,
    bucket: i64,
) -> Result<AlertStatistics> {
    let mut statistics = counts::buckets(connection, tenant, query, bucket)?;
    for (technique, count) in counts::top(connection, Dimension::Technique, tenant, query)? {
        statistics.techniques.push(TechniqueCount { technique: technique.into(), count });
    }
    for (rule, count) in counts::top(connection, Dimension::Rule, tenant, query)? {
        statistics.rules.push(RuleCount { rule: rule.into(), count });
    }
    for (agent, count) in counts::top(connection, Dimension::Agent, tenant, query)? {
        let agent = AgentId::new(&agent)
            .map_err(|error| SqliteError::unreadable("an agent's name", &error))?;
        statistics.agents.push(AgentCount { agent, count });
    }
    Ok(statistics)
}

#[async_trait]
impl TriageStore for SqliteStore {
    async fn triage(
        &self,
        tenant: &TenantId,
        query: &AlertQuery,
    ) -> lavender_core::Result<Page<AlertRecord>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Alerts.position(query.after.as_ref())?;
        let query = AlertQuery { tenant: Some(tenant.clone()), ..query.clone() };
        self.read(move |connection| alerts::read(connection, &query, limit, after)).await
    }

    async fn alert_record(
        &self,
        tenant: &TenantId,
        id: AlertId,
    ) -> lavender_core::Result<Option<AlertRecord>> {
        let tenant = tenant.clone();
        self.read(move |connection| alerts::record(connection, Some(&tenant), id)).await
    }

    async fn update_status(
        &self,
        tenant: &TenantId,
        id: AlertId,
        update: &StatusUpdate,
    ) -> lavender_core::Result<AlertRecord> {
        let (tenant, update) = (tenant.clone(), update.clone());
        self.write(1, move |connection, _| update_status(connection, &tenant, id, &update)).await
    }

    async fn alert_history(
        &self,
        tenant: &TenantId,
        id: AlertId,
    ) -> lavender_core::Result<Vec<StatusChange>> {
        let tenant = tenant.clone();
        self.read(move |connection| match alerts::record(connection, Some(&tenant), id)? {
            Some(_) => alerts::history(connection, id, Some(HISTORY)),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn statistics(
        &self,
        tenant: &TenantId,
        query: &StatisticsQuery,
    ) -> lavender_core::Result<AlertStatistics> {
        let bucket = query.bucket_nanos()?;
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| statistics(connection, &tenant, &query, bucket)).await
    }
}

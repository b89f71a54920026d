//! Alerts as people work on them, within a tenant.

use lavender_core::store::{
    AgentCount, AlertQuery, AlertRecord, AlertStatistics, Page, RuleCount, StatisticsQuery,
    StatusChange, StatusUpdate, TechniqueCount, TriageStore,
};
use lavender_core::{AgentId, AlertId, Severity, TenantId, Timestamp, async_trait};
use rusqlite::{Connection, params};

use super::error::{Result, SqliteError};
use super::{SqliteStore, alerts};
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
    let (from, to) = (query.time.from.as_nanos(), query.time.to.as_nanos());
    let mut statistics = AlertStatistics::default();
    let mut select = connection.prepare_cached(
        "SELECT (observed_at - ?2) / ?4 AS bucket, severity, status, count(*) FROM alerts
         WHERE tenant = ?1 AND observed_at >= ?2 AND observed_at < ?3
         GROUP BY bucket, severity, status ORDER BY bucket",
    )?;
    let mut rows = select.query(params![tenant.as_str(), from, to, bucket])?;
    while let Some(row) = rows.next()? {
        let severity = usize::try_from(row.get::<_, i64>(1)?)
            .ok()
            .and_then(|number| Severity::ALL.get(number).copied())
            .ok_or_else(|| SqliteError::Damaged("an alert's severity".into()))?;
        let begins = Timestamp::from_nanos(from + row.get::<_, i64>(0)? * bucket);
        let status = alerts::status(&row.get::<_, String>(2)?)?;
        statistics.count(begins, severity, status, row.get::<_, i64>(3)?.cast_unsigned());
    }
    for (technique, count) in top(connection, TECHNIQUES, tenant, query)? {
        statistics.techniques.push(TechniqueCount { technique: technique.into(), count });
    }
    for (rule, count) in top(connection, RULES, tenant, query)? {
        statistics.rules.push(RuleCount { rule: rule.into(), count });
    }
    for (agent, count) in top(connection, AGENTS, tenant, query)? {
        let agent = AgentId::new(&agent)
            .map_err(|error| SqliteError::unreadable("an agent's name", &error))?;
        statistics.agents.push(AgentCount { agent, count });
    }
    Ok(statistics)
}

const TECHNIQUES: &str = "SELECT technique, count(*) AS alerts
     FROM alert_techniques INDEXED BY alert_techniques_named
     WHERE tenant = ?1 AND observed_at >= ?2 AND observed_at < ?3 AND named = 1
     GROUP BY technique ORDER BY alerts DESC, technique LIMIT ?4";
const RULES: &str = "SELECT rule_id, count(*) AS alerts FROM alerts INDEXED BY alerts_tenant
     WHERE tenant = ?1 AND observed_at >= ?2 AND observed_at < ?3
     GROUP BY rule_id ORDER BY alerts DESC, rule_id LIMIT ?4";
const AGENTS: &str = "SELECT agent, count(*) AS alerts FROM alerts INDEXED BY alerts_tenant
     WHERE tenant = ?1 AND observed_at >= ?2 AND observed_at < ?3
     GROUP BY agent ORDER BY alerts DESC, agent LIMIT ?4";

fn top(
    connection: &Connection,
    sql: &str,
    tenant: &TenantId,
    query: &StatisticsQuery,
) -> Result<Vec<(String, u64)>> {
    let (from, to) = (query.time.from.as_nanos(), query.time.to.as_nanos());
    let mut select = connection.prepare_cached(sql)?;
    let rows = select
        .query_map(params![tenant.as_str(), from, to, query.top], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
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

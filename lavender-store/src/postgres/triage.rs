//! Alerts as people work on them, within a tenant.

use deadpool_postgres::{Client, Transaction};
use lavender_core::store::{
    AgentCount, AlertQuery, AlertRecord, AlertStatistics, Page, RuleCount, StatisticsQuery,
    StatusChange, StatusUpdate, TechniqueCount, TriageStore,
};
use lavender_core::{AgentId, AlertId, Severity, TenantId, Timestamp, async_trait};

use super::error::{PostgresError, Result};
use super::text::unescaped;
use super::{Held, PostgresStore, alerts};
use crate::cursor::{self, Listing};

/// The most changes of one alert that are read at once.
const HISTORY: i64 = 1_000;

async fn update_status(
    client: &mut Client,
    tenant: &TenantId,
    id: AlertId,
    update: &StatusUpdate,
) -> Result<AlertRecord> {
    let unknown = || PostgresError::NotFound(format!("there is no alert {id}"));
    let transaction = client.transaction().await?;
    let seen = alerts::record(&transaction, Some(tenant), id, true).await?.ok_or_else(unknown)?;
    if seen.revision != update.revision {
        return Err(PostgresError::Conflict(format!(
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
    alerts::apply(&transaction, tenant, id, &change).await?;
    let record =
        alerts::record(&transaction, Some(tenant), id, false).await?.ok_or_else(unknown)?;
    transaction.commit().await?;
    Ok(record)
}

async fn statistics(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    query: &StatisticsQuery,
    bucket: i64,
) -> Result<AlertStatistics> {
    let (from, to) = (query.time.from.as_nanos(), query.time.to.as_nanos());
    let mut statistics = AlertStatistics::default();
    let select = transaction
        .prepare_cached(
            "SELECT (observed_at - $2) / $4::bigint AS bucket, severity, status, count(*) FROM lavender.alerts
             WHERE tenant = $1 AND observed_at >= $2 AND observed_at < $3
             GROUP BY bucket, severity, status ORDER BY bucket",
        )
        .await?;
    for row in transaction.query(&select, &[&tenant.as_str(), &from, &to, &bucket]).await? {
        let severity = usize::try_from(row.try_get::<_, i16>(1)?)
            .ok()
            .and_then(|number| Severity::ALL.get(number).copied())
            .ok_or_else(|| PostgresError::Damaged("an alert's severity".into()))?;
        let begins = Timestamp::from_nanos(from + row.try_get::<_, i64>(0)? * bucket);
        let status = alerts::status(row.try_get(2)?)?;
        statistics.count(begins, severity, status, row.try_get::<_, i64>(3)?.cast_unsigned());
    }
    for (technique, count) in top(transaction, TECHNIQUES, tenant, query).await? {
        statistics.techniques.push(TechniqueCount { technique: technique.into(), count });
    }
    for (rule, count) in top(transaction, RULES, tenant, query).await? {
        statistics.rules.push(RuleCount { rule: unescaped(rule).into(), count });
    }
    for (agent, count) in top(transaction, AGENTS, tenant, query).await? {
        let agent = AgentId::new(&agent)
            .map_err(|error| PostgresError::unreadable("an agent's name", &error))?;
        statistics.agents.push(AgentCount { agent, count });
    }
    Ok(statistics)
}

const TECHNIQUES: &str = "SELECT technique, count(*) AS alerts FROM lavender.alert_techniques
     WHERE tenant = $1 AND observed_at >= $2 AND observed_at < $3 AND named
     GROUP BY technique ORDER BY alerts DESC, technique LIMIT $4";
const RULES: &str = "SELECT rule_id COLLATE \"C\" AS rule, count(*) AS alerts FROM lavender.alerts
     WHERE tenant = $1 AND observed_at >= $2 AND observed_at < $3
     GROUP BY rule ORDER BY alerts DESC, rule LIMIT $4";
const AGENTS: &str = "SELECT agent, count(*) AS alerts FROM lavender.alerts
     WHERE tenant = $1 AND observed_at >= $2 AND observed_at < $3
     GROUP BY agent ORDER BY alerts DESC, agent LIMIT $4";

async fn top(
    transaction: &Transaction<'_>,
    sql: &str,
    tenant: &TenantId,
    query: &StatisticsQuery,
) -> Result<Vec<(String, u64)>> {
    let (from, to) = (query.time.from.as_nanos(), query.time.to.as_nanos());
    let select = transaction.prepare_cached(sql).await?;
    let rows =
        transaction.query(&select, &[&tenant.as_str(), &from, &to, &i64::from(query.top)]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.cast_unsigned())))
        .collect()
}

#[async_trait]
impl TriageStore for PostgresStore {
    async fn triage(
        &self,
        tenant: &TenantId,
        query: &AlertQuery,
    ) -> lavender_core::Result<Page<AlertRecord>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Alerts.position(query.after.as_ref())?;
        let query = AlertQuery { tenant: Some(tenant.clone()), ..query.clone() };
        reading!(self, |transaction| alerts::read(&transaction, &query, limit, after))
    }

    async fn alert_record(
        &self,
        tenant: &TenantId,
        id: AlertId,
    ) -> lavender_core::Result<Option<AlertRecord>> {
        reading!(self, |transaction| alerts::record(&transaction, Some(tenant), id, false))
    }

    async fn update_status(
        &self,
        tenant: &TenantId,
        id: AlertId,
        update: &StatusUpdate,
    ) -> lavender_core::Result<AlertRecord> {
        with!(self, |client| update_status(&mut client, tenant, id, update))
    }

    async fn alert_history(
        &self,
        tenant: &TenantId,
        id: AlertId,
    ) -> lavender_core::Result<Vec<StatusChange>> {
        with!(self, |client| alerts::history(&client, Some(tenant), id, Some(HISTORY)))
    }

    async fn statistics(
        &self,
        tenant: &TenantId,
        query: &StatisticsQuery,
    ) -> lavender_core::Result<AlertStatistics> {
        let bucket = query.bucket_nanos()?;
        reading!(self, |transaction| statistics(&transaction, tenant, query, bucket))
    }
}

//! Alerts as people work on them, within a tenant.

use deadpool_postgres::{Client, Transaction};
use lavender_core::store::{
    AgentCount, AlertQuery, AlertRecord, AlertStatistics, Page, RuleCount, StatisticsQuery,
    StatusChange, StatusUpdate, TechniqueCount, TriageStore,
};
use lavender_core::{AgentId, AlertId, TenantId, async_trait};
use tokio_postgres::IsolationLevel;

use super::error::{PostgresError, Result};
use super::text::unescaped;
use super::{Held, PostgresStore, alerts, counts};
use crate::counts::Dimension;
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
    let mut statistics = counts::buckets(transaction, tenant, query, bucket).await?;
    for (technique, count) in counts::top(transaction, Dimension::Technique, tenant, query).await? {
        statistics.techniques.push(TechniqueCount { technique: technique.into(), count });
    }
    for (rule, count) in counts::top(transaction, Dimension::Rule, tenant, query).await? {
        statistics.rules.push(RuleCount { rule: unescaped(rule).into(), count });
    }
    for (agent, count) in counts::top(transaction, Dimension::Agent, tenant, query).await? {
        let agent = AgentId::new(&agent)
            .map_err(|error| PostgresError::unreadable("an agent's name", &error))?;
        statistics.agents.push(AgentCount { agent, count });
    }
    Ok(statistics)
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
        with!(self, |client| async {
            // All of it from one state: what is moved meanwhile would be counted twice, or not at all.
            let isolation = IsolationLevel::RepeatableRead;
            let builder = client.build_transaction().isolation_level(isolation).read_only(true);
            let transaction = builder.start().await?;
            let found = statistics(&transaction, tenant, query, bucket).await?;
            transaction.commit().await?;
            Ok(found)
        })
    }
}

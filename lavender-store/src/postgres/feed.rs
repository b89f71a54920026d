//! The feed: what changed, in the order in which it was committed.

use deadpool_postgres::{Client, Transaction};
use lavender_core::store::{FeedChange, FeedItem, FeedPosition, FeedStore};
use lavender_core::{AlertId, TenantId, async_trait};
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::{Held, PostgresStore, alerts, fleet};
use crate::cursor;
use crate::feed::KEPT;

/// An alert was raised.
pub(super) const RAISED: &str = "alert_raised";
/// The status of an alert was changed.
pub(super) const STATUS: &str = "alert_status";
/// The state of an agent was.
const LIVENESS: &str = "agent_liveness";

/// Held from giving a position until the commit: `lavefeed` in bytes.
const LOCK: i64 = 0x6c61_7665_6665_6564;

/// Notes that something happened to alerts: the last thing that a transaction does, since others wait for it.
pub(super) async fn note_alerts(
    transaction: &Transaction<'_>,
    change: &str,
    alerts: &[(&TenantId, AlertId)],
) -> Result<()> {
    if alerts.is_empty() {
        return Ok(());
    }
    let tenants: Vec<&str> = alerts.iter().map(|(tenant, _)| tenant.as_str()).collect();
    let ids: Vec<Uuid> = alerts.iter().map(|(_, id)| Uuid::from_u128(id.as_u128())).collect();
    lock(transaction).await?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.feed (position, tenant, change, alert_id)
             SELECT (SELECT coalesce(max(position), 0) FROM lavender.feed) + number, tenant, $1, alert_id
             FROM unnest($2::text[], $3::uuid[]) WITH ORDINALITY AS t (tenant, alert_id, number)",
        )
        .await?;
    transaction.execute(&insert, &[&change, &tenants, &ids]).await?;
    forget(transaction).await
}

/// Notes transitions that were stored: the last thing that a transaction does.
pub(super) async fn note_transitions(
    transaction: &Transaction<'_>,
    tenants: &[&str],
    transitions: &[i64],
) -> Result<()> {
    lock(transaction).await?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.feed (position, tenant, change, transition)
             SELECT (SELECT coalesce(max(position), 0) FROM lavender.feed) + number, tenant, $1, transition
             FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS t (tenant, transition, number)",
        )
        .await?;
    transaction.execute(&insert, &[&LIVENESS, &tenants, &transitions]).await?;
    forget(transaction).await
}

async fn lock(transaction: &Transaction<'_>) -> Result<()> {
    let lock = transaction.prepare_cached("SELECT pg_advisory_xact_lock($1)").await?;
    transaction.execute(&lock, &[&LOCK]).await?;
    Ok(())
}

async fn forget(transaction: &Transaction<'_>) -> Result<()> {
    let delete = transaction
        .prepare_cached(
            "DELETE FROM lavender.feed WHERE position <= (SELECT max(position) FROM lavender.feed) - $1::bigint",
        )
        .await?;
    transaction.execute(&delete, &[&KEPT.cast_signed()]).await?;
    Ok(())
}

async fn position(client: &Client, sql: &str) -> Result<FeedPosition> {
    let select = client.prepare_cached(sql).await?;
    let position: i64 = client.query_one(&select, &[]).await?.try_get(0)?;
    Ok(FeedPosition(position.cast_unsigned()))
}

fn bound(position: FeedPosition) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

async fn read(
    client: &Client,
    tenant: &TenantId,
    after: FeedPosition,
    limit: usize,
) -> Result<Vec<FeedItem>> {
    let select = client
        .prepare_cached(&format!(
            "SELECT f.position, f.change, {}, {}
             FROM lavender.feed f
             LEFT JOIN lavender.alerts a ON a.alert_id = f.alert_id
             LEFT JOIN lavender.agent_transitions t ON t.transition = f.transition
             WHERE f.tenant = $1 AND f.position > $2 ORDER BY f.position LIMIT $3",
            alerts::COLUMNS,
            fleet::TRANSITION,
        ))
        .await?;
    let rows = client.query(&select, &[&tenant.as_str(), &bound(after), &(limit as i64)]).await?;
    let item = |row| -> Result<FeedItem> {
        let row: &tokio_postgres::Row = row;
        let change = match row.try_get::<_, &str>(1)? {
            RAISED => FeedChange::AlertRaised(alerts::parse(row, 2)?),
            STATUS => FeedChange::AlertStatus(alerts::parse(row, 2)?),
            LIVENESS => FeedChange::AgentLiveness(fleet::transition(row, 8)?.1),
            other => {
                return Err(PostgresError::Damaged(format!("a change `{other}` in the feed")));
            }
        };
        let position = FeedPosition(row.try_get::<_, i64>(0)?.cast_unsigned());
        Ok(FeedItem { position, change })
    };
    rows.iter().map(item).collect()
}

async fn count(
    client: &Client,
    tenant: &TenantId,
    after: FeedPosition,
    until: FeedPosition,
) -> Result<u64> {
    let select = client
        .prepare_cached(
            "SELECT count(*) FROM lavender.feed WHERE tenant = $1 AND position > $2 AND position <= $3",
        )
        .await?;
    let row = client.query_one(&select, &[&tenant.as_str(), &bound(after), &bound(until)]).await?;
    Ok(row.try_get::<_, i64>(0)?.cast_unsigned())
}

#[async_trait]
impl FeedStore for PostgresStore {
    async fn feed_end(&self) -> lavender_core::Result<FeedPosition> {
        let sql = "SELECT coalesce(max(position), 0) FROM lavender.feed";
        with!(self, |client| position(&client, sql))
    }

    async fn feed_start(&self) -> lavender_core::Result<FeedPosition> {
        let sql = "SELECT coalesce(min(position), 1) - 1 FROM lavender.feed";
        with!(self, |client| position(&client, sql))
    }

    async fn feed(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        limit: u32,
    ) -> lavender_core::Result<Vec<FeedItem>> {
        let limit = cursor::limit(limit)?;
        with!(self, |client| read(&client, tenant, after, limit))
    }

    async fn feed_count(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        until: FeedPosition,
    ) -> lavender_core::Result<u64> {
        with!(self, |client| count(&client, tenant, after, until))
    }
}

//! The feed: what changed, in the order in which it was stored.

use lavender_core::store::{FeedChange, FeedItem, FeedPosition, FeedStore};
use lavender_core::{AlertId, TenantId, async_trait};
use rusqlite::{Connection, params};

use super::error::{Result, SqliteError};
use super::{SqliteStore, alerts, fleet};
use crate::cursor;
use crate::feed::KEPT;

/// An alert was raised.
pub(super) const RAISED: &str = "alert_raised";
/// The status of an alert was changed.
pub(super) const STATUS: &str = "alert_status";
/// The state of an agent was.
const LIVENESS: &str = "agent_liveness";

/// Notes that something happened to an alert, inside a transaction.
pub(super) fn note_alert(
    connection: &Connection,
    tenant: &TenantId,
    change: &str,
    id: AlertId,
) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO feed (tenant, change, alert_id) VALUES (?1, ?2, ?3)")?
        .execute(params![tenant.as_str(), change, id.as_u128().to_be_bytes()])?;
    forget(connection)
}

/// Notes a transition that was stored, inside a transaction.
pub(super) fn note_transition(
    connection: &Connection,
    tenant: &TenantId,
    transition: i64,
) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO feed (tenant, change, transition) VALUES (?1, ?2, ?3)")?
        .execute(params![tenant.as_str(), LIVENESS, transition])?;
    forget(connection)
}

fn forget(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM feed WHERE position <= (SELECT max(position) FROM feed) - ?1")?
        .execute([KEPT.cast_signed()])?;
    Ok(())
}

fn position(connection: &Connection, sql: &str) -> Result<FeedPosition> {
    let position: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(FeedPosition(position.cast_unsigned()))
}

fn bound(position: FeedPosition) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

fn read(
    connection: &Connection,
    tenant: &TenantId,
    after: FeedPosition,
    limit: usize,
) -> Result<Vec<FeedItem>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT f.position, f.change, {}, {}
         FROM feed f
         LEFT JOIN alerts a ON a.alert_id = f.alert_id
         LEFT JOIN agent_transitions t ON t.transition = f.transition
         WHERE f.tenant = ?1 AND f.position > ?2 ORDER BY f.position LIMIT ?3",
        alerts::COLUMNS,
        fleet::TRANSITION,
    ))?;
    let mut rows = select.query(params![tenant.as_str(), bound(after), limit as i64])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let change = match row.get::<_, String>(1)?.as_str() {
            RAISED => FeedChange::AlertRaised(alerts::parse(row, 2)?),
            STATUS => FeedChange::AlertStatus(alerts::parse(row, 2)?),
            LIVENESS => FeedChange::AgentLiveness(fleet::transition(row, 8)?.1),
            other => return Err(SqliteError::Damaged(format!("a change `{other}` in the feed"))),
        };
        let position = FeedPosition(row.get::<_, i64>(0)?.cast_unsigned());
        items.push(FeedItem { position, change });
    }
    Ok(items)
}

#[async_trait]
impl FeedStore for SqliteStore {
    async fn feed_end(&self) -> lavender_core::Result<FeedPosition> {
        self.read(|connection| position(connection, "SELECT ifnull(max(position), 0) FROM feed"))
            .await
    }

    async fn feed_start(&self) -> lavender_core::Result<FeedPosition> {
        self.read(|connection| {
            position(connection, "SELECT ifnull(min(position), 1) - 1 FROM feed")
        })
        .await
    }

    async fn feed(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        limit: u32,
    ) -> lavender_core::Result<Vec<FeedItem>> {
        let (tenant, limit) = (tenant.clone(), cursor::limit(limit)?);
        self.read(move |connection| read(connection, &tenant, after, limit)).await
    }

    async fn feed_count(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        until: FeedPosition,
    ) -> lavender_core::Result<u64> {
        let tenant = tenant.clone();
        self.read(move |connection| {
            let count: i64 = connection
                .prepare_cached(
                    "SELECT count(*) FROM feed
                     WHERE tenant = ?1 AND position > ?2 AND position <= ?3",
                )?
                .query_row(params![tenant.as_str(), bound(after), bound(until)], |row| {
                    row.get(0)
                })?;
            Ok(count.cast_unsigned())
        })
        .await
    }
}

//! Agents and the loss ledger: what events say of those who sent them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::{Client, Transaction};
use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage};
use lavender_core::store::{AgentRecord, LossEntry, TimeRange};
use lavender_core::{AgentId, AgentIdentity, EventId, TenantId, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::events::Remembered;
use super::process::digest;
use super::text::{escaped, unescaped};
use crate::heartbeat;

/// How many sources are remembered.
const REMEMBERED: usize = 4_096;

/// The row of a source; made where there is none.
pub(super) async fn source(
    client: &Client,
    remembered: &Mutex<Remembered>,
    source: &AgentIdentity,
) -> Result<i32> {
    let lock = || remembered.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(row) = lock().sources.get(source) {
        return Ok(*row);
    }
    let (tenant, agent) = (source.tenant.as_str(), source.agent.as_str());
    let digest = digest(&[source.host.as_bytes()]);
    let select = client
        .prepare_cached(
            "SELECT source FROM lavender.sources WHERE tenant = $1 AND agent = $2 AND host_digest = $3",
        )
        .await?;
    let mut row = client.query_opt(&select, &[&tenant, &agent, &digest]).await?;
    if row.is_none() {
        let insert = client
            .prepare_cached(
                "INSERT INTO lavender.sources (tenant, agent, host_digest, host) VALUES ($1, $2, $3, $4)
                 ON CONFLICT DO NOTHING",
            )
            .await?;
        client.execute(&insert, &[&tenant, &agent, &digest, &escaped(&source.host)]).await?;
        row = Some(client.query_one(&select, &[&tenant, &agent, &digest]).await?);
    }
    let row = row.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    let sources = &mut lock().sources;
    if sources.len() >= REMEMBERED {
        sources.clear();
    }
    sources.insert(source.clone(), row);
    Ok(row)
}

/// Who sources are.
pub(super) async fn identities(
    transaction: &Transaction<'_>,
    sources: impl Iterator<Item = i32>,
) -> Result<HashMap<i32, AgentIdentity>> {
    let sources: BTreeSet<i32> = sources.collect();
    let sources: Vec<i32> = sources.into_iter().collect();
    let select = transaction
        .prepare_cached(
            "SELECT source, tenant, agent, host FROM lavender.sources WHERE source = ANY ($1)",
        )
        .await?;
    let rows = transaction.query(&select, &[&sources]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, identity(row, 1)?))).collect()
}

/// Who an agent is, by tenant, agent and host in the columns from `first` on.
pub(super) fn identity(row: &Row, first: usize) -> Result<AgentIdentity> {
    let unreadable = |error| PostgresError::unreadable("an agent's name", &error);
    Ok(AgentIdentity {
        tenant: TenantId::new(row.try_get(first)?).map_err(unreadable)?,
        agent: AgentId::new(row.try_get(first + 1)?).map_err(unreadable)?,
        host: unescaped(row.try_get(first + 2)?).into(),
    })
}

/// The rows of a tenant's or an agent's sources.
pub(super) async fn sources(
    transaction: &Transaction<'_>,
    tenant: Option<&TenantId>,
    agent: Option<&AgentId>,
) -> Result<Vec<i32>> {
    let select = transaction
        .prepare_cached(
            "SELECT source FROM lavender.sources
             WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR agent = $2)",
        )
        .await?;
    let (tenant, agent) = (tenant.map(TenantId::as_str), agent.map(AgentId::as_str));
    let rows = transaction.query(&select, &[&tenant, &agent]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Notes what newly stored events say of their agent and its losses.
pub(super) async fn hear(
    transaction: &Transaction<'_>,
    source: &AgentIdentity,
    row: i32,
    events: &[&Event],
) -> Result<(), tokio_postgres::Error> {
    // They come in the order of time.
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
    let (tenant, agent) = (source.tenant.as_str(), source.agent.as_str());
    let losses: Vec<(EventId, Timestamp, &Loss)> = events
        .iter()
        .filter_map(|event| match &event.data {
            EventData::Lost(loss) => Some((event.id, event.observed_at, loss)),
            _ => None,
        })
        .collect();
    if !losses.is_empty() {
        note_losses(transaction, row, &losses).await?;
    }
    let lost_at = losses.iter().map(|(_, at, _)| at.as_nanos()).max();
    let upsert = transaction
        .prepare_cached(
            "INSERT INTO lavender.agents AS a
                 (tenant, agent, host, first_seen, last_seen, last_lost_at, heartbeat, heartbeat_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant, agent) DO UPDATE SET
                 host = CASE WHEN excluded.last_seen >= a.last_seen THEN excluded.host ELSE a.host END,
                 first_seen = least(a.first_seen, excluded.first_seen),
                 last_seen = greatest(a.last_seen, excluded.last_seen),
                 last_lost_at = greatest(a.last_lost_at, excluded.last_lost_at),
                 heartbeat = CASE WHEN excluded.heartbeat_at >= coalesce(a.heartbeat_at, excluded.heartbeat_at)
                     THEN excluded.heartbeat ELSE a.heartbeat END,
                 heartbeat_at = greatest(a.heartbeat_at, excluded.heartbeat_at)",
        )
        .await?;
    let (first, last) = (first.observed_at.as_nanos(), last.observed_at.as_nanos());
    let host = escaped(&source.host);
    let (beat, beat_at) = last_heartbeat(events).unzip();
    transaction
        .execute(&upsert, &[&tenant, &agent, &host, &first, &last, &lost_at, &beat, &beat_at])
        .await?;
    for event in events {
        let (start, stopped) = match &event.data {
            EventData::AgentStart(start) => (Some(start), false),
            EventData::AgentStop(_) => (None, true),
            _ => continue,
        };
        let version = start.map(|start| escaped(&start.version));
        let kernel_release = start.map(|start| escaped(&start.kernel_release));
        let rules = start.map(|start| start.rules.cast_signed());
        let kinds = start.map(|start| serde_json::json!(start.kinds).to_string());
        let update = transaction
            .prepare_cached(
                "UPDATE lavender.agents SET version = coalesce($4, version),
                     kernel_release = coalesce($5, kernel_release), stopped = $6, life_at = $3,
                     rules = coalesce($7, rules), kinds = coalesce($8, kinds)
                 WHERE tenant = $1 AND agent = $2 AND coalesce(life_at <= $3, true)",
            )
            .await?;
        let at = event.observed_at.as_nanos();
        transaction
            .execute(
                &update,
                &[&tenant, &agent, &at, &version, &kernel_release, &stopped, &rules, &kinds],
            )
            .await?;
    }
    Ok(())
}

/// The last heartbeat among events that come in the order of time, as it is kept, and when it was.
fn last_heartbeat(events: &[&Event]) -> Option<(String, i64)> {
    events.iter().rev().find_map(|event| match &event.data {
        EventData::Heartbeat(beat) => Some((heartbeat::kept(beat)?, event.observed_at.as_nanos())),
        _ => None,
    })
}

async fn note_losses(
    transaction: &Transaction<'_>,
    source: i32,
    losses: &[(EventId, Timestamp, &Loss)],
) -> Result<(), tokio_postgres::Error> {
    let ids: Vec<Uuid> = losses.iter().map(|(id, ..)| Uuid::from_u128(id.as_u128())).collect();
    let times: Vec<i64> = losses.iter().map(|(_, at, _)| at.as_nanos()).collect();
    let stages: Vec<&str> = losses.iter().map(|(.., loss)| loss.stage.as_str()).collect();
    let kinds: Vec<&str> = losses.iter().map(|(.., loss)| loss.kind.as_str()).collect();
    let counts: Vec<i64> = losses.iter().map(|(.., loss)| loss.count.cast_signed()).collect();
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.losses (source, event_id, observed_at, stage, kind, count)
             SELECT $1::int, * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
             ON CONFLICT DO NOTHING",
        )
        .await?;
    transaction.execute(&insert, &[&source, &ids, &times, &stages, &kinds, &counts]).await?;
    Ok(())
}

/// Every agent, by tenant and name.
pub(super) async fn agents(client: &Client) -> Result<Vec<AgentRecord>> {
    let select = client
        .prepare_cached(
            "SELECT tenant, agent, host, first_seen, last_seen, version, kernel_release, stopped
             FROM lavender.agents ORDER BY tenant, agent",
        )
        .await?;
    client.query(&select, &[]).await?.iter().map(record).collect()
}

pub(super) fn record(row: &Row) -> Result<AgentRecord> {
    let text = |column| -> Result<Option<_>> {
        Ok(row.try_get::<_, Option<String>>(column)?.map(|text| unescaped(text).into()))
    };
    Ok(AgentRecord {
        source: identity(row, 0)?,
        first_seen: Timestamp::from_nanos(row.try_get(3)?),
        last_seen: Timestamp::from_nanos(row.try_get(4)?),
        version: text(5)?,
        kernel_release: text(6)?,
        stopped: row.try_get(7)?,
    })
}

/// The loss ledger over a span of time.
pub(super) async fn losses(
    client: &Client,
    tenant: Option<&TenantId>,
    agent: Option<&AgentId>,
    time: TimeRange,
) -> Result<Vec<LossEntry>> {
    let select = client.prepare_cached(LOSSES).await?;
    let (tenant, agent) = (tenant.map(TenantId::as_str), agent.map(AgentId::as_str));
    let (from, to) = (time.from.as_nanos(), time.to.as_nanos());
    let rows = client.query(&select, &[&from, &to, &tenant, &agent]).await?;
    let mut entries = rows.iter().map(entry).collect::<Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.line().cmp(&b.line()));
    Ok(entries)
}

/// A count beyond 63 bits is stored as a negative number.
const LOSSES: &str = "SELECT s.tenant, s.agent, a.host, l.kind, l.stage,
     least(sum(CASE WHEN l.count < 0 THEN l.count + 18446744073709551616 ELSE l.count END),
         18446744073709551615)::text
 FROM lavender.losses l
 JOIN lavender.sources s USING (source)
 JOIN lavender.agents a ON a.tenant = s.tenant AND a.agent = s.agent
 WHERE l.observed_at >= $1 AND l.observed_at < $2
     AND ($3::text IS NULL OR s.tenant = $3) AND ($4::text IS NULL OR s.agent = $4)
 GROUP BY s.tenant, s.agent, a.host, l.kind, l.stage";

fn entry(row: &Row) -> Result<LossEntry> {
    let count = row.try_get::<_, &str>(5)?;
    Ok(LossEntry {
        source: identity(row, 0)?,
        kind: row.try_get::<_, &str>(3)?.parse().unwrap_or(EventKind::Unknown),
        stage: stage(row.try_get(4)?)?,
        count: count
            .parse()
            .map_err(|error| PostgresError::unreadable("a count of losses", &error))?,
    })
}

fn stage(name: &str) -> Result<LossStage> {
    serde_json::from_value(name.into())
        .map_err(|error| PostgresError::unreadable("a loss's stage", &error))
}

//! Agents and the loss ledger: what events say of those who sent them.

use std::collections::{BTreeMap, HashMap};

use lavender_core::event::{Event, EventData, EventKind, LossStage};
use lavender_core::store::{AgentRecord, LossEntry, TimeRange};
use lavender_core::{AgentId, AgentIdentity, TenantId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::error::{Result, SqliteError};
use crate::heartbeat;

/// How many sources the writer remembers.
const REMEMBERED: usize = 4_096;

/// The row of a source; made where there is none.
pub(super) fn source(
    connection: &Connection,
    remembered: &mut HashMap<AgentIdentity, i64>,
    source: &AgentIdentity,
) -> Result<i64> {
    if let Some(row) = remembered.get(source) {
        return Ok(*row);
    }
    let names = params![source.tenant.as_str(), source.agent.as_str(), &*source.host];
    connection
        .prepare_cached("INSERT OR IGNORE INTO sources (tenant, agent, host) VALUES (?1, ?2, ?3)")?
        .execute(names)?;
    let row = connection
        .prepare_cached(
            "SELECT source FROM sources WHERE tenant = ?1 AND agent = ?2 AND host = ?3",
        )?
        .query_row(names, |row| row.get(0))?;
    if remembered.len() >= REMEMBERED {
        remembered.clear();
    }
    remembered.insert(source.clone(), row);
    Ok(row)
}

/// Who a source is.
pub(super) fn identity(connection: &Connection, source: i64) -> Result<AgentIdentity> {
    let names = connection
        .prepare_cached("SELECT tenant, agent, host FROM sources WHERE source = ?1")?
        .query_row([source], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    as_identity(names)
}

pub(super) fn as_identity(
    (tenant, agent, host): (String, String, String),
) -> Result<AgentIdentity> {
    let unreadable = |error| SqliteError::unreadable("an agent's name", &error);
    Ok(AgentIdentity {
        tenant: TenantId::new(&tenant).map_err(unreadable)?,
        agent: AgentId::new(&agent).map_err(unreadable)?,
        host: host.into(),
    })
}

/// The rows of a tenant's or an agent's sources.
pub(super) fn sources(
    connection: &Connection,
    tenant: Option<&TenantId>,
    agent: Option<&AgentId>,
) -> Result<Vec<i64>> {
    let mut select = connection.prepare_cached(
        "SELECT source FROM sources
         WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR agent = ?2)",
    )?;
    let names = params![tenant.map(TenantId::as_str), agent.map(AgentId::as_str)];
    let rows = select.query_map(names, |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Notes what newly stored events say of their agent and its losses.
pub(super) fn hear(
    connection: &Connection,
    source: &AgentIdentity,
    row: i64,
    events: &[&Event],
) -> Result<()> {
    let times = || events.iter().map(|event| event.observed_at.as_nanos());
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO agents (tenant, agent, host, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (tenant, agent) DO UPDATE SET
                 host = iif(excluded.last_seen >= last_seen, excluded.host, host),
                 first_seen = min(first_seen, excluded.first_seen),
                 last_seen = max(last_seen, excluded.last_seen)",
        )?
        .execute(params![
            source.tenant.as_str(),
            source.agent.as_str(),
            &*source.host,
            first,
            last
        ])?;
    for event in events {
        let (start, stopped) = match &event.data {
            EventData::AgentStart(start) => (Some(start), false),
            EventData::AgentStop(_) => (None, true),
            EventData::Lost(loss) => {
                connection
                    .prepare_cached(
                        "INSERT OR IGNORE INTO losses
                             (event_id, source, observed_at, stage, kind, count)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![
                        event.id.as_u128().to_be_bytes(),
                        row,
                        event.observed_at.as_nanos(),
                        loss.stage.as_str(),
                        loss.kind.as_str(),
                        loss.count.cast_signed(),
                    ])?;
                connection
                    .prepare_cached(
                        "UPDATE agents SET last_lost_at = max(ifnull(last_lost_at, ?3), ?3)
                         WHERE tenant = ?1 AND agent = ?2",
                    )?
                    .execute(params![
                        source.tenant.as_str(),
                        source.agent.as_str(),
                        event.observed_at.as_nanos(),
                    ])?;
                continue;
            }
            EventData::Heartbeat(beat) => {
                let Some(beat) = heartbeat::kept(beat) else { continue };
                connection
                    .prepare_cached(
                        "UPDATE agents SET heartbeat = ?4, heartbeat_at = ?3
                         WHERE tenant = ?1 AND agent = ?2 AND ifnull(heartbeat_at <= ?3, 1)",
                    )?
                    .execute(params![
                        source.tenant.as_str(),
                        source.agent.as_str(),
                        event.observed_at.as_nanos(),
                        beat,
                    ])?;
                continue;
            }
            _ => continue,
        };
        let kinds = start.map(|start| serde_json::json!(start.kinds).to_string());
        connection
            .prepare_cached(
                "UPDATE agents SET version = ifnull(?4, version),
                     kernel_release = ifnull(?5, kernel_release), stopped = ?6, life_at = ?3,
                     rules = ifnull(?7, rules), kinds = ifnull(?8, kinds)
                 WHERE tenant = ?1 AND agent = ?2 AND ifnull(life_at <= ?3, 1)",
            )?
            .execute(params![
                source.tenant.as_str(),
                source.agent.as_str(),
                event.observed_at.as_nanos(),
                start.map(|start| &*start.version),
                start.map(|start| &*start.kernel_release),
                stopped,
                start.map(|start| start.rules.cast_signed()),
                kinds,
            ])?;
    }
    Ok(())
}

/// Every agent, by tenant and name.
pub(super) fn agents(connection: &Connection) -> Result<Vec<AgentRecord>> {
    let mut select = connection.prepare_cached(
        "SELECT tenant, agent, host, first_seen, last_seen, version, kernel_release, stopped
         FROM agents ORDER BY tenant, agent",
    )?;
    let mut rows = select.query([])?;
    let mut agents = Vec::new();
    while let Some(row) = rows.next()? {
        agents.push(record(row)?);
    }
    Ok(agents)
}

pub(super) fn record(row: &Row<'_>) -> Result<AgentRecord> {
    Ok(AgentRecord {
        source: as_identity((row.get(0)?, row.get(1)?, row.get(2)?))?,
        first_seen: Timestamp::from_nanos(row.get(3)?),
        last_seen: Timestamp::from_nanos(row.get(4)?),
        version: row.get::<_, Option<String>>(5)?.map(Into::into),
        kernel_release: row.get::<_, Option<String>>(6)?.map(Into::into),
        stopped: row.get(7)?,
    })
}

/// The loss ledger over a span of time.
pub(super) fn losses(
    connection: &Connection,
    tenant: Option<&TenantId>,
    agent: Option<&AgentId>,
    time: TimeRange,
) -> Result<Vec<LossEntry>> {
    let mut select = connection.prepare_cached(
        "SELECT s.tenant, s.agent, a.host, l.kind, l.stage, l.count
         FROM losses l JOIN sources s USING (source) JOIN agents a USING (tenant, agent)
         WHERE l.observed_at >= ?1 AND l.observed_at < ?2
             AND (?3 IS NULL OR s.tenant = ?3) AND (?4 IS NULL OR s.agent = ?4)",
    )?;
    let mut rows = select.query(params![
        time.from.as_nanos(),
        time.to.as_nanos(),
        tenant.map(TenantId::as_str),
        agent.map(AgentId::as_str),
    ])?;
    // Added up here, since SQLite's sum fails where a count does not fit 63 bits.
    let mut sums: BTreeMap<_, (AgentIdentity, u64)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let source = as_identity((row.get(0)?, row.get(1)?, row.get(2)?))?;
        let kind: EventKind = row.get::<_, String>(3)?.parse().unwrap_or(EventKind::Unknown);
        let stage = stage(&row.get::<_, String>(4)?)?;
        let line = (source.tenant.clone(), source.agent.clone(), kind, stage);
        let (_, sum) = sums.entry(line).or_insert((source, 0));
        *sum = sum.saturating_add(row.get::<_, i64>(5)?.cast_unsigned());
    }
    Ok(sums
        .into_iter()
        .map(|((_, _, kind, stage), (source, count))| LossEntry { source, kind, stage, count })
        .collect())
}

fn stage(name: &str) -> Result<LossStage> {
    serde_json::from_value(name.into())
        .map_err(|error| SqliteError::unreadable("a loss's stage", &error))
}

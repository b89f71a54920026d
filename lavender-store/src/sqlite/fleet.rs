//! The agents of a tenant, and what became of them.

use lavender_core::store::{
    AgentFacts, FleetAgent, FleetQuery, FleetStore, Liveness, LivenessTimes, LivenessTransition,
    LossEntry, Page, TimeRange, TransitionQuery,
};
use lavender_core::{AgentId, TenantId, Timestamp, async_trait};
use rusqlite::{Connection, Row, params};

use super::error::{Result, SqliteError};
use super::{SqliteStore, access, agents, feed};
use crate::cursor::{self, Listing, Position};
use crate::heartbeat;

const COLUMNS: &str =
    "tenant, agent, host, first_seen, last_seen, version, kernel_release, stopped,
     last_lost_at, rules, kinds, liveness, liveness_at, heartbeat, heartbeat_at";

fn parse(row: &Row<'_>) -> Result<FleetAgent> {
    let time = |column| -> Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_nanos))
    };
    let kinds = match row.get::<_, Option<String>>(10)? {
        None => Vec::new(),
        Some(json) => serde_json::from_str(&json)
            .map_err(|error| SqliteError::unreadable("an agent's kinds of events", &error))?,
    };
    let heartbeat = row.get::<_, Option<String>>(13)?;
    let heartbeat = heartbeat.map(|json| serde_json::from_str(&json)).transpose();
    let heartbeat = heartbeat.map_err(|error| SqliteError::unreadable("a heartbeat", &error))?;
    Ok(FleetAgent {
        record: agents::record(row)?,
        last_lost_at: time(8)?,
        rules: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
        kinds,
        heartbeat: heartbeat.zip(time(14)?),
        liveness: state(row, 11)?.zip(time(12)?),
    })
}

fn state(row: &Row<'_>, column: usize) -> Result<Option<Liveness>> {
    let name = row.get::<_, Option<String>>(column)?;
    name.map(|name| name.parse())
        .transpose()
        .map_err(|error| SqliteError::unreadable("the state of an agent", &error))
}

fn read(
    connection: &Connection,
    tenant: &TenantId,
    liveness: Option<Liveness>,
    limit: usize,
    after: Option<AgentId>,
) -> Result<Page<FleetAgent>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM agents
         WHERE tenant = ?1 AND agent > ?2 AND (?3 IS NULL OR liveness = ?3)
         ORDER BY agent LIMIT ?4"
    ))?;
    let mut rows = select.query(params![
        tenant.as_str(),
        after.as_ref().map_or("", AgentId::as_str),
        liveness.map(Liveness::as_str),
        limit as i64 + 1
    ])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(parse(row)?);
    }
    Ok(cursor::agents_page(items, limit, |agent| &agent.record.source.agent))
}

fn sweep(connection: &Connection, times: &LivenessTimes, now: Timestamp) -> Result<u64> {
    let mut changed = Vec::new();
    let mut select = connection.prepare_cached(
        "SELECT tenant, agent, last_seen, last_lost_at, stopped, liveness,
             CASE WHEN instr(heartbeat, ?1) > 0 THEN heartbeat END
         FROM agents",
    )?;
    let mut rows = select.query([heartbeat::MISSING_KEY])?;
    while let Some(row) = rows.next()? {
        let facts = AgentFacts {
            last_seen: Timestamp::from_nanos(row.get(2)?),
            last_lost_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_nanos),
            blind: heartbeat::says_blind(row.get::<_, Option<String>>(6)?.as_deref()),
            stopped: row.get(4)?,
        };
        let (from, (to, reason)) = (state(row, 5)?, times.judge(&facts, now));
        if from == Some(to) {
            continue;
        }
        let tenant = access::tenant(&row.get::<_, String>(0)?)?;
        let agent = agent(&row.get::<_, String>(1)?)?;
        changed.push(LivenessTransition { tenant, agent, from, to, reason, at: now });
    }
    for transition in &changed {
        store(connection, transition)?;
    }
    Ok(changed.len() as u64)
}

fn store(connection: &Connection, transition: &LivenessTransition) -> Result<()> {
    let LivenessTransition { tenant, agent, from, to, reason, at } = transition;
    connection
        .prepare_cached(
            "UPDATE agents SET liveness = ?3, liveness_at = ?4 WHERE tenant = ?1 AND agent = ?2",
        )?
        .execute(params![tenant.as_str(), agent.as_str(), to.as_str(), at.as_nanos()])?;
    connection
        .prepare_cached(
            "INSERT INTO agent_transitions (tenant, agent, from_state, to_state, reason, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            tenant.as_str(),
            agent.as_str(),
            from.map(Liveness::as_str),
            to.as_str(),
            reason.as_str(),
            at.as_nanos(),
        ])?;
    feed::note_transition(connection, tenant, connection.last_insert_rowid())
}

fn agent(name: &str) -> Result<AgentId> {
    AgentId::new(name).map_err(|error| SqliteError::unreadable("an agent's name", &error))
}

/// The columns that a transition is read from.
pub(super) const TRANSITION: &str =
    "t.transition, t.tenant, t.agent, t.from_state, t.to_state, t.reason, t.at";

/// Reads [`TRANSITION`] from the column of that number on: its number, and itself.
pub(super) fn transition(row: &Row<'_>, first: usize) -> Result<(i64, LivenessTransition)> {
    let transition = LivenessTransition {
        tenant: access::tenant(&row.get::<_, String>(first + 1)?)?,
        agent: agent(&row.get::<_, String>(first + 2)?)?,
        from: state(row, first + 3)?,
        to: state(row, first + 4)?
            .ok_or_else(|| SqliteError::Damaged("a transition to no state".into()))?,
        reason: row
            .get::<_, String>(first + 5)?
            .parse()
            .map_err(|error| SqliteError::unreadable("the reason of a transition", &error))?,
        at: Timestamp::from_nanos(row.get(first + 6)?),
    };
    Ok((row.get(first)?, transition))
}

fn transitions(
    connection: &Connection,
    tenant: &TenantId,
    query: &TransitionQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<LivenessTransition>> {
    let agent = if query.agent.is_some() { "t.agent = ?6" } else { "?6 IS NULL" };
    let mut select = connection.prepare_cached(&format!(
        "SELECT {TRANSITION} FROM agent_transitions t
         WHERE t.tenant = ?1 AND t.at >= ?2 AND t.at < ?3 AND (t.at, t.transition) < (?4, ?5) AND {agent}
         ORDER BY t.at DESC, t.transition DESC LIMIT ?7"
    ))?;
    let mut rows = select.query(params![
        tenant.as_str(),
        query.time.from.as_nanos(),
        cursor::end(query.time.to, after).as_nanos(),
        after.map_or(i64::MAX, |after| after.time.as_nanos()),
        after.map_or(i64::MAX, |after| i64::try_from(after.id).unwrap_or(i64::MAX)),
        query.agent.as_ref().map(AgentId::as_str),
        limit as i64 + 1,
    ])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(transition(row, 0)?);
    }
    let position = |(number, transition): &(i64, LivenessTransition)| Position {
        time: transition.at,
        id: u128::from(number.cast_unsigned()),
    };
    Ok(Listing::Transitions.page(items, limit, position).map(|(_, transition)| transition))
}

#[async_trait]
impl FleetStore for SqliteStore {
    async fn fleet(
        &self,
        tenant: &TenantId,
        query: &FleetQuery,
    ) -> lavender_core::Result<Page<FleetAgent>> {
        let limit = cursor::limit(query.limit)?;
        let after = cursor::after_agent(query.after.as_ref())?;
        let (tenant, liveness) = (tenant.clone(), query.liveness);
        self.read(move |connection| read(connection, &tenant, liveness, limit, after)).await
    }

    async fn fleet_agent(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
    ) -> lavender_core::Result<Option<FleetAgent>> {
        let (tenant, agent) = (tenant.clone(), agent.clone());
        self.read(move |connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM agents WHERE tenant = ?1 AND agent = ?2"
            ))?;
            let mut rows = select.query([tenant.as_str(), agent.as_str()])?;
            rows.next()?.map(parse).transpose()
        })
        .await
    }

    async fn sweep_liveness(
        &self,
        times: &LivenessTimes,
        now: Timestamp,
    ) -> lavender_core::Result<u64> {
        let times = *times;
        self.write(1, move |connection, _| sweep(connection, &times, now)).await
    }

    async fn transitions(
        &self,
        tenant: &TenantId,
        query: &TransitionQuery,
    ) -> lavender_core::Result<Page<LivenessTransition>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Transitions.position(query.after.as_ref())?;
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| transitions(connection, &tenant, &query, limit, after)).await
    }

    async fn tenant_losses(
        &self,
        tenant: &TenantId,
        agent: Option<&AgentId>,
        time: TimeRange,
    ) -> lavender_core::Result<Vec<LossEntry>> {
        let (tenant, agent) = (tenant.clone(), agent.cloned());
        self.read(move |connection| {
            let mut lines = agents::losses(connection, Some(&tenant), agent.as_ref(), time)?;
            lines.truncate(LossEntry::MAX);
            Ok(lines)
        })
        .await
    }
}

//! The agents of a tenant, and what became of them.

use deadpool_postgres::Client;
use lavender_core::store::{
    AgentFacts, FleetAgent, FleetQuery, FleetStore, Liveness, LivenessReason, LivenessTimes,
    LivenessTransition, LossEntry, Page, TimeRange, TransitionQuery,
};
use lavender_core::{AgentId, TenantId, Timestamp, async_trait};
use tokio_postgres::Row;

use super::error::{PostgresError, Result};
use super::{Held, PostgresStore, access, agents, feed};
use crate::cursor::{self, Listing, Position};
use crate::heartbeat;

const COLUMNS: &str =
    "tenant, agent, host, first_seen, last_seen, version, kernel_release, stopped,
     last_lost_at, rules, kinds, liveness, liveness_at, heartbeat, heartbeat_at";

fn parse(row: &Row) -> Result<FleetAgent> {
    let time = |column| -> Result<Option<Timestamp>> {
        Ok(row.try_get::<_, Option<i64>>(column)?.map(Timestamp::from_nanos))
    };
    let kinds = match row.try_get::<_, Option<&str>>(10)? {
        None => Vec::new(),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| PostgresError::unreadable("an agent's kinds of events", &error))?,
    };
    let heartbeat = row.try_get::<_, Option<&str>>(13)?.map(serde_json::from_str).transpose();
    let heartbeat = heartbeat.map_err(|error| PostgresError::unreadable("a heartbeat", &error))?;
    Ok(FleetAgent {
        record: agents::record(row)?,
        last_lost_at: time(8)?,
        rules: row.try_get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
        kinds,
        heartbeat: heartbeat.zip(time(14)?),
        liveness: state(row, 11)?.zip(time(12)?),
    })
}

fn state(row: &Row, column: usize) -> Result<Option<Liveness>> {
    let name = row.try_get::<_, Option<&str>>(column)?;
    name.map(str::parse)
        .transpose()
        .map_err(|error| PostgresError::unreadable("the state of an agent", &error))
}

fn agent(name: &str) -> Result<AgentId> {
    AgentId::new(name).map_err(|error| PostgresError::unreadable("an agent's name", &error))
}

async fn read(
    client: &Client,
    tenant: &TenantId,
    liveness: Option<Liveness>,
    limit: usize,
    after: Option<AgentId>,
) -> Result<Page<FleetAgent>> {
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.agents
             WHERE tenant = $1 AND agent > $2 AND ($3::text IS NULL OR liveness = $3)
             ORDER BY agent LIMIT $4"
        ))
        .await?;
    let after = after.as_ref().map_or("", AgentId::as_str);
    let liveness = liveness.map(Liveness::as_str);
    let rows =
        client.query(&select, &[&tenant.as_str(), &after, &liveness, &(limit as i64 + 1)]).await?;
    let items = rows.iter().map(parse).collect::<Result<_>>()?;
    Ok(cursor::agents_page(items, limit, |agent| &agent.record.source.agent))
}

async fn one(client: &Client, tenant: &TenantId, agent: &AgentId) -> Result<Option<FleetAgent>> {
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.agents WHERE tenant = $1 AND agent = $2"
        ))
        .await?;
    let row = client.query_opt(&select, &[&tenant.as_str(), &agent.as_str()]).await?;
    row.as_ref().map(parse).transpose()
}

/// What an agent became.
type Changed = (String, String, Option<Liveness>, Liveness, LivenessReason);

async fn sweep(client: &mut Client, times: &LivenessTimes, now: Timestamp) -> Result<u64> {
    let transaction = client.transaction().await?;
    // One sweep at a time judges; who writes events does not wait for it.
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let select = transaction
        .prepare_cached(
            "SELECT tenant, agent, last_seen, last_lost_at, stopped, liveness,
                 CASE WHEN strpos(heartbeat, $1) > 0 THEN heartbeat END
             FROM lavender.agents
             ORDER BY tenant, agent",
        )
        .await?;
    let mut changed: Vec<Changed> = Vec::new();
    for row in transaction.query(&select, &[&heartbeat::MISSING_KEY]).await? {
        let facts = AgentFacts {
            last_seen: Timestamp::from_nanos(row.try_get(2)?),
            last_lost_at: row.try_get::<_, Option<i64>>(3)?.map(Timestamp::from_nanos),
            blind: heartbeat::says_blind(row.try_get(6)?),
            stopped: row.try_get(4)?,
        };
        let (from, (to, reason)) = (state(&row, 5)?, times.judge(&facts, now));
        if from != Some(to) {
            changed.push((row.try_get(0)?, row.try_get(1)?, from, to, reason));
        }
    }
    if changed.is_empty() {
        return Ok(0);
    }
    let tenants: Vec<&str> = changed.iter().map(|(tenant, ..)| tenant.as_str()).collect();
    let agents: Vec<&str> = changed.iter().map(|(_, agent, ..)| agent.as_str()).collect();
    let from: Vec<Option<&str>> =
        changed.iter().map(|(_, _, from, ..)| from.map(Liveness::as_str)).collect();
    let to: Vec<&str> = changed.iter().map(|(_, _, _, to, _)| to.as_str()).collect();
    let reasons: Vec<&str> = changed.iter().map(|(.., reason)| reason.as_str()).collect();
    let update = transaction
        .prepare_cached(
            "UPDATE lavender.agents a SET liveness = c.liveness, liveness_at = $4
             FROM unnest($1::text[], $2::text[], $3::text[]) AS c (tenant, agent, liveness)
             WHERE a.tenant = c.tenant AND a.agent = c.agent",
        )
        .await?;
    transaction.execute(&update, &[&tenants, &agents, &to, &now.as_nanos()]).await?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.agent_transitions (tenant, agent, from_state, to_state, reason, at)
             SELECT c.*, $6::bigint FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) AS c
             RETURNING transition, tenant",
        )
        .await?;
    let rows = transaction
        .query(&insert, &[&tenants, &agents, &from, &to, &reasons, &now.as_nanos()])
        .await?;
    let mut numbers: Vec<(i64, &str)> = Vec::with_capacity(rows.len());
    for row in &rows {
        numbers.push((row.try_get(0)?, row.try_get(1)?));
    }
    let (numbers, tenants): (Vec<i64>, Vec<&str>) = numbers.into_iter().unzip();
    feed::note_transitions(&transaction, &tenants, &numbers).await?;
    transaction.commit().await?;
    Ok(changed.len() as u64)
}

/// Held while agents are judged: `lavelive` in bytes.
const LOCK: i64 = 0x6c61_7665_6c69_7665;

/// The columns that a transition is read from.
pub(super) const TRANSITION: &str =
    "t.transition, t.tenant, t.agent, t.from_state, t.to_state, t.reason, t.at";

/// Reads [`TRANSITION`] from the column of that number on: its number, and itself.
pub(super) fn transition(row: &Row, first: usize) -> Result<(i64, LivenessTransition)> {
    let transition = LivenessTransition {
        tenant: access::tenant(row.try_get(first + 1)?)?,
        agent: agent(row.try_get(first + 2)?)?,
        from: state(row, first + 3)?,
        to: state(row, first + 4)?
            .ok_or_else(|| PostgresError::Damaged("a transition to no state".into()))?,
        reason: row
            .try_get::<_, &str>(first + 5)?
            .parse()
            .map_err(|error| PostgresError::unreadable("the reason of a transition", &error))?,
        at: Timestamp::from_nanos(row.try_get(first + 6)?),
    };
    Ok((row.try_get(first)?, transition))
}

async fn transitions(
    client: &Client,
    tenant: &TenantId,
    query: &TransitionQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<LivenessTransition>> {
    let of_agent = if query.agent.is_some() { "t.agent = $6" } else { "$6::text IS NULL" };
    let select = client
        .prepare_cached(&format!(
            "SELECT {TRANSITION} FROM lavender.agent_transitions t
             WHERE t.tenant = $1 AND t.at >= $2 AND t.at < $3 AND (t.at, t.transition) < ($4, $5) AND {of_agent}
             ORDER BY t.at DESC, t.transition DESC LIMIT $7"
        ))
        .await?;
    let rows = client
        .query(
            &select,
            &[
                &tenant.as_str(),
                &query.time.from.as_nanos(),
                &cursor::end(query.time.to, after).as_nanos(),
                &after.map_or(i64::MAX, |after| after.time.as_nanos()),
                &after.map_or(i64::MAX, |after| i64::try_from(after.id).unwrap_or(i64::MAX)),
                &query.agent.as_ref().map(AgentId::as_str),
                &(limit as i64 + 1),
            ],
        )
        .await?;
    let items = rows.iter().map(|row| transition(row, 0)).collect::<Result<_>>()?;
    let position = |(number, transition): &(i64, LivenessTransition)| Position {
        time: transition.at,
        id: u128::from(number.cast_unsigned()),
    };
    Ok(Listing::Transitions.page(items, limit, position).map(|(_, transition)| transition))
}

#[async_trait]
impl FleetStore for PostgresStore {
    async fn fleet(
        &self,
        tenant: &TenantId,
        query: &FleetQuery,
    ) -> lavender_core::Result<Page<FleetAgent>> {
        let limit = cursor::limit(query.limit)?;
        let after = cursor::after_agent(query.after.as_ref())?;
        with!(self, |client| read(&client, tenant, query.liveness, limit, after))
    }

    async fn fleet_agent(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
    ) -> lavender_core::Result<Option<FleetAgent>> {
        with!(self, |client| one(&client, tenant, agent))
    }

    async fn sweep_liveness(
        &self,
        times: &LivenessTimes,
        now: Timestamp,
    ) -> lavender_core::Result<u64> {
        with!(self, |client| sweep(&mut client, times, now))
    }

    async fn transitions(
        &self,
        tenant: &TenantId,
        query: &TransitionQuery,
    ) -> lavender_core::Result<Page<LivenessTransition>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Transitions.position(query.after.as_ref())?;
        with!(self, |client| transitions(&client, tenant, query, limit, after))
    }

    async fn tenant_losses(
        &self,
        tenant: &TenantId,
        agent: Option<&AgentId>,
        time: TimeRange,
    ) -> lavender_core::Result<Vec<LossEntry>> {
        let mut lines = with!(self, |client| agents::losses(&client, Some(tenant), agent, time))?;
        lines.truncate(LossEntry::MAX);
        Ok(lines)
    }
}

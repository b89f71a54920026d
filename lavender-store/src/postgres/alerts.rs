//! Alerts and what was done about them.

use std::sync::Arc;

use deadpool_postgres::{Client, Transaction};
use lavender_core::store::{AlertQuery, Inserted, Page, StatusChange};
use lavender_core::{Alert, AlertId, AlertStatus, Repeats, Timestamp, codec};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::events::note_sequences;
use super::process::{executable, shown_command_line};
use super::query::Conditions;
use super::text::{escaped, unescaped};
use crate::cursor::{Listing, Position};

/// Stores alerts.
pub(super) async fn insert(client: &mut Client, alerts: &[Arc<Alert>]) -> Result<Inserted> {
    if alerts.is_empty() {
        return Ok(Inserted::default());
    }
    let mut order: Vec<&Alert> = alerts.iter().map(|alert| &**alert).collect();
    // In the order of the key, so that writers who meet wait for each other and not in a circle.
    order.sort_by_key(|alert| alert.id);
    let transaction = client.transaction().await?;
    let new = write(&transaction, &order).await?;
    repeat(&transaction, &order).await?;
    let evidence = order.iter().flat_map(|alert| alert.events.iter().copied());
    note_sequences(&transaction, evidence).await?;
    transaction.commit().await?;
    Ok(Inserted { new, duplicate: alerts.len() as u64 - new })
}

async fn write(transaction: &Transaction<'_>, alerts: &[&Alert]) -> Result<u64> {
    let each = || alerts.iter();
    let ids: Vec<Uuid> = each().map(|alert| Uuid::from_u128(alert.id.as_u128())).collect();
    let observed: Vec<i64> = each().map(|alert| alert.observed_at.as_nanos()).collect();
    let created: Vec<i64> = each().map(|alert| alert.created_at.as_nanos()).collect();
    let tenants: Vec<&str> = each().map(|alert| alert.source.tenant.as_str()).collect();
    let agents: Vec<&str> = each().map(|alert| alert.source.agent.as_str()).collect();
    let hosts: Vec<_> = each().map(|alert| escaped(&alert.source.host)).collect();
    let rules: Vec<_> = each().map(|alert| escaped(&alert.rule.id)).collect();
    let titles: Vec<_> = each().map(|alert| escaped(&alert.rule.title)).collect();
    let severities: Vec<i16> = each().map(|alert| alert.severity as i16).collect();
    let statuses: Vec<&str> = each().map(|alert| alert.status.as_str()).collect();
    let executables: Vec<Option<String>> =
        each().map(|alert| alert.process.as_ref().map(executable)).collect();
    let lines: Vec<Option<String>> =
        each().map(|alert| alert.process.as_ref().map(shown_command_line)).collect();
    let body = |alert: &&Alert| {
        codec::alert_to_json(alert)
            .map_err(|error| PostgresError::Invalid(format!("alert {}: {error}", alert.id)))
    };
    let bodies: Vec<String> = each().map(body).collect::<Result<_>>()?;
    let incidents: Vec<Option<Uuid>> =
        each().map(|alert| Some(Uuid::from_u128(alert.incident?.as_u128()))).collect();
    let scores: Vec<Option<i64>> =
        each().map(|alert| Some(i64::from(alert.risk.as_ref()?.score))).collect();
    let repeats: Vec<i64> = each().map(|alert| alert.repeats.map_or(0, count)).collect();
    let last_seen: Vec<Option<i64>> =
        each().map(|alert| Some(alert.repeats?.last_seen_at.as_nanos())).collect();
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.alerts (alert_id, observed_at, created_at, tenant, agent, host, rule_id, rule_title,
                 severity, status, executable, command_line, body, incident, score, repeats, last_seen_at)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                 $7::text[], $8::text[], $9::smallint[], $10::text[], $11::text[], $12::text[], $13::text[],
                 $14::uuid[], $15::bigint[], $16::bigint[], $17::bigint[])
             ON CONFLICT DO NOTHING",
        )
        .await?;
    let columns: [&(dyn ToSql + Sync); 17] = [
        &ids,
        &observed,
        &created,
        &tenants,
        &agents,
        &hosts,
        &rules,
        &titles,
        &severities,
        &statuses,
        &executables,
        &lines,
        &bodies,
        &incidents,
        &scores,
        &repeats,
        &last_seen,
    ];
    Ok(transaction.execute(&insert, &columns).await?)
}

/// How often, as a column has it.
fn count(repeats: Repeats) -> i64 {
    i64::try_from(repeats.count).unwrap_or(i64::MAX)
}

/// Raises the repeats of alerts that were there before.
async fn repeat(transaction: &Transaction<'_>, alerts: &[&Alert]) -> Result<()> {
    let told = || alerts.iter().filter_map(|alert| Some((alert.id, alert.repeats?)));
    let ids: Vec<Uuid> = told().map(|(id, _)| Uuid::from_u128(id.as_u128())).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let counts: Vec<i64> = told().map(|(_, repeats)| count(repeats)).collect();
    let last: Vec<i64> = told().map(|(_, repeats)| repeats.last_seen_at.as_nanos()).collect();
    let update = transaction
        .prepare_cached(
            "UPDATE lavender.alerts a SET repeats = greatest(a.repeats, r.count),
                 last_seen_at = greatest(a.last_seen_at, r.last)
             FROM (SELECT id, max(count) AS count, max(last) AS last
                   FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS t (id, count, last) GROUP BY id) r
             WHERE a.alert_id = r.id
                 AND (a.repeats < r.count OR a.last_seen_at IS NULL OR a.last_seen_at < r.last)",
        )
        .await?;
    transaction.execute(&update, &[&ids, &counts, &last]).await?;
    Ok(())
}

/// Reads a page of alerts.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    query: &AlertQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<Arc<Alert>>> {
    let mut conditions = Conditions::default();
    conditions.and("observed_at >= ?", query.time.from.as_nanos());
    conditions.and("observed_at < ?", query.time.to.as_nanos());
    if let Some(after) = after {
        conditions.and("(observed_at, alert_id) < (?, ", after.time.as_nanos());
        conditions.more("?)", Uuid::from_u128(after.id));
    }
    if let Some(tenant) = &query.tenant {
        conditions.and("tenant = ?", tenant.as_str().to_owned());
    }
    if let Some(agent) = &query.agent {
        conditions.and("agent = ?", agent.as_str().to_owned());
    }
    if let Some(status) = query.status {
        conditions.and("status = ?", status.as_str());
    }
    if let Some(rule) = &query.rule {
        let rule = escaped(rule).into_owned();
        conditions.and("md5(rule_id) = md5(?::text)", rule.clone());
        conditions.and("rule_id = ?", rule);
    }
    if let Some(incident) = query.incident {
        conditions.and("incident = ?", Uuid::from_u128(incident.as_u128()));
    }
    if let Some(severity) = query.min_severity {
        conditions.and("severity >= ?", severity as i16);
    }
    let sql = conditions.select(
        "status, body, repeats, last_seen_at",
        "lavender.alerts",
        "observed_at DESC, alert_id DESC",
    );
    let select = transaction.prepare_cached(&sql).await?;
    let rows = conditions.query(transaction, &select, limit).await?;
    let items = rows.iter().map(parse).collect::<Result<_>>()?;
    Ok(Listing::Alerts
        .page(items, limit, |alert| Position { time: alert.observed_at, id: alert.id.as_u128() }))
}

/// The body holds the alert as it was raised; its status and its repeats are the columns'.
fn parse(row: &Row) -> Result<Arc<Alert>> {
    let alert = codec::alert_from_json(row.try_get(1)?)
        .map_err(|error| PostgresError::unreadable("an alert", &error))?;
    let count = row.try_get::<_, i64>(2)?.cast_unsigned();
    let last: Option<i64> = row.try_get(3)?;
    let repeats = last.map(|last| Repeats { count, last_seen_at: Timestamp::from_nanos(last) });
    Ok(Arc::new(Alert { status: status(row.try_get(0)?)?, repeats, ..alert }))
}

fn status(name: &str) -> Result<AlertStatus> {
    name.parse().map_err(|error| PostgresError::unreadable("an alert's status", &error))
}

/// One alert.
pub(super) async fn alert(client: &Client, id: AlertId) -> Result<Option<Arc<Alert>>> {
    let select = client
        .prepare_cached(
            "SELECT status, body, repeats, last_seen_at FROM lavender.alerts WHERE alert_id = $1",
        )
        .await?;
    let row = client.query_opt(&select, &[&Uuid::from_u128(id.as_u128())]).await?;
    row.as_ref().map(parse).transpose()
}

/// Changes an alert's status.
pub(super) async fn set_status(
    client: &mut Client,
    id: AlertId,
    change: &StatusChange,
) -> Result<()> {
    let StatusChange { from, to, actor, reason, at } = change;
    let key = Uuid::from_u128(id.as_u128());
    let transaction = client.transaction().await?;
    let select = transaction
        .prepare_cached("SELECT status FROM lavender.alerts WHERE alert_id = $1 FOR UPDATE")
        .await?;
    let current = match transaction.query_opt(&select, &[&key]).await? {
        Some(row) => status(row.try_get(0)?)?,
        None => return Err(PostgresError::NotFound(format!("there is no alert {id}"))),
    };
    if current != *from {
        let why = format!("alert {id} is {current} by now, not {from}");
        return Err(PostgresError::Conflict(why));
    }
    if !from.may_become(*to) {
        let why = format!("alert {id}: what is {from} may not become {to}");
        return Err(PostgresError::Invalid(why));
    }
    let update = transaction
        .prepare_cached("UPDATE lavender.alerts SET status = $2 WHERE alert_id = $1")
        .await?;
    transaction.execute(&update, &[&key, &to.as_str()]).await?;
    let note = transaction
        .prepare_cached(
            "INSERT INTO lavender.alert_history (alert_id, from_status, to_status, actor, reason, at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .await?;
    let reason = reason.as_deref().map(escaped);
    transaction
        .execute(
            &note,
            &[&key, &from.as_str(), &to.as_str(), &escaped(actor), &reason, &at.as_nanos()],
        )
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Every change of an alert's status.
pub(super) async fn history(client: &Client, id: AlertId) -> Result<Vec<StatusChange>> {
    let select = client
        .prepare_cached(
            "SELECT from_status, to_status, actor, reason, at FROM lavender.alert_history
             WHERE alert_id = $1 ORDER BY change",
        )
        .await?;
    let rows = client.query(&select, &[&Uuid::from_u128(id.as_u128())]).await?;
    let change = |row: &Row| -> Result<StatusChange> {
        Ok(StatusChange {
            from: status(row.try_get(0)?)?,
            to: status(row.try_get(1)?)?,
            actor: unescaped(row.try_get(2)?).into(),
            reason: row.try_get::<_, Option<String>>(3)?.map(|reason| unescaped(reason).into()),
            at: Timestamp::from_nanos(row.try_get(4)?),
        })
    };
    rows.iter().map(change).collect()
}

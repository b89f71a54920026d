//! Alerts and what was done about them.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use deadpool_postgres::{Client, Transaction};
use lavender_core::store::{
    AlertQuery, AlertRecord, AuditEntry, Inserted, Page, Revision, StatusChange,
};
use lavender_core::{Alert, AlertId, AlertStatus, Repeats, TenantId, Timestamp, codec};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::events::note_sequences;
use super::process::{executable, shown_command_line};
use super::query::Conditions;
use super::text::{escaped, unescaped};
use super::{access, counts, feed};
use crate::counts::Added;
use crate::cursor::{self, Listing, Position};

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
    // A batch may hold an alert twice: it is new once.
    order.dedup_by_key(|alert| alert.id);
    order.retain(|alert| new.contains(&Uuid::from_u128(alert.id.as_u128())));
    note_techniques(&transaction, &order).await?;
    let mut counted = Added::default();
    order.iter().for_each(|alert| counted.count(alert));
    counts::add(&transaction, &counted).await?;
    let raised: Vec<_> = order.iter().map(|alert| (&alert.source.tenant, alert.id)).collect();
    feed::note_alerts(&transaction, feed::RAISED, &raised).await?;
    transaction.commit().await?;
    let new = new.len() as u64;
    Ok(Inserted { new, duplicate: alerts.len() as u64 - new })
}

/// Stores alerts, and returns the ids of those that are new.
async fn write(transaction: &Transaction<'_>, alerts: &[&Alert]) -> Result<HashSet<Uuid>> {
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
             ON CONFLICT DO NOTHING RETURNING alert_id",
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
    let rows = transaction.query(&insert, &columns).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Notes under which techniques new alerts are found.
async fn note_techniques(transaction: &Transaction<'_>, alerts: &[&Alert]) -> Result<()> {
    let (mut tenants, mut techniques, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    let (mut statuses, mut severities) = (Vec::new(), Vec::new());
    for alert in alerts {
        for (technique, named) in crate::feed::techniques(&alert.rule) {
            tenants.push(alert.source.tenant.as_str());
            techniques.push(technique);
            times.push(alert.observed_at.as_nanos());
            ids.push(Uuid::from_u128(alert.id.as_u128()));
            names.push(named);
            statuses.push(alert.status.as_str());
            severities.push(alert.severity as i16);
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.alert_techniques (tenant, technique, observed_at, alert_id, named, status, severity)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::boolean[], $6::text[],
                 $7::smallint[])",
        )
        .await?;
    let columns: [&(dyn ToSql + Sync); 7] =
        [&tenants, &techniques, &times, &ids, &names, &statuses, &severities];
    transaction.execute(&insert, &columns).await?;
    Ok(())
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

/// The columns that an alert is read from.
pub(super) const COLUMNS: &str =
    "a.status, a.body, a.repeats, a.last_seen_at, a.revision, a.updated_at";

/// Whether an alert is found under a technique.
const HAS_TECHNIQUE: &str =
    "EXISTS (SELECT FROM lavender.alert_techniques k WHERE k.tenant = a.tenant
         AND k.technique = ? AND k.status = a.status AND k.severity = a.severity
         AND k.observed_at = a.observed_at AND k.alert_id = a.alert_id)";

/// Reads a page of alerts.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    query: &AlertQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<AlertRecord>> {
    let pairs = crate::severity::pairs(query);
    // What an agent or a rule has is looked up among techniques; where there is neither, these lead.
    let by_technique = pairs.is_some() && query.agent.is_none() && query.rule.is_none();
    let (from, has_technique) = match query.technique {
        Some(_) if by_technique => ("lavender.alert_techniques a", "a.technique = ?"),
        _ => ("lavender.alerts a", HAS_TECHNIQUE),
    };
    let to = cursor::end(query.time.to, after);
    let mut conditions = Conditions::default();
    conditions.and("a.observed_at >= ?", query.time.from.as_nanos());
    conditions.and("a.observed_at < ?", to.as_nanos());
    if let Some(after) = after {
        conditions.and("(a.observed_at, a.alert_id) < (?, ", after.time.as_nanos());
        conditions.more("?)", Uuid::from_u128(after.id));
    }
    if let Some(tenant) = &query.tenant {
        conditions.and("a.tenant = ?", tenant.as_str().to_owned());
    }
    if let Some(technique) = &query.technique {
        conditions.and(has_technique, escaped(technique).into_owned());
    }
    if let Some(agent) = &query.agent {
        conditions.and("a.agent = ?", agent.as_str().to_owned());
    }
    if let Some(rule) = &query.rule {
        let rule = escaped(rule).into_owned();
        conditions.and("md5(a.rule_id) = md5(?::text)", rule.clone());
        conditions.and("a.rule_id = ?", rule);
    }
    if let Some(incident) = query.incident {
        conditions.and("a.incident = ?", Uuid::from_u128(incident.as_u128()));
    }
    let sql = match pairs {
        Some(pairs) => {
            let each = pairs.into_iter().map(|(status, severity)| {
                format!("a.status = '{status}' AND a.severity = {}", severity as i16)
            });
            let page = conditions.select_merged(
                "a.observed_at AS time, a.alert_id AS id",
                from,
                each,
                "time DESC, id DESC",
            );
            // Only the alerts on the page are read; `LIMIT 1` tells the server so.
            format!(
                "SELECT {COLUMNS} FROM ({page}) page,
                     LATERAL (SELECT * FROM lavender.alerts WHERE alert_id = page.id LIMIT 1) a"
            )
        }
        None => {
            if let Some(status) = query.status {
                conditions.and("a.status = ?", status.as_str());
            }
            if let Some(severity) = query.min_severity {
                conditions.and("a.severity >= ?", severity as i16);
            }
            conditions.select(COLUMNS, from, "a.observed_at DESC, a.alert_id DESC")
        }
    };
    let select = transaction.prepare_cached(&sql).await?;
    let rows = conditions.query(transaction, &select, limit).await?;
    let mut items = rows.iter().map(|row| parse(row, 0)).collect::<Result<Vec<_>>>()?;
    items.sort_unstable_by_key(|record| Reverse((record.alert.observed_at, record.alert.id)));
    Ok(Listing::Alerts.page(items, limit, |record: &AlertRecord| Position {
        time: record.alert.observed_at,
        id: record.alert.id.as_u128(),
    }))
}

/// Reads [`COLUMNS`] from the one of that number on. The body holds the alert as it was raised; its status and its
/// repeats are the columns'.
pub(super) fn parse(row: &Row, first: usize) -> Result<AlertRecord> {
    let alert = codec::alert_from_json(row.try_get(first + 1)?)
        .map_err(|error| PostgresError::unreadable("an alert", &error))?;
    let count = row.try_get::<_, i64>(first + 2)?.cast_unsigned();
    let last: Option<i64> = row.try_get(first + 3)?;
    let repeats = last.map(|last| Repeats { count, last_seen_at: Timestamp::from_nanos(last) });
    let status = status(row.try_get(first)?)?;
    Ok(AlertRecord {
        alert: Arc::new(Alert { status, repeats, ..alert }),
        revision: Revision(row.try_get::<_, i64>(first + 4)?.cast_unsigned()),
        updated_at: row.try_get::<_, Option<i64>>(first + 5)?.map(Timestamp::from_nanos),
    })
}

pub(super) fn status(name: &str) -> Result<AlertStatus> {
    name.parse().map_err(|error| PostgresError::unreadable("an alert's status", &error))
}

/// One alert, of a tenant if one is given; `locked` against changes until the transaction's end.
pub(super) async fn record(
    transaction: &Transaction<'_>,
    tenant: Option<&TenantId>,
    id: AlertId,
    locked: bool,
) -> Result<Option<AlertRecord>> {
    let lock = if locked { "FOR UPDATE" } else { "" };
    let select = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.alerts a
             WHERE alert_id = $1 AND ($2::text IS NULL OR tenant = $2) {lock}"
        ))
        .await?;
    let key = Uuid::from_u128(id.as_u128());
    let row = transaction.query_opt(&select, &[&key, &tenant.map(TenantId::as_str)]).await?;
    row.as_ref().map(|row| parse(row, 0)).transpose()
}

/// Changes an alert's status.
pub(super) async fn set_status(
    client: &mut Client,
    id: AlertId,
    change: &StatusChange,
) -> Result<()> {
    let transaction = client.transaction().await?;
    let Some(AlertRecord { alert, .. }) = record(&transaction, None, id, true).await? else {
        return Err(PostgresError::NotFound(format!("there is no alert {id}")));
    };
    let (current, from) = (alert.status, change.from);
    if current != from {
        let why = format!("alert {id} is {current} by now, not {from}");
        return Err(PostgresError::Conflict(why));
    }
    apply(&transaction, &alert.source.tenant, id, change).await?;
    transaction.commit().await?;
    Ok(())
}

/// Changes the status of an alert of which it is known that it is `change.from`.
pub(super) async fn apply(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    id: AlertId,
    change: &StatusChange,
) -> Result<()> {
    let StatusChange { from, to, actor, reason, at } = change;
    let key = Uuid::from_u128(id.as_u128());
    if !from.may_become(*to) {
        let why = format!("alert {id}: what is {from} may not become {to}");
        return Err(PostgresError::Invalid(why));
    }
    let update = transaction
        .prepare_cached(
            "UPDATE lavender.alerts SET status = $2, revision = revision + 1, updated_at = $3
             WHERE alert_id = $1 RETURNING observed_at, severity",
        )
        .await?;
    let row = transaction.query_one(&update, &[&key, &to.as_str(), &at.as_nanos()]).await?;
    let counted = (Timestamp::from_nanos(row.try_get(0)?), row.try_get(1)?);
    let mark = transaction
        .prepare_cached("UPDATE lavender.alert_techniques SET status = $2 WHERE alert_id = $1")
        .await?;
    transaction.execute(&mark, &[&key, &to.as_str()]).await?;
    counts::move_status(transaction, tenant, counted, *from, *to).await?;
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
    access::note(transaction, tenant, &AuditEntry::of_status(id, change)).await?;
    feed::note_alerts(transaction, feed::STATUS, &[(tenant, id)]).await
}

/// Every change of the status of an alert, of a tenant if one is given; or so many of them.
pub(super) async fn history(
    client: &Client,
    tenant: Option<&TenantId>,
    id: AlertId,
    limit: Option<i64>,
) -> Result<Vec<StatusChange>> {
    let select = client
        .prepare_cached(
            "SELECT from_status, to_status, actor, reason, at FROM lavender.alert_history h
             WHERE alert_id = $1 AND ($2::text IS NULL OR EXISTS
                 (SELECT FROM lavender.alerts a WHERE a.alert_id = h.alert_id AND a.tenant = $2))
             ORDER BY change LIMIT $3",
        )
        .await?;
    let key = Uuid::from_u128(id.as_u128());
    let rows = client.query(&select, &[&key, &tenant.map(TenantId::as_str), &limit]).await?;
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

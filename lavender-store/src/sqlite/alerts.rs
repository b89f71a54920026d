//! Alerts and what was done about them.

use std::sync::Arc;

use lavender_core::store::{AlertQuery, Inserted, Page, StatusChange};
use lavender_core::{Alert, AlertId, AlertStatus, Repeats, Timestamp, codec};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::error::{Result, SqliteError};
use super::events::note_sequences;
use crate::cursor::{Listing, Position};
use crate::process::command_line;

/// Stores alerts, inside a transaction.
pub(super) fn insert(connection: &Connection, alerts: &[Arc<Alert>]) -> Result<Inserted> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO alerts (alert_id, observed_at, created_at, tenant, agent, host,
             rule_id, rule_title, severity, status, executable, command_line, body, incident,
             score, repeats, last_seen_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    let mut repeat = connection.prepare_cached(
        "UPDATE alerts SET repeats = max(repeats, ?2),
             last_seen_at = max(coalesce(last_seen_at, ?3), ?3)
         WHERE alert_id = ?1",
    )?;
    let mut inserted = Inserted::default();
    for alert in alerts {
        let body = codec::alert_to_json(alert)
            .map_err(|error| SqliteError::Invalid(format!("alert {}: {error}", alert.id)))?;
        let process = alert.process.as_deref();
        let repeats = alert.repeats.map_or(0, |repeats| repeats.count.cast_signed());
        let last_seen_at = alert.repeats.map(|repeats| repeats.last_seen_at.as_nanos());
        let added = insert.execute(params![
            alert.id.as_u128().to_be_bytes(),
            alert.observed_at.as_nanos(),
            alert.created_at.as_nanos(),
            alert.source.tenant.as_str(),
            alert.source.agent.as_str(),
            &*alert.source.host,
            &*alert.rule.id,
            &*alert.rule.title,
            alert.severity as u8,
            alert.status.as_str(),
            process.map(|process| process.executable.path.value.to_string_lossy()),
            process.map(command_line),
            body,
            alert.incident.map(|incident| incident.as_u128().to_be_bytes()),
            alert.risk.as_ref().map(|risk| risk.score),
            repeats,
            last_seen_at,
        ])? as u64;
        if let (0, Some(last_seen_at)) = (added, last_seen_at) {
            repeat.execute(params![alert.id.as_u128().to_be_bytes(), repeats, last_seen_at])?;
        }
        inserted.new += added;
        inserted.duplicate += 1 - added;
    }
    note_sequences(connection, alerts.iter().flat_map(|alert| alert.events.iter().copied()))?;
    Ok(inserted)
}

/// Reads a page of alerts.
pub(super) fn read(
    connection: &Connection,
    query: &AlertQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<Arc<Alert>>> {
    let mut conditions = String::from("observed_at >= ? AND observed_at < ?");
    let mut values =
        vec![Value::Integer(query.time.from.as_nanos()), Value::Integer(query.time.to.as_nanos())];
    if let Some(after) = after {
        conditions += " AND (observed_at, alert_id) < (?, ?)";
        values.push(Value::Integer(after.time.as_nanos()));
        values.push(Value::Blob(after.id.to_be_bytes().to_vec()));
    }
    let texts = [
        ("tenant = ?", query.tenant.as_ref().map(|tenant| tenant.as_str())),
        ("agent = ?", query.agent.as_ref().map(|agent| agent.as_str())),
        ("status = ?", query.status.map(AlertStatus::as_str)),
        ("rule_id = ?", query.rule.as_deref()),
    ];
    for (condition, text) in texts {
        if let Some(text) = text {
            conditions = format!("{conditions} AND {condition}");
            values.push(Value::Text(text.to_owned()));
        }
    }
    if let Some(incident) = query.incident {
        conditions += " AND incident = ?";
        values.push(Value::Blob(incident.as_u128().to_be_bytes().to_vec()));
    }
    if let Some(severity) = query.min_severity {
        conditions += " AND severity >= ?";
        values.push(Value::Integer(severity as i64));
    }
    let mut select = connection.prepare_cached(&format!(
        "SELECT status, body, repeats, last_seen_at FROM alerts WHERE {conditions}
         ORDER BY observed_at DESC, alert_id DESC LIMIT {}",
        limit + 1
    ))?;
    let mut rows = select.query(params_from_iter(&values))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(parse(row)?);
    }
    Ok(Listing::Alerts
        .page(items, limit, |alert| Position { time: alert.observed_at, id: alert.id.as_u128() }))
}

/// The body holds the alert as it was raised; its status and its repeats are the columns'.
fn parse(row: &Row<'_>) -> Result<Arc<Alert>> {
    let alert = codec::alert_from_json(&row.get::<_, String>(1)?)
        .map_err(|error| SqliteError::unreadable("an alert", &error))?;
    let count = row.get::<_, i64>(2)?.cast_unsigned();
    let repeats = row
        .get::<_, Option<i64>>(3)?
        .map(|last| Repeats { count, last_seen_at: Timestamp::from_nanos(last) });
    Ok(Arc::new(Alert { status: status(&row.get::<_, String>(0)?)?, repeats, ..alert }))
}

fn status(name: &str) -> Result<AlertStatus> {
    name.parse().map_err(|error| SqliteError::unreadable("an alert's status", &error))
}

/// One alert.
pub(super) fn alert(connection: &Connection, id: AlertId) -> Result<Option<Arc<Alert>>> {
    let mut select = connection.prepare_cached(
        "SELECT status, body, repeats, last_seen_at FROM alerts WHERE alert_id = ?1",
    )?;
    let mut rows = select.query([id.as_u128().to_be_bytes()])?;
    rows.next()?.map(parse).transpose()
}

/// Changes an alert's status, inside a transaction.
pub(super) fn set_status(
    connection: &Connection,
    id: AlertId,
    change: &StatusChange,
) -> Result<()> {
    let StatusChange { from, to, actor, reason, at } = change;
    let key = id.as_u128().to_be_bytes();
    let current: Option<String> = connection
        .prepare_cached("SELECT status FROM alerts WHERE alert_id = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let current = current
        .ok_or_else(|| SqliteError::NotFound(format!("there is no alert {id}")))
        .and_then(|name| status(&name))?;
    if current != *from {
        let why = format!("alert {id} is {current} by now, not {from}");
        return Err(SqliteError::Conflict(why));
    }
    if !from.may_become(*to) {
        let why = format!("alert {id}: what is {from} may not become {to}");
        return Err(SqliteError::Invalid(why));
    }
    connection
        .prepare_cached("UPDATE alerts SET status = ?2 WHERE alert_id = ?1")?
        .execute(params![key, to.as_str()])?;
    connection
        .prepare_cached(
            "INSERT INTO alert_history (alert_id, from_status, to_status, actor, reason, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            key,
            from.as_str(),
            to.as_str(),
            &**actor,
            reason.as_deref(),
            at.as_nanos()
        ])?;
    Ok(())
}

/// Every change of an alert's status.
pub(super) fn history(connection: &Connection, id: AlertId) -> Result<Vec<StatusChange>> {
    let mut select = connection.prepare_cached(
        "SELECT from_status, to_status, actor, reason, at FROM alert_history
         WHERE alert_id = ?1 ORDER BY change",
    )?;
    let mut rows = select.query([id.as_u128().to_be_bytes()])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(StatusChange {
            from: status(&row.get::<_, String>(0)?)?,
            to: status(&row.get::<_, String>(1)?)?,
            actor: row.get::<_, String>(2)?.into(),
            reason: row.get::<_, Option<String>>(3)?.map(Into::into),
            at: Timestamp::from_nanos(row.get(4)?),
        });
    }
    Ok(changes)
}

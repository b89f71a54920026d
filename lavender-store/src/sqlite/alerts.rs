//! Alerts and what was done about them.

use std::sync::Arc;

use lavender_core::store::{
    AlertQuery, AlertRecord, AuditEntry, Inserted, Page, Revision, StatusChange,
};
use lavender_core::{Alert, AlertId, AlertStatus, Repeats, TenantId, Timestamp, codec};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::error::{Result, SqliteError};
use super::events::note_sequences;
use super::{access, counts, feed};
use crate::counts::Added;
use crate::cursor::{self, Listing, Position};
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
    let (mut inserted, mut counted) = (Inserted::default(), Added::default());
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
        if added == 1 {
            note_techniques(connection, alert)?;
            counted.count(alert);
            feed::note_alert(connection, &alert.source.tenant, feed::RAISED, alert.id)?;
        }
        inserted.new += added;
        inserted.duplicate += 1 - added;
    }
    counts::add(connection, &counted)?;
    note_sequences(connection, alerts.iter().flat_map(|alert| alert.events.iter().copied()))?;
    Ok(inserted)
}

/// Notes under which techniques an alert is found.
fn note_techniques(connection: &Connection, alert: &Alert) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO alert_techniques (tenant, technique, observed_at, alert_id, named)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (technique, named) in crate::feed::techniques(&alert.rule) {
        insert.execute(params![
            alert.source.tenant.as_str(),
            technique,
            alert.observed_at.as_nanos(),
            alert.id.as_u128().to_be_bytes(),
            named,
        ])?;
    }
    Ok(())
}

/// The columns that an alert is read from.
pub(super) const COLUMNS: &str =
    "a.status, a.body, a.repeats, a.last_seen_at, a.revision, a.updated_at";

/// Whether an alert is found under a technique.
const HAS_TECHNIQUE: &str = "EXISTS (SELECT 1 FROM alert_techniques k WHERE k.tenant = a.tenant
     AND k.technique = ? AND k.observed_at = a.observed_at AND k.alert_id = a.alert_id)";

/// A statement with its `?` numbered, so that it may be told again with the same values.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(1..).fold(first, |sql, (part, number)| sql + &format!("?{number}") + part)
}

/// The statement that reads a page of alerts and one more, and its values.
fn statement(query: &AlertQuery, limit: usize, after: Option<Position>) -> (String, Vec<Value>) {
    // Where nothing but a technique is asked for, the table of techniques leads: it lies in the order of time. What an
    // agent or a rule has is looked up there.
    let (from, key, technique) = match query.technique {
        Some(_) if query.agent.is_none() && query.rule.is_none() && query.incident.is_none() => {
            let from = "alert_techniques k CROSS JOIN alerts a ON a.alert_id = k.alert_id";
            (from, "k", "k.technique = ?")
        }
        _ => ("alerts a", "a", HAS_TECHNIQUE),
    };
    let to = cursor::end(query.time.to, after);
    let mut conditions = format!("{key}.observed_at >= ? AND {key}.observed_at < ?");
    let mut values =
        vec![Value::Integer(query.time.from.as_nanos()), Value::Integer(to.as_nanos())];
    if let Some(after) = after {
        conditions += &format!(" AND ({key}.observed_at, {key}.alert_id) < (?, ?)");
        values.push(Value::Integer(after.time.as_nanos()));
        values.push(Value::Blob(after.id.to_be_bytes().to_vec()));
    }
    let of_tenant = format!("{key}.tenant = ?");
    let texts = [
        (&*of_tenant, query.tenant.as_ref().map(TenantId::as_str)),
        (technique, query.technique.as_deref()),
        ("a.agent = ?", query.agent.as_ref().map(|agent| agent.as_str())),
        ("a.status = ?", query.status.map(AlertStatus::as_str)),
        ("a.rule_id = ?", query.rule.as_deref()),
    ];
    for (condition, text) in texts {
        if let Some(text) = text {
            conditions += &format!(" AND {condition}");
            values.push(Value::Text(text.to_owned()));
        }
    }
    if let Some(incident) = query.incident {
        conditions += " AND a.incident = ?";
        values.push(Value::Blob(incident.as_u128().to_be_bytes().to_vec()));
    }
    let conditions = numbered(&conditions);
    let select = |severity: &str| {
        let columns = format!("{COLUMNS}, {key}.observed_at AS time, {key}.alert_id AS id");
        format!("SELECT {columns} FROM {from} WHERE {conditions}{severity}")
    };
    let selects = match (crate::severity::pairs(query), query.min_severity) {
        (Some(pairs), _) => {
            let each = pairs.into_iter().map(|(status, severity)| {
                select(&format!(" AND a.status = '{status}' AND a.severity = {}", severity as u8))
            });
            each.collect::<Vec<_>>().join(" UNION ALL ")
        }
        (None, Some(least)) => select(&format!(" AND a.severity >= {}", least as u8)),
        (None, None) => select(""),
    };
    (format!("{selects} ORDER BY time DESC, id DESC LIMIT {}", limit + 1), values)
}

/// Reads a page of alerts.
pub(super) fn read(
    connection: &Connection,
    query: &AlertQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<AlertRecord>> {
    let (sql, values) = statement(query, limit, after);
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(&values))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(parse(row, 0)?);
    }
    Ok(Listing::Alerts.page(items, limit, |record| Position {
        time: record.alert.observed_at,
        id: record.alert.id.as_u128(),
    }))
}

/// Reads [`COLUMNS`] from the one of that number on. The body holds the alert as it was raised; its status and its
/// repeats are the columns'.
pub(super) fn parse(row: &Row<'_>, first: usize) -> Result<AlertRecord> {
    let alert = codec::alert_from_json(&row.get::<_, String>(first + 1)?)
        .map_err(|error| SqliteError::unreadable("an alert", &error))?;
    let count = row.get::<_, i64>(first + 2)?.cast_unsigned();
    let repeats = row
        .get::<_, Option<i64>>(first + 3)?
        .map(|last| Repeats { count, last_seen_at: Timestamp::from_nanos(last) });
    let status = status(&row.get::<_, String>(first)?)?;
    Ok(AlertRecord {
        alert: Arc::new(Alert { status, repeats, ..alert }),
        revision: Revision(row.get::<_, i64>(first + 4)?.cast_unsigned()),
        updated_at: row.get::<_, Option<i64>>(first + 5)?.map(Timestamp::from_nanos),
    })
}

pub(super) fn status(name: &str) -> Result<AlertStatus> {
    name.parse().map_err(|error| SqliteError::unreadable("an alert's status", &error))
}

/// One alert, of a tenant if one is given.
pub(super) fn record(
    connection: &Connection,
    tenant: Option<&TenantId>,
    id: AlertId,
) -> Result<Option<AlertRecord>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alerts a WHERE alert_id = ?1 AND (?2 IS NULL OR tenant = ?2)"
    ))?;
    let mut rows =
        select.query(params![id.as_u128().to_be_bytes(), tenant.map(TenantId::as_str)])?;
    rows.next()?.map(|row| parse(row, 0)).transpose()
}

/// Changes an alert's status, inside a transaction.
pub(super) fn set_status(
    connection: &Connection,
    id: AlertId,
    change: &StatusChange,
) -> Result<()> {
    let from = change.from;
    let current: Option<(String, String)> = connection
        .prepare_cached("SELECT status, tenant FROM alerts WHERE alert_id = ?1")?
        .query_row([id.as_u128().to_be_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (current, tenant) = match current {
        Some((name, tenant)) => (status(&name)?, access::tenant(&tenant)?),
        None => return Err(SqliteError::NotFound(format!("there is no alert {id}"))),
    };
    if current != from {
        let why = format!("alert {id} is {current} by now, not {from}");
        return Err(SqliteError::Conflict(why));
    }
    apply(connection, &tenant, id, change)
}

/// Changes the status of an alert of which it is known that it is `change.from`.
pub(super) fn apply(
    connection: &Connection,
    tenant: &TenantId,
    id: AlertId,
    change: &StatusChange,
) -> Result<()> {
    let StatusChange { from, to, actor, reason, at } = change;
    let key = id.as_u128().to_be_bytes();
    if !from.may_become(*to) {
        let why = format!("alert {id}: what is {from} may not become {to}");
        return Err(SqliteError::Invalid(why));
    }
    let counted = connection
        .prepare_cached(
            "UPDATE alerts SET status = ?2, revision = revision + 1, updated_at = ?3
             WHERE alert_id = ?1 RETURNING observed_at, severity",
        )?
        .query_row(params![key, to.as_str(), at.as_nanos()], |row| {
            Ok((Timestamp::from_nanos(row.get(0)?), row.get(1)?))
        })?;
    counts::move_status(connection, tenant, counted, *from, *to)?;
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
    access::note(connection, tenant, &AuditEntry::of_status(id, change))?;
    feed::note_alert(connection, tenant, feed::STATUS, id)
}

/// Every change of an alert's status, or so many of them.
pub(super) fn history(
    connection: &Connection,
    id: AlertId,
    limit: Option<u32>,
) -> Result<Vec<StatusChange>> {
    let mut select = connection.prepare_cached(
        "SELECT from_status, to_status, actor, reason, at FROM alert_history
         WHERE alert_id = ?1 ORDER BY change LIMIT ?2",
    )?;
    // To SQLite, a negative limit is none.
    let limit = limit.map_or(-1, i64::from);
    let mut rows = select.query(params![id.as_u128().to_be_bytes(), limit])?;
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

#[cfg(test)]
mod tests {
    use lavender_core::store::{AlertQuery, TimeRange};
    use lavender_core::{AlertStatus, Severity, TenantId};
    use rusqlite::{Connection, params_from_iter};

    fn plan(query: &AlertQuery) -> Vec<String> {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut connection).unwrap();
        let (sql, values) = super::statement(query, 100, None);
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = explain.query_map(params_from_iter(&values), |row| row.get(3)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn what_is_so_bad_or_worse_is_merged_from_an_index() {
        let mut query = AlertQuery::new(TimeRange::ALL);
        query.tenant = Some(TenantId::new("acme").unwrap());
        query.min_severity = Some(Severity::High);
        for (status, parts) in [(None, 8), (Some(AlertStatus::Open), 2)] {
            query.status = status;
            let plan = plan(&query);
            let by_index = plan.iter().filter(|line| line.contains("INDEX alerts_tenant_severity"));
            assert_eq!(by_index.count(), parts, "{plan:?}");
            let sorted =
                plan.iter().any(|line| line.contains("B-TREE") || line.starts_with("SCAN"));
            assert!(!sorted, "{plan:?}");
        }
    }
}

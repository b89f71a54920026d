//! Alerts and what was done about them.

use std::cmp::Reverse;
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
        "INSERT INTO alert_techniques (tenant, technique, status, severity, observed_at, alert_id, named)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (technique, named) in crate::feed::techniques(&alert.rule) {
        insert.execute(params![
            alert.source.tenant.as_str(),
            technique,
            alert.status.as_str(),
            alert.severity as u8,
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
     AND k.technique = ? AND k.status = a.status AND k.severity = a.severity
     AND k.observed_at = a.observed_at AND k.alert_id = a.alert_id)";

/// A statement with its `?` numbered, so that it may be told again with the same values.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(1..).fold(first, |sql, (part, number)| sql + &format!("?{number}") + part)
}

/// What leads to the alerts of a query: a table and its index, and how a technique is told there.
fn lead(query: &AlertQuery, by_pairs: bool) -> (String, &'static str) {
    let index = if query.incident.is_some() {
        " INDEXED BY alerts_incident"
    } else if query.tenant.is_none() {
        ""
    } else if !by_pairs {
        " INDEXED BY alerts_tenant"
    } else if query.rule.is_some() {
        " INDEXED BY alerts_tenant_rule"
    } else if query.agent.is_some() {
        " INDEXED BY alerts_tenant_agent"
    } else if query.technique.is_some() {
        return ("alert_techniques a".into(), "a.technique = ?");
    } else {
        " INDEXED BY alerts_tenant_severity"
    };
    (format!("alerts a{index}"), HAS_TECHNIQUE)
}

/// The statement that reads a page of alerts and one more, and its values. Its rows may come in any order.
fn statement(query: &AlertQuery, limit: usize, after: Option<Position>) -> (String, Vec<Value>) {
    let pairs = crate::severity::pairs(query);
    let (from, technique) = lead(query, pairs.is_some());
    let to = cursor::end(query.time.to, after);
    let mut conditions = String::from("a.observed_at >= ? AND a.observed_at < ?");
    let mut values =
        vec![Value::Integer(query.time.from.as_nanos()), Value::Integer(to.as_nanos())];
    if let Some(after) = after {
        conditions += " AND (a.observed_at, a.alert_id) < (?, ?)";
        values.push(Value::Integer(after.time.as_nanos()));
        values.push(Value::Blob(after.id.to_be_bytes().to_vec()));
    }
    let texts = [
        ("a.tenant = ?", query.tenant.as_ref().map(TenantId::as_str)),
        (technique, query.technique.as_deref()),
        ("a.agent = ?", query.agent.as_ref().map(|agent| agent.as_str())),
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
    let select = |more: &str| {
        format!(
            "SELECT a.observed_at AS time, a.alert_id AS id FROM {from} WHERE {conditions}{more}"
        )
    };
    let keys = match pairs {
        Some(pairs) => {
            let each = pairs.into_iter().map(|(status, severity)| {
                select(&format!(" AND a.status = '{status}' AND a.severity = {}", severity as u8))
            });
            each.collect::<Vec<_>>().join(" UNION ALL ")
        }
        None => {
            let status = query.status.map(|status| format!(" AND a.status = '{status}'"));
            let least =
                query.min_severity.map(|least| format!(" AND a.severity >= {}", least as u8));
            select(&(status.unwrap_or_default() + &least.unwrap_or_default()))
        }
    };
    // Only the alerts on the page are read.
    let page = format!("{keys} ORDER BY time DESC, id DESC LIMIT {}", limit + 1);
    let sql =
        format!("SELECT {COLUMNS} FROM ({page}) page CROSS JOIN alerts a ON a.alert_id = page.id");
    (sql, values)
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
    items.sort_unstable_by_key(|record| Reverse((record.alert.observed_at, record.alert.id)));
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
    connection
        .prepare_cached("UPDATE alert_techniques SET status = ?2 WHERE alert_id = ?1")?
        .execute(params![key, to.as_str()])?;
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
    use std::sync::Arc;

    use lavender_core::store::{AlertQuery, TimeRange};
    use lavender_core::{AgentId, AlertStatus, BootId, IncidentId, ProcessId, Severity, TenantId};
    use rusqlite::{Connection, params_from_iter};

    fn plan(query: &AlertQuery) -> Vec<String> {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut connection).unwrap();
        let (sql, values) = super::statement(query, 100, None);
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = explain.query_map(params_from_iter(&values), |row| row.get(3)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// What is asked for, by which index it must be found, and how many spans of it.
    fn filters() -> Vec<(AlertQuery, &'static str, usize)> {
        let all = AlertQuery::new(TimeRange::ALL);
        let tenant = Some(TenantId::new("acme").unwrap());
        let (status, min_severity) = (Some(AlertStatus::Open), Some(Severity::High));
        let (agent, rule) = (Some(AgentId::new("web-1").unwrap()), Some("rule".into()));
        let technique: Option<Arc<str>> = Some("T1059".into());
        let base = AlertQuery { tenant, ..all.clone() };
        let of_agent = AlertQuery { agent, ..base.clone() };
        let of_rule = AlertQuery { rule, ..base.clone() };
        let of_technique = AlertQuery { technique: technique.clone(), ..base.clone() };
        let incident = Some(IncidentId::of_tree(ProcessId::new(BootId::from_u128(7), 1, 1)));
        vec![
            (all, "alerts_observed_at", 1),
            (base.clone(), "alerts_tenant", 1),
            (AlertQuery { status, ..base.clone() }, "alerts_tenant_severity", 5),
            (AlertQuery { min_severity, ..base.clone() }, "alerts_tenant_severity", 8),
            (AlertQuery { status, min_severity, ..base.clone() }, "alerts_tenant_severity", 2),
            (of_agent.clone(), "alerts_tenant_agent", 20),
            (AlertQuery { status, min_severity, ..of_agent.clone() }, "alerts_tenant_agent", 2),
            (AlertQuery { technique, ..of_agent }, "alerts_tenant_agent", 20),
            (of_rule.clone(), "alerts_tenant_rule", 20),
            (AlertQuery { status, ..of_rule }, "alerts_tenant_rule", 5),
            (of_technique.clone(), "PRIMARY KEY", 20),
            (AlertQuery { min_severity, ..of_technique.clone() }, "PRIMARY KEY", 8),
            (AlertQuery { status, min_severity, ..of_technique }, "PRIMARY KEY", 2),
            (AlertQuery { incident, status, ..base }, "alerts_incident", 1),
        ]
    }

    #[test]
    fn each_filter_reads_an_index_in_the_order_of_time() {
        for (query, index, spans) in filters() {
            let plan = plan(&query);
            let keys = plan.iter().filter(|line| line.contains(&format!(" {index} (")));
            assert_eq!(keys.count(), spans, "{index}: {plan:#?}");
            let through_all = |line: &&String| {
                line.contains("B-TREE") || line.starts_with("SCAN a") && !line.contains("INDEX")
            };
            assert_eq!(plan.iter().find(through_all), None, "{plan:#?}");
        }
    }
}

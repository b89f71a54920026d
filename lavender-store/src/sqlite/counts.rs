//! Alerts that are counted when they are stored.

use lavender_core::store::{AlertStatistics, StatisticsQuery};
use lavender_core::{AlertStatus, Severity, TenantId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::alerts;
use super::error::{Result, SqliteError};
use crate::counts::{self, Added, Cells, Dimension, SLOT_NS, Split};

const ADD_TO_SLOT: &str = "INSERT INTO alert_slots (tenant, slot, severity, status, alerts)
     VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT DO UPDATE SET alerts = alerts + excluded.alerts";
const ADD_TO_DAY: &str = "INSERT INTO alert_days (tenant, dimension, day, value, alerts)
     VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT DO UPDATE SET alerts = alerts + excluded.alerts";

/// What slots have, but for those that lie in two buckets.
const SLOTS: &str =
    "SELECT (slot * ?5 - ?4) / ?6 AS bucket, severity, status, sum(alerts) FROM alert_slots
     WHERE tenant = ?1 AND slot >= ?2 AND slot < ?3
         AND (slot * ?5 - ?4) / ?6 = (slot * ?5 + ?5 - 1 - ?4) / ?6
     GROUP BY bucket, severity, status";
/// What a span has, alert by alert.
const EACH: &str = "SELECT (observed_at - ?4) / ?5 AS bucket, severity, status, count(*)
     FROM alerts INDEXED BY alerts_tenant
     WHERE tenant = ?1 AND observed_at >= ?2 AND observed_at < ?3
     GROUP BY bucket, severity, status";

/// Counts new alerts, inside the transaction that stores them.
pub(super) fn add(connection: &Connection, added: &Added<'_>) -> Result<()> {
    let mut to_slot = connection.prepare_cached(ADD_TO_SLOT)?;
    for ((tenant, slot, severity, status), count) in &added.slots {
        to_slot.execute(params![tenant, slot, *severity as u8, status.as_str(), count])?;
    }
    let mut to_day = connection.prepare_cached(ADD_TO_DAY)?;
    for ((tenant, dimension, day, value), count) in &added.days {
        to_day.execute(params![tenant, dimension.as_str(), day, value, count])?;
    }
    Ok(())
}

/// Counts an alert under another status, inside the transaction that changes it.
pub(super) fn move_status(
    connection: &Connection,
    tenant: &TenantId,
    (observed_at, severity): (Timestamp, i64),
    from: AlertStatus,
    to: AlertStatus,
) -> Result<()> {
    let mut to_slot = connection.prepare_cached(ADD_TO_SLOT)?;
    for (status, count) in [(from, -1_i64), (to, 1)] {
        let slot = counts::slot(observed_at);
        to_slot.execute(params![tenant.as_str(), slot, severity, status.as_str(), count])?;
    }
    Ok(())
}

/// What there is in each bucket of time.
pub(super) fn buckets(
    connection: &Connection,
    tenant: &TenantId,
    query: &StatisticsQuery,
    bucket: i64,
) -> Result<AlertStatistics> {
    let (tenant, from) = (tenant.as_str(), query.time.from.as_nanos());
    let split = Split::slots(query.time, bucket);
    let mut cells = Cells::default();
    let mut add = |row: &Row<'_>| -> Result<()> {
        let severity = usize::try_from(row.get::<_, i64>(1)?)
            .ok()
            .and_then(|number| Severity::ALL.get(number).copied())
            .ok_or_else(|| SqliteError::Damaged("an alert's severity".into()))?;
        let status = alerts::status(&row.get::<_, String>(2)?)?;
        cells.add(row.get(0)?, severity, status, row.get::<_, i64>(3)?.cast_unsigned());
        Ok(())
    };
    let mut slots = connection.prepare_cached(SLOTS)?;
    let (first, end) = (split.units.start, split.units.end);
    let mut rows = slots.query(params![tenant, first, end, from, SLOT_NS, bucket])?;
    while let Some(row) = rows.next()? {
        add(row)?;
    }
    // A slot that lies in two buckets is one of these spans.
    let mut each = connection.prepare_cached(EACH)?;
    for span in split.rows.iter().filter(|span| !span.is_empty()) {
        let mut rows = each.query(params![tenant, span.start, span.end, from, bucket])?;
        while let Some(row) = rows.next()? {
            add(row)?;
        }
    }
    Ok(cells.statistics(query.time.from, bucket))
}

/// The values of a dimension that have the most alerts: from days, and from the edges beside them.
fn top_of(dimension: Dimension) -> String {
    let each = match dimension {
        Dimension::Agent => "agent, 1 FROM alerts INDEXED BY alerts_tenant WHERE true",
        Dimension::Rule => "rule_id, 1 FROM alerts INDEXED BY alerts_tenant WHERE true",
        Dimension::Technique => {
            "technique, 1 FROM alert_techniques INDEXED BY alert_techniques_named WHERE named = 1"
        }
    };
    format!(
        "SELECT value, sum(counted) AS alerts FROM (
             SELECT value, alerts AS counted FROM alert_days
                 WHERE tenant = ?1 AND dimension = ?2 AND day >= ?3 AND day < ?4
             UNION ALL SELECT {each} AND tenant = ?1 AND observed_at >= ?5 AND observed_at < ?6
             UNION ALL SELECT {each} AND tenant = ?1 AND observed_at >= ?7 AND observed_at < ?8
         ) GROUP BY value ORDER BY alerts DESC, value LIMIT ?9"
    )
}

/// The values that have the most alerts, the first the most.
pub(super) fn top(
    connection: &Connection,
    dimension: Dimension,
    tenant: &TenantId,
    query: &StatisticsQuery,
) -> Result<Vec<(String, u64)>> {
    let mut select = connection.prepare_cached(&top_of(dimension))?;
    let split = Split::days(query.time);
    let span = |number: usize| split.rows.get(number).cloned().unwrap_or(0..0);
    let (before, after) = (span(0), span(1));
    let rows = select
        .query_map(
            params![
                tenant.as_str(),
                dimension.as_str(),
                split.units.start,
                split.units.end,
                before.start,
                before.end,
                after.start,
                after.end,
                query.top
            ],
            |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())),
        )?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use rusqlite::params_from_iter;

    use super::*;

    #[test]
    fn statistics_read_counts_and_indexes_and_no_alerts() {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut connection).unwrap();
        let of_alerts = "alerts USING COVERING INDEX alerts_tenant (tenant=? AND observed_at>? AND observed_at<?)";
        let of_techniques = "alert_techniques USING COVERING INDEX alert_techniques_named (tenant=? AND observed_at>? AND observed_at<?)";
        let of_days = "alert_days USING PRIMARY KEY (tenant=? AND dimension=? AND day>? AND day<?)";
        let of_slots = "alert_slots USING PRIMARY KEY (tenant=? AND slot>? AND slot<?)";
        for (sql, reads) in [
            (SLOTS.to_owned(), vec![of_slots]),
            (EACH.to_owned(), vec![of_alerts]),
            (top_of(Dimension::Agent), vec![of_days, of_alerts, of_alerts]),
            (top_of(Dimension::Rule), vec![of_days, of_alerts, of_alerts]),
            (top_of(Dimension::Technique), vec![of_days, of_techniques, of_techniques]),
        ] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let values = vec![0; explain.parameter_count()];
            let lines = explain.query_map(params_from_iter(values), |row| row.get(3)).unwrap();
            let lines: Vec<String> = lines.collect::<std::result::Result<_, _>>().unwrap();
            let found: Vec<_> =
                lines.iter().filter_map(|line| line.strip_prefix("SEARCH ")).collect();
            assert_eq!(found, reads, "{lines:#?}");
        }
    }
}

//! Alerts that are counted when they are stored.

use deadpool_postgres::Transaction;
use lavender_core::store::{AlertStatistics, StatisticsQuery};
use lavender_core::{AlertStatus, Severity, TenantId, Timestamp};
use tokio_postgres::Row;

use super::alerts;
use super::error::{PostgresError, Result};
use super::text::escaped;
use crate::counts::{self, Added, Cells, Dimension, SLOT_NS, Split};

/// In the order of the key, so that writers who meet wait for each other and not in a circle.
const ADD_TO_SLOTS: &str =
    "INSERT INTO lavender.alert_slots AS s (tenant, slot, severity, status, alerts)
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[])
     ON CONFLICT (tenant, slot, severity, status) DO UPDATE SET alerts = s.alerts + excluded.alerts";

/// Counts new alerts, in the transaction that stores them.
pub(super) async fn add(transaction: &Transaction<'_>, added: &Added<'_>) -> Result<()> {
    let each = || added.slots.iter();
    let tenants: Vec<&str> = each().map(|((tenant, ..), _)| *tenant).collect();
    let slots: Vec<i64> = each().map(|((_, slot, ..), _)| *slot).collect();
    let severities: Vec<i16> = each().map(|((_, _, severity, _), _)| *severity as i16).collect();
    let statuses: Vec<&str> = each().map(|((.., status), _)| status.as_str()).collect();
    let alerts: Vec<i64> = added.slots.values().copied().collect();
    let insert = transaction.prepare_cached(ADD_TO_SLOTS).await?;
    transaction.execute(&insert, &[&tenants, &slots, &severities, &statuses, &alerts]).await?;

    let each = || added.days.iter();
    let tenants: Vec<&str> = each().map(|((tenant, ..), _)| *tenant).collect();
    let dimensions: Vec<&str> = each().map(|((_, dimension, ..), _)| dimension.as_str()).collect();
    let days: Vec<i64> = each().map(|((_, _, day, _), _)| *day).collect();
    let values: Vec<_> = each().map(|((.., value), _)| escaped(value)).collect();
    let alerts: Vec<i64> = added.days.values().copied().collect();
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.alert_days AS d (tenant, dimension, day, digest, value, alerts)
             SELECT tenant, dimension, day, sha256(convert_to(value, 'UTF8')), value, alerts
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
                 AS t (tenant, dimension, day, value, alerts)
             ON CONFLICT (tenant, dimension, day, digest) DO UPDATE SET alerts = d.alerts + excluded.alerts",
        )
        .await?;
    transaction.execute(&insert, &[&tenants, &dimensions, &days, &values, &alerts]).await?;
    Ok(())
}

/// Counts an alert under another status, in the transaction that changes it.
pub(super) async fn move_status(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    (observed_at, severity): (Timestamp, i16),
    from: AlertStatus,
    to: AlertStatus,
) -> Result<()> {
    let mut moved = [(from, -1_i64), (to, 1)];
    moved.sort_unstable_by_key(|(status, _)| *status);
    let statuses = moved.map(|(status, _)| status.as_str());
    let (tenants, slots) = ([tenant.as_str(); 2], [counts::slot(observed_at); 2]);
    let (severities, alerts) = ([severity; 2], moved.map(|(_, count)| count));
    let insert = transaction.prepare_cached(ADD_TO_SLOTS).await?;
    transaction
        .execute(
            &insert,
            &[&&tenants[..], &&slots[..], &&severities[..], &&statuses[..], &&alerts[..]],
        )
        .await?;
    Ok(())
}

/// What there is in each bucket of time.
pub(super) async fn buckets(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    query: &StatisticsQuery,
    bucket: i64,
) -> Result<AlertStatistics> {
    let (tenant, from) = (tenant.as_str(), query.time.from.as_nanos());
    let split = Split::slots(query.time, bucket);
    // A slot that lies in two buckets is one of the spans below.
    let slots = transaction
        .prepare_cached(
            "SELECT (slot * $5 - $4::bigint) / $6::bigint AS bucket, severity, status, sum(alerts)::bigint
             FROM lavender.alert_slots
             WHERE tenant = $1 AND slot >= $2 AND slot < $3
                 AND (slot * $5 - $4) / $6 = (slot * $5 + $5 - 1 - $4) / $6
             GROUP BY bucket, severity, status",
        )
        .await?;
    let (first, end) = (split.units.start, split.units.end);
    let mut rows =
        transaction.query(&slots, &[&tenant, &first, &end, &from, &SLOT_NS, &bucket]).await?;
    let each = transaction
        .prepare_cached(
            "SELECT a.bucket, a.severity, a.status, sum(a.alerts)::bigint
             FROM unnest($2::bigint[], $3::bigint[]) AS span (first, past)
             CROSS JOIN LATERAL (
                 SELECT (observed_at - $4::bigint) / $5::bigint AS bucket, severity, status, count(*) AS alerts
                 FROM lavender.alerts
                 WHERE tenant = $1 AND observed_at >= span.first AND observed_at < span.past
                 GROUP BY 1, 2, 3
             ) a GROUP BY 1, 2, 3",
        )
        .await?;
    let spans = || split.rows.iter().filter(|span| !span.is_empty());
    let firsts: Vec<i64> = spans().map(|span| span.start).collect();
    let pasts: Vec<i64> = spans().map(|span| span.end).collect();
    rows.extend(transaction.query(&each, &[&tenant, &firsts, &pasts, &from, &bucket]).await?);
    let mut cells = Cells::default();
    for row in &rows {
        let (bucket, status, count) = cell(row)?;
        let severity = usize::try_from(row.try_get::<_, i16>(1)?)
            .ok()
            .and_then(|number| Severity::ALL.get(number).copied())
            .ok_or_else(|| PostgresError::Damaged("an alert's severity".into()))?;
        cells.add(bucket, severity, status, count);
    }
    Ok(cells.statistics(query.time.from, bucket))
}

fn cell(row: &Row) -> Result<(i64, AlertStatus, u64)> {
    let status = alerts::status(row.try_get(2)?)?;
    Ok((row.try_get(0)?, status, row.try_get::<_, i64>(3)?.cast_unsigned()))
}

/// The values that have the most alerts, the first the most.
pub(super) async fn top(
    transaction: &Transaction<'_>,
    dimension: Dimension,
    tenant: &TenantId,
    query: &StatisticsQuery,
) -> Result<Vec<(String, u64)>> {
    let each = match dimension {
        Dimension::Agent => "agent, 1 FROM lavender.alerts WHERE true",
        Dimension::Rule => "rule_id COLLATE \"C\", 1 FROM lavender.alerts WHERE true",
        Dimension::Technique => "technique, 1 FROM lavender.alert_techniques WHERE named",
    };
    let select = transaction
        .prepare_cached(&format!(
            "SELECT value, sum(counted)::bigint AS alerts FROM (
                 SELECT value, alerts AS counted FROM lavender.alert_days
                     WHERE tenant = $1 AND dimension = $2 AND day >= $3 AND day < $4
                 UNION ALL SELECT {each} AND tenant = $1 AND observed_at >= $5 AND observed_at < $6
                 UNION ALL SELECT {each} AND tenant = $1 AND observed_at >= $7 AND observed_at < $8
             ) counted GROUP BY value ORDER BY alerts DESC, value LIMIT $9"
        ))
        .await?;
    let split = Split::days(query.time);
    let span = |number: usize| split.rows.get(number).cloned().unwrap_or(0..0);
    let (before, after) = (span(0), span(1));
    let rows = transaction
        .query(
            &select,
            &[
                &tenant.as_str(),
                &dimension.as_str(),
                &split.units.start,
                &split.units.end,
                &before.start,
                &before.end,
                &after.start,
                &after.end,
                &i64::from(query.top),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.cast_unsigned())))
        .collect()
}

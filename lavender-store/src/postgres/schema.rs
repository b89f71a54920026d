//! The tables: their versions, and the days that have partitions.

use deadpool_postgres::Client;

use super::error::{PostgresError, Result};
use super::layout::Layout;
use crate::day::Day;

/// What makes each version out of the one before it.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("tenants.sql"),
    include_str!("counts.sql"),
    include_str!("commands.sql"),
    include_str!("severity.sql"),
    include_str!("pending.sql"),
    include_str!("rulesets.sql"),
    include_str!("filters.sql"),
    include_str!("heartbeat.sql"),
];

/// The version that this code reads and writes.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// Held while the schema changes: by one at a time in a database. `lavender` in bytes.
const LOCK: i64 = 0x6c61_7665_6e64_6572;

/// How long a day that is to go waits for those who use it; all others wait behind it.
const DROP_WAIT: &str = "SET LOCAL lock_timeout = '2s'";

/// Brings a database to this version, in one transaction.
pub(super) async fn migrate(client: &mut tokio_postgres::Client) -> Result<Layout> {
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(PostgresError::Foreign(format!(
            "its encoding is {encoding}; make one with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
        )));
    }
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let row = transaction
        .query_one(
            "SELECT to_regclass('lavender.schema_version') IS NOT NULL,
                 EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('lavender'))",
            &[],
        )
        .await?;
    let (ours, used): (bool, bool) = (row.get(0), row.get(1));
    let version: i32 = if ours {
        transaction.query_one("SELECT version FROM lavender.schema_version", &[]).await?.get(0)
    } else if used {
        return Err(PostgresError::Foreign(
            "it has a schema `lavender` that is not of Lavender's making; choose another database"
                .into(),
        ));
    } else {
        0
    };
    if version > VERSION {
        return Err(PostgresError::FromTheFuture { found: version, known: VERSION });
    }
    if version == VERSION {
        return Layout::of(&transaction).await;
    }
    if version == 0 {
        transaction
            .batch_execute(
                "CREATE SCHEMA IF NOT EXISTS lavender;
                 CREATE TABLE lavender.schema_version (version integer NOT NULL);
                 INSERT INTO lavender.schema_version VALUES (0);",
            )
            .await?;
    }
    let layout = if version == 0 {
        Layout::for_new(&transaction).await?
    } else {
        Layout::of(&transaction).await?
    };
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        match number {
            // Only the first makes tables that have days.
            0 => transaction.batch_execute(&layout.schema(migration)).await?,
            _ => transaction.batch_execute(migration).await?,
        }
    }
    transaction.execute("UPDATE lavender.schema_version SET version = $1", &[&VERSION]).await?;
    transaction.commit().await?;
    Ok(layout)
}

/// Whether the tables are this user's to change.
pub(super) async fn is_owned(client: &Client) -> Result<bool> {
    let sql = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'lavender.events'::regclass";
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}

/// Makes the partitions of days that have none. Neither readers nor writers wait for it.
pub(super) async fn make_days(client: &mut Client, layout: Layout, days: &[Day]) -> Result<()> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let numbers: Vec<i32> = days.iter().map(|day| number(*day)).collect();
    let there = transaction
        .query("SELECT day FROM lavender.days WHERE day = ANY ($1)", &[&numbers])
        .await?;
    let there: Vec<i32> = there.iter().map(|row| row.get(0)).collect();
    for day in days.iter().filter(|day| !there.contains(&number(**day))) {
        let (make, number) = (layout.make(*day), number(*day));
        transaction
            .batch_execute(&format!("{make} INSERT INTO lavender.days (day) VALUES ({number})"))
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Drops the partitions of the days before one, and their losses. Returns how many days there were.
pub(super) async fn drop_days(client: &mut Client, layout: Layout, first_kept: Day) -> Result<u64> {
    let old = client
        .query("SELECT day FROM lavender.days WHERE day < $1 ORDER BY day", &[&number(first_kept)])
        .await?;
    let mut dropped = 0;
    for row in old {
        let day: i32 = row.get(0);
        let transaction = client.transaction().await?;
        transaction.batch_execute(DROP_WAIT).await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        // Another may have been faster.
        if transaction.execute("DELETE FROM lavender.days WHERE day = $1", &[&day]).await? == 1 {
            transaction.batch_execute(&layout.drop(Day(day.into()))).await?;
            dropped += 1;
        }
        transaction.commit().await?;
    }
    let before = first_kept.start().as_nanos();
    client.execute("DELETE FROM lavender.losses WHERE observed_at < $1", &[&before]).await?;
    Ok(dropped)
}

/// A day as the tables have it. Every day of a timestamp fits.
pub(super) fn number(day: Day) -> i32 {
    i32::try_from(day.0).unwrap_or(if day.0 < 0 { i32::MIN } else { i32::MAX })
}

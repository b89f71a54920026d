//! The tables, and how a database of an older version becomes one of this version.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::convert;
use super::error::{Result, SqliteError};
use crate::day::Day;

/// Marks the file as Lavender's: "Lvnd".
const APPLICATION_ID: i64 = 0x4c76_6e64;

/// Each brings the schema from the version of its position to the next. Never changed once released.
const MIGRATIONS: [&str; 11] = [
    // A source is an agent under one name of its host; events point to it.
    "CREATE TABLE sources (
         source INTEGER PRIMARY KEY,
         tenant TEXT NOT NULL,
         agent TEXT NOT NULL,
         host TEXT NOT NULL,
         UNIQUE (tenant, agent, host)
     ) STRICT;

     CREATE TABLE agents (
         tenant TEXT NOT NULL,
         agent TEXT NOT NULL,
         host TEXT NOT NULL,
         first_seen INTEGER NOT NULL,
         last_seen INTEGER NOT NULL,
         version TEXT,
         kernel_release TEXT,
         stopped INTEGER NOT NULL DEFAULT 0,
         life_at INTEGER,
         PRIMARY KEY (tenant, agent)
     ) STRICT, WITHOUT ROWID;

     -- The highest sequence number stored of each origin; the origin is written as its event 0.
     CREATE TABLE sequences (
         origin BLOB PRIMARY KEY,
         last_sequence INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;

     -- UTC days since 1970-01-01 that have tables of their own.
     CREATE TABLE days (day INTEGER PRIMARY KEY) STRICT;

     CREATE TABLE losses (
         event_id BLOB PRIMARY KEY,
         source INTEGER NOT NULL,
         observed_at INTEGER NOT NULL,
         stage TEXT NOT NULL,
         kind TEXT NOT NULL,
         count INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX losses_observed_at ON losses (observed_at);

     CREATE TABLE alerts (
         alert_id BLOB PRIMARY KEY,
         observed_at INTEGER NOT NULL,
         created_at INTEGER NOT NULL,
         tenant TEXT NOT NULL,
         agent TEXT NOT NULL,
         host TEXT NOT NULL,
         rule_id TEXT NOT NULL,
         rule_title TEXT NOT NULL,
         severity INTEGER NOT NULL,
         status TEXT NOT NULL,
         executable TEXT,
         command_line TEXT,
         body TEXT NOT NULL
     ) STRICT;
     CREATE INDEX alerts_observed_at ON alerts (observed_at, alert_id);
     CREATE INDEX alerts_status ON alerts (status, observed_at, alert_id);

     CREATE TABLE alert_history (
         change INTEGER PRIMARY KEY,
         alert_id BLOB NOT NULL,
         from_status TEXT NOT NULL,
         to_status TEXT NOT NULL,
         actor TEXT NOT NULL,
         reason TEXT,
         at INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX alert_history_alert ON alert_history (alert_id, change);

     CREATE TABLE state (
         key TEXT PRIMARY KEY,
         value BLOB NOT NULL,
         version INTEGER NOT NULL,
         expires_at INTEGER
     ) STRICT;
     CREATE INDEX state_expires_at ON state (expires_at) WHERE expires_at IS NOT NULL;

     -- One row: the version of the last write, and the bytes in use, which the triggers keep.
     CREATE TABLE state_totals (last_version INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
     INSERT INTO state_totals VALUES (0, 0);
     CREATE TRIGGER state_added AFTER INSERT ON state BEGIN
         UPDATE state_totals
         SET bytes = bytes + octet_length(new.key) + length(new.value), last_version = new.version;
     END;
     CREATE TRIGGER state_changed AFTER UPDATE ON state BEGIN
         UPDATE state_totals
         SET bytes = bytes + length(new.value) - length(old.value), last_version = new.version;
     END;
     CREATE TRIGGER state_removed AFTER DELETE ON state BEGIN
         UPDATE state_totals SET bytes = bytes - octet_length(old.key) - length(old.value);
     END;",
    // What an alert is part of, the score of its process tree, and how often it was repeated.
    "ALTER TABLE alerts ADD COLUMN incident BLOB;
     ALTER TABLE alerts ADD COLUMN score INTEGER;
     ALTER TABLE alerts ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE alerts ADD COLUMN last_seen_at INTEGER;
     CREATE INDEX alerts_incident ON alerts (incident, observed_at, alert_id)
         WHERE incident IS NOT NULL;",
    // What a control plane asks for within a tenant, who may, who did, and what changed.
    include_str!("tenants.sql"),
    // How many alerts there are.
    include_str!("counts.sql"),
    // What agents were told to do.
    include_str!("commands.sql"),
    // Alerts that are so bad or worse.
    include_str!("severity.sql"),
    // Commands that are to be brought to agents.
    include_str!("pending.sql"),
    // Rulesets.
    include_str!("rulesets.sql"),
    // Alerts of an agent, a rule or a technique that are rare.
    include_str!("filters.sql"),
    // What agents say of themselves.
    include_str!("heartbeat.sql"),
    // Events in blocks: tables of each day, which are converted one by one.
    "",
];

/// The first version that has blocks of events, and not a row for each.
const VERSION_OF_BLOCKS: i64 = 11;

/// The version that this code reads and writes.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings a database to this version; an empty file becomes a database.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    migrate_tables(connection)?;
    // A day at a time, so that no more room is taken than one needs; where that was cut short it goes on with the next.
    for day in days(connection)? {
        if !has_rows(connection, day)? {
            continue;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        convert::day(&transaction, day)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Whether a day's events have a row each still.
fn has_rows(connection: &Connection, day: Day) -> Result<bool> {
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    let table = format!("events_{}", day.name());
    Ok(connection.query_row(exists, [table], |row| row.get(0))?)
}

/// All but what lies in the tables of days, in one transaction.
fn migrate_tables(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION_ID {
        let table: Option<String> = transaction
            .query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |row| row.get(0))
            .optional()?;
        if application != 0 || version != 0 || table.is_some() {
            return Err(SqliteError::Foreign(format!("application id {application:#x}")));
        }
    }
    if version > VERSION {
        return Err(SqliteError::FromTheFuture { found: version, known: VERSION });
    }
    for migration in MIGRATIONS.iter().skip(version as usize) {
        transaction.execute_batch(migration)?;
    }
    if version < VERSION_OF_BLOCKS {
        for day in days(&transaction)? {
            let name = day.name();
            transaction.execute_batch(&format!(
                "DROP INDEX IF EXISTS processes_{name}_id; {} {}",
                processes_index(day),
                day_blocks(day)
            ))?;
        }
        create_view(&transaction)?;
    }
    if version < VERSION || application != APPLICATION_ID {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The tables of one day. Whatever its events need is in them, their processes too: forgetting a day is
/// dropping its tables.
pub(super) fn create_day(connection: &Connection, day: Day) -> Result<()> {
    let name = day.name();
    connection.execute_batch(&format!(
        "CREATE TABLE processes_{name} (
             process INTEGER PRIMARY KEY,
             process_id BLOB NOT NULL,
             generation INTEGER NOT NULL,
             digest INTEGER NOT NULL,
             parent INTEGER,
             pid INTEGER NOT NULL,
             uid INTEGER NOT NULL,
             user TEXT,
             executable TEXT NOT NULL,
             command_line TEXT NOT NULL,
             container_id TEXT,
             body TEXT NOT NULL
         ) STRICT;

         {} {}",
        processes_index(day),
        day_blocks(day)
    ))?;
    connection.execute("INSERT INTO days (day) VALUES (?1)", [day.0])?;
    create_view(connection)
}

/// By what a day's processes are found.
fn processes_index(day: Day) -> String {
    let name = day.name();
    format!(
        "CREATE UNIQUE INDEX processes_{name}_id ON processes_{name} (process_id, generation, digest);"
    )
}

/// The tables of a day's events: blocks of them, and by what those are found.
fn day_blocks(day: Day) -> String {
    let name = day.name();
    format!(
        "CREATE TABLE blocks_{name} (
             block INTEGER PRIMARY KEY,
             source INTEGER NOT NULL,
             origin BLOB NOT NULL,
             first_sequence INTEGER NOT NULL,
             last_sequence INTEGER NOT NULL,
             first_observed_at INTEGER NOT NULL,
             last_observed_at INTEGER NOT NULL,
             events TEXT NOT NULL
         ) STRICT;
         CREATE INDEX blocks_{name}_time ON blocks_{name} (first_observed_at, last_observed_at);
         CREATE INDEX blocks_{name}_source ON blocks_{name} (source, first_observed_at, last_observed_at);
         CREATE INDEX blocks_{name}_sequence ON blocks_{name} (origin, last_sequence, first_sequence);
         CREATE TABLE block_keys_{name} (
             key ANY NOT NULL,
             first_observed_at INTEGER NOT NULL,
             block INTEGER NOT NULL,
             last_observed_at INTEGER NOT NULL,
             PRIMARY KEY (key, first_observed_at, block)
         ) STRICT, WITHOUT ROWID;"
    )
}

/// Drops the tables of one day.
pub(super) fn drop_day(connection: &Connection, day: Day) -> Result<()> {
    let name = day.name();
    connection.execute("DELETE FROM days WHERE day = ?1", [day.0])?;
    create_view(connection)?;
    connection.execute_batch(&format!(
        "DROP TABLE blocks_{name}; DROP TABLE block_keys_{name}; DROP TABLE processes_{name};"
    ))?;
    Ok(())
}

/// The days that have tables, the oldest first.
pub(super) fn days(connection: &Connection) -> Result<Vec<Day>> {
    let mut statement = connection.prepare_cached("SELECT day FROM days ORDER BY day")?;
    let days = statement.query_map([], |row| row.get(0).map(Day))?.collect::<Result<_, _>>()?;
    Ok(days)
}

/// SQLite's own bound on the terms of one `UNION ALL` is 500; days beyond it are left out of the view.
const VIEW_DAYS: usize = 400;

/// An event's id in the form in which it is shown: all of its origin but the last 48 bits, which are its number.
const EVENT_ID: &str = "lower(
    hex(substr(b.origin, 1, 4)) || '-' || hex(substr(b.origin, 5, 2)) || '-' || hex(substr(b.origin, 7, 2)) || '-'
    || hex(substr(b.origin, 9, 2)) || '-' || printf('%012x', e.value ->> 0))";

/// The view `events`: what a person reads with `sqlite3`. The store itself goes to the tables.
fn create_view(connection: &Connection) -> Result<()> {
    let days = days(connection)?;
    connection.execute_batch("DROP VIEW IF EXISTS events")?;
    if days.is_empty() {
        return Ok(());
    }
    let terms: Vec<String> = days
        .iter()
        .rev()
        .take(VIEW_DAYS)
        .map(|day| {
            let name = day.name();
            format!(
                "SELECT {EVENT_ID} AS event_id, s.tenant, s.agent, s.host, e.value ->> 0 AS sequence,
                        b.first_observed_at + (e.value ->> 1) AS observed_at, e.value ->> 5 AS kind,
                        p.pid, p.uid, p.user, p.executable, p.command_line, e.value -> 6 AS data
                 FROM blocks_{name} b
                 JOIN json_each(b.events) e
                 JOIN sources s USING (source)
                 LEFT JOIN processes_{name} p ON p.process = e.value ->> 4"
            )
        })
        .collect();
    connection.execute_batch(&format!("CREATE VIEW events AS {}", terms.join(" UNION ALL ")))?;
    Ok(())
}

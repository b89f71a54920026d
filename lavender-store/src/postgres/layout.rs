//! How events lie in days: in PostgreSQL's own partitions, or in TimescaleDB's chunks where the database had that
//! extension when the tables were made.

use std::borrow::Cow;

use tokio_postgres::GenericClient;

use super::error::Result;
use super::schema::number;
use crate::day::Day;

/// After so many days a chunk is compressed, where TimescaleDB's licence allows it.
const COMPRESSED_AFTER_DAYS: i64 = 7;

/// What makes hypertables of the tables, a chunk a UTC day.
const HYPERTABLES: &str = "
    SELECT create_hypertable('lavender.events', by_range('observed_at', 86400000000000), create_default_indexes => false);
    SELECT create_hypertable('lavender.processes', by_range('day', 1), create_default_indexes => false);";

/// Only under TimescaleDB's own licence: the Apache one has no compression.
const COMPRESSIBLE: &str = "
    ALTER TABLE lavender.events SET (timescaledb.compress, timescaledb.compress_segmentby = 'source',
        timescaledb.compress_orderby = 'observed_at, event_id');";

/// How the tables of events and processes are divided into days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Partitions,
    Hypertables {
        /// Whether old days are compressed.
        compressed: bool,
    },
}

impl Layout {
    /// What new tables of a database are to be.
    pub(super) async fn for_new(client: &impl GenericClient) -> Result<Self> {
        let sql = "SELECT current_setting('timescaledb.license', true) FROM pg_extension
             WHERE extname = 'timescaledb'";
        let Some(row) = client.query_opt(sql, &[]).await? else { return Ok(Self::Partitions) };
        let licence: Option<&str> = row.try_get(0)?;
        Ok(Self::Hypertables { compressed: licence == Some("timescale") })
    }

    /// What the tables of a database are.
    pub(super) async fn of(client: &impl GenericClient) -> Result<Self> {
        let sql = "SELECT relkind = 'p' FROM pg_class WHERE oid = 'lavender.events'::regclass";
        if client.query_one(sql, &[]).await?.try_get(0)? {
            return Ok(Self::Partitions);
        }
        Self::for_new(client).await
    }

    /// The schema, which is written with partitions.
    pub(super) fn schema(self, partitioned: &str) -> Cow<'_, str> {
        match self {
            Self::Partitions => Cow::Borrowed(partitioned),
            Self::Hypertables { compressed } => {
                let plain = partitioned
                    .replace(" PARTITION BY RANGE (observed_at)", "")
                    .replace(" PARTITION BY LIST (day)", "");
                let compressible = if compressed { COMPRESSIBLE } else { "" };
                Cow::Owned(format!("{plain}{HYPERTABLES}{compressible}"))
            }
        }
    }

    /// Makes room for a day.
    pub(super) fn make(self, day: Day) -> String {
        let (name, of_events, of_processes) = (day.name(), bounds(day), number(day));
        match self {
            // Attached, not made in place: that would wait for everybody who uses the parent.
            Self::Partitions => format!(
                "CREATE TABLE lavender.events_{name} (LIKE lavender.events INCLUDING DEFAULTS);
                 ALTER TABLE lavender.events ATTACH PARTITION lavender.events_{name} {of_events};
                 CREATE TABLE lavender.processes_{name} (LIKE lavender.processes INCLUDING DEFAULTS);
                 ALTER TABLE lavender.processes ATTACH PARTITION lavender.processes_{name}
                     FOR VALUES IN ({of_processes});"
            ),
            // A chunk comes with its first row.
            Self::Hypertables { .. } => String::new(),
        }
    }

    /// Drops a day, and with TimescaleDB what is older.
    pub(super) fn drop(self, day: Day) -> String {
        let (name, next) = (day.name(), Day(day.0 + 1));
        match self {
            Self::Partitions => {
                format!("DROP TABLE lavender.events_{name}; DROP TABLE lavender.processes_{name};")
            }
            Self::Hypertables { .. } => format!(
                "SELECT drop_chunks('lavender.events', older_than => {}::bigint);
                 SELECT drop_chunks('lavender.processes', older_than => {});",
                next.start().as_nanos(),
                number(next)
            ),
        }
    }

    /// Compresses what is old enough today.
    pub(super) fn compress(self, today: Day) -> Option<String> {
        let before = Day(today.0 - COMPRESSED_AFTER_DAYS).start().as_nanos();
        (self == Self::Hypertables { compressed: true }).then(|| {
            format!(
                "SELECT compress_chunk(chunk, if_not_compressed => true)
                 FROM show_chunks('lavender.events', older_than => {before}::bigint) AS chunk"
            )
        })
    }
}

/// The bounds of a day's events. The first and the last day that a timestamp can lie in have one each.
fn bounds(day: Day) -> String {
    let (from, to) = (day.start().as_nanos(), Day(day.0 + 1).start().as_nanos());
    let from = if from == i64::MIN { "MINVALUE".to_owned() } else { from.to_string() };
    let to = if to == i64::MAX { "MAXVALUE".to_owned() } else { to.to_string() };
    format!("FOR VALUES FROM ({from}) TO ({to})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day = Day(19_675);
    const HYPERTABLES: Layout = Layout::Hypertables { compressed: true };

    #[test]
    fn hypertables_have_the_same_columns_and_no_partitions() {
        let partitioned = include_str!("schema.sql");
        assert_eq!(Layout::Partitions.schema(partitioned), partitioned);
        for compressed in [true, false] {
            let sql = Layout::Hypertables { compressed }.schema(partitioned);
            assert!(!sql.contains("PARTITION BY"), "{sql}");
            assert!(sql.contains("by_range('observed_at', 86400000000000)"), "a chunk a UTC day");
            assert_eq!(sql.contains("timescaledb.compress"), compressed);
            assert!(sql.contains("PRIMARY KEY (observed_at, event_id)\n);"), "{sql}");
            assert!(sql.contains("PRIMARY KEY (process, day)\n);"), "{sql}");
        }
    }

    #[test]
    fn days_are_dropped_by_chunks_whatever_the_licence() {
        for compressed in [true, false] {
            let sql = Layout::Hypertables { compressed }.drop(DAY);
            assert!(sql.contains("('lavender.events', older_than => 1700006400000000000::bigint)"));
            assert!(sql.contains("('lavender.processes', older_than => 19676)"));
        }
        assert_eq!(HYPERTABLES.make(DAY), "");
        assert!(HYPERTABLES.compress(DAY).unwrap().contains("older_than => 1699315200000000000"));
        assert_eq!(Layout::Hypertables { compressed: false }.compress(DAY), None);
        assert_eq!(Layout::Partitions.compress(DAY), None);
    }
}

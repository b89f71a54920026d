//! Days whose events have a row each, as versions before 11 stored them, become days of blocks.

use lavender_core::codec;
use lavender_core::event::{EventData, EventKind};
use lavender_core::{EventId, ProcessId, Timestamp};
use rusqlite::Connection;

use super::blocks::{BlockWriter, Data, Entry};
use super::error::{Result, SqliteError};
use crate::day::Day;
use crate::sequence::origin_bits;

/// How many rows are held at a time.
const ROWS: usize = 4_096;

/// A row of a day's events.
struct Row {
    id: EventId,
    source: i64,
    observed_at: i64,
    boot_time: i64,
    kind: String,
    tid: u32,
    process: Option<(i64, ProcessId)>,
    data: String,
}

/// Writes the blocks of a day that has none yet, and drops what they are made of; inside a transaction.
pub(super) fn day(connection: &Connection, day: Day) -> Result<()> {
    let name = day.name();
    let mut blocks = BlockWriter::new(connection, day)?;
    {
        let mut select = connection.prepare(&format!(
            "SELECT e.event_id, e.source, e.observed_at, e.boot_time, e.kind, e.tid, e.process, p.process_id, e.data
             FROM events_{name} e LEFT JOIN processes_{name} p USING (process)
             ORDER BY e.source, substr(e.event_id, 1, 10), e.observed_at, e.event_id"
        ))?;
        let mut rows = select.query([])?;
        let mut held: Vec<Row> = Vec::with_capacity(ROWS);
        while let Some(row) = rows.next()? {
            let row = Row::read(row)?;
            let goes_on = |held: &Vec<Row>| {
                let first = &held[0];
                first.source == row.source && origin_bits(first.id) == origin_bits(row.id)
            };
            if held.len() == ROWS || !held.is_empty() && !goes_on(&held) {
                write(&mut blocks, &held)?;
                held.clear();
            }
            held.push(row);
        }
        write(&mut blocks, &held)?;
    }
    connection.execute_batch(&format!("DROP TABLE events_{name}"))?;
    Ok(())
}

fn write(blocks: &mut BlockWriter<'_>, rows: &[Row]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let entries: Vec<Entry<'_>> = rows.iter().map(Row::entry).collect();
    blocks.write(first.source, &entries)
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self> {
        let id = EventId::from_u128(u128::from_be_bytes(row.get(0)?))
            .map_err(|error| SqliteError::unreadable("an event's id", &error))?;
        let process: Option<(i64, [u8; 16])> = row.get::<_, Option<i64>>(6)?.zip(row.get(7)?);
        let process = match process {
            Some((row, id)) => {
                let id = ProcessId::from_u128(u128::from_be_bytes(id))
                    .map_err(|error| SqliteError::unreadable("a process's id", &error))?;
                Some((row, id))
            }
            None => None,
        };
        Ok(Self {
            id,
            source: row.get(1)?,
            observed_at: row.get(2)?,
            boot_time: row.get(3)?,
            kind: row.get(4)?,
            tid: row.get(5)?,
            process,
            data: row.get(8)?,
        })
    }

    fn entry(&self) -> Entry<'_> {
        let alert = match codec::data_from_json(&self.kind, &self.data) {
            Ok(EventData::Response(response)) => response.order.cause.alert(),
            _ => None,
        };
        Entry {
            id: self.id,
            observed_at: Timestamp::from_nanos(self.observed_at),
            boot_time: self.boot_time.cast_unsigned(),
            tid: self.tid,
            process: self.process,
            kind: self.kind.parse().unwrap_or(EventKind::Unknown),
            kind_name: &self.kind,
            alert,
            data: Data::Text(&self.data),
        }
    }
}

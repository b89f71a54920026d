//! Events, as the writer stores them.

use std::collections::HashMap;
use std::sync::Arc;

use lavender_core::event::{Event, EventData};
use lavender_core::store::Inserted;
use lavender_core::{AgentIdentity, EventId, ExecId, Origin, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::blocks::{BlockWriter, Data, Entry};
use super::error::Result;
use super::process::{ProcessReader, ProcessWriter};
use super::{agents, schema};
use crate::day::Day;
use crate::process::StoredProcesses;
use crate::sequence::origin_bits;

/// What the writer remembers of what is stored, so that it need not ask for each event. Forgotten when a
/// transaction is taken back.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) processes: StoredProcesses<i64>,
    pub(super) days: Vec<Day>,
    pub(super) sources: HashMap<AgentIdentity, i64>,
}

impl Remembered {
    pub(super) fn clear(&mut self) {
        self.processes.clear();
        self.days.clear();
        self.sources.clear();
    }

    fn ensure_day(&mut self, connection: &Connection, day: Day) -> Result<()> {
        if self.days.contains(&day) {
            return Ok(());
        }
        self.days = schema::days(connection)?;
        if !self.days.contains(&day) {
            schema::create_day(connection, day)?;
            self.days.push(day);
        }
        Ok(())
    }
}

/// Stores events of one agent, inside a transaction.
pub(super) fn append(
    connection: &Connection,
    remembered: &mut Remembered,
    source: &AgentIdentity,
    events: &[Arc<Event>],
) -> Result<Inserted> {
    if events.is_empty() {
        return Ok(Inserted::default());
    }
    let row = agents::source(connection, &mut remembered.sources, source)?;
    let mut fresh: Vec<&Event> = Vec::new();
    for of_a_day in events.chunk_by(|a, b| Day::of(a.observed_at) == Day::of(b.observed_at)) {
        let day = Day::of(of_a_day[0].observed_at);
        remembered.ensure_day(connection, day)?;
        append_day(connection, remembered, row, day, of_a_day, &mut fresh)?;
    }
    agents::hear(connection, source, row, &fresh)?;
    note_sequences(connection, fresh.iter().map(|event| event.id))?;
    let new = fresh.len() as u64;
    Ok(Inserted { new, duplicate: events.len() as u64 - new })
}

fn append_day<'e>(
    connection: &Connection,
    remembered: &mut Remembered,
    source: i64,
    day: Day,
    events: &'e [Arc<Event>],
    fresh: &mut Vec<&'e Event>,
) -> Result<()> {
    let mut processes = ProcessWriter::new(connection, day)?;
    let mut blocks = BlockWriter::new(connection, day)?;
    let mut events: Vec<&Event> = events.iter().map(|event| &**event).collect();
    // Stable: of two with the same id and time, the one that came first is stored.
    events.sort_by_key(|event| (origin_bits(event.id), event.observed_at, event.id));
    for of_an_origin in events.chunk_by(|a, b| origin_bits(a.id) == origin_bits(b.id)) {
        let new = new_ones(&mut blocks, of_an_origin)?;
        let mut entries = Vec::with_capacity(new.len());
        for event in &new {
            let process = match &event.process {
                Some(process) => {
                    let row = processes.row(connection, &mut remembered.processes, process)?;
                    Some((row, process.id()))
                }
                None => None,
            };
            entries.push(Entry {
                id: event.id,
                observed_at: event.observed_at,
                boot_time: event.boot_time.as_nanos(),
                tid: event.tid,
                process,
                kind: event.kind(),
                kind_name: match &event.data {
                    EventData::Unknown { kind, .. } => kind,
                    known => known.kind().as_str(),
                },
                alert: match &event.data {
                    EventData::Response(response) => response.order.cause.alert(),
                    _ => None,
                },
                data: Data::Event(&event.data),
            });
        }
        blocks.write(source, &entries)?;
        fresh.extend(new);
    }
    Ok(())
}

/// Those of an origin's events that are not stored yet, each once.
fn new_ones<'e>(blocks: &mut BlockWriter<'_>, events: &[&'e Event]) -> Result<Vec<&'e Event>> {
    let mut sequences: Vec<u64> = events.iter().map(|event| event.id.sequence()).collect();
    let each_once = sequences.is_sorted_by(|a, b| a < b);
    sequences.sort_unstable();
    let mut stored = blocks.stored(origin_bits(events[0].id), &sequences)?;
    if stored.is_empty() && each_once {
        return Ok(events.to_vec());
    }
    Ok(events.iter().copied().filter(|event| stored.insert(event.id.sequence())).collect())
}

/// Raises the highest sequence number of each origin to what these events have.
pub(super) fn note_sequences(
    connection: &Connection,
    events: impl Iterator<Item = EventId>,
) -> Result<()> {
    let mut highest: HashMap<u128, u64> = HashMap::new();
    for event in events {
        let sequence = highest.entry(origin_bits(event)).or_default();
        *sequence = event.sequence().max(*sequence);
    }
    let mut upsert = connection.prepare_cached(
        "INSERT INTO sequences (origin, last_sequence) VALUES (?1, ?2)
         ON CONFLICT (origin) DO UPDATE
             SET last_sequence = max(last_sequence, excluded.last_sequence)",
    )?;
    for (origin, sequence) in highest {
        upsert.execute(params![origin.to_be_bytes(), sequence.cast_signed()])?;
    }
    Ok(())
}

/// The highest sequence number of an origin.
pub(super) fn last_sequence(connection: &Connection, origin: Origin) -> Result<Option<u64>> {
    let sequence = connection
        .prepare_cached("SELECT last_sequence FROM sequences WHERE origin = ?1")?
        .query_row([origin_bits(origin.event(0)).to_be_bytes()], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(sequence.map(i64::cast_unsigned))
}

/// The newest state of a program, whatever the day.
pub(super) fn process(
    connection: &Connection,
    id: ExecId,
) -> Result<Option<Arc<lavender_core::event::Process>>> {
    let mut processes = ProcessReader::new(connection);
    for day in schema::days(connection)?.into_iter().rev() {
        if let Some(process) = processes.find(day, id)? {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

/// Drops the days that were over at a time. Returns how many.
pub(super) fn retain(
    connection: &Connection,
    remembered: &mut Remembered,
    before: Timestamp,
) -> Result<u64> {
    let first_kept = Day::of(before);
    let mut dropped = 0;
    for day in schema::days(connection)?.into_iter().take_while(|day| *day < first_kept) {
        schema::drop_day(connection, day)?;
        dropped += 1;
    }
    connection
        .execute("DELETE FROM losses WHERE observed_at < ?1", [first_kept.start().as_nanos()])?;
    remembered.clear();
    Ok(dropped)
}

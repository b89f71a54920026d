//! Blocks: events of one agent and boot that came together lie in one row, as a JSON text.
//!
//! A row for each event costs an entry in every index for each event: several times what its bytes cost. A block costs
//! one for some hundred. Its text is an array with an array for each event, in the order of time:
//!
//! ```json
//! [[sequence, ns behind the block's first_observed_at, boot_time, tid, row of the process or null, "kind", data]]
//! ```
//!
//! The view `events` takes it apart for whoever reads the file with `sqlite3`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use lavender_core::event::{EventData, EventKind};
use lavender_core::{AlertId, EventId, ProcessId, Timestamp, codec};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{CachedStatement, Connection, params};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::{Result, SqliteError};
use crate::day::Day;
use crate::sequence::origin_bits;

/// The most events of a block: whoever looks for one reads them all.
const EVENTS: usize = 512;

/// Where a block's text has so many bytes it ends.
const BYTES: usize = 256 << 10;

/// The most that a block's sequence numbers lie apart. One that reached over more would be read for every event between.
const NUMBERS: u64 = 1 << 16;

/// The longest time from a block's first event to its last. So far before the time that is asked for blocks are looked
/// at that may reach into it.
pub(super) const SPAN: Duration = Duration::from_secs(10);

/// What a block is found by: what at least one of its events is. Whoever reads a block looks at each event all the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The kind of an event. Of one that is not known here, `unknown` and its name are keys both.
    Kind(Cow<'static, str>),
    /// The process that acted, or the alert that a response answers.
    Id(u128),
}

impl Key {
    pub(super) const fn kind(kind: EventKind) -> Self {
        Self::Kind(Cow::Borrowed(kind.as_str()))
    }

    /// As it lies in a column.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Kind(name) => Value::Text(name.clone().into_owned()),
            Self::Id(id) => Value::Blob(id.to_be_bytes().to_vec()),
        }
    }
}

/// An event on its way into a block.
#[derive(Debug)]
pub(super) struct Entry<'e> {
    pub(super) id: EventId,
    pub(super) observed_at: Timestamp,
    pub(super) boot_time: u64,
    pub(super) tid: u32,
    /// The row of the process, and its id.
    pub(super) process: Option<(i64, ProcessId)>,
    pub(super) kind: EventKind,
    /// The name of its kind, known here or not.
    pub(super) kind_name: &'e str,
    /// The alert that it answers.
    pub(super) alert: Option<AlertId>,
    pub(super) data: Data<'e>,
}

/// What is particular to an event's kind.
#[derive(Debug)]
pub(super) enum Data<'e> {
    Event(&'e EventData),
    /// As another version stored it.
    Text(&'e str),
}

/// Writes the blocks of one day.
pub(super) struct BlockWriter<'a> {
    insert: CachedStatement<'a>,
    key: CachedStatement<'a>,
    stored: CachedStatement<'a>,
    connection: &'a Connection,
    /// The last block's text and keys, whose room the next one takes.
    text: Vec<u8>,
    keys: HashSet<Key>,
}

impl<'a> BlockWriter<'a> {
    pub(super) fn new(connection: &'a Connection, day: Day) -> Result<Self> {
        let name = day.name();
        Ok(Self {
            insert: connection.prepare_cached(&format!(
                "INSERT INTO blocks_{name} (source, origin, first_sequence, last_sequence,
                     first_observed_at, last_observed_at, events)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
            ))?,
            key: connection.prepare_cached(&format!(
                "INSERT INTO block_keys_{name} (key, first_observed_at, block, last_observed_at)
                 VALUES (?1, ?2, ?3, ?4)"
            ))?,
            stored: connection.prepare_cached(&format!(
                "SELECT events FROM blocks_{name} INDEXED BY blocks_{name}_sequence
                 WHERE origin = ?1 AND last_sequence >= ?2 AND first_sequence <= ?3"
            ))?,
            connection,
            text: Vec::with_capacity(64 << 10),
            keys: HashSet::new(),
        })
    }

    /// Which of these sequence numbers of an origin, in their order, are stored. Numbers that lie far apart are looked up
    /// apart, so that what lies between them is not read.
    pub(super) fn stored(&mut self, origin: u128, sequences: &[u64]) -> Result<HashSet<u64>> {
        let mut found = HashSet::new();
        for run in sequences.chunk_by(|a, b| b - a <= EVENTS as u64) {
            let (first, last) = (run[0].cast_signed(), run[run.len() - 1].cast_signed());
            let mut rows = self.stored.query(params![origin.to_be_bytes(), first, last])?;
            while let Some(row) = rows.next()? {
                let lines = parse(text(row.get_ref(0)?)?)?;
                let numbers = lines.iter().map(|line| line.sequence);
                found.extend(numbers.filter(|number| run.binary_search(number).is_ok()));
            }
        }
        Ok(found)
    }

    /// Writes events of one origin, in the order of time and then id.
    pub(super) fn write(&mut self, source: i64, mut entries: &[Entry<'_>]) -> Result<()> {
        while !entries.is_empty() {
            let written = self.block(source, entries)?;
            entries = &entries[written..];
        }
        Ok(())
    }

    /// Writes one block of what comes first, and returns how many events it has.
    fn block(&mut self, source: i64, entries: &[Entry<'_>]) -> Result<usize> {
        let first = &entries[0];
        let end = first.observed_at.saturating_add(SPAN);
        self.text.clear();
        self.keys.clear();
        let mut count = 0;
        let mut numbers = first.id.sequence()..=first.id.sequence();
        let (mut kind, mut process) = (None, None);
        for entry in entries.iter().take(EVENTS) {
            let number = entry.id.sequence();
            let reach = number.min(*numbers.start())..=number.max(*numbers.end());
            let apart = reach.end() - reach.start();
            if entry.observed_at > end || self.text.len() >= BYTES || apart > NUMBERS {
                break;
            }
            numbers = reach;
            self.text.push(if count == 0 { b'[' } else { b',' });
            push(&mut self.text, entry, first.observed_at)?;
            count += 1;
            if entry.kind == EventKind::Unknown {
                self.keys.insert(Key::Kind(entry.kind_name.to_owned().into()));
            }
            if kind.replace(entry.kind) != Some(entry.kind) {
                self.keys.insert(Key::kind(entry.kind));
            }
            if let Some((_, id)) = entry.process
                && process.replace(id) != Some(id)
            {
                self.keys.insert(Key::Id(id.as_u128()));
            }
            if let Some(alert) = entry.alert {
                self.keys.insert(Key::Id(alert.as_u128()));
            }
        }
        self.text.push(b']');
        let entries = &entries[..count];
        let first_at = first.observed_at.as_nanos();
        let last_at = entries.last().map_or(first_at, |last| last.observed_at.as_nanos());
        self.insert.execute(params![
            source,
            origin_bits(first.id).to_be_bytes(),
            numbers.start().cast_signed(),
            numbers.end().cast_signed(),
            first_at,
            last_at,
            text(ValueRef::Text(&self.text))?,
        ])?;
        let block = self.connection.last_insert_rowid();
        for key in &self.keys {
            self.key.execute(params![key.value(), first_at, block, last_at])?;
        }
        Ok(count)
    }
}

/// Appends an event's line.
fn push(text: &mut Vec<u8>, entry: &Entry<'_>, first: Timestamp) -> Result<()> {
    let invalid = |error: &dyn std::error::Error| {
        SqliteError::Invalid(format!("event {}: {error}", entry.id))
    };
    let behind = entry.observed_at.as_nanos() - first.as_nanos();
    let row = entry.process.map(|(row, _)| row);
    let head = (entry.id.sequence(), behind, entry.boot_time, entry.tid, row, entry.kind_name);
    serde_json::to_writer(&mut *text, &head).map_err(|error| invalid(&error))?;
    // In the place of the bracket that closes it.
    text.pop();
    text.push(b',');
    let foreign = match &entry.data {
        Data::Event(EventData::Unknown { body, .. }) => Some(String::from_utf8_lossy(body)),
        Data::Event(data) => {
            codec::write_data(data, text).map_err(|error| invalid(&error))?;
            None
        }
        Data::Text(text) => Some(Cow::Borrowed(*text)),
    };
    if let Some(foreign) = foreign {
        // What another version wrote may be no JSON. It must not make the whole text unreadable, and is a string in it.
        let object =
            foreign.starts_with('{') && serde_json::from_str::<serde_json::Value>(&foreign).is_ok();
        if object {
            text.extend_from_slice(foreign.as_bytes());
        } else {
            serde_json::to_writer(&mut *text, &foreign).map_err(|error| invalid(&error))?;
        }
    }
    text.push(b']');
    Ok(())
}

/// An event in a block's text.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'t> {
    pub(super) sequence: u64,
    /// ns behind the block's first.
    pub(super) behind: i64,
    pub(super) boot_time: u64,
    pub(super) tid: u32,
    pub(super) process: Option<i64>,
    #[serde(borrow)]
    pub(super) kind: Cow<'t, str>,
    #[serde(borrow)]
    data: &'t RawValue,
}

impl Line<'_> {
    pub(super) fn is_of(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Unknown => self.kind.parse() == Ok(kind),
            known => self.kind == known.as_str(),
        }
    }

    /// What cannot be read as its kind, since another version wrote it, is kept as it is.
    pub(super) fn data(&self) -> EventData {
        let json: Cow<'_, str> = match self.data.get() {
            text if text.starts_with('"') => {
                serde_json::from_str::<String>(text).map_or_else(|_| text.into(), Cow::Owned)
            }
            text => text.into(),
        };
        codec::data_from_json(&self.kind, &json).unwrap_or_else(|_| EventData::Unknown {
            kind: (*self.kind).into(),
            body: json.into_owned().into(),
        })
    }
}

/// The events in a block's text.
pub(super) fn parse(text: &str) -> Result<Vec<Line<'_>>> {
    serde_json::from_str(text).map_err(|error| SqliteError::unreadable("a block of events", &error))
}

/// A column's text, in its place.
pub(super) fn text(column: ValueRef<'_>) -> Result<&str> {
    column.as_str().map_err(|error| SqliteError::unreadable("a block of events", &error))
}

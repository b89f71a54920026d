//! Events: written by the writer, read through any connection.

use std::collections::HashMap;
use std::sync::Arc;

use lavender_core::event::{Event, EventData, EventKind};
use lavender_core::store::{EventQuery, Inserted, Page, StoredEvent};
use lavender_core::{AgentIdentity, BootTime, EventId, ExecId, Origin, Timestamp, codec};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use super::error::{Result, SqliteError};
use super::process::{ProcessReader, ProcessWriter};
use super::{agents, schema};
use crate::cursor::{Listing, Position};
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
    let mut insert = connection.prepare_cached(&format!(
        "INSERT OR IGNORE INTO events_{} (event_id, source, sequence, observed_at, boot_time, kind,
             tid, process, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        day.name()
    ))?;
    for event in events {
        let process = match &event.process {
            Some(process) => Some(processes.row(connection, &mut remembered.processes, process)?),
            None => None,
        };
        let kind = match &event.data {
            EventData::Unknown { kind, .. } => kind,
            known => known.kind().as_str(),
        };
        let data = codec::data_to_json(&event.data)
            .map_err(|error| SqliteError::Invalid(format!("event {}: {error}", event.id)))?;
        let added = insert.execute(params![
            event.id.as_u128().to_be_bytes(),
            source,
            event.id.sequence().cast_signed(),
            event.observed_at.as_nanos(),
            event.boot_time.as_nanos().cast_signed(),
            kind,
            event.tid,
            process,
            data,
        ])?;
        if added == 1 {
            fresh.push(event);
        }
    }
    Ok(())
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

/// Reads a page of events.
pub(super) fn read(
    connection: &Connection,
    query: &EventQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<StoredEvent>> {
    let first = after.map_or(query.time.from, |after| after.time.max(query.time.from));
    let filter = Filter::new(connection, query, after)?;
    let mut processes = ProcessReader::new(connection);
    let mut sources = HashMap::new();
    let mut items = Vec::new();
    for day in schema::days(connection)? {
        if day < Day::of(first) || day.start() >= query.time.to || items.len() > limit {
            continue;
        }
        for row in filter.rows(connection, day, limit + 1 - items.len())? {
            let source = match sources.get(&row.source) {
                Some(source) => AgentIdentity::clone(source),
                None => {
                    let source = agents::identity(connection, row.source)?;
                    sources.entry(row.source).or_insert(source).clone()
                }
            };
            items.push(StoredEvent { source, event: Arc::new(row.event(day, &mut processes)?) });
        }
    }
    Ok(Listing::Events.page(items, limit, |stored| Position {
        time: stored.event.observed_at,
        id: stored.event.id.as_u128(),
    }))
}

/// The conditions of a query as SQL.
struct Filter {
    conditions: String,
    values: Vec<Value>,
    /// In which process's rows of a day to look; the day's table stands in the condition.
    by_process: bool,
    /// Which index of a day leads. SQLite, which does not count, would have to guess.
    index: &'static str,
}

impl Filter {
    fn new(connection: &Connection, query: &EventQuery, after: Option<Position>) -> Result<Self> {
        let mut values = vec![
            Value::Integer(query.time.from.as_nanos()),
            Value::Integer(query.time.to.as_nanos()),
        ];
        let mut conditions = String::from("observed_at >= ? AND observed_at < ?");
        let mut index = "time";
        if let Some(after) = after {
            conditions += " AND (observed_at, event_id) > (?, ?)";
            values.push(Value::Integer(after.time.as_nanos()));
            values.push(Value::Blob(after.id.to_be_bytes().to_vec()));
        }
        if query.tenant.is_some() || query.agent.is_some() {
            let rows = agents::sources(connection, query.tenant.as_ref(), query.agent.as_ref())?;
            if let [row] = rows[..] {
                // In the order of time already, by the index over source and time.
                index = "source";
                conditions += " AND source = ?";
                values.push(Value::Integer(row));
            } else {
                // Of many sources, what is wanted is found sooner along an index over time.
                conditions += " AND source IN (SELECT value FROM json_each(?))";
                values.push(Value::Text(format!("{rows:?}")));
            }
        }
        match query.kind {
            None => {}
            Some(EventKind::Unknown) => {
                let known: Vec<String> =
                    EventKind::ALL.iter().map(|kind| format!("'{kind}'")).collect();
                conditions += &format!(" AND kind NOT IN ({})", known.join(", "));
            }
            Some(kind) => {
                if index == "time" {
                    index = "kind";
                }
                conditions += " AND kind = ?";
                values.push(Value::Text(kind.as_str().to_owned()));
            }
        }
        if let Some(alert) = query.response_to {
            index = "response";
            conditions += &format!(" AND kind = 'response' AND {} = ?", schema::ANSWERED_ALERT);
            values.push(Value::Text(alert.to_string()));
        }
        if let Some(process) = query.process {
            index = "process";
            values.push(Value::Blob(process.as_u128().to_be_bytes().to_vec()));
        }
        Ok(Self { conditions, values, by_process: query.process.is_some(), index })
    }

    /// The statement that reads so many rows of a day.
    fn select(&self, day: Day, limit: usize) -> String {
        let name = day.name();
        let by_process = if self.by_process {
            format!(" AND process IN (SELECT process FROM processes_{name} WHERE process_id = ?)")
        } else {
            String::new()
        };
        format!(
            "SELECT event_id, source, observed_at, boot_time, kind, tid, process, data
             FROM events_{name} INDEXED BY events_{name}_{} WHERE {}{by_process}
             ORDER BY observed_at, event_id LIMIT {limit}",
            self.index, self.conditions
        )
    }

    fn rows(&self, connection: &Connection, day: Day, limit: usize) -> Result<Vec<Row>> {
        let mut select = connection.prepare_cached(&self.select(day, limit))?;
        let rows = select
            .query_map(params_from_iter(&self.values), |row| {
                Ok(Row {
                    id: row.get(0)?,
                    source: row.get(1)?,
                    observed_at: row.get(2)?,
                    boot_time: row.get(3)?,
                    kind: row.get(4)?,
                    tid: row.get(5)?,
                    process: row.get(6)?,
                    data: row.get(7)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

/// A row of a day's events.
struct Row {
    id: [u8; 16],
    source: i64,
    observed_at: i64,
    boot_time: i64,
    kind: String,
    tid: u32,
    process: Option<i64>,
    data: String,
}

impl Row {
    fn event(self, day: Day, processes: &mut ProcessReader<'_>) -> Result<Event> {
        let id = EventId::from_u128(u128::from_be_bytes(self.id))
            .map_err(|error| SqliteError::unreadable("an event's id", &error))?;
        Ok(Event {
            id,
            observed_at: Timestamp::from_nanos(self.observed_at),
            boot_time: BootTime::from_nanos(self.boot_time.cast_unsigned()),
            tid: self.tid,
            process: self.process.map(|row| processes.process(day, row)).transpose()?,
            data: data(self.kind, self.data),
        })
    }
}

/// What cannot be read as its kind, since another version wrote it, is kept as it is.
fn data(kind: String, json: String) -> EventData {
    codec::data_from_json(&kind, &json)
        .unwrap_or_else(|_| EventData::Unknown { kind: kind.into(), body: json.into() })
}

#[cfg(test)]
mod tests {
    use lavender_core::store::TimeRange;
    use lavender_core::{AgentId, AlertId, BootId, ProcessId, TenantId};

    use super::*;

    #[test]
    fn each_filter_reads_an_index_of_the_day() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let (day, tenant) = (Day(19_675), TenantId::new("acme").unwrap());
        schema::create_day(&connection, day).unwrap();
        for agent in ["web-1", "web-2"] {
            let (agent, host) = (AgentId::new(agent).unwrap(), "host".into());
            let source = AgentIdentity { tenant: tenant.clone(), agent, host };
            agents::source(&connection, &mut HashMap::new(), &source).unwrap();
        }
        let base = EventQuery { tenant: Some(tenant), ..EventQuery::new(TimeRange::ALL) };
        let agent = Some(AgentId::new("web-1").unwrap());
        let kind = Some(EventKind::ModuleLoad);
        let process = Some(ProcessId::new(BootId::from_u128(7), 1, 1));
        let response_to = Some(AlertId::new("rule", &[]));
        let of_kind = EventQuery { kind, ..base.clone() };
        for (query, index, in_order) in [
            (base.clone(), "_time (observed_at>? AND observed_at<?)", true),
            (EventQuery { agent: agent.clone(), ..base.clone() }, "_source (source=? AND ", true),
            (EventQuery { agent, ..of_kind.clone() }, "_source (source=? AND ", true),
            (of_kind.clone(), "_kind (kind=? AND observed_at>? AND observed_at<?)", true),
            (EventQuery { process, ..of_kind }, "_process (process=?)", false),
            (EventQuery { response_to, ..base }, "_response (<expr>=?)", false),
        ] {
            let filter = Filter::new(&connection, &query, None).unwrap();
            let sql = format!("EXPLAIN QUERY PLAN {}", filter.select(day, 100));
            let mut explain = connection.prepare(&sql).unwrap();
            let rows = explain.query_map(params_from_iter(&filter.values), |row| row.get(3));
            let plan: Vec<String> = rows.unwrap().collect::<std::result::Result<_, _>>().unwrap();
            let by = |line: &&String| line.starts_with("SEARCH events_") && line.contains(index);
            assert!(plan.iter().any(|line| by(&line)), "{index}: {plan:#?}");
            let sorted = plan.iter().any(|line| line.ends_with("TREE FOR ORDER BY"));
            assert_eq!(sorted, !in_order, "{plan:#?}");
        }
    }
}

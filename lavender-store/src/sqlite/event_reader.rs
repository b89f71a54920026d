//! Pages of events: blocks in the order of their first event, merged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use lavender_core::event::{Event, EventData};
use lavender_core::store::{EventQuery, Page, StoredEvent};
use lavender_core::{AgentIdentity, BootTime, EventId, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::blocks::{self, Key, Line};
use super::error::{Result, SqliteError};
use super::process::ProcessReader;
use super::{agents, schema};
use crate::cursor::{Listing, Position};
use crate::day::Day;

/// Reads a page of events.
pub(super) fn read(
    connection: &Connection,
    query: &EventQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<StoredEvent>> {
    let first = after.map_or(query.time.from, |after| after.time.max(query.time.from));
    let filter = Filter::new(connection, query, first, after)?;
    let mut processes = ProcessReader::new(connection);
    let mut sources = HashMap::new();
    let mut items = Vec::new();
    for day in schema::days(connection)? {
        if day < Day::of(first) || day.start() >= query.time.to || items.len() > limit {
            continue;
        }
        for (at, found) in filter.found(connection, day, limit + 1 - items.len())? {
            let source = match sources.get(&found.source) {
                Some(source) => AgentIdentity::clone(source),
                None => {
                    let source = agents::identity(connection, found.source)?;
                    sources.entry(found.source).or_insert(source).clone()
                }
            };
            let event = Arc::new(found.event(at, day, &mut processes)?);
            items.push(StoredEvent { source, event });
        }
    }
    Ok(Listing::Events.page(items, limit, |stored| Position {
        time: stored.event.observed_at,
        id: stored.event.id.as_u128(),
    }))
}

/// What is asked for.
struct Filter<'q> {
    query: &'q EventQuery,
    /// No earlier than this.
    first: Timestamp,
    after: Option<Position>,
    /// Of these sources; of all where it is `None`.
    sources: Option<Vec<i64>>,
    /// What a block must have, and by what it is looked up first.
    keys: Vec<Key>,
    lead: Lead,
}

/// What leads to the blocks. SQLite, which does not count, would have to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    /// The first of the keys.
    Key,
    /// The only source.
    Source,
    Time,
}

impl<'q> Filter<'q> {
    fn new(
        connection: &Connection,
        query: &'q EventQuery,
        first: Timestamp,
        after: Option<Position>,
    ) -> Result<Self> {
        let mut sources = None;
        if query.tenant.is_some() || query.agent.is_some() {
            let some = agents::sources(connection, query.tenant.as_ref(), query.agent.as_ref())?;
            let all = agents::sources(connection, None, None)?;
            sources = Some(some).filter(|some| some.len() < all.len());
        }
        // What is rarer first.
        let process = query.process.map(|id| Key::Id(id.as_u128()));
        let alert = query.response_to.map(|id| Key::Id(id.as_u128()));
        let kind = query.kind.map(Key::kind);
        let rare = alert.is_some() || process.is_some();
        let keys: Vec<Key> = alert.into_iter().chain(process).chain(kind).collect();
        let lead = match &sources {
            _ if rare => Lead::Key,
            Some(sources) if sources.len() == 1 => Lead::Source,
            _ if !keys.is_empty() => Lead::Key,
            _ => Lead::Time,
        };
        Ok(Self { query, first, after, sources, keys, lead })
    }

    /// The statement that goes through the blocks of a day, and what is put in its places.
    fn select(&self, day: Day) -> (String, Vec<Value>) {
        let name = day.name();
        let from = self.first.as_nanos();
        let reaching = self.first.saturating_sub(blocks::SPAN).as_nanos();
        let to = self.query.time.to.as_nanos();
        let mut values: Vec<Value> = [reaching, to, from].map(Value::Integer).into();
        let mut keys = self.keys.iter();
        let (tables, times) = match self.lead {
            Lead::Key => {
                (format!("block_keys_{name} k CROSS JOIN blocks_{name} b USING (block)"), "k")
            }
            Lead::Source => (format!("blocks_{name} b INDEXED BY blocks_{name}_source"), "b"),
            Lead::Time => (format!("blocks_{name} b INDEXED BY blocks_{name}_time"), "b"),
        };
        let mut conditions = format!(
            "{times}.first_observed_at >= ? AND {times}.first_observed_at < ? AND {times}.last_observed_at >= ?"
        );
        if self.lead == Lead::Key {
            conditions += " AND k.key = ?";
            values.extend(keys.next().map(Key::value));
        }
        for key in keys {
            conditions += &format!(
                " AND EXISTS (SELECT 1 FROM block_keys_{name} o
                      WHERE o.key = ? AND o.first_observed_at = b.first_observed_at AND o.block = b.block)"
            );
            values.push(key.value());
        }
        match self.sources.as_deref() {
            None => {}
            Some([source]) => {
                conditions += " AND b.source = ?";
                values.push(Value::Integer(*source));
            }
            Some(sources) => {
                conditions += " AND b.source IN (SELECT value FROM json_each(?))";
                values.push(Value::Text(format!("{sources:?}")));
            }
        }
        let select = format!(
            "SELECT {times}.first_observed_at, b.source, b.origin, b.events FROM {tables} WHERE {conditions}
             ORDER BY {times}.first_observed_at"
        );
        (select, values)
    }

    /// The first events of a day that are asked for, in order.
    fn found(
        &self,
        connection: &Connection,
        day: Day,
        limit: usize,
    ) -> Result<Vec<(Position, Found)>> {
        let acts_of = match self.query.process {
            Some(process) => Some(ProcessReader::new(connection).rows(day, process)?),
            None => None,
        };
        let (sql, values) = self.select(day);
        let mut select = connection.prepare_cached(&sql)?;
        let mut rows = select.query(params_from_iter(values))?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let begins = row.get::<_, i64>(0)?;
            // Whatever the blocks from here on have comes no earlier than this.
            let settled = |(last, _): (&Position, &Found)| last.time.as_nanos() < begins;
            if found.len() == limit && found.last_key_value().is_some_and(settled) {
                break;
            }
            self.take(row, acts_of.as_ref(), limit, &mut found)?;
        }
        Ok(found.into_iter().collect())
    }

    /// Takes what is asked for out of a block, as long as it is among the first.
    fn take(
        &self,
        row: &Row<'_>,
        acts_of: Option<&HashSet<i64>>,
        limit: usize,
        found: &mut BTreeMap<Position, Found>,
    ) -> Result<()> {
        let first = row.get::<_, i64>(0)?;
        let source = row.get(1)?;
        let origin = u128::from_be_bytes(row.get(2)?);
        for line in blocks::parse(blocks::text(row.get_ref(3)?)?)? {
            let time = Timestamp::from_nanos(first.saturating_add(line.behind));
            let at = Position { time, id: origin | u128::from(line.sequence) };
            if found.len() == limit && found.last_key_value().is_some_and(|(last, _)| at > *last) {
                break;
            }
            if time >= self.first
                && time < self.query.time.to
                && self.after.is_none_or(|after| at > after)
                && self.query.kind.is_none_or(|kind| line.is_of(kind))
                && acts_of.is_none_or(|rows| line.process.is_some_and(|row| rows.contains(&row)))
                && self.answers(&line)
            {
                found.insert(at, Found::new(source, &line));
                if found.len() > limit {
                    found.pop_last();
                }
            }
        }
        Ok(())
    }

    fn answers(&self, line: &Line<'_>) -> bool {
        let Some(alert) = self.query.response_to else { return true };
        matches!(line.data(), EventData::Response(response) if response.order.cause.alert() == Some(alert))
    }
}

/// An event that was found, but for its place.
struct Found {
    source: i64,
    boot_time: u64,
    tid: u32,
    process: Option<i64>,
    data: EventData,
}

impl Found {
    fn new(source: i64, line: &Line<'_>) -> Self {
        let Line { boot_time, tid, process, .. } = *line;
        Self { source, boot_time, tid, process, data: line.data() }
    }

    fn event(self, at: Position, day: Day, processes: &mut ProcessReader<'_>) -> Result<Event> {
        let id = EventId::from_u128(at.id)
            .map_err(|error| SqliteError::unreadable("an event's id", &error))?;
        Ok(Event {
            id,
            observed_at: at.time,
            boot_time: BootTime::from_nanos(self.boot_time),
            tid: self.tid,
            process: self.process.map(|row| processes.process(day, row)).transpose()?,
            data: self.data,
        })
    }
}

#[cfg(test)]
mod tests {
    use lavender_core::event::EventKind;
    use lavender_core::store::TimeRange;
    use lavender_core::{AgentId, AlertId, BootId, ProcessId, TenantId};

    use super::*;

    #[test]
    fn each_filter_reads_an_index_of_the_day_in_order() {
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
        let by_key = "k USING PRIMARY KEY (key=? AND first_observed_at>? AND first_observed_at<?)";
        let by_source = "_source (source=? AND first_observed_at>? AND first_observed_at<?)";
        for (query, index) in [
            (base.clone(), "_time (first_observed_at>? AND first_observed_at<?)"),
            (EventQuery { agent: agent.clone(), ..base.clone() }, by_source),
            (EventQuery { agent, ..of_kind.clone() }, by_source),
            (of_kind.clone(), by_key),
            (EventQuery { process, ..of_kind }, by_key),
            (EventQuery { response_to, ..base }, by_key),
        ] {
            let filter = Filter::new(&connection, &query, query.time.from, None).unwrap();
            let (sql, values) = filter.select(day);
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = explain.query_map(params_from_iter(values), |row| row.get(3));
            let plan: Vec<String> = rows.unwrap().collect::<std::result::Result<_, _>>().unwrap();
            let leads = plan[0].starts_with("SEARCH") && plan[0].ends_with(index);
            assert!(leads, "{index}: {plan:#?}");
            let sorted = plan.iter().any(|line| line.ends_with("TREE FOR ORDER BY"));
            assert!(!sorted, "{plan:#?}");
        }
    }
}

//! Events: read back by pages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deadpool_postgres::Transaction;
use lavender_core::event::{Event, EventData, EventKind, Process};
use lavender_core::store::{EventQuery, Page, StoredEvent};
use lavender_core::{BootTime, EventId, Timestamp, codec};
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::query::Conditions;
use super::schema::number;
use super::text::unescaped;
use super::{agents, process};
use crate::cursor::{Listing, Position};
use crate::day::Day;

/// Reads a page of events.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    query: &EventQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<StoredEvent>> {
    let mut sources = None;
    if query.tenant.is_some() || query.agent.is_some() {
        let rows =
            agents::sources(transaction, query.tenant.as_ref(), query.agent.as_ref()).await?;
        if rows.is_empty() {
            return Ok(Page { items: Vec::new(), next: None });
        }
        sources = Some(rows);
    }
    let conditions = conditions(query, sources, after);
    let sql = conditions.select(
        "event_id, observed_at, boot_time, source, tid, process, kind, data",
        "lavender.events",
        "observed_at, event_id",
    );
    let select = transaction.prepare_cached(&sql).await?;
    let rows = conditions.query(transaction, &select, limit).await?;
    let items = stored(transaction, &rows).await?;
    Ok(Listing::Events.page(items, limit, |stored| Position {
        time: stored.event.observed_at,
        id: stored.event.id.as_u128(),
    }))
}

fn conditions(
    query: &EventQuery,
    sources: Option<Vec<i32>>,
    after: Option<Position>,
) -> Conditions {
    let mut conditions = Conditions::default();
    // Behind the cursor there is nothing before its time: days before it are left out.
    let from = after.map_or(query.time.from, |after| after.time.max(query.time.from));
    conditions.and("observed_at >= ?", from.as_nanos());
    conditions.and("observed_at < ?", query.time.to.as_nanos());
    if let Some(after) = after {
        conditions.and("(observed_at, event_id) > (?, ", after.time.as_nanos());
        conditions.more("?)", Uuid::from_u128(after.id));
    }
    match sources.as_deref() {
        None => {}
        Some([source]) => conditions.and("source = ?", *source),
        Some(sources) => conditions.and("source = ANY (?)", sources.to_vec()),
    }
    match query.kind {
        None => {}
        Some(EventKind::Unknown) => {
            let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
            conditions.and("kind <> ALL (?)", known);
        }
        Some(kind) => conditions.and("kind = ?", kind.as_str()),
    }
    if let Some(process) = query.process {
        conditions.and("process_id = ?", Uuid::from_u128(process.as_u128()));
    }
    if let Some(alert) = query.response_to {
        conditions.and("response_to = ?", Uuid::from_u128(alert.as_u128()));
    }
    conditions
}

/// The events of rows, with their processes and sources.
async fn stored(transaction: &Transaction<'_>, rows: &[Row]) -> Result<Vec<StoredEvent>> {
    let mut wanted: BTreeMap<i32, Vec<Uuid>> = BTreeMap::new();
    for row in rows {
        if let Some(process) = row.try_get::<_, Option<Uuid>>(5)? {
            let of_day = wanted.entry(day(row)?).or_default();
            // Neighbours mostly share their process; the server sorts out the rest.
            if of_day.last() != Some(&process) {
                of_day.push(process);
            }
        }
    }
    let mut processes = HashMap::new();
    for (day, mut wanted) in wanted {
        wanted.sort_unstable();
        wanted.dedup();
        processes.insert(day, process::read(transaction, day, &wanted).await?);
    }
    let sources = agents::identities(transaction, rows.iter().map(|row| row.get(3))).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let source = sources
            .get(&row.try_get::<_, i32>(3)?)
            .ok_or_else(|| PostgresError::Damaged("an event is of no agent".into()))?;
        let event = Arc::new(event(row, &processes)?);
        items.push(StoredEvent { source: source.clone(), event });
    }
    Ok(items)
}

fn day(row: &Row) -> Result<i32> {
    Ok(number(Day::of(Timestamp::from_nanos(row.try_get(1)?))))
}

fn event(row: &Row, processes: &HashMap<i32, HashMap<Uuid, Arc<Process>>>) -> Result<Event> {
    let id = EventId::from_u128(row.try_get::<_, Uuid>(0)?.as_u128())
        .map_err(|error| PostgresError::unreadable("an event's id", &error))?;
    let process = match row.try_get::<_, Option<Uuid>>(5)? {
        None => None,
        Some(digest) => processes.get(&day(row)?).and_then(|of_day| of_day.get(&digest)),
    };
    let tid = u32::try_from(row.try_get::<_, i64>(4)?)
        .map_err(|error| PostgresError::unreadable("a thread's number", &error))?;
    Ok(Event {
        id,
        observed_at: Timestamp::from_nanos(row.try_get(1)?),
        boot_time: BootTime::from_nanos(row.try_get::<_, i64>(2)?.cast_unsigned()),
        tid,
        process: process.map(Arc::clone),
        data: data(unescaped(row.try_get(6)?), row.try_get(7)?),
    })
}

/// What cannot be read as its kind, since another version wrote it, is kept as it is.
fn data(kind: String, json: String) -> EventData {
    codec::data_from_json(&kind, &json)
        .unwrap_or_else(|_| EventData::Unknown { kind: kind.into(), body: json.into() })
}

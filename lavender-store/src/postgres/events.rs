//! Events: a batch is one transaction, in which every statement takes whole columns.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::{Client, Transaction};
use lavender_core::event::{Event, EventData};
use lavender_core::store::Inserted;
use lavender_core::{AgentIdentity, EventId, Origin, Timestamp, codec};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::agents;
use super::error::{PostgresError, Result};
use super::layout::Layout;
use super::process::NewProcesses;
use super::schema::{self, number};
use super::text::escaped;
use crate::day::Day;
use crate::process::StoredProcesses;
use crate::sequence::origin_bits;

/// How often a batch is tried again when days go, or writers meet, while it is written.
const TRIES: u32 = 5;

/// What is remembered of what is stored, so that the server need not be asked for each event.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    processes: StoredProcesses<Uuid>,
    /// Days that have partitions, and which making of them.
    days: HashMap<i32, i64>,
    pub(super) sources: HashMap<AgentIdentity, i32>,
}

impl Remembered {
    pub(super) fn clear(&mut self) {
        self.processes.clear();
        self.days.clear();
        self.sources.clear();
    }
}

/// Why a try came to nothing.
enum Failed {
    /// A day was dropped or made anew meanwhile: what is remembered is not so.
    Stale,
    Error(PostgresError),
}

impl From<PostgresError> for Failed {
    fn from(error: PostgresError) -> Self {
        Self::Error(error)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        // The tables have no checks but the bounds of partitions.
        if error.code() == Some(&SqlState::CHECK_VIOLATION) {
            return Self::Stale;
        }
        Self::Error(error.into())
    }
}

fn lock(remembered: &Mutex<Remembered>) -> std::sync::MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stores events of one agent.
pub(super) async fn append(
    client: &mut Client,
    layout: Layout,
    remembered: &Mutex<Remembered>,
    source: &AgentIdentity,
    events: &[Arc<Event>],
) -> Result<Inserted> {
    if events.is_empty() {
        return Ok(Inserted::default());
    }
    let row = agents::source(client, remembered, source).await?;
    let mut tries = 1;
    loop {
        let days = ensure_days(client, layout, remembered, events).await?;
        match try_append(client, remembered, source, row, events, &days).await {
            Ok(inserted) => return Ok(inserted),
            Err(Failed::Stale) if tries < TRIES => lock(remembered).clear(),
            Err(Failed::Stale) => {
                return Err(PostgresError::Busy(
                    "days are dropped as fast as they are made".into(),
                ));
            }
            Err(Failed::Error(PostgresError::Deadlock(_))) if tries < TRIES => {}
            Err(Failed::Error(error)) => return Err(error),
        }
        tries += 1;
    }
}

/// The days of the events, with partitions from here on.
async fn ensure_days(
    client: &mut Client,
    layout: Layout,
    remembered: &Mutex<Remembered>,
    events: &[Arc<Event>],
) -> Result<BTreeMap<i32, i64>> {
    let days: HashSet<Day> = events.iter().map(|event| Day::of(event.observed_at)).collect();
    let known = |days: &HashSet<Day>| -> Option<BTreeMap<i32, i64>> {
        let remembered = lock(remembered);
        let made = |day: &Day| Some((number(*day), *remembered.days.get(&number(*day))?));
        days.iter().map(made).collect()
    };
    if let Some(days) = known(&days) {
        return Ok(days);
    }
    let missing: Vec<Day> = days.iter().copied().collect();
    schema::make_days(client, layout, &missing).await?;
    let numbers: Vec<i32> = days.iter().map(|day| number(*day)).collect();
    let select = client.prepare_cached(MADE).await?;
    let rows = client.query(&select, &[&numbers]).await?;
    let made: BTreeMap<i32, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut remembered = lock(remembered);
    // A day that was made anew has nothing in it that is remembered of the one before.
    if made.iter().any(|(day, made)| remembered.days.get(day).is_some_and(|known| known != made)) {
        remembered.clear();
    }
    remembered.days.extend(&made);
    Ok(made)
}

const MADE: &str = "SELECT day, made FROM lavender.days WHERE day = ANY ($1)";

async fn try_append(
    client: &mut Client,
    remembered: &Mutex<Remembered>,
    source: &AgentIdentity,
    row: i32,
    events: &[Arc<Event>],
    days: &BTreeMap<i32, i64>,
) -> Result<Inserted, Failed> {
    let mut order: Vec<&Arc<Event>> = events.iter().collect();
    // In the order of the key: what comes in order anyway costs a comparison each.
    order.sort_by_key(|event| (event.observed_at, event.id));
    let mut processes = NewProcesses::default();
    let columns = Columns::new(&order, &lock(remembered).processes, &mut processes)?;
    let transaction = client.transaction().await?;
    // What is joined goes out together and is answered in order, so that the first error is the cause: over a
    // network, waiting is what costs.
    let ((), ids) =
        tokio::try_join!(biased; processes.write(&transaction), columns.write(&transaction, row))?;
    let fresh = fresh(&order, &ids);
    let numbers: Vec<i32> = days.keys().copied().collect();
    // From the first row that is in a partition it cannot be dropped; before that, it may have been made anew.
    let select = transaction.prepare_cached(MADE).await?;
    let parameters: [&(dyn ToSql + Sync); 1] = [&numbers];
    let ((), (), now) = tokio::try_join!(
        biased;
        agents::hear(&transaction, source, row, &fresh),
        note_sequences(&transaction, fresh.iter().map(|event| event.id)),
        transaction.query(&select, &parameters),
    )?;
    let now: BTreeMap<i32, i64> = now.iter().map(|row| (row.get(0), row.get(1))).collect();
    if now != *days {
        return Err(Failed::Stale);
    }
    transaction.commit().await?;
    let mut remembered = lock(remembered);
    // What another has found to be stale meanwhile is not remembered again.
    if days.iter().all(|(day, made)| remembered.days.get(day) == Some(made)) {
        processes.remember(&mut remembered.processes);
    }
    let new = fresh.len() as u64;
    Ok(Inserted { new, duplicate: events.len() as u64 - new })
}

/// Those of the events that have been stored now, each once.
fn fresh<'e>(order: &[&'e Arc<Event>], ids: &[Uuid]) -> Vec<&'e Event> {
    let events = order.iter().map(|event| &***event);
    if ids.len() == order.len() {
        return events.collect();
    }
    let mut stored: HashSet<u128> = ids.iter().map(Uuid::as_u128).collect();
    events.filter(|event| stored.remove(&event.id.as_u128())).collect()
}

/// Events as the server takes them: column by column.
struct Columns<'e> {
    ids: Vec<Uuid>,
    times: Vec<i64>,
    boot_times: Vec<i64>,
    sequences: Vec<i64>,
    tids: Vec<i64>,
    process_ids: Vec<Option<Uuid>>,
    processes: Vec<Option<Uuid>>,
    responses: Vec<Option<Uuid>>,
    kinds: Vec<std::borrow::Cow<'e, str>>,
    data: Vec<String>,
}

impl<'e> Columns<'e> {
    fn new(
        events: &[&'e Arc<Event>],
        stored: &StoredProcesses<Uuid>,
        new: &mut NewProcesses<'e>,
    ) -> Result<Self> {
        let digest = |event: &&'e Arc<Event>| {
            let of_day = |process| {
                new.digest(stored, Day::of(event.observed_at), event.observed_at, process)
            };
            event.process.as_ref().map(of_day).transpose()
        };
        let processes = events.iter().map(digest).collect::<Result<_>>()?;
        let events = || events.iter().map(|event| &***event);
        Ok(Self {
            ids: events().map(|event| Uuid::from_u128(event.id.as_u128())).collect(),
            times: events().map(|event| event.observed_at.as_nanos()).collect(),
            boot_times: events().map(|event| event.boot_time.as_nanos().cast_signed()).collect(),
            sequences: events().map(|event| event.id.sequence().cast_signed()).collect(),
            tids: events().map(|event| i64::from(event.tid)).collect(),
            process_ids: events().map(process_id).collect(),
            processes,
            responses: events().map(response_to).collect(),
            kinds: events().map(kind).collect(),
            data: events().map(data).collect::<Result<_>>()?,
        })
    }

    /// Writes the rows; returns the ids of those that were not there.
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        source: i32,
    ) -> Result<Vec<Uuid>, tokio_postgres::Error> {
        let insert = transaction
            .prepare_cached(
                "INSERT INTO lavender.events (source, event_id, observed_at, boot_time, sequence, tid, process_id,
                     process, response_to, kind, data)
                 SELECT $1::int, * FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                     $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::text[])
                 ON CONFLICT DO NOTHING RETURNING event_id",
            )
            .await?;
        let columns: [&(dyn ToSql + Sync); 11] = [
            &source,
            &self.ids,
            &self.times,
            &self.boot_times,
            &self.sequences,
            &self.tids,
            &self.process_ids,
            &self.processes,
            &self.responses,
            &self.kinds,
            &self.data,
        ];
        let rows = transaction.query(&insert, &columns).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

fn process_id(event: &Event) -> Option<Uuid> {
    event.process.as_ref().map(|process| Uuid::from_u128(process.exec_id.process.as_u128()))
}

fn response_to(event: &Event) -> Option<Uuid> {
    match &event.data {
        EventData::Response(response) => {
            response.order.cause.alert().map(|alert| Uuid::from_u128(alert.as_u128()))
        }
        _ => None,
    }
}

fn kind(event: &Event) -> std::borrow::Cow<'_, str> {
    match &event.data {
        EventData::Unknown { kind, .. } => escaped(kind),
        known => known.kind().as_str().into(),
    }
}

fn data(event: &Event) -> Result<String> {
    let data = codec::data_to_json(&event.data)
        .map_err(|error| PostgresError::Invalid(format!("event {}: {error}", event.id)))?;
    if data.contains('\0') {
        let why = format!("event {}: its body is not JSON, there is a NUL in it", event.id);
        return Err(PostgresError::Invalid(why));
    }
    Ok(data)
}

/// Raises the highest sequence number of each origin to what these events have.
pub(super) async fn note_sequences(
    transaction: &Transaction<'_>,
    events: impl Iterator<Item = EventId>,
) -> Result<(), tokio_postgres::Error> {
    let mut highest: BTreeMap<u128, u64> = BTreeMap::new();
    for event in events {
        let sequence = highest.entry(origin_bits(event)).or_default();
        *sequence = event.sequence().max(*sequence);
    }
    if highest.is_empty() {
        return Ok(());
    }
    let origins: Vec<Uuid> = highest.keys().map(|origin| Uuid::from_u128(*origin)).collect();
    let sequences: Vec<i64> = highest.values().map(|sequence| sequence.cast_signed()).collect();
    let upsert = transaction
        .prepare_cached(
            "INSERT INTO lavender.sequences AS s (origin, last_sequence)
             SELECT * FROM unnest($1::uuid[], $2::bigint[])
             ON CONFLICT (origin) DO UPDATE SET last_sequence = excluded.last_sequence
                 WHERE s.last_sequence < excluded.last_sequence",
        )
        .await?;
    transaction.execute(&upsert, &[&origins, &sequences]).await?;
    Ok(())
}

/// The highest sequence number of an origin.
pub(super) async fn last_sequence(client: &Client, origin: Origin) -> Result<Option<u64>> {
    let select = client.prepare_cached(LAST_SEQUENCE).await?;
    let origin = Uuid::from_u128(origin_bits(origin.event(0)));
    let row = client.query_opt(&select, &[&origin]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.map(i64::cast_unsigned))
}

const LAST_SEQUENCE: &str = "SELECT last_sequence FROM lavender.sequences WHERE origin = $1";

/// Drops the days that were over at a time. Returns how many.
pub(super) async fn retain(
    client: &mut Client,
    layout: Layout,
    remembered: &Mutex<Remembered>,
    before: Timestamp,
) -> Result<u64> {
    let dropped = schema::drop_days(client, layout, Day::of(before)).await;
    lock(remembered).clear();
    dropped
}

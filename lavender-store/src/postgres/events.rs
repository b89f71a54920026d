//! Events: a batch is one transaction. Its events are copied in, which is the fastest there is and fails where one of
//! them is there already; the batch is then written again by a statement that passes over what is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::{Client, Transaction};
use lavender_core::event::Event;
use lavender_core::store::Inserted;
use lavender_core::{AgentIdentity, EventId, Origin, Timestamp};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::agents;
use super::columns::Columns;
use super::error::{PostgresError, Result};
use super::layout::Layout;
use super::process::NewProcesses;
use super::schema::{self, number};
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

/// How the rows of events are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All of them are new, or the try fails.
    Copy,
    /// Those that are there are passed over.
    PassOver,
}

/// Why a try came to nothing.
enum Failed {
    /// One of the events is stored already, or twice in the batch.
    Duplicate,
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
        match error.code() {
            // The tables have no checks but the bounds of partitions.
            Some(code) if *code == SqlState::CHECK_VIOLATION => Self::Stale,
            // Only events are written without passing over what is there.
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Self::Duplicate,
            _ => Self::Error(error.into()),
        }
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
    let (mut tries, mut way) = (1, Way::Copy);
    loop {
        let days = ensure_days(client, layout, remembered, events).await?;
        match try_append(client, remembered, (source, row), events, &days, way).await {
            Ok(inserted) => return Ok(inserted),
            Err(Failed::Duplicate) if way == Way::Copy => way = Way::PassOver,
            Err(Failed::Duplicate) => {
                return Err(PostgresError::Busy("an event was stored by another meanwhile".into()));
            }
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
    (source, row): (&AgentIdentity, i32),
    events: &[Arc<Event>],
    days: &BTreeMap<i32, i64>,
    way: Way,
) -> Result<Inserted, Failed> {
    let mut order: Vec<&Arc<Event>> = events.iter().collect();
    // In the order of the key: what comes in order anyway costs a comparison each.
    order.sort_by_key(|event| (event.observed_at, event.id));
    let mut processes = NewProcesses::default();
    let columns = Columns::new(&order, &lock(remembered).processes, &mut processes)?;
    let transaction = client.transaction().await?;
    // What is joined goes out together and is answered in order, so that the first error is the cause: over a
    // network, waiting is what costs.
    let fresh: Vec<&Event> = match way {
        Way::Copy => {
            tokio::try_join!(biased; processes.write(&transaction), columns.copy(&transaction, row))?;
            order.iter().map(|event| &***event).collect()
        }
        Way::PassOver => {
            let ((), ids) = tokio::try_join!(
                biased;
                processes.write(&transaction),
                columns.write(&transaction, row),
            )?;
            fresh(&order, &ids)
        }
    };
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
    let mut stored: HashSet<u128> = ids.iter().map(Uuid::as_u128).collect();
    events.filter(|event| stored.remove(&event.id.as_u128())).collect()
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

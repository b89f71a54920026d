//! Events lie in blocks in an SQLite file: whatever the order in which they come, they are found as the store in memory
//! finds them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::{Event, EventData, EventKind};
use lavender_core::store::{EventQuery, Inserted, StoredEvent, TimeRange};
use lavender_core::{AlertId, Bytes, EventStore};
use lavender_store::{MemoryStore, SqliteOptions, SqliteStore, Store as _};
use rusqlite::Connection;
use tempfile::TempDir;

fn open(directory: &TempDir) -> SqliteStore {
    SqliteStore::open(directory.path().join("lavender.db"), SqliteOptions::default()).unwrap()
}

async fn all(store: &dyn EventStore, mut query: EventQuery) -> Vec<StoredEvent> {
    let mut found = Vec::new();
    loop {
        let page = store.events(&query).await.unwrap();
        found.extend(page.items);
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

/// What three agents see, over a midnight: bursts, pauses, acts of long-lived processes and of short ones, and answers.
fn histories() -> Vec<(Sample, Vec<Arc<Event>>)> {
    let mut histories = Vec::new();
    for (agent, seed) in [("web-1", 1), ("web-2", 2), ("db-1", 3)] {
        let mut sample = Sample::new("acme", agent, seed);
        let daemon = sample.process();
        let mut events = Vec::new();
        let mut now = START.saturating_add(Duration::from_secs(80_000));
        for _ in 0..20 {
            now = now.saturating_add(Duration::from_millis(sample.random() % 1_600_000));
            sample.set_now(now);
            let count = [1, 3, 40, 600][(sample.random() % 4) as usize];
            events.extend(sample.busy(count));
            events.push(sample.file_open(&daemon, "/var/lib/x"));
            if sample.random().is_multiple_of(3) {
                events.extend(sample.responses(&daemon, AlertId::new("r", &[])));
            }
        }
        histories.push((sample, events));
    }
    histories
}

fn queries(histories: &[(Sample, Vec<Arc<Event>>)]) -> Vec<EventQuery> {
    let (sample, events) = &histories[0];
    let at = |part: usize| events[events.len() * part / 8].observed_at;
    let mut queries = Vec::new();
    for time in [
        TimeRange::ALL,
        TimeRange { from: at(2), to: at(3) },
        TimeRange { from: at(5), to: TimeRange::ALL.to },
    ] {
        let base = EventQuery::new(time);
        let tenant = Some(sample.source().tenant.clone());
        let agent = Some(sample.source().agent.clone());
        let process = |event: &Arc<Event>| event.process.as_ref().map(|process| process.id());
        let response_to = Some(AlertId::new("r", &[]));
        let of_agent = EventQuery { tenant, agent, ..base.clone() };
        for kind in [EventKind::FileOpen, EventKind::Exec, EventKind::Response, EventKind::Mount] {
            let kind = Some(kind);
            queries.push(EventQuery { kind, ..base.clone() });
            queries.push(EventQuery { kind, ..of_agent.clone() });
        }
        queries.push(EventQuery { process: process(&events[1]), ..base.clone() });
        queries.push(EventQuery {
            process: process(&events[1]),
            kind: Some(EventKind::FileOpen),
            ..base.clone()
        });
        queries.push(EventQuery { response_to, ..of_agent.clone() });
        queries.extend([base, of_agent]);
    }
    queries
}

#[tokio::test(flavor = "multi_thread")]
async fn in_whatever_order_events_come_they_are_found_as_in_memory() {
    let histories = histories();
    for seed in 1..=2 {
        let directory = TempDir::new().unwrap();
        let (store, model) = (open(&directory), MemoryStore::new());
        let mut random = Sample::new("acme", "random", seed);
        // Batches of all sizes, some twice, some long after those that come behind them.
        let mut batches = Vec::new();
        for (sample, events) in &histories {
            let mut rest = &events[..];
            while !rest.is_empty() {
                let (batch, behind) =
                    rest.split_at((1 + random.random() as usize % 900).min(rest.len()));
                rest = behind;
                batches.push((sample.source(), batch.to_vec()));
                if random.random().is_multiple_of(4) {
                    batches.push((sample.source(), batch[batch.len() / 2..].to_vec()));
                }
            }
        }
        for place in 0..batches.len() {
            let other = place
                + random.random() as usize % (batches.len() - place).min(1 + 8 * seed as usize);
            batches.swap(place, other);
        }
        for (source, batch) in &mut batches {
            if random.random().is_multiple_of(3) {
                batch.reverse();
            }
            let inserted: Inserted = store.append(source, batch).await.unwrap();
            assert_eq!(inserted, model.append(source, batch).await.unwrap());
        }
        for query in queries(&histories) {
            for limit in [90, 1_000] {
                let query = EventQuery { limit, ..query.clone() };
                let (found, expected) =
                    (all(&store, query.clone()).await, all(&model, query.clone()).await);
                let ids = |found: &[StoredEvent]| {
                    found.iter().map(|one| one.event.id).collect::<Vec<_>>()
                };
                assert_eq!(ids(&found), ids(&expected), "seed {seed}: {query:?}");
                assert!(found == expected, "seed {seed}: {query:?}");
            }
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn numbers_may_lie_as_far_apart_as_they_like() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut events = sample.busy(200);
    for (place, event) in events.iter_mut().enumerate() {
        let sequence = (place as u64 * 7_919 % 200) << (place % 40);
        let id = sample.origin().event(sequence.max(1) + place as u64);
        *event = Arc::new(Event { id, ..(**event).clone() });
    }
    let distinct: BTreeSet<_> = events.iter().map(|event| event.id).collect();
    let (first, rest) = events.split_at(80);
    let stored = [
        store.append(sample.source(), rest).await.unwrap(),
        store.append(sample.source(), first).await.unwrap(),
    ];
    let new: u64 = stored.iter().map(|inserted| inserted.new).sum();
    assert_eq!(new, distinct.len() as u64);
    let again = store.append(sample.source(), &events).await.unwrap();
    assert_eq!(again, Inserted { new: 0, duplicate: events.len() as u64 });
    let found = all(&store, EventQuery::new(TimeRange::ALL)).await;
    let found: BTreeSet<_> = found.into_iter().map(|one| one.event.id).collect();
    assert_eq!(found, distinct);
}

#[tokio::test]
async fn what_is_no_json_makes_no_block_unreadable() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut sample = Sample::new("acme", "web-1", 1);
    let shell = sample.process();
    let deep = "[".repeat(100_000);
    let bodies = ["", "no json", "\"text\"", "{\"a\":", "{}", "[1]", "null", "ö\u{1f}\"\\", &deep];
    let mut events: Vec<_> = bodies
        .iter()
        .map(|body| {
            let body = Bytes::copy_from_slice(body.as_bytes());
            sample.event(Some(&shell), EventData::Unknown { kind: "from,\"afar\"".into(), body })
        })
        .collect();
    // Of a kind that is known here, and of a shape that is not.
    let body = Bytes::from_static(b"{\"surprise\":true}");
    events.push(sample.event(None, EventData::Unknown { kind: "exec".into(), body }));
    events.push(sample.exec(&shell));
    store.append(sample.source(), &events).await.unwrap();
    let base = EventQuery::new(TimeRange::ALL);
    let found =
        |found: Vec<StoredEvent>| found.into_iter().map(|one| one.event).collect::<Vec<_>>();
    assert_eq!(found(all(&store, base.clone()).await), events);
    let unknown = EventQuery { kind: Some(EventKind::Unknown), ..base.clone() };
    assert_eq!(found(all(&store, unknown).await), events[..bodies.len()]);
    let exec = EventQuery { kind: Some(EventKind::Exec), ..base };
    assert_eq!(found(all(&store, exec).await), events[bodies.len()..]);
    let database = Connection::open(directory.path().join("lavender.db")).unwrap();
    let counted: isize =
        database.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(counted, events.len().cast_signed());
    let id: String = database
        .query_row("SELECT event_id FROM events ORDER BY sequence DESC", [], |row| row.get(0))
        .unwrap();
    assert_eq!(id, events.last().unwrap().id.to_string());
}

/// The days that have tables.
fn days(database: &Connection) -> Vec<String> {
    database
        .prepare("SELECT substr(name, 8) FROM sqlite_schema WHERE type = 'table' AND name GLOB 'blocks_2*' ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Makes a day of blocks one of a row for each event, as version 10 stored it.
fn make_rows(database: &Connection, day: &str) {
    database
        .execute_batch(&format!(
            "CREATE TABLE events_{day} (
                 event_id BLOB NOT NULL, source INTEGER NOT NULL, sequence INTEGER NOT NULL,
                 observed_at INTEGER NOT NULL, boot_time INTEGER NOT NULL, kind TEXT NOT NULL,
                 tid INTEGER NOT NULL, process INTEGER, data TEXT NOT NULL
             ) STRICT;
             CREATE UNIQUE INDEX events_{day}_id ON events_{day} (event_id);
             INSERT INTO events_{day}
                 SELECT CAST(substr(b.origin, 1, 10) || unhex(printf('%012x', e.value ->> 0)) AS BLOB), b.source,
                     e.value ->> 0, b.first_observed_at + (e.value ->> 1), e.value ->> 2, e.value ->> 5,
                     e.value ->> 3, e.value ->> 4, iif(json_type(e.value, '$[6]') = 'text', e.value ->> 6, e.value -> 6)
                 FROM blocks_{day} b, json_each(b.events) e;
             DROP TABLE blocks_{day}; DROP TABLE block_keys_{day};"
        ))
        .unwrap();
}

#[tokio::test]
async fn days_of_a_row_for_each_event_become_days_of_blocks() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let store = open(&directory);
    let histories = histories();
    for (sample, events) in &histories {
        store.append(sample.source(), events).await.unwrap();
    }
    let mut odd = Sample::new("acme", "odd", 9);
    let every_kind = odd.every_kind();
    store.append(odd.source(), &every_kind).await.unwrap();
    let before: Vec<_> = {
        let mut before = Vec::new();
        for query in queries(&histories) {
            before.push(all(&store, query).await);
        }
        before
    };
    store.close().await.unwrap();
    drop(store);

    let database = Connection::open(&path).unwrap();
    let days = days(&database);
    assert!(days.len() >= 2, "{days:?}");
    // As version 10 had them, and as it is when the conversion was cut short.
    days.iter().for_each(|day| make_rows(&database, day));
    database.pragma_update(None, "user_version", 10).unwrap();
    drop(database);
    let mut options = SqliteOptions::default();
    options.bytes_max = Some(std::fs::metadata(&path).unwrap().len());
    SqliteStore::open(&path, options).unwrap().close().await.unwrap();
    let database = Connection::open(&path).unwrap();
    let tables = "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE tbl_name IN ('blocks_' || ?1, 'block_keys_' || ?1)";
    let cut_short = days.last().unwrap();
    let tables: String = database.query_row(tables, [cut_short], |row| row.get(0)).unwrap();
    make_rows(&database, cut_short);
    database.execute_batch(&tables).unwrap();
    drop(database);

    let store = open(&directory);
    for (query, before) in queries(&histories).into_iter().zip(&before) {
        assert!(all(&store, query.clone()).await == *before, "{query:?}");
    }
    let (sample, events) = &histories[1];
    let again = store.append(sample.source(), &events[100..200]).await.unwrap();
    assert_eq!(again, Inserted { new: 0, duplicate: 100 });
    store.close().await.unwrap();
    let database = Connection::open(&path).unwrap();
    let rows: i64 = database
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'events_2*'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(rows, 0);
}

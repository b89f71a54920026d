//! The PostgreSQL store beside bare binary COPY of the same rows.
//!
//! A round appends events to the store, then copies the rows that it wrote of events and processes, as the bytes that
//! the server gave out, into tables of the same columns and indexes, and into such without indexes: one connection,
//! one commit a batch.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, TryStreamExt as _};
use lavender_benches::{SEED, events, identity};
use lavender_core::event::Event;
use lavender_core::{BootId, Bytes, EventStore as _, Origin};
use lavender_store::{PostgresOptions, PostgresStore};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::cost::{Cost, cost_of, middle};
use super::support::{Server, connect};
use super::{Effort, median};

/// The corpus with ids that no store has seen, in batches.
pub fn batches(batch: usize, count: usize, round: u64) -> Vec<Vec<Arc<Event>>> {
    let who = identity().unwrap();
    let origin = Origin::new(&who.tenant, &who.agent, BootId::from_u128(u128::from(round) + 1));
    let all = events(SEED + round, count * batch).unwrap();
    let fresh = all.iter().zip(1..).map(|(event, sequence)| {
        let observed_at = event.observed_at.saturating_add(Duration::from_secs(600 * round));
        Arc::new(Event { id: origin.event(sequence), observed_at, ..(**event).clone() })
    });
    fresh.collect::<Vec<_>>().chunks(batch).map(<[_]>::to_vec).collect()
}

async fn append(store: &PostgresStore, batches: &[Vec<Arc<Event>>]) {
    let who = identity().unwrap();
    for batch in batches {
        let inserted = store.append(&who, batch).await.unwrap();
        assert_eq!(inserted.new, batch.len() as u64);
    }
}

/// The rows of a batch, as binary COPY has them.
struct Rows {
    processes: Vec<Bytes>,
    events: Vec<Bytes>,
}

async fn rows(client: &Client, batch: &[Arc<Event>]) -> Rows {
    let times = || batch.iter().map(|event| event.observed_at.as_nanos());
    let (first, last) = (times().min().unwrap(), times().max().unwrap());
    let read = async |table: &str, time: &str| {
        let sql = format!(
            "COPY (SELECT * FROM lavender.{table} WHERE {time} BETWEEN {first} AND {last}) TO STDOUT BINARY"
        );
        client.copy_out(&sql).await.unwrap().try_collect::<Vec<Bytes>>().await.unwrap()
    };
    Rows {
        processes: read("processes", "seen_at").await,
        events: read("events", "observed_at").await,
    }
}

async fn copy(client: &mut Client, schema: &str, batches: &[Rows]) {
    for batch in batches {
        let transaction = client.transaction().await.unwrap();
        for (table, rows) in [("processes", &batch.processes), ("events", &batch.events)] {
            let sql = format!("COPY {schema}.{table} FROM STDIN BINARY");
            let mut sink = Box::pin(transaction.copy_in::<_, Bytes>(&sql).await.unwrap());
            for bytes in rows {
                sink.feed(bytes.clone()).await.unwrap();
            }
            sink.as_mut().finish().await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
}

/// A server with room, and the ids of its processes.
pub fn server() -> Option<(Server, u32)> {
    let server = Server::start_with(|_| "shared_buffers = 1GB\nmax_wal_size = 8GB".into())?;
    let file = std::fs::read_to_string(server.path().join("data/postmaster.pid")).unwrap();
    let pid = file.lines().next().unwrap().parse().unwrap();
    Some((server, pid))
}

pub fn ratios(runtime: &Runtime, effort: Effort) -> Vec<String> {
    let Some((mut server, pid)) = server() else { return Vec::new() };
    let url = runtime.block_on(server.database());
    let store = PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    let mut client = runtime.block_on(connect(&url));
    let tables = "CREATE SCHEMA indexed; CREATE SCHEMA heap;
        CREATE TABLE indexed.events (LIKE lavender.events INCLUDING ALL);
        CREATE TABLE indexed.processes (LIKE lavender.processes INCLUDING ALL);
        CREATE TABLE heap.events (LIKE lavender.events);
        CREATE TABLE heap.processes (LIKE lavender.processes)";
    runtime.block_on(client.batch_execute(tables)).unwrap();
    let mut round = 0;
    let mut ratios = Vec::new();
    let count = effort.messages_each;
    let timed = |work: std::pin::Pin<Box<dyn Future<Output = ()> + '_>>| -> Cost {
        runtime.block_on(cost_of(&[pid], work))
    };
    for batch in [1_000, 256] {
        let (mut ours, mut indexed, mut heap) = (Vec::new(), Vec::new(), Vec::new());
        let mut each = Vec::new();
        // The first is for warming up.
        for turn in 0..=effort.rounds {
            round += 1;
            let batches = batches(batch, count, round);
            let took = timed(Box::pin(append(&store, &batches)));
            let rows: Vec<Rows> = runtime.block_on(async {
                let mut rows = Vec::new();
                for batch in &batches {
                    rows.push(self::rows(&client, batch).await);
                }
                rows
            });
            let into_indexed = timed(Box::pin(copy(&mut client, "indexed", &rows)));
            let into_heap = timed(Box::pin(copy(&mut client, "heap", &rows)));
            if turn > 0 {
                each.push(into_indexed.wall / took.wall);
                ours.push(took);
                indexed.push(into_indexed);
                heap.push(into_heap);
            }
        }
        let events = count * batch;
        let (ours, indexed, heap) = (middle(&ours), middle(&indexed), middle(&heap));
        println!("PostgreSQL, batches of {batch}, the store:         {}", ours.per_event(events));
        println!(
            "PostgreSQL, batches of {batch}, bare COPY:         {}",
            indexed.per_event(events)
        );
        println!("PostgreSQL, batches of {batch}, without indexes:   {}", heap.per_event(events));
        let ratio = median(each);
        ratios.push(format!("PostgreSQL/bare COPY, batches of {batch}: {ratio:.2}"));
    }
    ratios
}

//! The PostgreSQL store beside bare binary COPY of the same rows, in turns, on a server of its own. The last line is
//! the ratio.
//!
//! A round appends events to the store, then copies the rows that it wrote of events and processes, as the bytes that
//! the server gave out, into tables of the same columns and indexes, and into such without indexes: one connection,
//! one commit a batch; 256 events are a batch on the wire. `cargo bench -p lavender-benches --bench postgres`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

#[allow(dead_code, reason = "of the tests' server, what a benchmark needs")]
#[path = "../../lavender-store/tests/postgres/support.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, TryStreamExt as _};
use lavender_benches::{SEED, events, identity};
use lavender_core::event::Event;
use lavender_core::{BootId, Bytes, Clock as _, EventStore as _, Origin, SystemClock};
use lavender_store::{PostgresOptions, PostgresStore};
use support::{Server, connect};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

const BATCHES: usize = 20;
/// The corpus with ids that no store has seen, in batches.
fn batches(batch: usize, round: u64) -> Vec<Vec<Arc<Event>>> {
    let who = identity().unwrap();
    let origin = Origin::new(&who.tenant, &who.agent, BootId::from_u128(u128::from(round) + 1));
    let all = events(SEED + round, BATCHES * batch).unwrap();
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

/// How long something takes, in s.
fn timed(runtime: &Runtime, work: impl Future<Output = ()>) -> f64 {
    let start = SystemClock.now();
    runtime.block_on(work);
    SystemClock.now().as_nanos().saturating_sub(start.as_nanos()) as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // Without it, as `cargo test --benches` starts it: one short round.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 7 } else { 1 };
    let Some(mut server) =
        Server::start_with(|_| "shared_buffers = 1GB\nmax_wal_size = 8GB".into())
    else {
        return;
    };
    let runtime = Runtime::new().unwrap();
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
    for batch in [1_000, 256] {
        let (mut ours, mut indexed, mut heap) = (Vec::new(), Vec::new(), Vec::new());
        // The first is for warming up.
        for turn in 0..=rounds {
            round += 1;
            let batches = batches(batch, round);
            let ours_took = timed(&runtime, append(&store, &batches));
            let rows: Vec<Rows> = runtime.block_on(async {
                let mut rows = Vec::new();
                for batch in &batches {
                    rows.push(self::rows(&client, batch).await);
                }
                rows
            });
            let times = [
                ours_took,
                timed(&runtime, copy(&mut client, "indexed", &rows)),
                timed(&runtime, copy(&mut client, "heap", &rows)),
            ];
            if turn > 0 {
                let rate = |time: f64| (BATCHES * batch) as f64 / time;
                ours.push(rate(times[0]));
                indexed.push(rate(times[1]));
                heap.push(rate(times[2]));
            }
        }
        let (ours, indexed, heap) = (median(ours), median(indexed), median(heap));
        println!(
            "batches of {batch}: store {ours:.0} events/s, COPY {indexed:.0} events/s, without indexes {heap:.0} events/s"
        );
        println!(
            "store / bare COPY into the same indexes, batches of {batch}: {:.2}; without indexes {:.2}",
            ours / indexed,
            ours / heap
        );
    }
}

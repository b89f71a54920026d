//! The store: a thousand events made durable in SQLite, beside the same bytes inserted by bare SQL.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lavender_benches::{SEED, events, identity};
use lavender_core::event::Event;
use lavender_core::{EventStore, codec};
use tokio::runtime::Runtime;

const BATCH: usize = 1_000;

/// Batches that no store has seen: each with ids of its own.
fn batches() -> impl Iterator<Item = Vec<Arc<Event>>> {
    let all = events(SEED, 64 * BATCH).unwrap();
    let mut batches = all.chunks(BATCH).map(<[_]>::to_vec).collect::<Vec<_>>().into_iter().cycle();
    let origin = lavender_core::Origin::new(
        &identity().unwrap().tenant,
        &identity().unwrap().agent,
        lavender_core::BootId::from_u128(9),
    );
    let mut sequence = 0;
    std::iter::from_fn(move || {
        let batch = batches.next()?;
        let fresh = batch.iter().map(|event| {
            sequence += 1;
            Arc::new(Event { id: origin.event(sequence), ..(**event).clone() })
        });
        Some(fresh.collect())
    })
}

fn append(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let identity = identity().unwrap();
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.measurement_time(Duration::from_secs(5)).sample_size(20);

    let url = format!("sqlite:{}", folder.path().join("lavender.db").display());
    let store = lavender_store::open(&url).unwrap();
    let mut fresh = batches();
    group.bench_function("append_sqlite", |b| {
        b.iter_batched(
            || fresh.next().unwrap(),
            |batch| runtime.block_on(EventStore::append(&*store, &identity, &batch)).unwrap(),
            BatchSize::LargeInput,
        );
    });
    runtime.block_on(store.close()).unwrap();

    let mut bare = rusqlite::Connection::open(folder.path().join("bare.db")).unwrap();
    bare.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE events (id BLOB UNIQUE, observed_at INTEGER, kind TEXT, process TEXT, body TEXT);
         CREATE INDEX by_time ON events (observed_at);",
    )
    .unwrap();
    let mut fresh = batches();
    group.bench_function("floor_bare_inserts", |b| {
        b.iter_batched(
            || fresh.next().unwrap(),
            |batch| {
                let transaction = bare.transaction().unwrap();
                let mut insert = transaction
                    .prepare_cached("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)")
                    .unwrap();
                for event in &batch {
                    let process = event.process.as_ref().map(|process| process.exec_id.to_string());
                    let body = codec::data_to_json(&event.data).unwrap();
                    insert
                        .execute((
                            event.id.as_u128().to_be_bytes(),
                            event.observed_at.as_nanos(),
                            event.kind().as_str(),
                            process,
                            body,
                        ))
                        .unwrap();
                }
                drop(insert);
                transaction.commit().unwrap();
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);

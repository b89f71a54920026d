//! Killed at any moment, the server has everything that the store acknowledged, once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lavender_core::conformance::sample::Sample;
use lavender_core::store::{AlertQuery, TimeRange};
use lavender_core::{AlertStore as _, EventStore as _, Severity};
use lavender_store::{PostgresOptions, PostgresStore};

use crate::all;
use crate::support::{Server, wait_ms};

const WRITERS: u64 = 3;
const KILLS: u64 = 5;

/// Appends until it is told to stop; tries again what failed. Returns how many events and alerts it had acknowledged.
async fn write(
    store: Arc<PostgresStore>,
    seed: u64,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> (Sample, u64) {
    let mut sample = Sample::new("acme", &format!("web-{seed}"), seed);
    let source = sample.source().clone();
    let mut alerts = 0;
    while !stop.load(Ordering::Relaxed) {
        let events = sample.busy(50);
        let alert = sample.alert(&events[0], "r", Severity::High);
        while let Err(error) = store.append(&source, &events).await {
            assert!(error.is_retryable(), "{error}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        while let Err(error) = store.insert(std::slice::from_ref(&alert)).await {
            assert!(error.is_retryable(), "{error}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        alerts += 1;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    (sample, alerts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_in_the_middle_of_writes() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let store = Arc::new(PostgresStore::open(&url, PostgresOptions::default()).unwrap());
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (1..=WRITERS)
        .map(|seed| {
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            tokio::spawn(write(Arc::clone(&store), seed, stop, acknowledged))
        })
        .collect();
    for round in 0..KILLS {
        let before = acknowledged.load(Ordering::Relaxed);
        while acknowledged.load(Ordering::Relaxed) < before + 5 + round {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            assert!(writers.iter().all(|writer| !writer.is_finished()), "a writer gave up");
        }
        tokio::task::block_in_place(|| {
            wait_ms(round * 7 % 13);
            server.kill();
            server.run();
        });
    }
    stop.store(true, Ordering::Relaxed);
    let (mut produced, mut raised) = (0, 0);
    for writer in writers {
        let (sample, alerts) = writer.await.unwrap();
        raised += alerts;
        produced += alerts * 50;
        assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(alerts * 50));
    }
    let events = all(&store).await;
    let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
    assert_eq!((events.len() as u64, ids.len() as u64), (produced, produced), "stored, and once");
    let mut query = AlertQuery::new(TimeRange::ALL);
    query.limit = 1_000;
    let mut alerts = 0;
    loop {
        let page = store.alerts(&query).await.unwrap();
        alerts += page.items.len() as u64;
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(alerts, raised);
    println!("{KILLS} kills: {produced} events and {raised} alerts acknowledged, each there once");
}

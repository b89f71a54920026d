//! The store in memory keeps what the traits promise, and its bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance;
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::store::{AlertQuery, EventQuery, PutMode, TimeRange};
use lavender_core::{
    AlertStore as _, ErrorKind, EventStore as _, ManualClock, Severity, StateStore as _,
};
use lavender_store::{MemoryOptions, MemoryStore, Store as _};

#[tokio::test]
async fn it_conforms() {
    conformance::event_store(&MemoryStore::new()).await;
    conformance::alert_store(&MemoryStore::new()).await;
    let store = MemoryStore::new();
    conformance::last_sequence_over_alerts(&store, &store).await;
    conformance::triage_store(&MemoryStore::new()).await;
    conformance::fleet_store(&MemoryStore::new()).await;
    conformance::access_store(&MemoryStore::new()).await;
    conformance::command_store(&MemoryStore::new()).await;
    conformance::ruleset_store(&MemoryStore::new()).await;
    conformance::feed_store(&MemoryStore::new()).await;
    let clock = Arc::new(ManualClock::new(START));
    let mut options = MemoryOptions::default();
    options.clock = clock.clone();
    conformance::state_store(&MemoryStore::with_options(options), &clock).await;
}

#[tokio::test]
async fn the_oldest_make_room_and_are_counted() {
    let mut options = MemoryOptions::default();
    (options.events_max, options.alerts_max) = (10, 2);
    let store = MemoryStore::with_options(options);
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(15);
    store.append(sample.source(), &events).await.unwrap();
    let kept = store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap().items;
    assert_eq!(kept.len(), 10);
    assert_eq!(kept[0].event, events[5]);
    let alerts: Vec<_> =
        events[5..8].iter().map(|event| sample.alert(event, "r", Severity::Low)).collect();
    store.insert(&alerts).await.unwrap();
    let kept = store.alerts(&AlertQuery::new(TimeRange::ALL)).await.unwrap().items;
    assert_eq!(kept, [Arc::clone(&alerts[2]), Arc::clone(&alerts[1])]);
    assert_eq!(store.forgotten(), 6);
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(15));
    // The process of the first events went with them.
    let first = events[0].process.as_ref().unwrap().exec_id;
    drop((events, alerts));
    assert_eq!(store.process(first).await.unwrap(), None);
}

#[tokio::test]
async fn state_is_bounded() {
    let clock = Arc::new(ManualClock::new(START));
    let mut options = MemoryOptions::default();
    (options.state_bytes_max, options.clock) = (100, clock.clone());
    let store = MemoryStore::with_options(options);
    let value = || vec![7; 40].into();
    store.put("a", value(), PutMode::Create, None).await.unwrap();
    store.put("b", value(), PutMode::Create, Some(Duration::from_secs(1))).await.unwrap();
    let error = store.put("c", value(), PutMode::Create, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    store.put("a", value(), PutMode::Overwrite, None).await.unwrap();
    clock.advance(Duration::from_secs(1));
    store.put("c", value(), PutMode::Create, None).await.unwrap();
    store.delete("a").await.unwrap();
    store.put("d", value(), PutMode::Create, None).await.unwrap();
}

#[tokio::test]
async fn after_the_close_nothing_is_taken() {
    let store = MemoryStore::new();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.agents().await.unwrap_err().kind(), ErrorKind::Invalid);
}

//! Retry, rate limit, batching, and the transport that fails to order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::transport::{Message, Payload, Publisher, Subscriber as _, Subscription, Topic};
use lavender_core::{Error, ErrorKind, ManualClock, Result, Severity, async_trait};
use lavender_transport::testing::{Faults, Faulty};
use lavender_transport::{
    AgentLimits, BatchOptions, Batched, MemoryOptions, MemoryTransport, RateLimited, Retry,
    RetryOptions,
};

/// Fails so often, with this kind, and then takes.
#[derive(Debug)]
struct Failing {
    failures: AtomicU32,
    kind: ErrorKind,
    calls: Arc<AtomicU32>,
}

impl Failing {
    fn new(failures: u32, kind: ErrorKind) -> (Self, Arc<AtomicU32>) {
        let calls = Arc::<AtomicU32>::default();
        (Self { failures: failures.into(), kind, calls: Arc::clone(&calls) }, calls)
    }
}

#[async_trait]
impl Publisher for Failing {
    async fn publish(&self, _messages: Vec<Message>) -> Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let left = self.failures.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(());
        }
        self.failures.store(left - 1, Ordering::Relaxed);
        Err(Error::new(self.kind, "failing", "as it was told to"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_succeed_later_is_tried_again_and_what_will_not_is_not() {
    let (failing, calls) = Failing::new(3, ErrorKind::Unavailable);
    let started = tokio::time::Instant::now();
    Retry::new(failing, RetryOptions::default()).publish(Vec::new()).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    let waited = started.elapsed();
    // 50 + 100 + 200 ms, each with up to as much again.
    assert!((350..=700).contains(&waited.as_millis()), "{waited:?}");

    let (failing, calls) = Failing::new(u32::MAX, ErrorKind::Timeout);
    let options = RetryOptions { attempts: 5, ..RetryOptions::default() };
    let error = Retry::new(failing, options).publish(Vec::new()).await.unwrap_err();
    assert_eq!((error.kind(), calls.load(Ordering::Relaxed)), (ErrorKind::Timeout, 5));

    for kind in [ErrorKind::Denied, ErrorKind::Invalid] {
        let (failing, calls) = Failing::new(1, kind);
        let error = Retry::new(failing, RetryOptions::default()).publish(Vec::new()).await;
        assert_eq!((error.unwrap_err().kind(), calls.load(Ordering::Relaxed)), (kind, 1));
    }
}

fn telemetry(sample: &mut Sample, items: usize) -> Message {
    let source = sample.source().clone();
    let payload = Payload::Events(sample.busy(items));
    Message { source, topic: Topic::TelemetryAccepted, payload }
}

fn writer() -> Subscription {
    Subscription { topic: Topic::TelemetryAccepted, durable: "telemetry-writer".into() }
}

#[tokio::test]
async fn an_agent_that_floods_is_held_back_and_others_are_not() {
    let clock = Arc::new(ManualClock::default());
    let of = |number: u32| NonZeroU32::new(number).unwrap();
    let limits = AgentLimits::new(of(100), of(50), clock.clone());
    let transport = MemoryTransport::new(MemoryOptions::default());
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let limited = RateLimited::new(transport, limits);
    let (mut one, mut two) = (Sample::new("acme", "one", 1), Sample::new("acme", "two", 2));
    limited.publish(vec![telemetry(&mut one, 50)]).await.unwrap();
    let error = limited.publish(vec![telemetry(&mut one, 10)]).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("acme/one"), "{error}");
    limited.publish(vec![telemetry(&mut two, 50)]).await.unwrap();
    clock.advance(Duration::from_millis(100));
    limited.publish(vec![telemetry(&mut one, 10)]).await.unwrap();
    assert_eq!(consumer.next(10).await.unwrap().len(), 3, "what was refused was not published");
}

#[tokio::test(start_paused = true)]
async fn what_comes_within_the_delay_is_one_message() {
    let transport = MemoryTransport::new(MemoryOptions::default());
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let batched = Arc::new(Batched::new(transport, BatchOptions::default()));
    let (mut one, mut two) = (Sample::new("acme", "one", 1), Sample::new("acme", "two", 2));
    let messages = [
        telemetry(&mut one, 3),
        telemetry(&mut two, 4),
        telemetry(&mut one, 5),
        telemetry(&mut one, 1),
    ];
    let publishing: Vec<_> = messages
        .iter()
        .map(|message| {
            let (batched, message) = (Arc::clone(&batched), message.clone());
            tokio::spawn(async move { batched.publish(vec![message]).await })
        })
        .collect();
    let deliveries = consumer.next(10).await.unwrap();
    let sizes: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.message.source.agent.as_str(), delivery.message.payload.len()))
        .collect();
    assert_eq!(sizes, [("one", 9), ("two", 4)]);
    let Payload::Events(events) = &deliveries[0].message.payload else { panic!() };
    assert!(events.is_sorted_by_key(|event| event.id.sequence()), "order stays");
    for publishing in publishing {
        publishing.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_large_enough_does_not_wait() {
    let transport = MemoryTransport::new(MemoryOptions::default());
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let mut sample = Sample::new("acme", "one", 1);
    for (items_max, bytes_max) in [(10, usize::MAX), (usize::MAX, 2_560)] {
        let options = BatchOptions {
            items_max: NonZeroUsize::new(items_max).unwrap(),
            bytes_max: NonZeroUsize::new(bytes_max).unwrap(),
            delay: Duration::from_secs(3_600),
        };
        let batched = Batched::new(transport.clone(), options);
        let started = tokio::time::Instant::now();
        batched.publish(vec![telemetry(&mut sample, 10)]).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(1));
        assert_eq!(consumer.next(10).await.unwrap().remove(0).message.payload.len(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn who_publishes_is_told_what_became_of_the_batch() {
    let (failing, _) = Failing::new(1, ErrorKind::Denied);
    let batched = Batched::new(failing, BatchOptions::default());
    let mut sample = Sample::new("acme", "one", 1);
    let error = batched.publish(vec![telemetry(&mut sample, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    batched.publish(vec![telemetry(&mut sample, 1)]).await.unwrap();
    let alert = sample.alert(&sample_event(), "r", Severity::Low);
    let raised = Message {
        source: sample.source().clone(),
        topic: Topic::Alerts,
        payload: Payload::Alerts(vec![alert]),
    };
    batched.publish(vec![raised]).await.unwrap();
}

fn sample_event() -> Arc<lavender_core::event::Event> {
    Sample::new("acme", "one", 1).heartbeat()
}

/// What a run of 300 publishes did: which of them failed, and how often each message was delivered.
async fn run(faults: Faults, seed: u64) -> (Vec<bool>, Vec<u64>) {
    let transport = MemoryTransport::new(MemoryOptions::default());
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let faulty = Faulty::new(transport, faults, seed);
    let mut sample = Sample::new("acme", "one", 1);
    let mut failed = Vec::new();
    for _ in 0..300 {
        failed.push(faulty.publish(vec![telemetry(&mut sample, 1)]).await.is_err());
    }
    faulty.inner().close();
    let mut seen = Vec::new();
    loop {
        let deliveries = consumer.next(100).await.unwrap();
        if deliveries.is_empty() {
            return (failed, seen);
        }
        for delivery in deliveries {
            let Payload::Events(events) = &delivery.message.payload else { panic!() };
            seen.push(events[0].id.sequence());
            delivery.ack.ack().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_come_as_the_seed_says() {
    let faults = Faults {
        refused: 100,
        unanswered: 100,
        duplicated: 100,
        dropped: 0,
        delayed: 100,
        delay_max: Duration::from_secs(1),
    };
    let (failed, seen) = run(faults, 7).await;
    assert_eq!(
        (failed.clone(), seen.clone()),
        run(faults, 7).await,
        "the same seed, the same faults"
    );
    assert_ne!((&failed, &seen), (&run(faults, 8).await.0, &run(faults, 8).await.1));
    let failures = failed.iter().filter(|failed| **failed).count();
    assert!((30..=100).contains(&failures), "{failures}");
    let unique: std::collections::BTreeSet<_> = seen.iter().collect();
    assert!(seen.len() > unique.len(), "some twice");
    assert!(unique.len() > 300 - failures, "some that failed were taken");
    // What did not fail was taken.
    for (at, failed) in failed.iter().enumerate() {
        assert!(*failed || unique.contains(&(at as u64 + 1)));
    }
    let dropping = Faults { dropped: 500, ..Faults::default() };
    let (failed, seen) = run(dropping, 7).await;
    assert!(failed.iter().all(|failed| !failed));
    assert!((100..=200).contains(&seen.len()), "{}", seen.len());
}

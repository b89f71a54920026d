//! Load with an account: what was acknowledged to the publisher, and what came out at the other end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::transport::{
    Message, Payload, Publisher, Subscriber, Subscription, Topic, Transport,
};
use tokio::task::JoinHandle;

pub(crate) fn telemetry(sample: &mut Sample, events: usize) -> Message {
    let source = sample.source().clone();
    Message {
        source,
        topic: Topic::TelemetryAccepted,
        payload: Payload::Events(sample.busy(events)),
    }
}

pub(crate) fn writer() -> Subscription {
    Subscription { topic: Topic::TelemetryAccepted, durable: "telemetry-writer".into() }
}

/// Publishes batches until it is told to stop, and counts the events that were acknowledged.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    publishing: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(publisher: Arc<dyn Publisher>) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let publishing = tokio::spawn(async move {
            let mut sample = Sample::new("acme", "web-1", 1);
            while !told.load(Ordering::Relaxed) {
                let messages = (0..4).map(|_| telemetry(&mut sample, 25)).collect();
                publisher.publish(messages).await.unwrap();
                counted.fetch_add(100, Ordering::Relaxed);
                // A load that leaves the machine some time for what is tested.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { stop, acknowledged, publishing }
    }

    /// Waits until so many more events were acknowledged.
    pub(crate) async fn more(&self, events: u64) {
        let from = self.acknowledged.load(Ordering::Relaxed);
        for _ in 0..6_000 {
            if self.acknowledged.load(Ordering::Relaxed) >= from + events {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no more is acknowledged than {}", self.acknowledged.load(Ordering::Relaxed));
    }

    /// Ends it, and says how many were acknowledged: the sequence numbers from 1 to that.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        tokio::time::timeout(Duration::from_secs(60), self.publishing).await.unwrap().unwrap();
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// Reads until every event up to a number has come, and says how often each did.
pub(crate) async fn read_up_to(
    transport: &(impl Subscriber + ?Sized),
    last: u64,
) -> BTreeMap<u64, u32> {
    // A cluster that is about to agree on who leads answers a little later.
    let mut consumer = loop {
        match transport.subscribe(writer()).await {
            Ok(consumer) => break consumer,
            Err(error) if error.is_retryable() => {
                tokio::time::sleep(Duration::from_millis(200)).await
            }
            Err(error) => panic!("{error}"),
        }
    };
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    while (seen.len() as u64) < last {
        let deliveries = tokio::time::timeout(Duration::from_secs(60), consumer.next(64)).await;
        let missing = || (1..=last).find(|number| !seen.contains_key(number));
        let deliveries = deliveries.unwrap_or_else(|_| {
            panic!("{} of {last} came, and {:?} does not", seen.len(), missing())
        });
        for delivery in deliveries.unwrap() {
            let Payload::Events(events) = &delivery.message.payload else { panic!() };
            for event in events {
                *seen.entry(event.id.sequence()).or_default() += 1;
            }
            // One that is not taken comes again.
            let _ = delivery.ack.ack().await;
        }
    }
    seen
}

/// Every event up to a number comes out, and nothing that was not put in.
pub(crate) async fn assert_all_come(transport: &dyn Transport, last: u64) {
    let seen = read_up_to(transport, last).await;
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
}

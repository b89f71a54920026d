//! Counts what is handed to the transport and what is acknowledged, so that at the end it is known whether
//! everything was stored, and if not how much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lavender_core::transport::{Ack, Consumer, Delivery, Message, Payload};
use lavender_core::{Publisher, Result};

/// How many events and alerts went in, and how many are done with. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    published: Counts,
    acknowledged: Counts,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    events: Arc<AtomicU64>,
    alerts: Arc<AtomicU64>,
}

impl Counts {
    const fn of(&self, payload: &Payload) -> Option<&Arc<AtomicU64>> {
        match payload {
            Payload::Events(_) => Some(&self.events),
            Payload::Alerts(_) => Some(&self.alerts),
            _ => None,
        }
    }

    /// Counts what the delivery holds once it is acknowledged.
    fn watch(&self, delivery: Delivery) -> Delivery {
        let Delivery { message, attempt, ack } = delivery;
        let items = message.payload.len() as u64;
        let ack = match self.of(&message.payload) {
            Some(counter) => Box::new(CountingAck { ack, counter: Arc::clone(counter), items }),
            None => ack,
        };
        Delivery { message, attempt, ack }
    }
}

impl Tally {
    /// Counts what `publisher` takes.
    pub fn publisher(&self, publisher: Arc<dyn Publisher>) -> Arc<dyn Publisher> {
        Arc::new(CountingPublisher { publisher, counts: self.published.clone() })
    }

    /// Counts what is acknowledged of what `consumer` hands out.
    pub fn consumer(&self, consumer: Box<dyn Consumer>) -> Box<dyn Consumer> {
        Box::new(CountingConsumer { consumer, counts: self.acknowledged.clone() })
    }

    /// Events that were published and are not acknowledged.
    pub fn events_open(&self) -> u64 {
        open(&self.published.events, &self.acknowledged.events)
    }

    /// Alerts that were published and are not acknowledged.
    pub fn alerts_open(&self) -> u64 {
        open(&self.published.alerts, &self.acknowledged.alerts)
    }

    /// Events that are acknowledged.
    pub fn events_done(&self) -> u64 {
        self.acknowledged.events.load(Ordering::Relaxed)
    }

    /// Alerts that are acknowledged.
    pub fn alerts_done(&self) -> u64 {
        self.acknowledged.alerts.load(Ordering::Relaxed)
    }

    /// All that is acknowledged.
    pub fn done(&self) -> u64 {
        self.events_done() + self.alerts_done()
    }
}

fn open(published: &AtomicU64, acknowledged: &AtomicU64) -> u64 {
    // Read in this order, so that what is acknowledged meanwhile does not count twice.
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    published.load(Ordering::Relaxed).saturating_sub(acknowledged)
}

#[derive(Debug)]
struct CountingPublisher {
    publisher: Arc<dyn Publisher>,
    counts: Counts,
}

#[async_trait]
impl Publisher for CountingPublisher {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        // Counted first: what the transport has taken in part is open until it is acknowledged.
        for message in &messages {
            if let Some(counter) = self.counts.of(&message.payload) {
                counter.fetch_add(message.payload.len() as u64, Ordering::Relaxed);
            }
        }
        self.publisher.publish(messages).await
    }
}

#[derive(Debug)]
struct CountingConsumer {
    consumer: Box<dyn Consumer>,
    counts: Counts,
}

#[async_trait]
impl Consumer for CountingConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>> {
        let deliveries = self.consumer.next(max).await?;
        Ok(deliveries.into_iter().map(|delivery| self.counts.watch(delivery)).collect())
    }
}

#[derive(Debug)]
struct CountingAck {
    ack: Box<dyn Ack>,
    counter: Arc<AtomicU64>,
    items: u64,
}

#[async_trait]
impl Ack for CountingAck {
    async fn ack(self: Box<Self>) -> Result<()> {
        self.ack.ack().await?;
        self.counter.fetch_add(self.items, Ordering::Relaxed);
        Ok(())
    }

    async fn nak(self: Box<Self>, delay: Duration) -> Result<()> {
        self.ack.nak(delay).await
    }
}

//! The consumer of a role: it counts what passes, and ends when the worker is to stop.

use std::time::Duration;

use lavender_core::transport::{Ack, Consumer, Delivery};
use lavender_core::{Result, async_trait};
use prometheus_client::metrics::counter::Counter;

use crate::metrics::Consumed;
use crate::shutdown::Stop;

/// A consumer that is at its end once the worker is to stop. What it has handed out by then is still worked on;
/// what it has not comes again, to another.
#[derive(Debug)]
pub struct RoleConsumer {
    inner: Box<dyn Consumer>,
    consumed: Consumed,
    stop: Stop,
}

impl RoleConsumer {
    /// Wraps a consumer.
    pub fn new(inner: Box<dyn Consumer>, consumed: Consumed, stop: Stop) -> Self {
        Self { inner, consumed, stop }
    }
}

#[async_trait]
impl Consumer for RoleConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>> {
        let mut deliveries = tokio::select! {
            biased;
            () = self.stop.asked() => return Ok(Vec::new()),
            deliveries = self.inner.next(max) => deliveries?,
        };
        for delivery in &mut deliveries {
            self.consumed.messages.inc();
            self.consumed.items.inc_by(delivery.message.payload.len() as u64);
            if delivery.attempt > 1 {
                self.consumed.redelivered.inc();
            }
        }
        let acknowledged = &self.consumed.acknowledged;
        let counted = deliveries.into_iter().map(|Delivery { message, attempt, ack }| {
            let ack = Box::new(CountedAck { inner: ack, acknowledged: acknowledged.clone() });
            Delivery { message, attempt, ack }
        });
        Ok(counted.collect())
    }
}

#[derive(Debug)]
struct CountedAck {
    inner: Box<dyn Ack>,
    acknowledged: Counter,
}

#[async_trait]
impl Ack for CountedAck {
    async fn ack(self: Box<Self>) -> Result<()> {
        self.inner.ack().await?;
        self.acknowledged.inc();
        Ok(())
    }

    async fn nak(self: Box<Self>, delay: Duration) -> Result<()> {
        self.inner.nak(delay).await
    }
}

//! A transport that fails as a seed says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lavender_core::transport::{Consumer, Message, Publisher, Subscriber, Subscription, Transport};
use lavender_core::{Error, ErrorKind, Result, async_trait};

/// How often what goes wrong: each in a thousand calls or messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A call that fails, and nothing was taken.
    pub refused: u32,
    /// A call that fails though everything was taken: an answer that is lost.
    pub unanswered: u32,
    /// A message that is published twice.
    pub duplicated: u32,
    /// A message that goes nowhere, though the call succeeds. No transport may do that; with it a test can show that
    /// it would notice.
    pub dropped: u32,
    /// A call that takes its time.
    pub delayed: u32,
    /// How long at the most.
    pub delay_max: Duration,
}

/// Wraps a transport, and lets it fail the same way for the same seed and order of calls.
///
/// ```
/// use lavender_core::Publisher;
/// use lavender_transport::testing::{Faults, Faulty};
/// use lavender_transport::{MemoryOptions, MemoryTransport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let faults = Faults { refused: 1_000, ..Faults::default() };
/// let transport = Faulty::new(MemoryTransport::new(MemoryOptions::default()), faults, 7);
/// assert!(transport.publish(Vec::new()).await.unwrap_err().is_retryable());
/// # }
/// ```
#[derive(Debug)]
pub struct Faulty<T> {
    inner: T,
    faults: Faults,
    random: AtomicU64,
}

impl<T> Faulty<T> {
    /// Wraps a transport.
    pub const fn new(inner: T, faults: Faults, seed: u64) -> Self {
        Self { inner, faults, random: AtomicU64::new(seed) }
    }

    /// What is wrapped.
    pub const fn inner(&self) -> &T {
        &self.inner
    }

    /// The next number. SplitMix64: each state gives one, so that threads need no lock.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&self, in_a_thousand: u32) -> bool {
        self.next() % 1_000 < u64::from(in_a_thousand)
    }
}

fn failed(kind: ErrorKind, why: &str) -> Error {
    Error::new(kind, "faulty transport", why)
}

#[async_trait]
impl<T: Transport> Publisher for Faulty<T> {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        if self.happens(self.faults.delayed) {
            let most = u64::try_from(self.faults.delay_max.as_nanos()).unwrap_or(u64::MAX);
            tokio::time::sleep(Duration::from_nanos(self.next() % most.max(1))).await;
        }
        if self.happens(self.faults.refused) {
            return Err(failed(ErrorKind::Unavailable, "it refuses, as it was told to"));
        }
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            if self.happens(self.faults.dropped) {
                continue;
            }
            if self.happens(self.faults.duplicated) {
                sent.push(message.clone());
            }
            sent.push(message);
        }
        self.inner.publish(sent).await?;
        if self.happens(self.faults.unanswered) {
            return Err(failed(ErrorKind::Timeout, "it does not answer, as it was told to"));
        }
        Ok(())
    }
}

#[async_trait]
impl<T: Transport> Subscriber for Faulty<T> {
    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>> {
        self.inner.subscribe(subscription).await
    }
}

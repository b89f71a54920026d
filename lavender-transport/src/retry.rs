//! Trying again.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use lavender_core::transport::{Message, Publisher};
use lavender_core::{Result, async_trait};

/// Waits that double, up to a longest, each with some chance added, so that many who fail at once do not come back at
/// once.
#[derive(Debug)]
pub(crate) struct Backoff {
    delays: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_jitter()
            .without_max_times();
        Self { delays: delays.build(), longest }
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.longest)
    }
}

/// How often and how long it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// The wait after the first failure; doubled after each further one. 50 ms unless said.
    pub delay: Duration,
    /// The longest wait. 5 s unless said.
    pub delay_max: Duration,
    /// How often it is tried in all. For ever unless said.
    pub attempts: u32,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(50),
            delay_max: Duration::from_secs(5),
            attempts: u32::MAX,
        }
    }
}

/// A publisher that tries again what [may succeed later](lavender_core::Error::is_retryable), after waits that grow. What
/// will not, fails at once.
///
/// ```
/// use lavender_core::Publisher;
/// use lavender_transport::{MemoryOptions, MemoryTransport, Retry, RetryOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lavender_core::Result<()> {
/// let transport = MemoryTransport::new(MemoryOptions::default());
/// Retry::new(transport, RetryOptions::default()).publish(Vec::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Retry<P> {
    inner: P,
    options: RetryOptions,
}

impl<P> Retry<P> {
    /// Wraps a publisher.
    pub const fn new(inner: P, options: RetryOptions) -> Self {
        Self { inner, options }
    }
}

#[async_trait]
impl<P: Publisher> Publisher for Retry<P> {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let mut backoff = Backoff::new(self.options.delay, self.options.delay_max);
        let mut attempt = 1;
        loop {
            match self.inner.publish(messages.clone()).await {
                Err(error) if error.is_retryable() && attempt < self.options.attempts => {
                    let delay = backoff.next();
                    tracing::warn!(%error, attempt, retry_in_ms = delay.as_millis() as u64, "not published");
                    tokio::time::sleep(delay).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

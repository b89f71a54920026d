//! Joining small messages into larger ones.

use std::num::NonZeroUsize;
use std::time::Duration;

use lavender_core::transport::{Message, Payload, Publisher};
use lavender_core::{Error, ErrorKind, Result, async_trait};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How many messages may wait to be joined.
const WAITING: usize = 1_024;

/// When a message is large enough.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// The most events or alerts in one message. 256 unless said.
    pub items_max: NonZeroUsize,
    /// The most bytes in one message, as they are in memory. 1 MiB unless said.
    pub bytes_max: NonZeroUsize,
    /// How long the first waits for more. 20 ms unless said.
    pub delay: Duration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        let of = |number: usize| NonZeroUsize::MIN.saturating_add(number - 1);
        Self { items_max: of(256), bytes_max: of(1 << 20), delay: Duration::from_millis(20) }
    }
}

/// A publisher that waits a little, and joins what is of the same agent and topic: a batch of 256 costs a broker a
/// tenth by the event of what messages of one cost. `publish` returns once the joined message is published, so
/// nothing is lost that was said to be taken.
///
/// ```
/// use lavender_core::Publisher;
/// use lavender_transport::{BatchOptions, Batched, MemoryOptions, MemoryTransport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lavender_core::Result<()> {
/// let transport = MemoryTransport::new(MemoryOptions::default());
/// Batched::new(transport, BatchOptions::default()).publish(Vec::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batched {
    queue: mpsc::Sender<Waiting>,
}

/// What one caller wants published, and who is told.
struct Waiting {
    messages: Vec<Message>,
    done: oneshot::Sender<Result<()>>,
}

impl Batched {
    /// Wraps a publisher. Must be called within a runtime of tokio.
    pub fn new(inner: impl Publisher, options: BatchOptions) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(run(inner, options, waiting));
        Self { queue }
    }
}

#[async_trait]
impl Publisher for Batched {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let ended = || Error::new(ErrorKind::Unavailable, "batching", "it has ended");
        let (done, told) = oneshot::channel();
        self.queue.send(Waiting { messages, done }).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }
}

async fn run(inner: impl Publisher, options: BatchOptions, mut queue: mpsc::Receiver<Waiting>) {
    while let Some(first) = queue.recv().await {
        let until = Instant::now() + options.delay;
        let mut joined = Joined::new(options);
        joined.take(first);
        while !joined.is_large() {
            match tokio::time::timeout_at(until, queue.recv()).await {
                Ok(Some(next)) => joined.take(next),
                Ok(None) | Err(_) => break,
            }
        }
        let Joined { messages, told, .. } = joined;
        let result = inner.publish(messages).await;
        for done in told {
            let again = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(Error::new(error.kind(), error.component(), error.to_string())),
            };
            // Who asked may have given up waiting.
            let _ = done.send(again);
        }
    }
}

/// Messages of several callers, joined.
struct Joined {
    options: BatchOptions,
    messages: Vec<Message>,
    told: Vec<oneshot::Sender<Result<()>>>,
    items: usize,
    bytes: usize,
}

impl Joined {
    const fn new(options: BatchOptions) -> Self {
        Self { options, messages: Vec::new(), told: Vec::new(), items: 0, bytes: 0 }
    }

    const fn is_large(&self) -> bool {
        self.items >= self.options.items_max.get() || self.bytes >= self.options.bytes_max.get()
    }

    fn take(&mut self, waiting: Waiting) {
        self.told.push(waiting.done);
        for message in waiting.messages {
            self.items += message.payload.len();
            self.bytes += weight(&message.payload);
            self.join(message);
        }
    }

    /// Adds to the last message of the same agent and topic, while that has room; order stays within them.
    fn join(&mut self, message: Message) {
        let most = self.options.items_max.get();
        let last = self
            .messages
            .iter_mut()
            .rev()
            .find(|last| last.topic == message.topic && last.source == message.source);
        match (last.map(|last| &mut last.payload), message.payload) {
            (Some(Payload::Events(events)), Payload::Events(more))
                if events.len() + more.len() <= most =>
            {
                events.extend(more);
            }
            (Some(Payload::Alerts(alerts)), Payload::Alerts(more))
                if alerts.len() + more.len() <= most =>
            {
                alerts.extend(more);
            }
            (_, payload) => self.messages.push(Message { payload, ..message }),
        }
    }
}

/// About how many bytes a payload takes: what is long in an event are its process's arguments, which a batch holds
/// once.
fn weight(payload: &Payload) -> usize {
    const ITEM: usize = 256;
    match payload {
        Payload::Events(events) => {
            let mut last = std::ptr::null();
            events
                .iter()
                .map(|event| match &event.process {
                    Some(process) if std::sync::Arc::as_ptr(process) != last => {
                        last = std::sync::Arc::as_ptr(process);
                        ITEM + process.arguments.value.raw().len()
                    }
                    _ => ITEM,
                })
                .sum()
        }
        other => 8 * ITEM * other.len(),
    }
}

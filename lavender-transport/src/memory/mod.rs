//! The transport within one process.

#[cfg(feature = "command")]
mod commands;
mod durable;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lavender_core::transport::{Consumer, Message, Publisher, Subscriber, Subscription, Topic};
use lavender_core::{Error, ErrorKind, Result, async_trait};

#[cfg(feature = "command")]
pub use self::commands::{MemoryCommandSource, MemoryCommands, MemoryReportSource};
use self::durable::{Durable, MemoryConsumer};

/// Bounds of a [`MemoryTransport`], for each durable.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// The most messages that are held: waiting, out for delivery, or to come again. 1,024 unless said.
    pub messages_max: NonZeroUsize,
    /// The most events or alerts in them. One message may exceed it, and is then alone. 65,536 unless
    /// said.
    pub items_max: NonZeroUsize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        let of = |number: usize| NonZeroUsize::MIN.saturating_add(number - 1);
        Self { messages_max: of(1_024), items_max: of(65_536) }
    }
}

/// Passes messages on within a process, typed and shared.
///
/// - Every durable gets every message of its topic; consumers that name the same durable share them.
/// - A durable is there from the first [`subscribe`](Subscriber::subscribe) with its name: subscribe
///   before you publish. What is published to a topic without a durable goes nowhere and is
///   [counted](Self::undelivered).
/// - Who publishes waits while a durable of the topic is full, also one that nobody reads from just now.
/// - It survives nothing: what it holds is gone with the process. A message is delivered again when its
///   delivery is dropped or refused.
///
/// Clones are the same transport. See the [crate](crate) for an example.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: MemoryOptions,
    topics: Mutex<Topics>,
    undelivered: AtomicU64,
}

#[derive(Debug, Default)]
struct Topics {
    durables: HashMap<Topic, HashMap<Arc<str>, Arc<Durable>>>,
    closed: bool,
}

impl MemoryTransport {
    /// A transport with nothing in it.
    pub fn new(options: MemoryOptions) -> Self {
        let shared = Shared { options, topics: Mutex::default(), undelivered: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Ends publishing: who waits to publish gets an error. Consumers get what is left, then the end.
    pub fn close(&self) {
        let mut topics = self.topics();
        topics.closed = true;
        for durable in topics.durables.values().flat_map(HashMap::values) {
            durable.close();
        }
    }

    /// How many events and alerts were published to topics that had no durable.
    pub fn undelivered(&self) -> u64 {
        self.shared.undelivered.load(Ordering::Relaxed)
    }

    fn topics(&self) -> std::sync::MutexGuard<'_, Topics> {
        // Nothing panics while it holds the lock.
        self.shared.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durables_of(&self, topic: Topic) -> Result<Vec<Arc<Durable>>> {
        let topics = self.topics();
        if topics.closed {
            return Err(closed());
        }
        let durables = topics.durables.get(&topic).into_iter().flat_map(HashMap::values);
        Ok(durables.map(Arc::clone).collect())
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "transport memory:", "it is closed")
}

#[async_trait]
impl Publisher for MemoryTransport {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        for message in messages {
            let durables = self.durables_of(message.topic)?;
            let Some((last, others)) = durables.split_last() else {
                let items = message.payload.len() as u64;
                self.shared.undelivered.fetch_add(items, Ordering::Relaxed);
                continue;
            };
            // Room everywhere first, so that a message is with all durables or with none.
            let items = message.payload.len();
            let mut room = Vec::with_capacity(others.len());
            for durable in others {
                room.push(durable.reserve(items).await.ok_or_else(closed)?);
            }
            let last_room = last.reserve(items).await.ok_or_else(closed)?;
            for (durable, room) in others.iter().zip(room) {
                durable.push(message.clone(), room);
            }
            last.push(message, last_room);
        }
        Ok(())
    }
}

#[async_trait]
impl Subscriber for MemoryTransport {
    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>> {
        let mut topics = self.topics();
        let closed = topics.closed;
        let durables = topics.durables.entry(subscription.topic).or_default();
        let durable = durables.entry(subscription.durable).or_insert_with(|| {
            let durable = Durable::new(self.shared.options);
            if closed {
                durable.close();
            }
            Arc::new(durable)
        });
        Ok(Box::new(MemoryConsumer::new(Arc::clone(durable))))
    }
}

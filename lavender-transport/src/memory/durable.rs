//! A durable: what one reader, or several that share, has still to be done with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lavender_core::transport::{Ack, Consumer, Delivery, Message};
use lavender_core::{Result, async_trait};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::MemoryOptions;

/// Room for one message; given back when the message is acknowledged.
#[derive(Debug)]
pub(super) struct Room {
    _message: OwnedSemaphorePermit,
    _items: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Held {
    /// The order in which messages came; redelivered ones go back to their place.
    position: u64,
    message: Message,
    attempts: u32,
    _room: Room,
}

#[derive(Debug, Default)]
struct Queue {
    ready: BTreeMap<u64, Held>,
    /// Refused, by when they come again.
    delayed: BTreeMap<(Instant, u64), Held>,
    /// Delivered, and not answered yet.
    out: usize,
    next_position: u64,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Durable {
    queue: Mutex<Queue>,
    /// Told of everything that a waiting consumer may want to know.
    changed: Notify,
    messages: Arc<Semaphore>,
    items: Arc<Semaphore>,
    items_max: usize,
}

impl Durable {
    pub(super) fn new(options: MemoryOptions) -> Self {
        let items_max = options.items_max.get().min(u32::MAX as usize >> 3);
        let messages_max = options.messages_max.get().min(Semaphore::MAX_PERMITS);
        Self {
            queue: Mutex::default(),
            changed: Notify::new(),
            messages: Arc::new(Semaphore::new(messages_max)),
            items: Arc::new(Semaphore::new(items_max)),
            items_max,
        }
    }

    /// Waits for room for a message with so many items; `None` once it is closed.
    pub(super) async fn reserve(&self, items: usize) -> Option<Room> {
        let message = Arc::clone(&self.messages).acquire_owned().await.ok()?;
        let items = items.min(self.items_max) as u32;
        let items = Arc::clone(&self.items).acquire_many_owned(items).await.ok()?;
        Some(Room { _message: message, _items: items })
    }

    pub(super) fn push(&self, message: Message, room: Room) {
        let mut queue = self.queue();
        let position = queue.next_position;
        queue.next_position += 1;
        queue.ready.insert(position, Held { position, message, attempts: 0, _room: room });
        drop(queue);
        self.changed.notify_waiters();
    }

    pub(super) fn close(&self) {
        self.messages.close();
        self.items.close();
        self.queue().closed = true;
        self.changed.notify_waiters();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message back that was delivered: for good, or to come again.
    fn take_back(&self, held: Held, again: Option<Duration>) {
        let mut queue = self.queue();
        queue.out -= 1;
        match again {
            None => drop(held),
            Some(Duration::ZERO) => {
                queue.ready.insert(held.position, held);
            }
            Some(delay) => {
                queue.delayed.insert((Instant::now() + delay, held.position), held);
            }
        }
        drop(queue);
        self.changed.notify_waiters();
    }
}

/// What a look at the queue gives.
enum Look {
    Deliveries(Vec<Delivery>),
    /// Nothing now; look again when something changes, or at this time.
    Wait(Option<Instant>),
}

#[derive(Debug)]
pub(super) struct MemoryConsumer {
    durable: Arc<Durable>,
}

impl MemoryConsumer {
    pub(super) const fn new(durable: Arc<Durable>) -> Self {
        Self { durable }
    }

    fn look(&self, max: usize) -> Look {
        let mut queue = self.durable.queue();
        let due = queue.delayed.keys().next().map(|(due, _)| *due);
        if due.is_some_and(|due| due <= Instant::now()) {
            let later = queue.delayed.split_off(&(Instant::now(), u64::MAX));
            for held in std::mem::replace(&mut queue.delayed, later).into_values() {
                queue.ready.insert(held.position, held);
            }
        }
        let mut deliveries = Vec::new();
        while deliveries.len() < max {
            let Some((_, mut held)) = queue.ready.pop_first() else { break };
            held.attempts = held.attempts.saturating_add(1);
            queue.out += 1;
            deliveries.push(Delivery {
                message: held.message.clone(),
                attempt: held.attempts,
                ack: Box::new(MemoryAck { durable: Arc::clone(&self.durable), held: Some(held) }),
            });
        }
        let at_the_end = queue.closed && queue.out == 0 && queue.delayed.is_empty();
        if deliveries.is_empty() && !at_the_end {
            Look::Wait(queue.delayed.keys().next().map(|(due, _)| *due))
        } else {
            Look::Deliveries(deliveries)
        }
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>> {
        loop {
            // Listens before it looks, so that what changes in between is not missed.
            let mut changed = std::pin::pin!(self.durable.changed.notified());
            changed.as_mut().enable();
            match self.look(max.max(1)) {
                Look::Deliveries(deliveries) => return Ok(deliveries),
                Look::Wait(None) => changed.await,
                Look::Wait(Some(due)) => {
                    // Either is reason to look again.
                    let _ = tokio::time::timeout_at(due, changed).await;
                }
            }
        }
    }
}

/// The answer to a delivery; none, when it is dropped.
#[derive(Debug)]
struct MemoryAck {
    durable: Arc<Durable>,
    /// Until it is answered.
    held: Option<Held>,
}

impl MemoryAck {
    fn answer(&mut self, again: Option<Duration>) {
        if let Some(held) = self.held.take() {
            self.durable.take_back(held, again);
        }
    }
}

impl Drop for MemoryAck {
    fn drop(&mut self) {
        self.answer(Some(Duration::ZERO));
    }
}

#[async_trait]
impl Ack for MemoryAck {
    async fn ack(mut self: Box<Self>) -> Result<()> {
        self.answer(None);
        Ok(())
    }

    async fn nak(mut self: Box<Self>, delay: Duration) -> Result<()> {
        self.answer(Some(delay));
        Ok(())
    }
}

//! Where events come from and where they go.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::event::{Event, EventBatch};
use crate::rule::Detection;

/// Where events come from: a live sensor, a capture, a test.
///
/// # Contract
///
/// - `Ok(None)` is the end; nothing follows it.
/// - Dropping the future of [`next_batch`](Self::next_batch) loses nothing.
/// - What could not be delivered is in [`EventBatch::lost`], never left out in silence.
/// - After [`stop`](Self::stop) it delivers what it still holds, its last losses included, and ends.
#[async_trait]
pub trait Source: fmt::Debug + Send + 'static {
    /// Waits for events.
    ///
    /// # Errors
    ///
    /// When the source cannot go on. What it delivered before stays good.
    async fn next_batch(&mut self) -> Result<Option<EventBatch>>;

    /// Asks it to come to an end. Returns at once.
    fn stop(&mut self);
}

/// Looks at events and says what is suspicious. Synchronous, and without waiting: one instance per
/// thread, each with its own scratch space over shared rules.
pub trait Detector: fmt::Debug + Send {
    /// Adds what the rules find in this event to `out`.
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>);
}

/// Adds context to an event before it is looked at.
pub trait Enricher: fmt::Debug + Send {
    /// Changes the event in place.
    fn enrich(&mut self, event: &mut Event);
}

/// Takes items for good, or observes them.
#[async_trait]
pub trait Sink<T: Send + Sync + 'static>: fmt::Debug + Send + Sync + 'static {
    /// Takes all of the items, or none and says why. Taking the same item twice is taking it once.
    ///
    /// # Errors
    ///
    /// When they were not taken.
    async fn write(&self, items: &[T]) -> Result<()>;
}

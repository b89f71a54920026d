//! Where events come from and where they go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::alert::Alert;
use crate::error::Result;
use crate::event::{Event, EventBatch, EventKind, Undescribed, Unhashed};
use crate::rule::Detection;
use crate::time::Timestamp;

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

    /// How many events of each kind it has left out since it began, since no rule and no policy needs them. They are not
    /// lost; heartbeats tell of them.
    fn filtered(&self) -> BTreeMap<EventKind, u64> {
        BTreeMap::new()
    }

    /// How many files of programs it has not hashed since it began, by why. Their events say so, and heartbeats tell how
    /// many there were.
    fn unhashed(&self) -> BTreeMap<Unhashed, u64> {
        BTreeMap::new()
    }

    /// Of how many containers it has not found out what their runtime says since it began, by why. Their events say so, and
    /// heartbeats tell how many there were.
    fn undescribed(&self) -> BTreeMap<Undescribed, u64> {
        BTreeMap::new()
    }
}

/// Looks at events and says what is suspicious. Synchronous, and without waiting: one instance per
/// thread, each with its own scratch space over shared rules.
pub trait Detector: fmt::Debug + Send {
    /// Adds what the rules find in this event to `out`.
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>);

    /// Says that it is `now`, and that nothing happened since the last event: what waits for time to pass is decided.
    fn idle(&mut self, now: Timestamp, out: &mut Vec<Detection>) {
        let _ = (now, out);
    }

    /// The time that has to come, by events or by [`idle`](Self::idle), for the next thing to be decided that time alone
    /// decides; `None` when nothing waits for it.
    fn due(&self) -> Option<Timestamp> {
        None
    }

    /// What of it must outlive the process, if anything.
    fn state(&mut self) -> Option<&mut dyn Stateful> {
        None
    }
}

/// Looks at alerts before anybody else does: adds to them, adds others, holds back what repeats.
///
/// Synchronous, and called only where something was found: what was not costs nothing.
pub trait AlertStage: fmt::Debug + Send {
    /// Takes the alerts that were raised together, with one event. What it leaves in `raised` is raised; what it takes
    /// out is counted in [`suppressed`](Self::suppressed). What was not raised and is to be answered all the same
    /// goes to `repeated`.
    fn pass(&mut self, raised: &mut Vec<Alert>, repeated: &mut Vec<Alert>);

    /// What has changed about alerts that were raised before, each with its id, for whoever keeps them: called once
    /// for each batch of events, and with `last` when no more come.
    fn updates(&mut self, last: bool, out: &mut Vec<Alert>) {
        let _ = (last, out);
    }

    /// How many alerts it has held back.
    fn suppressed(&self) -> u64 {
        0
    }

    /// What of it must outlive the process, if anything.
    fn state(&mut self) -> Option<&mut dyn Stateful> {
        None
    }
}

/// What outlives the process: state in parts, each of which has a key and a value.
///
/// # Contract
///
/// - Restoring what [`changed`](Self::changed) gave since the beginning, the last of each key, gives the same state.
/// - Keys begin with the part's own name and a slash: `risk/…`.
/// - What comes a second time changes nothing. So whoever saves state every now and then restores the last of it, gives
///   the events after it again, and has what it had.
pub trait Stateful {
    /// Gives what has changed since it was asked last, each key once: its value, or `None` when it is no more.
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>));

    /// Takes back what [`changed`](Self::changed) gave.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) when the value is none that it gave. It goes on without.
    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()>;

    /// What it could not take into account since it was made. Told in heartbeats.
    fn gaps(&self) -> Gaps {
        Gaps::default()
    }
}

/// What state over time could not take into account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// What was forgotten before its time for want of room.
    pub forgotten: u64,
    /// What came later than is waited for.
    pub late: u64,
}

impl std::ops::AddAssign for Gaps {
    fn add_assign(&mut self, other: Self) {
        self.forgotten += other.forgotten;
        self.late += other.late;
    }
}

/// Adds context to an event before it is looked at. An event that its source keeps to use its memory again is copied for it.
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

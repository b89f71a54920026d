//! What ingest has done, counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a worker has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestCounts {
    /// Messages that came, each time that they did.
    pub deliveries: u64,
    /// Messages that were passed on.
    pub messages: u64,
    /// Events in them.
    pub events: u64,
    /// Messages that are no good, and were put aside as dead letters.
    pub dead_letters: u64,
    /// Such messages that were not kept, since there were too many of one agent.
    pub dead_letters_discarded: u64,
    /// Times that a message had to wait, because its agent sent more than it may.
    pub rate_limited: u64,
    /// Messages that did not pass for that reason. Their events are told of as gaps.
    pub rate_refused: u64,
    /// Gaps that were published.
    pub gaps: u64,
    /// Numbers that were missing in them.
    pub lost: u64,
    /// Times that an agent with holes was not watched, since too many were. The next scan finds it.
    pub unwatched: u64,
    /// Times that the broker did not take what was published, and it was tried again.
    pub publish_retries: u64,
    /// Times that the state store did not answer, and it was tried again.
    pub state_retries: u64,
}

impl IngestCounts {
    /// Each with its name.
    pub const fn each(&self) -> [(&'static str, u64); 12] {
        [
            ("deliveries", self.deliveries),
            ("messages", self.messages),
            ("events", self.events),
            ("dead_letters", self.dead_letters),
            ("dead_letters_discarded", self.dead_letters_discarded),
            ("rate_limited", self.rate_limited),
            ("rate_refused", self.rate_refused),
            ("gaps", self.gaps),
            ("lost", self.lost),
            ("unwatched", self.unwatched),
            ("publish_retries", self.publish_retries),
            ("state_retries", self.state_retries),
        ]
    }
}

/// Counts that many add to.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<IngestCounts>);

impl Counts {
    pub(super) fn lock(&self) -> MutexGuard<'_, IngestCounts> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

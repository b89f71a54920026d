//! What ingest is told, and what it counts.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lavender_core::{Clock, SystemClock};

/// The bounds of ingest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IngestOptions {
    /// The largest body, compressed as it is. 1 MiB unless said. Decompressed,
    /// [`MAX_BODY_BYTES`](lavender_core::envelope::MAX_BODY_BYTES) are the bound.
    pub body_bytes_max: usize,
    /// How many events an agent may send in a second, by each worker. 20,000 unless said.
    pub events_per_second: NonZeroU32,
    /// How many it may send at once. 100,000 unless said.
    pub burst: NonZeroU32,
    /// How many messages of one agent may wait for its limit, and four times as many of all agents; what is beyond is
    /// put aside. A quarter of a durable's 1,024 in all, unless said: 64.
    pub waiting_max: usize,
    /// How far an event may be ahead of the clock here. 10 minutes unless said.
    pub ahead_max: Duration,
    /// How far behind it may be: as long as spools last. 30 days unless said.
    pub behind_max: Duration,
    /// How long a missing number may come late or again before it counts as lost: longer than agents take to report
    /// what they shed. 60 s unless said.
    pub gap_wait: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            events_per_second: NonZeroU32::MIN.saturating_add(19_999),
            burst: NonZeroU32::MIN.saturating_add(99_999),
            waiting_max: 64,
            ahead_max: Duration::from_secs(600),
            behind_max: Duration::from_secs(30 * 86_400),
            gap_wait: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
        }
    }
}

/// What an ingest has done since it began.
#[derive(Debug, Default)]
pub struct IngestCounts {
    pub(super) messages: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) limited: AtomicU64,
    pub(super) gaps: AtomicU64,
}

impl IngestCounts {
    /// Each with its name: messages and events that were passed on, messages that were put aside, messages that had to
    /// wait for their agent's limit (each time), gaps that were reported.
    pub fn all(&self) -> [(&'static str, u64); 5] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("messages", read(&self.messages)),
            ("events", read(&self.events)),
            ("rejected", read(&self.rejected)),
            ("limited", read(&self.limited)),
            ("gaps", read(&self.gaps)),
        ]
    }
}

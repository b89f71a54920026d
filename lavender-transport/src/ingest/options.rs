//! What a worker is told.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::{Clock, SystemClock};

use super::Checks;

/// So many items a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a second.
    pub per_second: NonZeroU32,
    /// How many at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// So many a second and at once; what is 0 counts as 1.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { per_second: at_least_one(per_second), burst: at_least_one(burst) }
    }
}

/// What an ingest worker is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IngestOptions {
    /// What a message must be like.
    pub checks: Checks,
    /// How many events of one agent each worker lets pass; `None` for as many as come. 50,000 a second and a
    /// million at once unless said, so that a spool that was cut off for a while can empty itself.
    pub events_per_agent: Option<Rate>,
    /// How many messages of one agent are kept as dead letters; more are discarded and counted, so that one that
    /// sends nothing else does not fill the stream. 5 a second and 200 at once unless said: while the
    /// stream is full they wait, and take the place of others as those do that [wait](Self::waiting_max).
    pub dead_letters_per_agent: Rate,
    /// The most messages of one agent that wait since it sends more than it may; of more, the events are lost and
    /// told of as gaps. 32 unless said.
    pub waiting_per_agent: usize,
    /// The most messages of all agents that wait so. What waits takes the place of others in what the broker has out:
    /// stay well below [`in_flight`](crate::nats::ConsumerOptions::in_flight), divided by the number of workers. 128
    /// unless said.
    pub waiting_max: usize,
    /// How long numbers that are missing may still come before they count as a gap: longer than it takes a
    /// message to come again whose worker was killed. 2 minutes unless said.
    pub gap_wait: Duration,
    /// How long an agent that is silent is known; what it sends then is new. 90 days unless said.
    pub forget_after: Duration,
    /// The most agents with holes that a worker watches at once; others are found by the next scan. 10,000 unless
    /// said.
    pub watched_max: usize,
    /// How often the state store is scanned for holes that nobody watches, beside at the start. 10 minutes unless
    /// said.
    pub scan_interval: Duration,
    /// The most messages that are looked at in one go: what is in memory at once. 64 unless said.
    pub batch_max: usize,
    /// By what messages are stamped and judged. Workers that share the state must agree about the time within
    /// less than [`gap_wait`](Self::gap_wait).
    pub clock: Arc<dyn Clock>,
}

impl Default for IngestOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            checks: Checks::default(),
            events_per_agent: Some(Rate::new(50_000, 1_000_000)),
            dead_letters_per_agent: Rate::new(5, 200),
            waiting_per_agent: 32,
            waiting_max: 128,
            gap_wait: Duration::from_secs(120),
            forget_after: DAY * 90,
            watched_max: 10_000,
            scan_interval: Duration::from_secs(600),
            batch_max: 64,
            clock: Arc::new(SystemClock),
        }
    }
}

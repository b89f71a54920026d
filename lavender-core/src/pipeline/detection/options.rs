//! How a worker works, and what it has done.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// How a [`DetectionWorker`](super::DetectionWorker) works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DetectionOptions {
    /// The most messages that are looked at together. What they hold of one agent is one step on its state, so where there
    /// is a backlog, more of them cost less. 256 unless said.
    pub messages: usize,
    /// The most bytes that what is known of one agent takes in the store; beyond them, parts are forgotten, and counted.
    /// Below what the store takes as one value. 768 KiB unless said.
    pub state_bytes_max: usize,
    /// The most bytes of states, read and as the store has them, that are kept at hand between batches. 64 MiB unless said.
    pub cached_bytes_max: usize,
    /// The most agents of which the time of the last event is remembered. 65,536 unless said.
    pub agents_max: usize,
    /// For how long an agent says nothing before what waits for time to pass is decided by the clock. Longer than events
    /// may be on their way. 2 min unless said.
    pub silence: Duration,
    /// How often it is looked for what time alone decides. 1 s unless said.
    pub tick: Duration,
    /// How often all states in the store are looked through for that, so that what another worker left is found: 256 of
    /// them at each tick. Costs one read for each agent. 30 s unless said.
    pub scan: Duration,
    /// How often a step is done again at once because another worker was faster. 64 unless said.
    pub attempts_max: u32,
    /// The wait after the first failure of store or transport; doubled after each further one.
    pub retry_delay: Duration,
    /// The longest wait between two tries.
    pub retry_delay_max: Duration,
}

impl Default for DetectionOptions {
    fn default() -> Self {
        Self {
            messages: 256,
            state_bytes_max: 768 << 10,
            cached_bytes_max: 64 << 20,
            agents_max: 65_536,
            silence: Duration::from_secs(120),
            tick: Duration::from_secs(1),
            scan: Duration::from_secs(30),
            attempts_max: 64,
            retry_delay: Duration::from_millis(50),
            retry_delay_max: Duration::from_secs(5),
        }
    }
}

/// What a [`DetectionWorker`](super::DetectionWorker) has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DetectionReport {
    /// Messages that were acknowledged.
    pub messages: u64,
    /// Events that were looked at, those that came again included.
    pub events: u64,
    /// Events that concerned what is known of their agent.
    pub concerning: u64,
    /// Steps on the state of an agent that were written.
    pub steps: u64,
    /// Bytes of states that were written.
    pub state_bytes: u64,
    /// Steps that were done again because another worker was faster.
    pub conflicts: u64,
    /// Alerts that were published, those that were published again included.
    pub alerts: u64,
    /// Reports of repeats that were published.
    pub updates: u64,
    /// Alerts that only repeated others, and are counted with them.
    pub suppressed: u64,
    /// What detectors and stages forgot before its time for want of room.
    pub forgotten: u64,
    /// What came later than detectors and stages wait for.
    pub late: u64,
    /// Parts of states that could not be read, and were begun anew.
    pub unreadable: u64,
    /// Tries that failed.
    pub failures: u64,
}

/// Tells what a worker that runs has done so far. Clones are of the same worker.
#[derive(Clone, Debug, Default)]
pub struct DetectionProgress(Arc<Mutex<DetectionReport>>);

impl DetectionProgress {
    /// What it has done so far.
    pub fn report(&self) -> DetectionReport {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, change: impl FnOnce(&mut DetectionReport)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

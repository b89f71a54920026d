//! What the sensor has done, counted.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What the sensor has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SensorStats {
    /// Records read from the rings.
    pub records: u64,
    /// Events delivered.
    pub events: u64,
    /// Events lost: [`EventBatch::lost`](lavender_core::event::EventBatch::lost), summed up, but for what was over a limit.
    pub lost: u64,
    /// Acts that were over a limit, and are told as counts: see [`Limits`](crate::Limits).
    pub throttled: u64,
    /// Parts of arguments lost. The events that they belong to were delivered, and say so.
    pub argument_parts_lost: u64,
    /// Snapshots of all processes taken: one at the start, and one after losses of process life.
    pub snapshots: u64,
    /// What became of the capture.
    pub capture: CaptureState,
}

/// What became of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureState {
    /// There is none.
    #[default]
    Off,
    /// It is being written.
    Recording,
    /// It reached its bound, and is complete up to there.
    Full,
    /// It could not be written any more; the log says why. It ends where it ended.
    Failed,
}

/// [`SensorStats`], shared with other threads.
#[derive(Debug, Default)]
pub(super) struct SharedStats {
    pub(super) records: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) argument_parts_lost: AtomicU64,
    pub(super) snapshots: AtomicU64,
    capture: AtomicU8,
}

impl SharedStats {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> SensorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SensorStats {
            records: read(&self.records),
            events: read(&self.events),
            lost: read(&self.lost),
            throttled: read(&self.throttled),
            argument_parts_lost: read(&self.argument_parts_lost),
            snapshots: read(&self.snapshots),
            capture: match self.capture.load(Ordering::Relaxed) {
                0 => CaptureState::Off,
                1 => CaptureState::Recording,
                2 => CaptureState::Full,
                _ => CaptureState::Failed,
            },
        }
    }

    pub(super) fn set_capture(&self, state: CaptureState) {
        self.capture.store(state as u8, Ordering::Relaxed);
    }
}

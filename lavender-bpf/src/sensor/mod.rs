//! The live kernel: probes loaded and attached, rings read, events assembled.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{EventBatch, EventKind, Priority};
use lavender_core::{AgentIdentity, BootId, Clock, Sequencer, SystemClock, async_trait};

use crate::capture::CaptureWriter;
use crate::support::ProbeReport;

/// Why the sensor cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SensorError {
    /// Not one of the probes that were asked for can be used.
    #[error("no probe can be used here: {reasons}")]
    NoProbe {
        /// Why, for each.
        reasons: String,
    },
}

/// Says what to watch, then opens the sensor.
#[derive(Debug)]
pub struct SensorBuilder {
    identity: AgentIdentity,
    boot: BootId,
    ids: Sequencer,
    kinds: Vec<EventKind>,
    included_cgroups: Vec<PathBuf>,
    excluded_cgroups: Vec<PathBuf>,
    included_uids: Vec<u32>,
    drain_interval: Duration,
    clock: Arc<dyn Clock>,
    capture: Option<CaptureWriter>,
}

impl SensorBuilder {
    /// A sensor of everything there is a probe for, everywhere on the host, whose events get ids from `ids`.
    pub fn new(identity: AgentIdentity, boot: BootId, ids: Sequencer) -> Self {
        Self {
            identity,
            boot,
            ids,
            kinds: Vec::new(),
            included_cgroups: Vec::new(),
            excluded_cgroups: Vec::new(),
            included_uids: Vec::new(),
            drain_interval: Duration::from_millis(10),
            clock: Arc::new(SystemClock),
            capture: None,
        }
    }

    /// Watches these kinds of events only. Forks, execs and exits are always watched: the process table lives
    /// on them.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// Sees only what happens in this control group (v2, a folder below its mount) and below it. May be called
    /// up to 16 times.
    #[must_use]
    pub fn with_included_cgroup(mut self, folder: impl Into<PathBuf>) -> Self {
        self.included_cgroups.push(folder.into());
        self
    }

    /// Sees nothing of this control group (v2) and what is below it. May be called up to 16 times.
    #[must_use]
    pub fn with_excluded_cgroup(mut self, folder: impl Into<PathBuf>) -> Self {
        self.excluded_cgroups.push(folder.into());
        self
    }

    /// Sees only what processes with this real user id do. May be called up to 16 times.
    #[must_use]
    pub fn with_included_uid(mut self, uid: u32) -> Self {
        self.included_uids.push(uid);
        self
    }

    /// The size of a ring in bytes; a power of two and a multiple of the page size.
    #[must_use]
    pub fn with_ring_bytes(self, _ring: Priority, _bytes: u32) -> Self {
        self
    }

    /// How long a record may wait in its ring at the most before it is read, unless much comes at once.
    #[must_use]
    pub fn with_drain_interval(mut self, interval: Duration) -> Self {
        self.drain_interval = interval;
        self
    }

    /// Reads the time there.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Writes all that the sensor learns to a capture as well.
    #[must_use]
    pub fn with_capture(mut self, capture: CaptureWriter) -> Self {
        self.capture = Some(capture);
        self
    }

    /// Loads and attaches the probes, and takes the snapshot. The sensor belongs to the calling thread.
    ///
    /// # Errors
    ///
    /// When nothing can be watched; see [`SensorError`].
    pub fn open(self) -> Result<Sensor, SensorError> {
        Err(SensorError::NoProbe { reasons: String::new() })
    }

    /// Opens the sensor on a thread of its own, which polls it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn spawn(self) -> Result<SensorSource, SensorError> {
        Err(SensorError::NoProbe { reasons: String::new() })
    }
}

/// What the sensor has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SensorStats {
    /// Records read from the rings.
    pub records: u64,
    /// Events delivered.
    pub events: u64,
    /// Events lost.
    pub lost: u64,
}

/// The live sensor, owned by one thread.
#[derive(Debug)]
pub struct Sensor {}

impl Sensor {
    /// Waits for events, at the most for `timeout`, and returns what there is.
    ///
    /// # Errors
    ///
    /// When the rings cannot be read.
    pub fn poll(&mut self, _timeout: Duration) -> Result<EventBatch, SensorError> {
        Ok(EventBatch::default())
    }

    /// Detaches the probes and returns what was still in the rings, with the last losses.
    ///
    /// # Errors
    ///
    /// When the rings cannot be read.
    pub fn finish(self) -> Result<Vec<EventBatch>, SensorError> {
        Ok(Vec::new())
    }

    /// The probes, and whether each could be used.
    pub fn probes(&self) -> &[ProbeReport] {
        &[]
    }

    /// What it has done so far.
    pub fn stats(&self) -> SensorStats {
        SensorStats::default()
    }
}

/// The live sensor on a thread of its own: a [`Source`](lavender_core::Source).
#[derive(Debug)]
pub struct SensorSource {}

impl SensorSource {
    /// The probes, and whether each could be used.
    pub fn probes(&self) -> &[ProbeReport] {
        &[]
    }

    /// What it has done so far.
    pub fn stats(&self) -> SensorStats {
        SensorStats::default()
    }
}

#[async_trait]
impl lavender_core::Source for SensorSource {
    async fn next_batch(&mut self) -> lavender_core::Result<Option<EventBatch>> {
        Ok(None)
    }

    fn stop(&mut self) {}
}

/// Loads and attaches each probe by itself, for a moment.
pub(crate) fn probe_all() -> Vec<ProbeReport> {
    Vec::new()
}

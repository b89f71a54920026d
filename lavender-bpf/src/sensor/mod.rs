//! The live kernel: probes loaded and attached, rings read, events assembled.

mod audit;
mod call_exits;
mod call_functions;
mod calls;
mod config;
mod cost;
mod filtered;
mod hooks;
mod limits;
mod live;
mod losses;
mod misses;
mod object;
mod outcomes;
mod plan;
mod rings;
mod snapshot;
mod source;
mod stats;
mod throttled;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{EventKind, Priority};
use lavender_core::{AgentIdentity, BootId, Clock, SensorPlan, Sequencer, SystemClock};

pub use self::audit::{Census, ProcessAudit};
pub(crate) use self::config::{CGROUPS_MAX, CgroupFilter, UIDS_MAX, fill_cgroups, fill_uids};
use self::config::{Config, RingBytes};
pub use self::cost::{CostMeasurement, ProgramCost};
pub use self::limits::{Limits, Rates};
pub use self::live::Sensor;
pub(crate) use self::object::{Aligned, log_to_tracing, reason};
pub use self::outcomes::OutcomeHandle;
pub use self::source::{PlanHandle, SensorSource};
pub use self::stats::{CaptureState, SensorStats};
use crate::capture::{CaptureError, CaptureWriter};
use crate::evidence::EvidenceRing;
use crate::host::{ContainerFiles, HashOptions};
use crate::support::{Missing, Probe, ProbeReport, ProbeStatus};

/// Why the sensor cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SensorError {
    /// This host, or this process's privileges, allow no sensor at all.
    #[error("nothing can be watched here: {}", list(.0))]
    Missing(Vec<Missing>),
    /// Not one of the probes that were asked for can be used.
    #[error("no probe can be used here: {reasons}")]
    NoProbe {
        /// Why, for each.
        reasons: String,
    },
    /// The probes cannot be loaded together.
    #[error("the probes cannot be loaded: {reason}")]
    Load {
        /// Why, as the kernel or its loader says.
        reason: String,
    },
    /// A ring cannot have this size.
    #[error("the ring `{ring}` cannot have {bytes} bytes: {reason}")]
    Ring {
        /// Which ring.
        ring: &'static str,
        /// The size that was asked for.
        bytes: u32,
        /// Why not.
        reason: String,
    },
    /// A control group cannot be filtered by.
    #[error("control group {}: {reason}", .folder.display())]
    Cgroup {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// More of something than the probes have room for.
    #[error("{given} {what} to filter by; at most {max} can be given")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were given.
        given: usize,
        /// How many there may be.
        max: usize,
    },
    /// The kernel does not take a plan.
    #[error("which events are needed cannot be told to the kernel: {reason}")]
    Plan {
        /// Why, as the kernel or its loader says.
        reason: String,
    },
    /// The rings or the counters cannot be read.
    #[error("{what} cannot be read: {source}")]
    Read {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The thread of the sensor cannot be started, or ended before its time.
    #[error("the sensor's thread: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// The capture cannot be begun.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

impl SensorError {
    fn no_probe(reports: &[ProbeReport]) -> Self {
        let reasons: Vec<String> = reports
            .iter()
            .filter_map(|row| match &row.status {
                ProbeStatus::Available => None,
                ProbeStatus::Unavailable { reason } => Some(format!("{}: {reason}", row.probe)),
            })
            .collect();
        Self::NoProbe { reasons: reasons.join("; ") }
    }
}

fn list(missing: &[Missing]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
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
    rings: RingBytes,
    limits: Limits,
    drain_interval: Duration,
    clock: Arc<dyn Clock>,
    capture: Option<CaptureWriter>,
    evidence: Option<EvidenceRing>,
    plan: SensorPlan,
    hashes: Option<HashOptions>,
    container_files: Option<ContainerFiles>,
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
            rings: RingBytes::default(),
            limits: Limits::default(),
            drain_interval: Duration::from_millis(50),
            clock: Arc::new(SystemClock),
            capture: None,
            evidence: None,
            plan: SensorPlan::everything(),
            hashes: Some(HashOptions::default()),
            container_files: Some(ContainerFiles::default()),
        }
    }

    /// Watches these kinds of events only. Forks, execs and exits are always watched: the process table lives
    /// on them.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// Leaves out what a plan does not need, in the kernel; nothing unless told. It can be changed later
    /// ([`Sensor::apply_plan`], [`SensorSource::plan_handle`]), within the kinds that are watched.
    #[must_use]
    pub fn with_plan(mut self, plan: SensorPlan) -> Self {
        self.plan = plan;
        self
    }

    /// How the files of programs are hashed: [`HashOptions::default`] unless it is set; `None`: not at all.
    #[must_use]
    pub const fn with_hashes(mut self, hashes: Option<HashOptions>) -> Self {
        self.hashes = hashes;
        self
    }

    /// Where the names of containers, their images and pods are read: [`ContainerFiles::default`] unless it is set; `None`:
    /// nowhere.
    #[must_use]
    pub fn with_container_files(mut self, files: Option<ContainerFiles>) -> Self {
        self.container_files = files;
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

    /// The size of a ring in bytes: a power of two, from a page to 1 GiB. By default 8 MiB for process life, 2 MiB
    /// for network, 8 MiB for files.
    #[must_use]
    pub const fn with_ring_bytes(mut self, ring: Priority, bytes: u32) -> Self {
        self.rings.set(ring, bytes);
        self
    }

    /// How much of a kind of acts is told one by one: [`Limits::default`] unless it is set, [`Limits::OFF`] for all of it.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a record may wait in its ring at the most before it is read: 50 ms by default. Where fewer than 32 come at a
    /// time, a fifth of it. A ring with an eighth of its bytes unread, or 512 KiB, is read earlier, and the first record after
    /// an interval without any is read at once. So this bounds what a record waits for, beside the time that the reader itself
    /// takes for the batch before. What is longer costs less for each event, the programs that are watched too.
    #[must_use]
    pub const fn with_drain_interval(mut self, interval: Duration) -> Self {
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

    /// Keeps the most recent records there, to be written out when an alert is raised: see
    /// [`EvidenceStage`](crate::EvidenceStage).
    #[must_use]
    pub fn with_evidence(mut self, ring: EvidenceRing) -> Self {
        self.evidence = Some(ring);
        self
    }

    /// Loads and attaches the probes, and takes the snapshot. The sensor belongs to the calling thread.
    ///
    /// # Errors
    ///
    /// When nothing can be watched, or what was asked for cannot be had; see [`SensorError`].
    pub fn open(self) -> Result<Sensor, SensorError> {
        let missing = crate::support::check();
        if !missing.is_empty() {
            return Err(SensorError::Missing(missing));
        }
        self.rings.validate()?;
        Sensor::open(self)
    }

    /// Opens the sensor on a thread of its own, which polls it, and returns once it watches.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn spawn(self) -> Result<SensorSource, SensorError> {
        SensorSource::spawn(self)
    }

    fn config(&self) -> Result<Config, SensorError> {
        let mut config = Config::new(
            &self.included_cgroups,
            &self.excluded_cgroups,
            &self.included_uids,
            &self.rings,
        )?;
        config.limits = self.limits.config();
        Ok(config)
    }

    /// Process life always, the rest as asked.
    fn probes(&self) -> Vec<Probe> {
        let asked = |probe: &Probe| {
            probe.is_of_process_life()
                || self.kinds.is_empty()
                || probe.kind().is_some_and(|kind| self.kinds.contains(&kind))
        };
        Probe::ALL.into_iter().filter(asked).collect()
    }
}

/// Loads and attaches each probe by itself, for a moment.
pub(crate) fn probe_all() -> Vec<ProbeReport> {
    let limits = Limits::default().config();
    object::try_each(&Probe::ALL, &Config::with_limits(limits))
}

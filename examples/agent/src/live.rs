//! The live sensor, as configured.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use lavender_bpf::support::{self, Missing, ProbeStatus};
use lavender_bpf::{CaptureWriter, EvidenceRing, SensorBuilder, SensorError, SensorSource};
use lavender_core::event::Priority;
use lavender_core::{AgentIdentity, BootId, SensorPlan, Sequencer};

use crate::config::SensorConfig;
use crate::exit::{Exit, Failure};

/// Looks, before anything is touched, whether this host can be watched.
///
/// # Errors
///
/// [`Exit::Host`] with what is missing.
pub fn check() -> Result<(), Failure> {
    let missing = support::check();
    if missing.is_empty() { Ok(()) } else { Err(cannot(&missing)) }
}

/// That something is missing, and what can be done here all the same.
pub fn cannot(missing: &[Missing]) -> Failure {
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    refuse(&missing.join("; "))
}

fn refuse(why: &dyn Display) -> Failure {
    Failure::new(
        Exit::Host,
        format!(
            "this host cannot be watched: {why}\nTo see alerts here all the same: lavender-agent replay"
        ),
    )
}

/// Why the sensor does not start, by what can be done about it.
fn failure(error: SensorError) -> Failure {
    let exit = match error {
        SensorError::Cgroup { .. } | SensorError::TooMany { .. } => Exit::Configuration,
        SensorError::Capture(_) => Exit::Capture,
        SensorError::Read { .. } | SensorError::Thread { .. } => Exit::Failure,
        SensorError::Ring { ring, .. } => {
            return Failure::new(Exit::Host, format!("{error} (`{ring}_bytes` under [sensor])"));
        }
        _ => return refuse(&error),
    };
    Failure::new(exit, error)
}

/// Loads the probes, leaves out what the plan does not need, and takes the snapshot; writes what is learned to `capture` as
/// well, and keeps the most recent of it in `evidence`.
///
/// # Errors
///
/// [`Exit::Host`] with what is missing, [`Exit::Capture`] when the capture cannot be written.
pub fn open(
    config: &SensorConfig,
    plan: SensorPlan,
    (capture, evidence): (Option<&Path>, Option<EvidenceRing>),
    (identity, boot, sequencer): (AgentIdentity, BootId, Sequencer),
) -> Result<SensorSource, Failure> {
    let mut builder = SensorBuilder::new(identity, boot, sequencer)
        .with_plan(plan)
        .with_limits(config.throttle.limits())
        .with_hashes(config.hash.options())
        .with_container_files(config.containers.files());
    if !config.kinds.is_empty() {
        builder = builder.with_kinds(config.kinds.iter().map(|kind| (*kind).into()));
    }
    for cgroup in &config.include_cgroups {
        builder = builder.with_included_cgroup(cgroup);
    }
    for cgroup in &config.exclude_cgroups {
        builder = builder.with_excluded_cgroup(cgroup);
    }
    for uid in &config.include_uids {
        builder = builder.with_included_uid(*uid);
    }
    for (ring, bytes) in [
        (Priority::Process, config.process_ring_bytes),
        (Priority::Network, config.network_ring_bytes),
        (Priority::File, config.file_ring_bytes),
    ] {
        if let Some(bytes) = bytes {
            builder = builder.with_ring_bytes(ring, bytes.into());
        }
    }
    if let Some(path) = capture {
        let capture = CaptureWriter::create(path, config.capture_bytes_max)
            .map_err(|error| Failure::new(Exit::Capture, error))?;
        builder = builder.with_capture(capture);
    }
    if let Some(ring) = evidence {
        builder = builder.with_evidence(ring);
    }
    let sensor = builder.spawn().map_err(failure)?;
    for report in sensor.probes() {
        if let ProbeStatus::Unavailable { reason } = &report.status {
            tracing::warn!(reason, "{} is not watched", report.probe);
        }
    }
    Ok(sensor)
}

/// The kinds of events that the sensor delivers.
pub fn kinds(sensor: &SensorSource) -> Vec<Arc<str>> {
    let available = sensor.probes().iter().filter(|probe| probe.is_available());
    available.filter_map(|probe| Some(probe.kind?.as_str().into())).collect()
}

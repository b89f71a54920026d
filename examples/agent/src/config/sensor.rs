//! `[sensor]`: what of the kernel is watched, and with how much memory.

use std::path::PathBuf;

use lavender_bpf::support::Probe;
use lavender_core::event::EventKind;
use serde::{Deserialize, Serialize};

use super::{ContainersConfig, HashConfig, Telemetry, ThrottleConfig};

/// `[sensor]`: what of the kernel is watched, and with how much memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SensorConfig {
    /// Watch these kinds of events, and process life, which is always watched; empty: everything.
    pub kinds: Vec<WatchedKind>,
    /// Of what is watched, what is delivered beside what rules need.
    pub telemetry: Telemetry,
    /// See only what happens in these control groups (v2) and below them; empty: everywhere.
    pub include_cgroups: Vec<PathBuf>,
    /// See nothing of these control groups (v2) and what is below them.
    pub exclude_cgroups: Vec<PathBuf>,
    /// See only what processes of these user ids do; empty: of all.
    pub include_uids: Vec<u32>,
    /// The kernel's buffer for process life; as the sensor has it unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_ring_bytes: Option<RingBytes>,
    /// The kernel's buffer for connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_ring_bytes: Option<RingBytes>,
    /// The kernel's buffer for files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_ring_bytes: Option<RingBytes>,
    /// How much of a kind of acts is told one by one.
    pub throttle: ThrottleConfig,
    /// How the files of programs are hashed.
    pub hash: HashConfig,
    /// Where the container runtimes keep what they write of their containers.
    pub containers: ContainersConfig,
    /// The most bytes that a capture may have; when it has them, recording ends and watching goes on.
    pub capture_bytes_max: u64,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            telemetry: Telemetry::default(),
            include_cgroups: Vec::new(),
            exclude_cgroups: Vec::new(),
            include_uids: Vec::new(),
            process_ring_bytes: None,
            network_ring_bytes: None,
            file_ring_bytes: None,
            throttle: ThrottleConfig::default(),
            hash: HashConfig::default(),
            containers: ContainersConfig::default(),
            capture_bytes_max: 1 << 30,
        }
    }
}

/// A kind of events that there is a probe for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct WatchedKind(EventKind);

impl TryFrom<String> for WatchedKind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let kinds = Probe::ALL.iter().filter_map(|probe| probe.kind());
        if let Some(kind) = kinds.clone().find(|kind| kind.as_str() == name) {
            return Ok(Self(kind));
        }
        let known: Vec<&str> = kinds.map(EventKind::as_str).collect();
        Err(format!("`{name}` is not a kind that can be watched: use {}", known.join(", ")))
    }
}

impl From<WatchedKind> for &'static str {
    fn from(kind: WatchedKind) -> Self {
        kind.0.as_str()
    }
}

impl From<WatchedKind> for EventKind {
    fn from(kind: WatchedKind) -> Self {
        kind.0
    }
}

/// The size of a ring in bytes: a power of two, and a page or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct RingBytes(u32);

impl RingBytes {
    /// The smallest: a page.
    pub const MIN: u32 = 4096;
}

impl TryFrom<u32> for RingBytes {
    type Error = String;

    fn try_from(bytes: u32) -> Result<Self, String> {
        if bytes.is_power_of_two() && bytes >= Self::MIN {
            Ok(Self(bytes))
        } else {
            Err(format!(
                "{bytes} is not the size of a ring: a power of two from {} to {}",
                Self::MIN,
                1_u32 << 31
            ))
        }
    }
}

impl From<RingBytes> for u32 {
    fn from(bytes: RingBytes) -> Self {
        bytes.0
    }
}

//! `[sensor]`: what of the kernel is watched, and with how much memory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[sensor]`: what of the kernel is watched, and with how much memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SensorConfig {
    /// See only what happens in these control groups (v2) and below them; empty: everywhere.
    pub include_cgroups: Vec<PathBuf>,
    /// See nothing of these control groups (v2) and what is below them.
    pub exclude_cgroups: Vec<PathBuf>,
}

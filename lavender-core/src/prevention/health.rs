//! How prevention fares.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What prevention has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreventionCounts {
    /// Acts that were prevented, or in dry-run would have been.
    pub acts: u64,
    /// Of these, how many were not told one by one: more came than is told in a second, or than there was room for.
    pub untold: u64,
    /// Acts that a rule would have prevented, and that were let go because their process is protected.
    pub spared: u64,
    /// Calls that could not be looked at for want of memory, and were let go.
    pub missed: u64,
}

/// How prevention stands on a host: what heartbeats tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreventionHealth {
    /// Whether it only tells what it would do.
    pub dry_run: bool,
    /// How many rules the kernel goes by.
    pub rules: u64,
    /// What cannot be prevented on this host though it is asked for, by hook: why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<Arc<str>, Arc<str>>,
    /// What it has done.
    #[serde(flatten)]
    pub counts: PreventionCounts,
}

//! `telemetry` under `[sensor]`: what is delivered beside what rules need.

use lavender_core::SensorPlan;
use serde::{Deserialize, Serialize};

use super::WatchedKind;

/// Which events are delivered, and so stored, though no rule needs them. The agent's alerts are the same with any of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "use \"all\", \"rules\", or a list of kinds of events")]
pub enum Telemetry {
    /// All or none of them.
    Extent(Extent),
    /// Those of these kinds.
    Kinds(Vec<WatchedKind>),
}

/// How much is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// All that is watched: what led to an alert, and what nobody has written a rule for yet, can be looked up.
    All,
    /// What rules need and nothing else: the rest never leaves the kernel.
    Rules,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::Extent(Extent::All)
    }
}

impl Telemetry {
    /// What is delivered of all that the rules need, and beside it.
    #[must_use]
    pub fn with(&self, mut needed: SensorPlan) -> SensorPlan {
        match self {
            Self::Extent(Extent::All) => needed.merge(&SensorPlan::everything()),
            Self::Extent(Extent::Rules) => {}
            Self::Kinds(kinds) => kinds.iter().for_each(|kind| needed.select_all((*kind).into())),
        }
        needed
    }
}

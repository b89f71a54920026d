//! `[correlation]`: how detections are correlated.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// `[correlation]`: how long it waits for events that come late, and how much it remembers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrelationConfig {
    /// How much later than the newest event another may come and still count, in ms.
    pub lateness_ms: u32,
    /// The most bytes of state. What would be forgotten the soonest makes room, and alerts say so.
    pub state_bytes_max: NonZeroU64,
}

impl Default for CorrelationConfig {
    fn default() -> Self {
        const MIB_64: NonZeroU64 = NonZeroU64::MIN.saturating_add((64 << 20) - 1);
        Self { lateness_ms: 2_000, state_bytes_max: MIB_64 }
    }
}

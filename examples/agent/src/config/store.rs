//! `[store]`: where events and alerts are kept.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// `[store]`: where events and alerts are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Where: `sqlite:PATH`.
    pub url: String,
    /// How many days events are kept; alerts stay.
    pub retention_days: NonZeroU32,
    /// How many events may wait for the store before the least important are shed and counted.
    pub queue_events: NonZeroU32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: "sqlite:/var/lib/lavender/lavender.db".to_owned(),
            retention_days: NonZeroU32::MIN.saturating_add(29),
            queue_events: NonZeroU32::MIN.saturating_add(65_535),
        }
    }
}

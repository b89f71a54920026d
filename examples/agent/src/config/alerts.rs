//! `[alerts]`: what becomes of alerts that repeat.

use std::time::Duration;

use lavender_detect::{SuppressionKey, SuppressionOptions};
use serde::{Deserialize, Serialize};

/// `[alerts]`: what becomes of alerts that repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// For how many seconds after an alert its repeats are counted with it; 0: each is raised.
    pub suppress_secs: u32,
    /// What makes an alert a repeat of another of the same rule.
    pub suppress_by: SuppressBy,
}

/// What makes an alert a repeat of another of the same rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressBy {
    /// The same process tree.
    Tree,
    /// The same process tree and the same evidence.
    #[default]
    TreeAndEvidence,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { suppress_secs: 300, suppress_by: SuppressBy::default() }
    }
}

impl AlertsConfig {
    /// The same as the stage takes it.
    pub fn to_options(self) -> SuppressionOptions {
        let mut options = SuppressionOptions::default();
        options.window = Duration::from_secs(self.suppress_secs.into());
        options.key = match self.suppress_by {
            SuppressBy::Tree => SuppressionKey::Tree,
            SuppressBy::TreeAndEvidence => SuppressionKey::TreeAndEvidence,
        };
        options
    }
}

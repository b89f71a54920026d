//! Suppression: what repeats an alert is counted with it.

mod entry;
mod kept;
mod stage;

use std::time::Duration;

use serde::Serialize;

pub use self::stage::SuppressionStage;

/// What makes an alert a repeat of another: the same rule, as certain, and this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuppressionKey {
    /// In the same process tree.
    Tree,
    /// In the same process tree, with the same evidence: the same values of the fields that the rule matched on.
    #[default]
    TreeAndEvidence,
}

/// Where the window begins within which repeats are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuppressionAnchor {
    /// With the first alert that comes. Its id is its own.
    #[default]
    FirstAlert,
    /// At multiples of the window. Whatever the order in which alerts come, and to whom, what is raised is the same: its
    /// id is that of rule, key and window, and not of the event that came first. For what several workers share. Alerts
    /// whose own id is of a cell of time already, those of correlations and of what is new, are left alone.
    Cell,
}

/// What is held back, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuppressionOptions {
    /// What makes an alert a repeat.
    pub key: SuppressionKey,
    /// Where the window begins.
    pub anchor: SuppressionAnchor,
    /// For how long after an alert its repeats are counted with it; then one is raised again. Zero: nothing is held
    /// back. 5 min unless said.
    pub window: Duration,
    /// The most alerts whose repeats are counted at a time; of more, the oldest are forgotten, and counted. 4,096 unless
    /// said.
    pub alerts_max: usize,
    /// The most bytes of these alerts, with their processes. 16 MiB unless said.
    pub state_bytes_max: usize,
}

impl Default for SuppressionOptions {
    fn default() -> Self {
        let window = Duration::from_secs(300);
        Self {
            key: SuppressionKey::default(),
            anchor: SuppressionAnchor::default(),
            window,
            alerts_max: 4_096,
            state_bytes_max: 16 << 20,
        }
    }
}

/// What became of alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SuppressionCounters {
    /// Raised.
    pub raised: u64,
    /// Held back, and counted with the alert that they repeat.
    pub suppressed: u64,
    /// Left out because the very same alert had been seen.
    pub duplicates: u64,
    /// Alerts whose repeats are counted no more before their time, because there was no more room, or are told no more,
    /// because what was kept of the alert was damaged.
    pub forgotten: u64,
}

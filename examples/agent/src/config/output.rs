//! `[output]`: what is printed.

use serde::{Deserialize, Serialize};

/// `[output]`: what stdout carries, as JSON lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputConfig {
    /// Print a line for each alert.
    pub alerts: bool,
    /// Print a line for each event; the same as `--events`.
    pub events: bool,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { alerts: true, events: false }
    }
}

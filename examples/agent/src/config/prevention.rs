//! `[prevention]`: what the kernel kills or refuses by itself.

use serde::{Deserialize, Serialize};

/// `[prevention]`: what the kernel kills or refuses by itself, where rules say `prevent`. What `[sensor]` leaves out by control
/// group or user is left alone, and so are `protected_executables` of `[response]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreventionConfig {
    /// Have the kernel decide what rules mark.
    pub enabled: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Kill a new program that a rule refuses, where the kernel cannot refuse it.
    pub kill_for_deny: bool,
    /// Guard the agent itself: but for pid 1 and the kernel, nobody ends it, takes hold of it, or changes its files.
    pub protect_agent: bool,
}

impl Default for PreventionConfig {
    fn default() -> Self {
        Self { enabled: false, dry_run: true, kill_for_deny: false, protect_agent: false }
    }
}

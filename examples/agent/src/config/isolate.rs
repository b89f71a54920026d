//! `[response.isolate]`: what is cut off the network, and what it reaches all the same.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::AbsolutePath;

/// `[response.isolate]`: what is cut off the network when a response says `isolate`, and what it reaches all the same
/// beside loopback.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsolateConfig {
    /// The control group (v2), with all that is below it; the whole host unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<AbsolutePath>,
    /// What can be reached, by address and port. The brokers of `[transport]` need not be named.
    pub allow: Vec<SocketAddr>,
    /// Where it is kept that it is isolated, so that it is after a boot.
    pub state_file: AbsolutePath,
}

impl Default for IsolateConfig {
    fn default() -> Self {
        Self {
            cgroup: None,
            allow: Vec::new(),
            state_file: AbsolutePath::known("/var/lib/lavender/isolated.json"),
        }
    }
}

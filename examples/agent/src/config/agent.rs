//! `[agent]` and `[transport]`.

use std::fmt;
use std::num::NonZeroU32;

use lavender_core::{AgentId, TenantId};
use serde::{Deserialize, Serialize};

/// `[agent]`: who this agent is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// The agent's id, unique in its tenant. Derived from the machine's id unless it is set, so that two
    /// machines never are one agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The tenant, `default` unless it is set.
    pub tenant_id: TenantId,
    /// How often the agent says that it lives, in seconds; at least 1.
    pub heartbeat_interval_secs: NonZeroU32,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            agent_id: None,
            tenant_id: TenantId::default(),
            heartbeat_interval_secs: NonZeroU32::MIN.saturating_add(14),
        }
    }
}

/// `[transport]`: how telemetry and alerts reach the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// Where to: `memory:`, inside this process.
    pub url: TransportUrl,
}

/// A transport that this build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum TransportUrl {
    /// `memory:`: within the process.
    #[default]
    Memory,
}

impl TryFrom<String> for TransportUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        match url.as_str() {
            "memory:" => Ok(Self::Memory),
            _ => Err(format!("transport `{url}` is not built in: this agent has `memory:`")),
        }
    }
}

impl From<TransportUrl> for &'static str {
    fn from(url: TransportUrl) -> Self {
        match url {
            TransportUrl::Memory => "memory:",
        }
    }
}

impl fmt::Display for TransportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((*self).into())
    }
}

//! `[agent]`.

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

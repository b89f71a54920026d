//! Agents as the API shows them.

use lavender_core::event::{Heartbeat, LossStage};
use lavender_core::store::{FleetAgent, Liveness, LivenessReason, LivenessTransition, LossEntry};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Time;

/// An agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentView {
    /// Its id.
    pub agent: String,
    /// Its host.
    pub host: String,
    /// `online`, `degraded` or `offline`; none until it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub liveness: Option<Liveness>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub liveness_since: Option<Time>,
    /// When it was first heard of.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Time,
    /// When it was last heard of.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Time,
    /// When it last reported a loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_lost_at: Option<Time>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its kernel's release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_release: Option<String>,
    /// How many rules it has loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<u64>,
    /// The kinds of events that its host can deliver.
    pub kinds: Vec<String>,
    /// When it last said of itself how it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub heartbeat_at: Option<Time>,
    /// What it said then, as in its events: `canary` says whether its sensor sees (`missing`: what it does not), `ruleset` says which published rules it uses (`in_use`) and why not later ones
    /// (`fault`), `commands` what became of commands (`admitted`, `repeated`, `refused` by why), `spool` how its spool stands;
    /// counts since it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub heartbeat: Option<Heartbeat>,
}

impl From<FleetAgent> for AgentView {
    fn from(agent: FleetAgent) -> Self {
        let (liveness, since) = agent.liveness.unzip();
        let (heartbeat, heartbeat_at) = agent.heartbeat.unzip();
        let record = agent.record;
        Self {
            agent: record.source.agent.to_string(),
            host: record.source.host.to_string(),
            liveness,
            liveness_since: since.map(Time),
            first_seen: Time(record.first_seen),
            last_seen: Time(record.last_seen),
            last_lost_at: agent.last_lost_at.map(Time),
            version: record.version.map(|version| version.to_string()),
            kernel_release: record.kernel_release.map(|release| release.to_string()),
            rules: agent.rules,
            kinds: agent.kinds.iter().map(ToString::to_string).collect(),
            heartbeat_at: heartbeat_at.map(Time),
            heartbeat,
        }
    }
}

/// A change of an agent's state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TransitionView {
    /// The agent.
    pub agent: String,
    /// The state before; none for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<Liveness>,
    /// The state after.
    #[schema(value_type = String)]
    pub to: Liveness,
    /// Why.
    #[schema(value_type = String)]
    pub reason: LivenessReason,
    /// When it was noticed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}

impl From<LivenessTransition> for TransitionView {
    fn from(transition: LivenessTransition) -> Self {
        let LivenessTransition { agent, from, to, reason, at, .. } = transition;
        Self { agent: agent.to_string(), from, to, reason, at: Time(at) }
    }
}

/// One line of the loss ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LossView {
    /// The agent.
    pub agent: String,
    /// Its host.
    pub host: String,
    /// What kind of events.
    pub kind: String,
    /// Where they were lost.
    #[schema(value_type = String)]
    pub stage: LossStage,
    /// How many.
    pub count: u64,
}

impl From<LossEntry> for LossView {
    fn from(entry: LossEntry) -> Self {
        Self {
            agent: entry.source.agent.to_string(),
            host: entry.source.host.to_string(),
            kind: entry.kind.to_string(),
            stage: entry.stage,
            count: entry.count,
        }
    }
}

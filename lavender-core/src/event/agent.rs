//! What the agent says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CanaryHealth, EventKind, Undescribed, Unhashed};
use crate::command_tally::CommandCounts;
use crate::prevention::PreventionHealth;
use crate::ruleset::RulesetDigest;

/// The agent started to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStart {
    /// The host's name.
    pub host: Arc<str>,
    /// The agent's version.
    pub version: Arc<str>,
    /// The kernel's release, as `uname -r` shows it.
    pub kernel_release: Arc<str>,
    /// How many rules are loaded.
    pub rules: u64,
    /// The kinds of events that this host can deliver.
    #[serde(default)]
    pub kinds: Vec<Arc<str>>,
}

/// The agent stops, having flushed what it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStop {
    /// Why.
    pub reason: StopReason,
}

/// Why an agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// It was asked to, by a signal or by its embedder.
    Shutdown,
    /// Its source came to an end.
    EndOfSource,
    /// It cannot go on.
    Failure,
}

/// The agent lives. Sent at a fixed interval; its absence is what tells that a host went dark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// How long the agent has run, in ms.
    pub uptime_ms: u64,
    /// Events that its source has delivered since it started.
    pub events: u64,
    /// Alerts that it has raised since it started.
    pub alerts: u64,
    /// Events lost since it started, at all stages together.
    pub lost: u64,
    /// Alerts since it started that only repeated others, and are counted with them.
    #[serde(default)]
    pub suppressed: u64,
    /// What correlations, novelty, scores and suppression had to forget before its time since it started, for want of
    /// room: what they say may be incomplete.
    #[serde(default)]
    pub forgotten: u64,
    /// Detections since it started that came later than correlations and scores wait for.
    #[serde(default)]
    pub late: u64,
    /// Events since the agent started that its source left out, by kind: no rule and no policy needs them. Every kind is
    /// there of which not all is delivered. What the kernel was not even asked to watch is not counted, so that there may be
    /// none of a kind of which nothing is needed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filtered: BTreeMap<EventKind, u64>,
    /// Events since the agent started beyond what the sensor lets through of one process or control group, by kind. They are
    /// counted as lost too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub throttled: BTreeMap<EventKind, u64>,
    /// Files of programs since the agent started that were not hashed, by why: one is counted each time that it was asked
    /// for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unhashed: BTreeMap<Unhashed, u64>,
    /// Containers since the agent started of which it is not known what their runtime says, by why: one is counted each
    /// time that it was asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undescribed: BTreeMap<Undescribed, u64>,
    /// Whether the host is cut off the network, by an order that was given to the agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// How the agent's spool stands, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolHealth>,
    /// Which published rules the agent evaluates beside its own, where it takes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruleset: Option<RulesetHealth>,
    /// What became of what came as commands, where the agent takes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<CommandCounts>,
    /// Whether its sensor sees the acts that the agent does to be seen, where it does any. In a box: every event has the size
    /// of the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Box<CanaryHealth>>,
    /// How prevention in the kernel stands, where it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prevention: Option<Box<PreventionHealth>>,
}

/// Which published rules an agent evaluates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulesetHealth {
    /// The ruleset in use, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use: Option<RulesetInUse>,
    /// Why what was published later is not in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Arc<str>>,
}

/// A published ruleset in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesetInUse {
    /// The number of the publication: each is one more than the one before.
    pub revision: u64,
    /// Which ruleset.
    pub digest: RulesetDigest,
}

/// How an agent's disk spool stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolHealth {
    /// Bytes on disk.
    pub bytes: u64,
    /// Messages that wait for the broker.
    pub waiting: u64,
    /// Events that were given up for want of room since the agent started.
    pub shed: u64,
    /// What keeps it from delivering or from writing: a broker that is away, a permission that is missing, a full disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Arc<str>>,
}

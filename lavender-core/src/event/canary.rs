//! How an agent's canary fares.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::EventKind;
use crate::time::Timestamp;

/// How an agent's canary fares: the harmless act that it does every now and then, to see whether its sensor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CanaryHealth {
    /// Acts since the agent started that were seen whole.
    pub seen: u64,
    /// Acts since the agent started of which something was not seen in time.
    pub missed: u64,
    /// When the last act began that was seen whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// How long it took until that act was seen whole, in ms; the start of the program that does it is part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// What is not seen now. `None`: the last act was seen whole, or may still be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<CanaryMissing>,
}

/// What an agent's sensor does not see of its canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CanaryMissing {
    /// When the first act began that was not seen whole.
    pub since: Timestamp,
    /// The kinds of events that are missing of the last act.
    pub kinds: Vec<EventKind>,
    /// Why the act was not done, where that is known to be why nobody saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Arc<str>>,
}

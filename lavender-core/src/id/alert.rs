//! Ids of what was found: alerts, and the incidents that they are of.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{AgentId, EventId, IdError, NAMESPACE, ProcessId, TenantId, shown, uuid_text};

/// An alert, derived from its rule and its evidence: the same cause gives the same id, whoever computes
/// it and however often.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(Uuid);

uuid_text!(AlertId, "alert id", |_| Ok(()));

impl AlertId {
    /// The id of what `rule` found in `evidence`, the events in any order.
    pub fn new(rule: &str, evidence: &[EventId]) -> Self {
        let mut events: Vec<u128> = evidence.iter().map(|id| id.as_u128()).collect();
        events.sort_unstable();
        events.dedup();
        let mut name = Vec::with_capacity(8 + rule.len() + events.len() * 16);
        name.extend_from_slice(b"alert/");
        name.extend_from_slice(&(rule.len() as u64).to_be_bytes());
        name.extend_from_slice(rule.as_bytes());
        for event in events {
            name.extend_from_slice(&event.to_be_bytes());
        }
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }

    /// The id of what a correlation found in a group: `group` are the bytes that tell the group from others of this
    /// rule, `anchor` the moment (ns since the epoch) that tells what was found from what is found later.
    ///
    /// The same for what is new to a rule: the group is the value, the anchor when the time begins for which it is known.
    ///
    /// Which events led to it is not part of the id: those that come late add to them.
    pub fn of_correlation(rule: &str, group: &[u8], anchor: i64) -> Self {
        let mut name = Vec::with_capacity(32 + rule.len() + group.len());
        name.extend_from_slice(b"correlation/");
        name.extend_from_slice(&(rule.len() as u64).to_be_bytes());
        name.extend_from_slice(rule.as_bytes());
        name.extend_from_slice(&anchor.to_be_bytes());
        name.extend_from_slice(group);
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }

    /// The id of what was found by this id among the events of one agent. Two agents may have the same group at the same
    /// time, and what happens on each is an alert of its own.
    #[must_use]
    pub fn of_agent(self, tenant: &TenantId, agent: &AgentId) -> Self {
        let name = format!("agent/{}/{tenant}/{agent}", self.0.simple());
        Self(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }
}

/// What the alerts of one process tree have in common, derived from the tree: the same wherever it is computed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(Uuid);

uuid_text!(IncidentId, "incident id", |_| Ok(()));

impl IncidentId {
    /// The id of the incident of a tree, by the process that the tree begins with.
    pub fn of_tree(tree: ProcessId) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("incident/{tree}").as_bytes()))
    }
}

//! Risk: how much has gathered against a process tree, and what it is made of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{EventId, ProcessId};
use crate::rule::RuleMeta;
use crate::time::Timestamp;

/// The score of a process tree at an alert, and what it is made of: what was known when the alert was raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// The process that the tree begins with.
    pub tree: ProcessId,
    /// The sum of all points.
    pub score: u32,
    /// What the rules add, the most first; of many, the first [`CONTRIBUTIONS_MAX`](Self::CONTRIBUTIONS_MAX).
    pub contributions: Vec<RiskContribution>,
    /// What rules add of which there was no room for a contribution.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_points: u32,
    /// What it adds that tactics followed on each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<RiskSequence>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Risk {
    /// The most contributions that are told one by one.
    pub const CONTRIBUTIONS_MAX: usize = 16;
}

/// What one rule adds to a score: once, however often it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskContribution {
    /// The rule's id.
    pub rule: Arc<str>,
    /// Its title.
    pub title: Arc<str>,
    /// What it still adds.
    pub points: u32,
    /// What that is made of, in words.
    pub why: Arc<str>,
    /// When the match happened that counts.
    pub observed_at: Timestamp,
    /// The event that completed it.
    pub event: EventId,
}

/// What it adds to a score that tactics followed on each other in the order of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskSequence {
    /// What it adds.
    pub points: u32,
    /// The tactics, as ATT&CK names them, in order.
    pub tactics: Vec<Arc<str>>,
}

/// How often an alert was repeated by what was not raised by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How often, the alert itself not counted.
    pub count: u64,
    /// When it was last.
    pub last_seen_at: Timestamp,
}

impl Repeats {
    /// What two reports of the same alert say together: counts only grow, so the same report twice is the same as once.
    #[must_use]
    pub fn merge(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Self {
                count: one.count.max(other.count),
                last_seen_at: one.last_seen_at.max(other.last_seen_at),
            }),
            (one, other) => one.or(other),
        }
    }
}

/// The id of the built-in rule that raises an alert where a score reaches a threshold.
pub const RISK_RULE: &str = "lavender-risk";

impl RuleMeta {
    /// Whether it is the rule that raises scores, and no rule on events.
    pub fn is_risk(&self) -> bool {
        &*self.id == RISK_RULE
    }
}

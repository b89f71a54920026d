//! Alerts: detections that somebody should look at.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{EventKind, Process};
use crate::id::{AgentId, AlertId, EventId, IncidentId, TenantId};
use crate::risk::{Repeats, Risk};
use crate::rule::{Certainty, Correlated, Detection, Evidence, RuleMeta, Severity, UnknownName};
use crate::time::{BootTime, Timestamp};

/// Who an agent is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentIdentity {
    /// The tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The host's name.
    pub host: Arc<str>,
}

/// A detection as it is stored, shown and worked on.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Derived from the rule and the evidence: the same cause always gives the same id.
    pub id: AlertId,
    /// Whose host it happened on.
    pub source: AgentIdentity,
    /// The rule that found it.
    pub rule: Arc<RuleMeta>,
    /// How bad it is.
    pub severity: Severity,
    /// What has been done about it.
    pub status: AlertStatus,
    /// When the event happened that completed the match.
    pub observed_at: Timestamp,
    /// The same on the host's boot clock.
    pub boot_time: BootTime,
    /// When the rule found it.
    pub created_at: Timestamp,
    /// The kind of the event that completed the match.
    pub event_kind: EventKind,
    /// The events that it rests on.
    pub events: Vec<EventId>,
    /// The process that it is about, with its ancestors.
    pub process: Option<Arc<Process>>,
    /// The fields and values that made the rule match.
    pub evidence: Vec<Evidence>,
    /// Whether it matched for certain.
    pub certainty: Certainty,
    /// Whether events were lost in the window of a correlation, so that there may have been more; or of something new,
    /// whether it may have been seen before.
    pub incomplete: bool,
    /// What it is part of: the same for all alerts of a process tree. `None` without a process.
    pub incident: Option<IncidentId>,
    /// The risk score of its process tree, where one is kept.
    pub risk: Option<Arc<Risk>>,
    /// How often it was repeated; `None` for never.
    pub repeats: Option<Repeats>,
    /// The capture with what came before, as the path of a file on the host; `None` where none was written.
    pub capture: Option<Arc<str>>,
}

impl Alert {
    /// The alert that a detection becomes.
    pub fn from_detection(
        source: &AgentIdentity,
        detection: Detection,
        created_at: Timestamp,
    ) -> Self {
        let Detection { rule, event, evidence, certainty, correlated } = detection;
        let Correlated { id, observed_at, events, incomplete } = match correlated {
            Some(correlated) => {
                let id = correlated.id.of_agent(&source.tenant, &source.agent);
                Correlated { id, ..*correlated }
            }
            None => Correlated {
                id: AlertId::new(&rule.id, &[event.id]),
                observed_at: event.observed_at,
                events: vec![event.id],
                incomplete: false,
            },
        };
        Self {
            id,
            source: source.clone(),
            severity: rule.level,
            rule,
            status: AlertStatus::Open,
            observed_at,
            boot_time: event.boot_time,
            created_at,
            event_kind: event.kind(),
            events,
            incident: event.process.as_ref().map(|process| IncidentId::of_tree(process.tree_id())),
            process: event.process.clone(),
            evidence,
            certainty,
            incomplete,
            risk: None,
            repeats: None,
            capture: None,
        }
    }
}

/// What has been done about an alert.
///
/// ```
/// use lavender_core::AlertStatus;
///
/// assert!(AlertStatus::Open.may_become(AlertStatus::Acknowledged));
/// assert!(!AlertStatus::Resolved.may_become(AlertStatus::Acknowledged));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// Nobody has looked.
    #[default]
    Open,
    /// Somebody is looking.
    Acknowledged,
    /// It was real, and is dealt with.
    Resolved,
    /// It was nothing.
    Dismissed,
}

impl AlertStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Open, Self::Acknowledged, Self::Resolved, Self::Dismissed];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Dismissed => "dismissed",
        }
    }

    /// Whether an alert may go from this status to that one: forward, or back to open.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Open, Self::Open) | (Self::Acknowledged, Self::Acknowledged) => false,
            (Self::Open | Self::Acknowledged, _) => true,
            (Self::Resolved | Self::Dismissed, next) => matches!(next, Self::Open),
        }
    }
}

impl fmt::Display for AlertStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AlertStatus {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or_else(|| UnknownName { what: "alert status", name: name.to_owned() })
    }
}

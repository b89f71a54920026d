//! What the API shows, in JSON: names as everywhere, times in RFC 3339, ids as text.

mod agent;
mod alert;
mod command;
mod ruleset;
mod tree;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use self::agent::{AgentView, LossView, TransitionView};
pub use self::alert::{
    AlertDetail, AlertSummary, EvidenceView, ProcessView, RuleView, StatisticsView,
    StatusChangeView,
};
pub use self::command::CommandView;
pub use self::ruleset::{
    PublicationView, PublishedView, RuleFileView, RuleInForce, RuleSource, RulesetDetail,
    RulesetView,
};
pub use self::tree::{ProcessNode, ProcessTree, tree_of};

use crate::extract::Time;
use crate::problem::Problem;
use lavender_core::codec;
use lavender_core::store::{AuditEntry, StoredEvent};

/// One page of a list, and where the next begins.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PageView<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> PageView<T> {
    /// A page with each item as the API shows it.
    pub fn of<U>(page: lavender_core::store::Page<U>, each: impl FnMut(U) -> T) -> Self {
        let page = page.map(each);
        Self { items: page.items, next: page.next.map(|cursor| cursor.0) }
    }
}

/// An event, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    /// The agent that saw it.
    pub agent: String,
    /// Its host.
    pub host: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub observed_at: Time,
    /// Its kind.
    pub kind: String,
    /// The event as agents send it, with its process and ancestors inside.
    #[schema(value_type = Object)]
    pub event: Box<RawValue>,
}

impl EventView {
    /// An event as the API shows it.
    ///
    /// # Errors
    ///
    /// A [`Problem`] for one that JSON cannot hold.
    pub fn of(stored: &StoredEvent) -> Result<Self, Problem> {
        let json = codec::event_to_json(&stored.event).map_err(|error| {
            tracing::error!("event {}: {error}", stored.event.id);
            Problem::internal()
        })?;
        let event = RawValue::from_string(json).map_err(|error| {
            tracing::error!("event {}: {error}", stored.event.id);
            Problem::internal()
        })?;
        Ok(Self {
            agent: stored.source.agent.to_string(),
            host: stored.source.host.to_string(),
            observed_at: Time(stored.event.observed_at),
            kind: codec::kind_name(&stored.event.data).to_string(),
            event,
        })
    }
}

/// A line of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Who.
    pub actor: String,
    /// What.
    pub action: &'static str,
    /// To what.
    pub target: String,
    /// What is different after it.
    pub change: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            at: Time(entry.at),
            actor: entry.actor.to_string(),
            action: entry.action.as_str(),
            target: entry.target.to_string(),
            change: entry.change.to_string(),
            reason: entry.reason.map(|reason| reason.to_string()),
        }
    }
}

//! Stores: events, alerts, agents, losses, state; and what people see of them within their tenant.

mod access;
#[cfg(feature = "command")]
mod command;
mod feed;
mod fleet;
#[cfg(feature = "ruleset")]
mod ruleset;
mod triage;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::alert::{AgentIdentity, Alert, AlertStatus};
use crate::error::Result;
use crate::event::{Event, EventKind, LossStage};
use crate::id::{AgentId, AlertId, ExecId, IncidentId, Origin, ProcessId, TenantId};
use crate::rule::Severity;
use crate::time::Timestamp;

pub use self::access::{
    AccessStore, AccessToken, AuditAction, AuditEntry, AuditQuery, Role, TokenHash, TokenId,
    TokenQuery,
};
#[cfg(feature = "command")]
pub use self::command::{CommandQuery, CommandStatus, CommandStore, IssuedCommand, PendingQuery};
pub use self::feed::{FeedChange, FeedItem, FeedPosition, FeedStore};
pub use self::fleet::{
    AgentFacts, FleetAgent, FleetQuery, FleetStore, Liveness, LivenessReason, LivenessTimes,
    LivenessTransition, TransitionQuery,
};
#[cfg(feature = "ruleset")]
pub use self::ruleset::{Publication, RulesetQuery, RulesetStore, UploadedRuleset};
pub use self::triage::{
    AgentCount, AlertBucket, AlertRecord, AlertStatistics, Revision, RuleCount, StatisticsQuery,
    StatusUpdate, TechniqueCount, TriageStore,
};

/// How many of the items were new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Stored now.
    pub new: u64,
    /// Had been stored before, by the same id.
    pub duplicate: u64,
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items, in the order that the query asked for.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The same page with something else for each item.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(each).collect(), next: self.next }
    }
}

/// A place in the answer to a query. Opaque; only good for the same query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// A span of wall-clock time: `from` is in it, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment in it.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self =
        Self { from: Timestamp::from_nanos(i64::MIN), to: Timestamp::from_nanos(i64::MAX) };

    /// Whether a moment is in it.
    pub fn contains(&self, time: Timestamp) -> bool {
        (self.from..self.to).contains(&time)
    }
}

/// Which events to read. Every read is bounded in time and in number.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// When they happened.
    pub time: TimeRange,
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only of this agent.
    pub agent: Option<AgentId>,
    /// Only of this kind.
    pub kind: Option<EventKind>,
    /// Only of this process.
    pub process: Option<ProcessId>,
    /// Only what was done about this alert.
    pub response_to: Option<AlertId>,
    /// The most events on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl EventQuery {
    /// The most items on a page.
    pub const MAX_LIMIT: u32 = 1_000;

    /// Every event in a span of time, a hundred to the page.
    pub const fn new(time: TimeRange) -> Self {
        Self {
            time,
            tenant: None,
            agent: None,
            kind: None,
            process: None,
            response_to: None,
            limit: 100,
            after: None,
        }
    }
}

/// A stored event, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// The agent that saw it.
    pub source: AgentIdentity,
    /// The event, with its process and the ancestors that are stored.
    pub event: Arc<Event>,
}

/// Keeps events.
///
/// # Contract
///
/// - [`append`](Self::append) returns once the events are durable, all of them or none.
/// - Appending an event that is there already changes nothing: the id decides.
/// - A [`Lost`](crate::event::EventData::Lost) event also counts in the [loss ledger](Self::losses), and
///   what agents say of themselves keeps [`agents`](Self::agents) up to date.
#[async_trait]
pub trait EventStore: fmt::Debug + Send + Sync + 'static {
    /// Stores events of one agent.
    ///
    /// # Errors
    ///
    /// When they were not stored.
    async fn append(&self, source: &AgentIdentity, events: &[Arc<Event>]) -> Result<Inserted>;

    /// Reads events, oldest first (by `observed_at`, then by id).
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn events(&self, query: &EventQuery) -> Result<Page<StoredEvent>>;

    /// The program that a process ran, with the ancestors that are stored.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn process(&self, id: ExecId) -> Result<Option<Arc<crate::event::Process>>>;

    /// The highest sequence number stored of an origin, in events or in the evidence of alerts; an agent
    /// goes on behind it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn last_sequence(&self, origin: Origin) -> Result<Option<u64>>;

    /// What is known of every agent.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn agents(&self) -> Result<Vec<AgentRecord>>;

    /// What was produced, lost and stored in a span of time.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn losses(&self, query: &LossQuery) -> Result<Vec<LossEntry>>;
}

/// What is known of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRecord {
    /// Who it is.
    pub source: AgentIdentity,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// Its version, once it has said so.
    pub version: Option<Arc<str>>,
    /// Its kernel's release, once it has said so.
    pub kernel_release: Option<Arc<str>>,
    /// Whether it said that it stops, and has not started again.
    pub stopped: bool,
}

/// Which losses to read.
#[derive(Clone, Debug)]
pub struct LossQuery {
    /// When they were reported.
    pub time: TimeRange,
    /// Only of this agent.
    pub agent: Option<(TenantId, AgentId)>,
}

/// One line of the loss ledger: a sum over the asked-for time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossEntry {
    /// The agent.
    pub source: AgentIdentity,
    /// What kind of events.
    pub kind: EventKind,
    /// Where they were lost.
    pub stage: LossStage,
    /// How many.
    pub count: u64,
}

/// Which alerts to read.
#[derive(Clone, Debug)]
pub struct AlertQuery {
    /// When the completing event happened.
    pub time: TimeRange,
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only of this agent.
    pub agent: Option<AgentId>,
    /// Only in this status.
    pub status: Option<AlertStatus>,
    /// Only this bad or worse.
    pub min_severity: Option<Severity>,
    /// Only of this rule, by id.
    pub rule: Option<Arc<str>>,
    /// Only of this ATT&CK technique, as ATT&CK writes it; a technique without a dot includes its sub-techniques.
    pub technique: Option<Arc<str>>,
    /// Only of this incident.
    pub incident: Option<IncidentId>,
    /// The most alerts on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl AlertQuery {
    /// Every alert in a span of time, a hundred to the page.
    pub const fn new(time: TimeRange) -> Self {
        Self {
            time,
            tenant: None,
            agent: None,
            status: None,
            min_severity: None,
            rule: None,
            technique: None,
            incident: None,
            limit: 100,
            after: None,
        }
    }
}

/// A change of an alert's status: who, when, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// The status before: the change is refused as a conflict when it is another by now.
    pub from: AlertStatus,
    /// The status after.
    pub to: AlertStatus,
    /// Who.
    pub actor: Arc<str>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

/// Keeps alerts.
///
/// # Contract
///
/// - [`insert`](Self::insert) returns once the alerts are durable, all of them or none.
/// - Inserting an alert that is there already changes nothing, its status least of all, but for its
///   [repeats](Alert::repeats), which only grow: [`Repeats::merge`](crate::Repeats::merge).
#[async_trait]
pub trait AlertStore: fmt::Debug + Send + Sync + 'static {
    /// Stores alerts.
    ///
    /// # Errors
    ///
    /// When they were not stored.
    async fn insert(&self, alerts: &[Arc<Alert>]) -> Result<Inserted>;

    /// Reads alerts, newest first (by `observed_at`, then by id).
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn alerts(&self, query: &AlertQuery) -> Result<Page<Arc<Alert>>>;

    /// One alert.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn alert(&self, id: AlertId) -> Result<Option<Arc<Alert>>>;

    /// Changes an alert's status.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown alert,
    /// [`Conflict`](crate::ErrorKind::Conflict) when its status is not `change.from`,
    /// [`Invalid`](crate::ErrorKind::Invalid) when that may not become `change.to`.
    async fn set_status(&self, id: AlertId, change: &StatusChange) -> Result<()>;

    /// Every change of an alert's status, oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn status_history(&self, id: AlertId) -> Result<Vec<StatusChange>>;
}

/// The version of a stored value: changes with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// On what condition a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// Only if there is none.
    Create,
    /// Only if this is its version.
    Update(Version),
    /// In any case.
    Overwrite,
}

/// Keeps small values under a key, with compare-and-swap and expiry: what makes workers stateless.
///
/// # Contract
///
/// - A [`put`](Self::put) whose condition does not hold changes nothing and fails with
///   [`Conflict`](crate::ErrorKind::Conflict).
/// - A value whose time is up is not there any more; writing it again sets the time anew.
/// - A store may have a bound of bytes: a write beyond it fails with
///   [`Unavailable`](crate::ErrorKind::Unavailable) and changes nothing, until values are deleted or expire.
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>>;

    /// Reads a value if it was written again since it had the version `known`: for who still has what it was then, and
    /// cheaper where the store can compare. `None` where nobody wrote it, or where it is gone: a write by that version
    /// says which.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn get_newer(&self, key: &str, known: Version) -> Result<Option<(Bytes, Version)>> {
        let found = self.get(key).await?;
        Ok(found.filter(|(_, version)| *version != known))
    }

    /// Writes a value that expires `ttl` from now; `None` keeps it until it is deleted.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) when the condition does not hold.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<Duration>,
    ) -> Result<Version>;

    /// Writes these values for good and removes those that are `None`, in any case: all of them or none, where the
    /// store has transactions; else one after the other, so that a failure leaves the first of them written.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    async fn put_all(&self, changes: Vec<(String, Option<Bytes>)>) -> Result<()> {
        for (key, value) in changes {
            match value {
                Some(value) => self.put(&key, value, PutMode::Overwrite, None).await.map(|_| ())?,
                None => self.delete(&key).await?,
            }
        }
        Ok(())
    }

    /// The keys that begin with `prefix` and have a value, in the order of their bytes: the first `limit` behind
    /// `after`. What is written or expires while pages are read may or may not be among them.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>>;

    /// Removes a value; that it is not there is no error.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    async fn delete(&self, key: &str) -> Result<()>;
}

//! Alerts as people work on them: each within one tenant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{AlertQuery, AlertStore, Page, StatusChange, TimeRange};
use crate::alert::{Alert, AlertStatus};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{AgentId, AlertId, TenantId};
use crate::rule::Severity;
use crate::time::Timestamp;

/// How often an alert's status was changed: who changes it says which one they have seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An alert, and how far work on it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRecord {
    /// The alert, with its status.
    pub alert: Arc<Alert>,
    /// How often its status was changed.
    pub revision: Revision,
    /// When its status was last changed.
    pub updated_at: Option<Timestamp>,
}

/// A change of an alert's status that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// What they have seen: the change is refused as a conflict when somebody else was first.
    pub revision: Revision,
    /// The status after.
    pub to: AlertStatus,
    /// Who.
    pub actor: Arc<str>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

/// What to count alerts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsQuery {
    /// When the completing event happened.
    pub time: TimeRange,
    /// How long a bucket of time is; the first begins where `time` does.
    pub bucket: Duration,
    /// The most techniques, rules and agents each, 1 to 100.
    pub top: u32,
}

impl StatisticsQuery {
    /// The most buckets that a span of time may have.
    pub const MAX_BUCKETS: i64 = 1_000;

    /// A query for a span of time in buckets, with the ten most frequent of everything.
    pub const fn new(time: TimeRange, bucket: Duration) -> Self {
        Self { time, bucket, top: 10 }
    }

    /// The length of a bucket in ns.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) when it would be more than [`MAX_BUCKETS`](Self::MAX_BUCKETS), or `top` is
    /// out of its bounds.
    pub fn bucket_nanos(&self) -> Result<i64> {
        let invalid = |why: String| Err(Error::new(ErrorKind::Invalid, "statistics query", why));
        if !(1..=100).contains(&self.top) {
            return invalid(format!("the top {} were asked for; 1 to 100 can be", self.top));
        }
        let nanos = i64::try_from(self.bucket.as_nanos()).unwrap_or(i64::MAX);
        let span = self.time.to.as_nanos().checked_sub(self.time.from.as_nanos());
        match span {
            Some(span) if nanos > 0 && span.div_euclid(nanos) < Self::MAX_BUCKETS => Ok(nanos),
            _ => invalid(format!(
                "the span of time has more than {} buckets of that length",
                Self::MAX_BUCKETS
            )),
        }
    }
}

/// Alerts of a span of time, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertStatistics {
    /// All of them.
    pub total: u64,
    /// By status, in the order of [`AlertStatus::ALL`].
    pub by_status: [u64; 4],
    /// By severity, in the order of [`Severity::ALL`].
    pub by_severity: [u64; 5],
    /// The buckets of time that have any, the oldest first.
    pub buckets: Vec<AlertBucket>,
    /// The most frequent techniques, the first the most frequent.
    pub techniques: Vec<TechniqueCount>,
    /// The most frequent rules.
    pub rules: Vec<RuleCount>,
    /// The agents with most alerts.
    pub agents: Vec<AgentCount>,
}

impl AlertStatistics {
    /// Counts alerts of one bucket, severity and status. Buckets come in the order of time.
    pub fn count(&mut self, from: Timestamp, severity: Severity, status: AlertStatus, count: u64) {
        self.total += count;
        self.by_status[status as usize] += count;
        self.by_severity[severity as usize] += count;
        match self.buckets.last_mut() {
            Some(last) if last.from == from => last.by_severity[severity as usize] += count,
            _ => {
                let mut bucket = AlertBucket { from, by_severity: [0; 5] };
                bucket.by_severity[severity as usize] += count;
                self.buckets.push(bucket);
            }
        }
    }
}

/// One bucket of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertBucket {
    /// Its first moment.
    pub from: Timestamp,
    /// By severity, in the order of [`Severity::ALL`].
    pub by_severity: [u64; 5],
}

/// How many alerts a technique has. An alert counts for each technique that its rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TechniqueCount {
    /// The technique, as ATT&CK writes it.
    pub technique: Arc<str>,
    /// How many.
    pub count: u64,
}

/// How many alerts a rule has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// The rule's id.
    pub rule: Arc<str>,
    /// How many.
    pub count: u64,
}

/// How many alerts an agent has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentCount {
    /// The agent.
    pub agent: AgentId,
    /// How many.
    pub count: u64,
}

/// Alerts as people work on them.
///
/// # Contract
///
/// - Every method sees and changes the alerts of one tenant; those of another are not there.
/// - A change of status is [audited](super::AccessStore::audit) and in the [feed](super::FeedStore), in one step with
///   the change.
#[async_trait]
pub trait TriageStore: AlertStore {
    /// Reads alerts of `tenant`, newest first; `query.tenant` is not looked at.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn triage(&self, tenant: &TenantId, query: &AlertQuery) -> Result<Page<AlertRecord>>;

    /// One alert.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn alert_record(&self, tenant: &TenantId, id: AlertId) -> Result<Option<AlertRecord>>;

    /// Changes an alert's status, and says what it is now.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for an alert that this tenant does not have,
    /// [`Conflict`](ErrorKind::Conflict) when its revision is another,
    /// [`Invalid`](ErrorKind::Invalid) when its status may not become `update.to`.
    async fn update_status(
        &self,
        tenant: &TenantId,
        id: AlertId,
        update: &StatusUpdate,
    ) -> Result<AlertRecord>;

    /// Every change of an alert's status, oldest first; the oldest thousand where there are more.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn alert_history(&self, tenant: &TenantId, id: AlertId) -> Result<Vec<StatusChange>>;

    /// Counts alerts.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the query is not [within its bounds](StatisticsQuery::bucket_nanos).
    async fn statistics(
        &self,
        tenant: &TenantId,
        query: &StatisticsQuery,
    ) -> Result<AlertStatistics>;
}

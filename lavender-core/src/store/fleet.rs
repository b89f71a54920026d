//! The agents of a tenant: which are there, what they can see, what was lost.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{AgentRecord, Cursor, EventStore, LossEntry, Page, TimeRange};
use crate::error::Result;
use crate::event::{EventKind, Heartbeat, LossStage};
use crate::id::{AgentId, TenantId};
use crate::rule::UnknownName;
use crate::time::Timestamp;

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It is heard, and loses nothing.
    Online,
    /// It is heard, but late, with losses, by a clock that is ahead, or its sensor does not see.
    Degraded,
    /// It is not heard any more.
    Offline,
}

impl Liveness {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Online, Self::Degraded, Self::Offline];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
        }
    }
}

/// Why an agent is online, degraded or offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LivenessReason {
    /// It is heard in time.
    Heard,
    /// It is late.
    Late,
    /// It reported losses just now.
    Losing,
    /// Its sensor does not see the canary: what the agent itself does to be seen.
    Blind,
    /// Its clock is ahead, so that nobody can tell how late it is.
    ClockAhead,
    /// It was not heard for too long.
    Silent,
    /// It said that it stops.
    Stopped,
}

impl LivenessReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Heard,
        Self::Late,
        Self::Losing,
        Self::Blind,
        Self::ClockAhead,
        Self::Silent,
        Self::Stopped,
    ];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::Late => "late",
            Self::Losing => "losing",
            Self::Blind => "blind",
            Self::ClockAhead => "clock_ahead",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }
}

macro_rules! named {
    ($type:ty, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL
                    .into_iter()
                    .find(|known| known.as_str() == name)
                    .ok_or_else(|| UnknownName { what: $what, name: name.to_owned() })
            }
        }
    };
}
named!(Liveness, "state of an agent");
named!(LivenessReason, "reason for a state of an agent");

/// After how long without a word an agent counts as late, and as gone.
///
/// ```
/// use std::time::Duration;
/// use lavender_core::Timestamp;
/// use lavender_core::store::{AgentFacts, Liveness, LivenessTimes};
///
/// let times = LivenessTimes::default();
/// let last_seen = Timestamp::from_millis(0);
/// let facts = AgentFacts { last_seen, last_lost_at: None, blind: false, stopped: false };
/// assert_eq!(times.judge(&facts, Timestamp::from_millis(1_000)).0, Liveness::Online);
/// assert_eq!(times.judge(&facts, Timestamp::from_millis(46_000)).0, Liveness::Offline);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessTimes {
    /// After so long it is degraded. 30 s unless said: two heartbeats.
    pub degraded_after: Duration,
    /// After so long it is offline. 45 s unless said: three heartbeats.
    pub offline_after: Duration,
}

impl Default for LivenessTimes {
    fn default() -> Self {
        Self { degraded_after: Duration::from_secs(30), offline_after: Duration::from_secs(45) }
    }
}

impl LivenessTimes {
    /// What an agent is at this moment, and why.
    pub fn judge(&self, facts: &AgentFacts, now: Timestamp) -> (Liveness, LivenessReason) {
        let silence = now.since(facts.last_seen);
        let losing = facts.last_lost_at.is_some_and(|lost| now.since(lost) < self.offline_after);
        if facts.stopped {
            (Liveness::Offline, LivenessReason::Stopped)
        } else if silence >= self.offline_after {
            (Liveness::Offline, LivenessReason::Silent)
        } else if silence >= self.degraded_after {
            (Liveness::Degraded, LivenessReason::Late)
        } else if facts.blind {
            (Liveness::Degraded, LivenessReason::Blind)
        } else if facts.last_seen.since(now) >= self.offline_after {
            (Liveness::Degraded, LivenessReason::ClockAhead)
        } else if losing {
            (Liveness::Degraded, LivenessReason::Losing)
        } else {
            (Liveness::Online, LivenessReason::Heard)
        }
    }
}

/// What an agent's state is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentFacts {
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When it last reported a loss.
    pub last_lost_at: Option<Timestamp>,
    /// Whether it said last that its sensor does not see its canary ([`CanaryHealth::missing`](crate::event::CanaryHealth)).
    pub blind: bool,
    /// Whether it said that it stops.
    pub stopped: bool,
}

/// An agent as its tenant sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetAgent {
    /// What is known of it.
    pub record: AgentRecord,
    /// When it last reported a loss.
    pub last_lost_at: Option<Timestamp>,
    /// How many rules it said that it has loaded.
    pub rules: Option<u64>,
    /// The kinds of events that it said its host can deliver.
    pub kinds: Vec<Arc<str>>,
    /// What it said of itself last, and when. A heartbeat beyond 16 KiB of JSON is passed over.
    pub heartbeat: Option<(Heartbeat, Timestamp)>,
    /// Whether it is there, and since when; `None` until somebody has [looked](FleetStore::sweep_liveness).
    pub liveness: Option<(Liveness, Timestamp)>,
}

/// Which agents to read.
#[derive(Clone, Debug)]
pub struct FleetQuery {
    /// Only in this state.
    pub liveness: Option<Liveness>,
    /// The most agents on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl Default for FleetQuery {
    /// Every agent, a hundred to the page.
    fn default() -> Self {
        Self { liveness: None, limit: 100, after: None }
    }
}

/// One change of an agent's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivenessTransition {
    /// Whose it is.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The state before; `None` for one that nobody had looked at.
    pub from: Option<Liveness>,
    /// The state after.
    pub to: Liveness,
    /// Why.
    pub reason: LivenessReason,
    /// When it was noticed.
    pub at: Timestamp,
}

/// Which transitions to read.
#[derive(Clone, Debug)]
pub struct TransitionQuery {
    /// When they were noticed.
    pub time: TimeRange,
    /// Only of this agent.
    pub agent: Option<AgentId>,
    /// The most transitions on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl TransitionQuery {
    /// Every transition in a span of time, a hundred to the page.
    pub const fn new(time: TimeRange) -> Self {
        Self { time, agent: None, limit: 100, after: None }
    }
}

/// The agents of a tenant.
///
/// # Contract
///
/// - Every method but [`sweep_liveness`](Self::sweep_liveness) sees the agents of one tenant; those of another are
///   not there.
/// - A state is judged by what is stored. However many sweep, and however often one of them is killed, each
///   transition is there once.
#[async_trait]
pub trait FleetStore: EventStore {
    /// Reads agents, in the order of their ids.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn fleet(&self, tenant: &TenantId, query: &FleetQuery) -> Result<Page<FleetAgent>>;

    /// One agent.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn fleet_agent(&self, tenant: &TenantId, agent: &AgentId) -> Result<Option<FleetAgent>>;

    /// Judges every agent of every tenant, keeps what has changed, and returns how many did. Whoever runs a control
    /// plane calls it every few seconds; it reads every agent.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    async fn sweep_liveness(&self, times: &LivenessTimes, now: Timestamp) -> Result<u64>;

    /// Reads transitions, newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn transitions(
        &self,
        tenant: &TenantId,
        query: &TransitionQuery,
    ) -> Result<Page<LivenessTransition>>;

    /// The loss ledger of a tenant, or of one of its agents: at most one line for each agent, kind and stage, and
    /// the first ten thousand of them.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn tenant_losses(
        &self,
        tenant: &TenantId,
        agent: Option<&AgentId>,
        time: TimeRange,
    ) -> Result<Vec<LossEntry>>;
}

/// By what the loss ledger is ordered.
impl LossEntry {
    /// The most lines of the ledger that are read at once.
    pub const MAX: usize = 10_000;

    /// The line's agent, kind and stage.
    pub fn line(&self) -> (&TenantId, &AgentId, EventKind, LossStage) {
        (&self.source.tenant, &self.source.agent, self.kind, self.stage)
    }
}

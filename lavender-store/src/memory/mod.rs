//! A store in memory, for tests, samples and embedders that keep nothing.

mod access;
mod alerts;
mod command;
mod events;
mod feed;
mod fleet;
mod rulesets;
mod state;
mod triage;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lavender_core::store::{
    AgentRecord, AlertQuery, EventQuery, Inserted, LossEntry, LossQuery, Page, PutMode,
    StatusChange, StoredEvent, Version,
};
use lavender_core::{
    AgentIdentity, Alert, AlertId, AlertStore, Bytes, Clock, Error, ErrorKind, EventStore, ExecId,
    Origin, Result, StateStore, SystemClock, Timestamp, async_trait, event,
};

use self::access::Access;
use self::alerts::Alerts;
use self::command::Commands;
use self::events::Events;
use self::feed::Feed;
use self::fleet::Transitions;
use self::rulesets::Rulesets;
use self::state::State;
use crate::{Store, cursor};

/// Bounds of a [`MemoryStore`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// The most events that are kept; the oldest make room. 100,000 unless said.
    pub events_max: usize,
    /// The most alerts that are kept; the oldest make room. 10,000 unless said.
    pub alerts_max: usize,
    /// The most bytes of state, keys and values together; beyond them writing fails. 64 MiB unless said.
    pub state_bytes_max: usize,
    /// By what the time of state is up.
    pub clock: Arc<dyn Clock>,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            events_max: 100_000,
            alerts_max: 10_000,
            state_bytes_max: 64 << 20,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Keeps the newest of everything in memory: gone with the process, and durable in nothing but name.
///
/// Bounded: where there is no more room, the oldest are forgotten and [counted](Self::forgotten).
///
/// ```
/// use std::time::Duration;
/// use lavender_core::store::PutMode;
/// use lavender_core::{Bytes, StateStore};
/// use lavender_store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lavender_core::Result<()> {
/// let store = MemoryStore::new();
/// let hour = Some(Duration::from_secs(3_600));
/// let version = store.put("seen/web-1", Bytes::from_static(b"1"), PutMode::Create, hour).await?;
/// store.put("seen/web-1", Bytes::from_static(b"2"), PutMode::Update(version), hour).await?;
/// assert_eq!(&store.get("seen/web-1").await?.unwrap().0[..], b"2");
/// # Ok(())
/// # }
/// ```
pub struct MemoryStore {
    kept: Mutex<Kept>,
    options: MemoryOptions,
}

#[derive(Default)]
struct Kept {
    events: Events,
    alerts: Alerts,
    access: Access,
    commands: Commands,
    rulesets: Rulesets,
    transitions: Transitions,
    feed: Feed,
    state: State,
    closed: bool,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_options(MemoryOptions::default())
    }

    /// An empty store with bounds of its own.
    pub fn with_options(options: MemoryOptions) -> Self {
        Self { kept: Mutex::default(), options }
    }

    /// How many events and alerts were forgotten because newer ones needed the room.
    pub fn forgotten(&self) -> u64 {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.forgotten + kept.alerts.forgotten
    }

    fn kept(&self) -> Result<MutexGuard<'_, Kept>> {
        // No code under the lock panics half-way through a change; were it to, reading on is right.
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.closed {
            return Err(fail(ErrorKind::Invalid, "the store is closed"));
        }
        Ok(kept)
    }
}

fn fail(kind: ErrorKind, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(kind, "store memory:", why)
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(
        &self,
        source: &AgentIdentity,
        events: &[Arc<event::Event>],
    ) -> Result<Inserted> {
        Ok(self.kept()?.events.append(source, events, self.options.events_max))
    }

    async fn events(&self, query: &EventQuery) -> Result<Page<StoredEvent>> {
        let limit = cursor::limit(query.limit)?;
        self.kept()?.events.read(query, limit)
    }

    async fn process(&self, id: ExecId) -> Result<Option<Arc<event::Process>>> {
        Ok(self.kept()?.events.process(id))
    }

    async fn last_sequence(&self, origin: Origin) -> Result<Option<u64>> {
        let kept = self.kept()?;
        Ok(kept.events.last_sequence(origin).max(kept.alerts.last_sequence(origin)))
    }

    async fn agents(&self) -> Result<Vec<AgentRecord>> {
        Ok(self.kept()?.events.agents())
    }

    async fn losses(&self, query: &LossQuery) -> Result<Vec<LossEntry>> {
        let (tenant, agent) = query.agent.clone().unzip();
        Ok(self.kept()?.events.losses(tenant.as_ref(), agent.as_ref(), query.time))
    }
}

#[async_trait]
impl AlertStore for MemoryStore {
    async fn insert(&self, alerts: &[Arc<Alert>]) -> Result<Inserted> {
        let mut kept = self.kept()?;
        let Kept { alerts: kept, feed, .. } = &mut *kept;
        Ok(kept.insert(alerts, self.options.alerts_max, feed))
    }

    async fn alerts(&self, query: &AlertQuery) -> Result<Page<Arc<Alert>>> {
        let limit = cursor::limit(query.limit)?;
        Ok(self.kept()?.alerts.read(query, limit)?.map(|record| record.alert))
    }

    async fn alert(&self, id: AlertId) -> Result<Option<Arc<Alert>>> {
        Ok(self.kept()?.alerts.record(id).map(|record| record.alert))
    }

    async fn set_status(&self, id: AlertId, change: &StatusChange) -> Result<()> {
        self.kept()?.set_status(id, change)
    }

    async fn status_history(&self, id: AlertId) -> Result<Vec<StatusChange>> {
        Ok(self.kept()?.alerts.history(id))
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        Ok(self.kept()?.state.get(key, self.options.clock.now()))
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<std::time::Duration>,
    ) -> Result<Version> {
        let now = self.options.clock.now();
        let until = ttl.map(|ttl| now.saturating_add(ttl));
        self.kept()?.state.put(key, value, mode, until, now, self.options.state_bytes_max)
    }

    async fn put_all(&self, changes: Vec<(String, Option<Bytes>)>) -> Result<()> {
        self.kept()?.state.put_all(changes, self.options.clock.now(), self.options.state_bytes_max)
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        Ok(self.kept()?.state.keys(prefix, after, limit, self.options.clock.now()))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.kept()?.state.delete(key);
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn retain(&self, before: Timestamp) -> Result<u64> {
        Ok(self.kept()?.events.retain(before))
    }

    async fn close(&self) -> Result<()> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}

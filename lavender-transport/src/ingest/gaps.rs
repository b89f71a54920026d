//! Sequence numbers in the shared state: noted as they come, and reported when they never do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::envelope::Envelope;
use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage};
use lavender_core::store::{PutMode, Version};
use lavender_core::transport::{Message, Payload, Topic};
use lavender_core::{
    AgentId, AgentIdentity, BootTime, Bytes, Error, ErrorKind, Origin, Result, StateStore,
    TenantId, Timestamp,
};

use super::continuity::{Continuity, Settled};

/// What keys begin with: `ingest/<tenant>/<agent>/<origin>`.
const PREFIX: &str = "ingest/";

/// How long a boot that says nothing is remembered.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// The most boots with gaps that are watched; those beyond are found by looking through the state.
const WATCHED_MAX: usize = 4_096;

/// How often a value that other workers change is read again at once.
const TRIES: usize = 64;

/// How many keys are read at once.
const PAGE: usize = 512;

/// The numbers of all agents.
#[derive(Debug)]
pub(super) struct Gaps {
    state: Arc<dyn StateStore>,
    watched: BTreeSet<String>,
}

impl Gaps {
    pub(super) fn new(state: Arc<dyn StateStore>) -> Self {
        Self { state, watched: BTreeSet::new() }
    }

    /// Where the numbers of a boot are kept.
    pub(super) fn key(source: &AgentIdentity, origin: Origin) -> String {
        format!("{PREFIX}{}/{}/{origin}", source.tenant, source.agent)
    }

    /// Takes note of events of one boot.
    pub(super) async fn observe(
        &self,
        key: &str,
        host: &str,
        events: &[Arc<Event>],
        now: Timestamp,
    ) -> Result<bool> {
        let change = |known: &mut Continuity| {
            host.clone_into(&mut known.host);
            events.iter().for_each(|event| known.observe(event, now));
        };
        self.change(key, true, change).await.map(|known| known.is_open())
    }

    /// Looks after a boot until it has no gap.
    pub(super) fn watch(&mut self, key: String) {
        if self.watched.len() < WATCHED_MAX {
            self.watched.insert(key);
        }
    }

    /// Looks through the state for boots that nobody watches any more.
    pub(super) async fn find(&mut self) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let keys = self.state.keys(PREFIX, after.as_deref(), PAGE).await?;
            let Some(last) = keys.last().cloned() else { return Ok(()) };
            for key in keys {
                if self.read(&key).await?.0.is_open() {
                    self.watch(key);
                }
            }
            after = Some(last);
        }
    }

    /// Boots that are watched.
    pub(super) fn watched(&self) -> Vec<String> {
        self.watched.iter().cloned().collect()
    }

    /// Gives up on gaps that are due, and says which are to be reported; a boot without any is not watched any more.
    pub(super) async fn settle(
        &mut self,
        key: &str,
        now: Timestamp,
        wait: Duration,
    ) -> Result<Vec<Envelope>> {
        // Settled first and reported then: whoever reports it again says the same.
        let known = self.change(key, false, |known| known.settle(now, wait)).await?;
        if !known.is_open() {
            self.watched.remove(key);
        }
        known.settled.iter().map(|gap| report(key, &known.host, *gap)).collect()
    }

    /// Forgets what was reported.
    pub(super) async fn reported(&mut self, key: &str, envelopes: &[Envelope]) -> Result<()> {
        use lavender_core::envelope::Content;
        let reported = |gap: &Settled| {
            envelopes.iter().any(|envelope| {
                matches!(envelope.content(), Content::Events { first, .. } if first == gap.first)
            })
        };
        let known =
            self.change(key, false, |known| known.settled.retain(|gap| !reported(gap))).await?;
        if !known.is_open() {
            self.watched.remove(key);
        }
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<(Continuity, Option<Version>)> {
        match self.state.get(key).await? {
            Some((value, version)) => {
                let known = serde_json::from_slice(&value);
                let known = known.map_err(|error| Error::new(ErrorKind::Corrupt, key, error))?;
                Ok((known, Some(version)))
            }
            None => Ok((Continuity::default(), None)),
        }
    }

    /// Changes what is known, however many do so at once.
    async fn change(
        &self,
        key: &str,
        create: bool,
        change: impl Fn(&mut Continuity),
    ) -> Result<Continuity> {
        for _ in 0..TRIES {
            let (before, version) = self.read(key).await?;
            let mut known = before.clone();
            change(&mut known);
            if known == before || (version.is_none() && !create) {
                return Ok(before);
            }
            let value = serde_json::to_vec(&known).map(Bytes::from);
            let value = value.map_err(|error| Error::new(ErrorKind::Internal, key, error))?;
            let mode = version.map_or(PutMode::Create, PutMode::Update);
            match self.state.put(key, value, mode, Some(KEPT)).await {
                Ok(_) => return Ok(known),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, key, "too many change it at once"))
    }
}

/// The event that tells of a gap. The same each time, so that it is stored once.
fn report(key: &str, host: &str, gap: Settled) -> Result<Envelope> {
    let invalid = |why: String| Error::new(ErrorKind::Corrupt, key, why);
    let mut parts = key.strip_prefix(PREFIX).unwrap_or_default().split('/');
    let mut part = || parts.next().unwrap_or_default();
    let tenant = TenantId::new(part()).map_err(|error| invalid(error.to_string()))?;
    let agent = AgentId::new(part()).map_err(|error| invalid(error.to_string()))?;
    let origin: Origin =
        part().parse().map_err(|error: lavender_core::IdError| invalid(error.to_string()))?;
    let since = Timestamp::from_nanos(gap.since);
    let event = Event {
        id: origin.event(gap.first),
        observed_at: since,
        boot_time: BootTime::from_nanos(0),
        tid: 0,
        process: None,
        data: EventData::Lost(Loss::new(LossStage::Transport, EventKind::Unknown, gap.count)),
    };
    let source = AgentIdentity { tenant, agent, host: host.into() };
    let payload = Payload::Events(vec![Arc::new(event)]);
    let message = Message { source, topic: Topic::TelemetryAccepted, payload };
    let envelopes = Envelope::encode(&message, usize::MAX);
    let envelope = envelopes.map_err(|error| invalid(error.to_string()))?.pop();
    let envelope = envelope.ok_or_else(|| invalid("there is nothing to report".into()))?;
    Ok(envelope.with_received_at(since))
}

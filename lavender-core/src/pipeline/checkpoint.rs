//! What detectors know, kept across restarts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::judges::Judges;
use crate::alert::{AgentIdentity, Alert};
use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::{EventId, Origin};
use crate::store::{AlertStore, EventQuery, EventStore, StateStore, TimeRange};
use crate::time::{BootTime, Clock, Timestamp};

/// How much later than others of its time an event may have come: so far back stored events are looked through.
const DISORDER: Duration = Duration::from_secs(60);
/// How many keys are listed at once.
const KEYS: usize = 1_024;

/// Keeps the [state](crate::Stateful) of detectors in a store, so that a killed agent goes on as if it had not been.
///
/// What has changed is written every now and then, in one go, with the place in the stream of events that it goes up
/// to and the alerts that are not stored yet; detection does not wait for it. At the start it is read again, the
/// stored events behind that place are looked at once more, and what they raise is published unless the store has it.
/// So whatever was stored counts, and no alert comes twice. What is raised at the start is not responded to: the
/// process that it is about has had its time.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    state: Arc<dyn StateStore>,
    events: Arc<dyn EventStore>,
    alerts: Arc<dyn AlertStore>,
    interval: Duration,
}

impl Checkpoint {
    /// Keeps it in `state`; `events` and `alerts` are where the pipeline's end up.
    pub fn new(
        state: Arc<dyn StateStore>,
        events: Arc<dyn EventStore>,
        alerts: Arc<dyn AlertStore>,
    ) -> Self {
        Self { state, events, alerts, interval: Duration::from_millis(500) }
    }

    /// How often it is written; 500 ms unless said.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The alerts that the store does not have.
    async fn not_stored(&self, alerts: Vec<Arc<Alert>>) -> Result<Vec<Arc<Alert>>> {
        let mut open = Vec::new();
        for alert in alerts {
            if self.alerts.alert(alert.id).await?.is_none() {
                open.push(alert);
            }
        }
        Ok(open)
    }
}

/// A place in the stream of events: the newest that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    event: EventId,
    time: Timestamp,
}

type Parts = HashMap<String, Option<Bytes>>;

/// What is written at once.
struct Batch {
    parts: Parts,
    alerts: Vec<Arc<Alert>>,
    place: Option<Place>,
}

/// What the write of a batch leaves to do.
struct Rest {
    parts: Parts,
    alerts: Vec<Arc<Alert>>,
}

/// The checkpoint of a pipeline that runs.
pub(super) struct Saver {
    checkpoint: Checkpoint,
    identity: AgentIdentity,
    origin: Origin,
    prefix: String,
    place: Option<Place>,
    /// The place that was written last.
    written: Option<Place>,
    /// What was raised and is not known to be stored.
    alerts: Vec<Arc<Alert>>,
    /// Parts that were not written yet.
    parts: Parts,
    writing: Option<JoinHandle<Rest>>,
    due: BootTime,
}

impl Saver {
    pub(super) fn new(checkpoint: Checkpoint, identity: AgentIdentity, origin: Origin) -> Self {
        let prefix = format!("detector/{}/{}/", identity.tenant, identity.agent);
        Self {
            checkpoint,
            identity,
            origin,
            prefix,
            place: None,
            written: None,
            alerts: Vec::new(),
            parts: Parts::new(),
            writing: None,
            due: BootTime::default(),
        }
    }

    /// Notes that detectors have seen an event of the source.
    pub(super) fn looked_at(&mut self, event: &Event) {
        let (mut newest, mut time) = (event.id, event.observed_at);
        if let Some(place) = self.place {
            // Another boot begins anew.
            if self.origin.made(place.event) {
                newest = newest.max(place.event);
            }
            time = time.max(place.time);
        }
        self.place = Some(Place { event: newest, time });
    }

    /// Notes what was raised.
    pub(super) fn raised(&mut self, alerts: &[Arc<Alert>]) {
        self.alerts.extend_from_slice(alerts);
    }

    /// Begins to write what has changed, if it is time and nothing is being written.
    pub(super) async fn save_if_due(&mut self, judges: &mut Judges, now: BootTime) {
        if now < self.due || self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let interval = u64::try_from(self.checkpoint.interval.as_nanos()).unwrap_or(u64::MAX);
        self.due = BootTime::from_nanos(now.as_nanos().saturating_add(interval));
        self.settle().await;
        self.begin(judges);
    }

    /// Writes the rest, and waits until it is written.
    pub(super) async fn finish(&mut self, judges: &mut Judges) {
        self.settle().await;
        self.begin(judges);
        self.settle().await;
    }

    /// Takes back what the last write left.
    async fn settle(&mut self) {
        let Some(writing) = self.writing.take() else { return };
        match writing.await {
            Ok(Rest { mut parts, mut alerts }) => {
                parts.extend(self.parts.drain());
                self.parts = parts;
                alerts.append(&mut self.alerts);
                self.alerts = alerts;
            }
            Err(error) => tracing::error!(%error, "the state of detectors was not written"),
        }
    }

    fn begin(&mut self, judges: &mut Judges) {
        let Self { prefix, parts, .. } = self;
        judges.each_state(&mut |name, state| {
            state.changed(&mut |key, value| {
                parts.insert(format!("{prefix}part/{name}/{key}"), value);
            });
        });
        if self.parts.is_empty() && self.alerts.is_empty() && self.place == self.written {
            return;
        }
        self.written = self.place;
        let batch = Batch {
            parts: std::mem::take(&mut self.parts),
            alerts: std::mem::take(&mut self.alerts),
            place: self.place,
        };
        let (checkpoint, prefix) = (self.checkpoint.clone(), self.prefix.clone());
        self.writing = Some(tokio::spawn(write(checkpoint, prefix, batch)));
    }

    /// Gives detectors what was kept, and the stored events behind it. What is to be published is given back.
    pub(super) async fn restore(
        &mut self,
        judges: &mut Judges,
        clock: &dyn Clock,
    ) -> Result<Vec<Arc<Alert>>> {
        self.restore_parts(judges).await?;
        let mut alerts = self.kept_alerts().await?;
        if let Some(bytes) = self.get("place").await? {
            let place: Place =
                serde_json::from_slice(&bytes).map_err(|error| self.damaged(error))?;
            self.place = Some(place);
            self.look_again(place, judges, clock, &mut alerts).await?;
        }
        let mut known = HashSet::new();
        alerts.retain(|alert| known.insert(alert.id));
        let alerts = self.checkpoint.not_stored(alerts).await?;
        self.raised(&alerts);
        Ok(alerts)
    }

    async fn restore_parts(&mut self, judges: &mut Judges) -> Result<()> {
        let prefix = format!("{}part/", self.prefix);
        let mut after: Option<String> = None;
        loop {
            let keys = self.checkpoint.state.keys(&prefix, after.as_deref(), KEYS).await?;
            for key in &keys {
                let Some((bytes, _)) = self.checkpoint.state.get(key).await? else { continue };
                if let Err(error) = judges.restore_part(&key[prefix.len()..], &bytes) {
                    tracing::warn!(%error, "a part of what detectors knew is forgotten");
                    self.parts.insert(key.clone(), None);
                }
            }
            match keys.len() {
                KEYS => after = keys.into_iter().next_back(),
                _ => return Ok(()),
            }
        }
    }

    async fn kept_alerts(&self) -> Result<Vec<Arc<Alert>>> {
        let Some(bytes) = self.get("alerts").await? else { return Ok(Vec::new()) };
        let text = std::str::from_utf8(&bytes).map_err(|error| self.damaged(error))?;
        text.lines()
            .map(|line| codec::alert_from_json(line).map(Arc::new).map_err(|e| self.damaged(e)))
            .collect()
    }

    async fn look_again(
        &mut self,
        place: Place,
        judges: &mut Judges,
        clock: &dyn Clock,
        alerts: &mut Vec<Arc<Alert>>,
    ) -> Result<()> {
        let from = place.time.saturating_sub(DISORDER);
        let mut query = EventQuery::new(TimeRange { from, ..TimeRange::ALL });
        query.tenant = Some(self.identity.tenant.clone());
        query.agent = Some(self.identity.agent.clone());
        query.limit = EventQuery::MAX_LIMIT;
        let boot = |id: EventId| id.as_u128() >> 48;
        let mut found = Vec::new();
        loop {
            let page = self.checkpoint.events.events(&query).await?;
            for stored in page.items {
                let event = stored.event;
                // Of two boots the sequences say nothing of each other.
                let is_known = match boot(place.event) == boot(event.id) {
                    true => event.id.sequence() <= place.event.sequence(),
                    false => event.observed_at <= place.time,
                };
                if is_known {
                    continue;
                }
                judges.detect(&event, &mut found);
                self.looked_at(&event);
                if !found.is_empty() {
                    let judged = judges.judge(&self.identity, found.drain(..), clock.now());
                    alerts.extend(judged.raised.into_iter().map(Arc::new));
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let value = self.checkpoint.state.get(&format!("{}{name}", self.prefix)).await?;
        Ok(value.map(|(bytes, _)| bytes))
    }

    fn damaged(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(ErrorKind::Invalid, format!("what is kept under {}", self.prefix), error)
    }
}

/// Writes a batch; what was not written comes back.
async fn write(checkpoint: Checkpoint, prefix: String, batch: Batch) -> Rest {
    let Batch { parts, alerts, place } = batch;
    let open = match checkpoint.not_stored(alerts.clone()).await {
        Ok(open) => open,
        Err(error) => {
            tracing::error!(%error, "the state of detectors was not written, will try again");
            return Rest { parts, alerts };
        }
    };
    let result = async {
        let changes = changes(&prefix, &parts, &open, place)?;
        checkpoint.state.put_all(changes).await
    };
    match result.await {
        Ok(()) => Rest { parts: Parts::new(), alerts: open },
        Err(error) => {
            tracing::error!(%error, "the state of detectors was not written, will try again");
            Rest { parts, alerts: open }
        }
    }
}

/// The place comes last: in a store without transactions it then never is ahead of the rest.
fn changes(
    prefix: &str,
    parts: &Parts,
    alerts: &[Arc<Alert>],
    place: Option<Place>,
) -> Result<Vec<(String, Option<Bytes>)>> {
    let invalid = |error: codec::CodecError| Error::new(ErrorKind::Invalid, "an alert", error);
    let mut lines = String::new();
    for alert in alerts {
        lines += &codec::alert_to_json(alert).map_err(invalid)?;
        lines.push('\n');
    }
    let mut changes = vec![(format!("{prefix}alerts"), Some(Bytes::from(lines)))];
    changes.extend(parts.iter().map(|(key, value)| (key.clone(), value.clone())));
    if let Some(place) = place {
        let place = serde_json::to_vec(&place)
            .map_err(|error| Error::new(ErrorKind::Invalid, "a place", error))?;
        changes.push((format!("{prefix}place"), Some(place.into())));
    }
    Ok(changes)
}

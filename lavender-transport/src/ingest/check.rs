//! Whether a message may pass.

use std::sync::Arc;

use lavender_core::envelope::{Envelope, EnvelopeError};
use lavender_core::event::Event;
use lavender_core::transport::{Payload, Topic};
use lavender_core::{AgentIdentity, Timestamp};

use super::IngestOptions;

/// A message that may pass, stamped.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) envelope: Envelope,
    pub(super) source: AgentIdentity,
    pub(super) events: Vec<Arc<Event>>,
}

/// Why a message is poison.
#[derive(Debug, thiserror::Error)]
pub(super) enum Poison {
    #[error("the body has {found} bytes; {allowed} are allowed")]
    BodyBytes { found: usize, allowed: usize },
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("the message id `{id}` is not of the agent: it begins with `{agent}`")]
    Id { id: String, agent: String },
    #[error("{topic} does not hold telemetry of an agent", topic = .0.as_str())]
    Topic(Topic),
    #[error(
        "the clock is too far off: event {sequence} is of {observed} ns since the epoch, and it is {now} here"
    )]
    Clock { sequence: u64, observed: i64, now: i64 },
}

/// Opens a message and looks at everything: subject against headers against body, sizes, the clock.
pub(super) fn check(
    envelope: Result<Envelope, EnvelopeError>,
    body_bytes: usize,
    options: &IngestOptions,
    now: Timestamp,
) -> Result<Checked, Poison> {
    let allowed = options.body_bytes_max;
    if body_bytes > allowed {
        return Err(Poison::BodyBytes { found: body_bytes, allowed });
    }
    let envelope = envelope?;
    let message = envelope.decode()?;
    let Payload::Events(events) = message.payload else {
        return Err(Poison::Topic(message.topic));
    };
    // Under the id of another's message, that message would be taken for known.
    let agent = format!("{}/{}/", message.source.tenant, message.source.agent);
    if !envelope.id().starts_with(&agent) {
        return Err(Poison::Id { id: envelope.id().to_owned(), agent });
    }
    let (newest, oldest) =
        (now.saturating_add(options.ahead_max), now.saturating_sub(options.behind_max));
    let off = |event: &&Arc<Event>| event.observed_at > newest || event.observed_at < oldest;
    if let Some(event) = events.iter().find(off) {
        let (sequence, observed) = (event.id.sequence(), event.observed_at.as_nanos());
        return Err(Poison::Clock { sequence, observed, now: now.as_nanos() });
    }
    let envelope = envelope.with_topic(Topic::TelemetryAccepted).with_received_at(now);
    Ok(Checked { envelope, source: message.source, events })
}

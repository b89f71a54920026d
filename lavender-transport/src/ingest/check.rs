//! What a message must be to pass.

use std::time::Duration;

use lavender_core::codec::BatchDecoder;
use lavender_core::envelope::{Content, Envelope, EnvelopeError, MAX_BODY_BYTES};
use lavender_core::event::{EventData, LossStage};
use lavender_core::transport::{Payload, Topic};
use lavender_core::{AgentIdentity, Origin, Timestamp};

use super::continuity::Seen;

/// The longest name of a host.
const HOST_BYTES_MAX: usize = 255;

/// Bounds of what passes. Every message is opened and read whole: what passes can be read by whoever comes next.
///
/// ```
/// use lavender_core::conformance::sample::Sample;
/// use lavender_core::envelope::Envelope;
/// use lavender_core::transport::{Message, Payload, Topic};
/// use lavender_transport::ingest::{Checks, Refusal};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut sample = Sample::new("acme", "web-1", 7);
/// let (source, now) = (sample.source().clone(), sample.now());
/// let payload = Payload::Events(sample.busy(20));
/// let message = Message { source, topic: Topic::TelemetryRaw, payload };
/// let envelope = Envelope::encode(&message, 1_000_000)?.remove(0);
/// let checks = Checks::default();
/// assert_eq!(checks.check(&envelope, now)?.events, 20);
/// let a_day_earlier = now.saturating_sub(std::time::Duration::from_secs(86_400));
/// assert!(matches!(checks.check(&envelope, a_day_earlier), Err(Refusal::Ahead { .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checks {
    /// The most bytes of a body as it came. 1 MiB unless said: what a server takes unless it says otherwise.
    pub body_bytes_max: usize,
    /// The most bytes of a body when decompressed. [`MAX_BODY_BYTES`] unless said: what an agent may send.
    pub plain_bytes_max: usize,
    /// How far an event may lie in the future by the clock of ingest. 10 minutes unless said.
    pub ahead_max: Duration,
    /// How far it may lie in the past: longer than agents can be cut off. 30 days unless said.
    pub age_max: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            plain_bytes_max: MAX_BODY_BYTES,
            ahead_max: Duration::from_secs(600),
            age_max: Duration::from_secs(30 * 24 * 3_600),
        }
    }
}

/// Why a message does not pass: the reason that its dead letter has.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The body is larger than what is opened.
    #[error("the body takes {found} bytes; {allowed} are allowed")]
    BodyTooLarge {
        /// How many.
        found: usize,
        /// How many may be.
        allowed: usize,
    },
    /// It is no telemetry of an agent.
    #[error("{} is not what ingest reads", .topic.as_str())]
    Topic {
        /// What it is.
        topic: Topic,
    },
    /// It cannot be read, or its subject, its headers and its body do not agree.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A message id that could be another agent's: the stream would take that one's message for known.
    #[error("message id `{id}` is not of the agent: it does not begin with `{begin}`")]
    MessageId {
        /// What it is.
        id: String,
        /// What ids of this agent begin with.
        begin: String,
    },
    /// A name of a host that no host has: it would stand wherever the agent is shown.
    #[error(
        "the host's name is none: it is longer than {HOST_BYTES_MAX} bytes, or holds control characters"
    )]
    Host,
    /// An event of the future.
    #[error(
        "the agent's clock is wrong, or this one: an event is of {observed_at}, and now is {now}"
    )]
    Ahead {
        /// When the event happened by the agent's clock.
        observed_at: Timestamp,
        /// When it came by this one.
        now: Timestamp,
    },
    /// An event of a past too far away.
    #[error("an event is of {observed_at}, older than what is taken; now is {now}")]
    TooOld {
        /// When the event happened by the agent's clock.
        observed_at: Timestamp,
        /// When it came by this one.
        now: Timestamp,
    },
}

/// What a message that passes holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// Whose it is, as the body says.
    pub source: AgentIdentity,
    /// Agent and boot, as the ids hold them.
    pub origin: Origin,
    /// How many events.
    pub events: usize,
    /// Their sequence numbers.
    pub seen: Seen,
}

impl Checks {
    /// Opens a message and looks at all of it. Takes about as long as reading its events: some µs each.
    ///
    /// # Errors
    ///
    /// The reason why it does not pass.
    pub fn check(&self, envelope: &Envelope, now: Timestamp) -> Result<Checked, Refusal> {
        self.check_with(&mut BatchDecoder::new(), envelope, now)
    }

    /// The same by a decoder that remembers the processes of messages before, and does not read them again.
    ///
    /// # Errors
    ///
    /// The reason why it does not pass.
    pub fn check_with(
        &self,
        decoder: &mut BatchDecoder,
        envelope: &Envelope,
        now: Timestamp,
    ) -> Result<Checked, Refusal> {
        let (found, allowed) = (envelope.body().len(), self.body_bytes_max);
        if found > allowed {
            return Err(Refusal::BodyTooLarge { found, allowed });
        }
        let topic = envelope.subject().topic;
        let Content::Events { origin, .. } = envelope.content() else {
            return Err(Refusal::Topic { topic });
        };
        if topic != Topic::TelemetryRaw {
            return Err(Refusal::Topic { topic });
        }
        let message = envelope.decode_with(decoder, self.plain_bytes_max)?;
        let Payload::Events(events) = message.payload else {
            return Err(Refusal::Topic { topic });
        };
        let host = &message.source.host;
        if host.len() > HOST_BYTES_MAX || host.chars().any(char::is_control) {
            return Err(Refusal::Host);
        }
        let (latest, earliest) =
            (now.saturating_add(self.ahead_max), now.saturating_sub(self.age_max));
        let (mut seen, mut start) = (Vec::with_capacity(events.len()), None);
        for event in &events {
            let observed_at = event.observed_at;
            if observed_at > latest {
                return Err(Refusal::Ahead { observed_at, now });
            }
            if observed_at < earliest {
                return Err(Refusal::TooOld { observed_at, now });
            }
            if matches!(event.data, EventData::AgentStart(_)) {
                start.get_or_insert(event.id.sequence());
            }
            // What the agent gave up itself, between numbering and sending.
            let given_up = match &event.data {
                EventData::Lost(loss) => Some(match loss.stage {
                    LossStage::Queue | LossStage::Spool => loss.count,
                    _ => 0,
                }),
                _ => None,
            };
            seen.push((event.id.sequence(), given_up));
        }
        let begin = format!("{}/{}/", message.source.tenant, message.source.agent);
        if !envelope.id().starts_with(&begin) {
            return Err(Refusal::MessageId { id: envelope.id().to_owned(), begin });
        }
        let mut seen = Seen::new(seen);
        if let Some(start) = start {
            seen = seen.with_start(start);
        }
        Ok(Checked { source: message.source, origin, events: events.len(), seen })
    }
}

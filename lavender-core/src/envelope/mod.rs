//! Messages as brokers and spools carry them: headers that say all that a hop needs, and a body that only
//! its reader opens.
//!
//! | header | |
//! |---|---|
//! | `Lav-Schema` | the version of the wire format: 1 |
//! | `Lav-Content` | what the body is: `events.ndjson` or `alerts.ndjson`, as [`codec`] writes them |
//! | `Lav-Encoding` | `zstd` or `identity` |
//! | `Lav-Count` | how many events or alerts |
//! | `Lav-Tenant`, `Lav-Agent` | whose; the subject must say the same |
//! | `Lav-Boot` | of events: agent and boot, as the digest that their ids hold ([`Origin`]) |
//! | `Lav-Seq-First`, `Lav-Seq-Last` | of events: the lowest and the highest sequence number |
//! | `Lav-Received-At` | when ingest took it, in ns since the epoch; not there before |
//! | `Nats-Msg-Id` | by which a broker knows a message that it has: whose, which, and a digest of the ids inside |
//!
//! Bodies above 1 KiB are compressed where that makes them smaller; plain ones stay legal, so that a
//! subscriber on a terminal can read them.

mod body;
mod headers;
mod pieces;

use std::sync::Arc;

use bytes::Bytes;

pub use self::body::MAX_BODY_BYTES;
use self::body::{compress, decompress};
pub use self::headers::names;
pub use self::pieces::{Piece, Pieces};
use crate::alert::AgentIdentity;
use crate::codec::{self, BatchDecoder, CodecError};
use crate::event::Event;
use crate::id::{EventId, Origin};
use crate::time::Timestamp;
use crate::transport::{Message, Payload, Subject, SubjectError};

/// The error of a message that cannot be put into an envelope, or of bytes that are not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// A subject that is not one.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A header that is missing, or says what cannot be.
    #[error("header {name}: {why}")]
    Header {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A body that says otherwise than its headers or its subject.
    #[error("{what} of the headers is {claimed}, and that of the body {found}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What the headers say.
        claimed: String,
        /// What the body says.
        found: String,
    },
    /// A body that is not compressed as it says.
    #[error("the body cannot be decompressed: {why}")]
    Compression {
        /// What is wrong with it.
        why: String,
    },
    /// A body that would be larger than what is read.
    #[error("the body holds {found} bytes when decompressed; {allowed} are allowed")]
    TooLarge {
        /// How many.
        found: u64,
        /// How many may be.
        allowed: usize,
    },
    /// One event or alert that does not fit by itself.
    #[error("one item alone takes {found} bytes compressed; the other side takes {allowed}")]
    Oversized {
        /// How many bytes it takes.
        found: usize,
        /// How many may be.
        allowed: usize,
    },
    /// A body that is not what this version writes.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// What the body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Events of one agent in one boot.
    Events {
        /// Agent and boot, as the ids hold them.
        origin: Origin,
        /// The lowest sequence number.
        first: u64,
        /// The highest sequence number.
        last: u64,
    },
    /// Alerts of one agent.
    Alerts,
}

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// One frame of zstd that says how large its content is.
    Zstd,
}

/// A message with all that a hop needs on the outside.
///
/// ```
/// use std::sync::Arc;
/// use lavender_core::envelope::Envelope;
/// use lavender_core::event::{Event, EventData};
/// use lavender_core::transport::{Message, Payload, Topic};
/// use lavender_core::{AgentId, AgentIdentity, BootId, BootTime, Origin, TenantId, Timestamp};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = AgentIdentity {
///     tenant: TenantId::new("acme")?,
///     agent: AgentId::new("web-1")?,
///     host: "web-1.acme.example".into(),
/// };
/// let event = Arc::new(Event {
///     id: Origin::new(&source.tenant, &source.agent, BootId::from_u128(7)).event(42),
///     observed_at: Timestamp::from_millis(1_700_000_000_000),
///     boot_time: BootTime::from_nanos(5),
///     tid: 0,
///     process: None,
///     data: EventData::Heartbeat(Box::default()),
/// });
/// let message = Message { source, topic: Topic::TelemetryRaw, payload: Payload::Events(vec![event]) };
/// let envelopes = Envelope::encode(&message, 1_000_000)?;
/// let headers: Vec<_> = envelopes[0].headers().collect();
/// let header = |name: &str| headers.iter().find(|(is, _)| *is == name).map(|(_, value)| &**value);
/// assert_eq!(header("Lav-Seq-First"), Some("42"));
/// let back = Envelope::read("telemetry.raw.acme.web-1", header, envelopes[0].body().clone())?;
/// assert_eq!(back.decode()?, message);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    subject: Subject,
    content: Content,
    encoding: Encoding,
    count: u32,
    id: String,
    received_at: Option<Timestamp>,
    body: Bytes,
}

impl Envelope {
    /// Puts a message into as few envelopes as bodies of `body_bytes_max` allow, and events of another boot
    /// into one of their own. A message with nothing in it needs none.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::Oversized`] when one item alone does not fit.
    pub fn encode(message: &Message, body_bytes_max: usize) -> Result<Vec<Self>, EnvelopeError> {
        let mut envelopes = Vec::with_capacity(1);
        match &message.payload {
            Payload::Events(events) => {
                for run in events.chunk_by(|one, next| one.id.origin() == next.id.origin()) {
                    Self::fit(message, run, body_bytes_max, &mut envelopes)?;
                }
            }
            Payload::Alerts(alerts) => {
                Self::fit(message, alerts, body_bytes_max, &mut envelopes)?;
            }
        }
        Ok(envelopes)
    }

    /// Encodes items, by halves when they do not fit together.
    fn fit<T: Item>(
        message: &Message,
        items: &[Arc<T>],
        body_bytes_max: usize,
        out: &mut Vec<Self>,
    ) -> Result<(), EnvelopeError> {
        let Some(content) = T::content(items) else { return Ok(()) };
        let plain = T::encode(&message.source, items)?;
        let plain_len = plain.len();
        let (encoding, body) = compress(plain)?;
        if body.len() > body_bytes_max || plain_len > MAX_BODY_BYTES {
            if items.len() == 1 {
                let found = body.len();
                return Err(EnvelopeError::Oversized { found, allowed: body_bytes_max });
            }
            let (front, back) = items.split_at(items.len() / 2);
            Self::fit(message, front, body_bytes_max, out)?;
            return Self::fit(message, back, body_bytes_max, out);
        }
        let subject = message.subject();
        let mut digest = Digest::default();
        items.iter().for_each(|item| item.add_to(&mut digest));
        let id = match content {
            Content::Events { origin, first, last } => {
                format!(
                    "{}/{}/{origin}/{first}-{last}/{:016x}",
                    subject.tenant, subject.agent, digest.0
                )
            }
            Content::Alerts => {
                format!("{}/{}/alerts/{:016x}", subject.tenant, subject.agent, digest.0)
            }
        };
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        out.push(Self { subject, content, encoding, count, id, received_at: None, body });
        Ok(())
    }

    /// Opens the body. It is never decompressed to more than [`MAX_BODY_BYTES`].
    ///
    /// # Errors
    ///
    /// When it is damaged, or says otherwise than the headers.
    pub fn decode(&self) -> Result<Message, EnvelopeError> {
        self.decode_within(MAX_BODY_BYTES)
    }

    /// Opens the body, which may hold so many bytes when decompressed and not one more.
    ///
    /// # Errors
    ///
    /// When it is larger, is damaged, or says otherwise than the headers.
    pub fn decode_within(&self, plain_bytes_max: usize) -> Result<Message, EnvelopeError> {
        self.open(plain_bytes_max, codec::decode_batch)
    }

    /// Opens the body as [`decode_within`](Self::decode_within) does, by a decoder that remembers processes of bodies
    /// before.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn decode_with(
        &self,
        decoder: &mut BatchDecoder,
        plain_bytes_max: usize,
    ) -> Result<Message, EnvelopeError> {
        self.open(plain_bytes_max, |plain| decoder.decode(plain))
    }

    fn open(
        &self,
        plain_bytes_max: usize,
        decode_batch: impl FnOnce(&[u8]) -> Result<(AgentIdentity, Vec<Arc<Event>>), CodecError>,
    ) -> Result<Message, EnvelopeError> {
        let plain = decompress(self.encoding, &self.body, plain_bytes_max)?;
        let (source, payload) = match self.content {
            Content::Events { .. } => {
                let (source, events) = decode_batch(&plain)?;
                self.check_events(&events)?;
                (source, Payload::Events(events))
            }
            Content::Alerts => {
                let (source, alerts) = codec::decode_alerts(&plain)?;
                (source, Payload::Alerts(alerts))
            }
        };
        same("the count", self.count as usize, payload.len())?;
        same("the tenant", &self.subject.tenant, &source.tenant)?;
        same("the agent", &self.subject.agent, &source.agent)?;
        Ok(Message { source, topic: self.subject.topic, payload })
    }

    fn check_events(&self, events: &[Arc<Event>]) -> Result<(), EnvelopeError> {
        let Content::Events { origin, first, last } = self.content else { return Ok(()) };
        for event in events {
            same("the boot", origin, event.id.origin())?;
        }
        let (found_first, found_last) = range(events);
        same("the first sequence number", first, found_first)?;
        same("the last sequence number", last, found_last)
    }

    /// The body as lines of JSON.
    ///
    /// # Errors
    ///
    /// When it is not compressed as it says, or too large.
    pub fn plain_body(&self) -> Result<Bytes, EnvelopeError> {
        decompress(self.encoding, &self.body, MAX_BODY_BYTES)
    }

    /// Where it is published.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What the body holds.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// How the body is written.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How many events or alerts the body holds.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// By what a broker knows that it has the message: `Nats-Msg-Id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When ingest took it, by the clock of ingest; `None` where it has not come by.
    pub const fn received_at(&self) -> Option<Timestamp> {
        self.received_at
    }

    /// The body as it is on the wire.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }
}

fn same<T: PartialEq + std::fmt::Display>(
    what: &'static str,
    claimed: T,
    found: T,
) -> Result<(), EnvelopeError> {
    if claimed == found {
        return Ok(());
    }
    let (claimed, found) = (claimed.to_string(), found.to_string());
    Err(EnvelopeError::Mismatch { what, claimed, found })
}

/// The lowest and the highest sequence number; nothing has neither.
fn range(events: &[Arc<Event>]) -> (u64, u64) {
    let sequences = || events.iter().map(|event| event.id.sequence());
    (sequences().min().unwrap_or(0), sequences().max().unwrap_or(0))
}

/// FNV-1a over ids. Two messages that are not the same must not be taken for the same: the range of the
/// sequence numbers alone does not say which of them are in it. Ids hold a digest of the boot id, which no
/// other host knows, so none can claim the id of a message that another is about to send.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, id: u128) {
        for byte in id.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What envelopes carry.
trait Item: Sized {
    fn encode(source: &AgentIdentity, items: &[Arc<Self>]) -> Result<Vec<u8>, CodecError>;
    /// `None` when there is nothing.
    fn content(items: &[Arc<Self>]) -> Option<Content>;
    fn add_to(&self, digest: &mut Digest);
}

impl Item for Event {
    fn encode(source: &AgentIdentity, items: &[Arc<Self>]) -> Result<Vec<u8>, CodecError> {
        codec::encode_batch(source, items)
    }

    fn content(items: &[Arc<Self>]) -> Option<Content> {
        let origin = items.first()?.id.origin();
        let (first, last) = range(items);
        Some(Content::Events { origin, first, last })
    }

    fn add_to(&self, digest: &mut Digest) {
        digest.add(self.id.as_u128());
    }
}

impl Item for crate::Alert {
    fn encode(source: &AgentIdentity, items: &[Arc<Self>]) -> Result<Vec<u8>, CodecError> {
        codec::encode_alerts(source, items)
    }

    fn content(items: &[Arc<Self>]) -> Option<Content> {
        items.first().map(|_| Content::Alerts)
    }

    fn add_to(&self, digest: &mut Digest) {
        digest.add(self.id.as_u128());
        self.events.iter().copied().map(EventId::as_u128).for_each(|id| digest.add(id));
        // A later report of the same alert is another message.
        if let Some(repeats) = self.repeats {
            digest.add(repeats.count.into());
            digest.add(repeats.last_seen_at.as_nanos().unsigned_abs().into());
        }
    }
}

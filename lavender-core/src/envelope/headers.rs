//! Headers, written and read.

use std::borrow::Cow;
use std::str::FromStr;

use bytes::Bytes;

use super::{Content, Encoding, Envelope, EnvelopeError, same};
use crate::codec;
use crate::id::EventId;
use crate::time::Timestamp;
use crate::transport::{Subject, Topic};

/// The names of the headers.
pub mod names {
    /// The version of the wire format.
    pub const SCHEMA: &str = "Lav-Schema";
    /// What the body is.
    pub const CONTENT: &str = "Lav-Content";
    /// How the body is compressed.
    pub const ENCODING: &str = "Lav-Encoding";
    /// How many items the body holds.
    pub const COUNT: &str = "Lav-Count";
    /// Whose tenant.
    pub const TENANT: &str = "Lav-Tenant";
    /// Whose.
    pub const AGENT: &str = "Lav-Agent";
    /// Agent and boot, as the digest that event ids hold.
    pub const BOOT: &str = "Lav-Boot";
    /// The lowest sequence number.
    pub const SEQ_FIRST: &str = "Lav-Seq-First";
    /// The highest sequence number.
    pub const SEQ_LAST: &str = "Lav-Seq-Last";
    /// When ingest took it, in ns since the epoch.
    pub const RECEIVED_AT: &str = "Lav-Received-At";
    /// By what a broker knows that it has the message.
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
}

const EVENTS: &str = "events.ndjson";
const ALERTS: &str = "alerts.ndjson";

/// The longest message id that is read: two names of 64 characters, and what stands behind them.
const ID_MAX: usize = 256;

impl Envelope {
    /// The headers as they are on the wire.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let content = match self.content {
            Content::Events { .. } => EVENTS,
            Content::Alerts => ALERTS,
        };
        let encoding = match self.encoding {
            Encoding::Identity => "identity",
            Encoding::Zstd => "zstd",
        };
        let always = [
            (names::SCHEMA, Cow::Owned(codec::VERSION.to_string())),
            (names::CONTENT, Cow::Borrowed(content)),
            (names::ENCODING, Cow::Borrowed(encoding)),
            (names::COUNT, Cow::Owned(self.count.to_string())),
            (names::TENANT, Cow::Borrowed(self.subject.tenant.as_str())),
            (names::AGENT, Cow::Borrowed(self.subject.agent.as_str())),
            (names::MESSAGE_ID, Cow::Borrowed(self.id.as_str())),
        ];
        let of_events = match self.content {
            Content::Events { origin, first, last } => Some([
                (names::BOOT, Cow::Owned(origin.to_string())),
                (names::SEQ_FIRST, Cow::Owned(first.to_string())),
                (names::SEQ_LAST, Cow::Owned(last.to_string())),
            ]),
            Content::Alerts => None,
        };
        let received =
            self.received_at.map(|at| (names::RECEIVED_AT, Cow::Owned(at.as_nanos().to_string())));
        always.into_iter().chain(of_events.into_iter().flatten()).chain(received)
    }

    /// Reads an envelope: the subject that it came on, its headers by name, its body. The body stays closed.
    ///
    /// # Errors
    ///
    /// When a header is missing or says what cannot be, or names another agent than the subject does.
    pub fn read<'h>(
        subject: &str,
        header: impl Fn(&'static str) -> Option<&'h str>,
        body: Bytes,
    ) -> Result<Self, EnvelopeError> {
        let subject: Subject = subject.parse()?;
        let required = |name| {
            header(name).ok_or_else(|| EnvelopeError::Header { name, why: "it is missing".into() })
        };
        let version: u32 = parse(names::SCHEMA, required(names::SCHEMA)?)?;
        if version != codec::VERSION {
            return Err(codec::CodecError::Version { found: version }.into());
        }
        same("the tenant", required(names::TENANT)?, subject.tenant.as_str())?;
        same("the agent", required(names::AGENT)?, subject.agent.as_str())?;
        let content = match (required(names::CONTENT)?, subject.topic) {
            (EVENTS, Topic::TelemetryRaw | Topic::TelemetryAccepted) => {
                let origin = parse(names::BOOT, required(names::BOOT)?)?;
                let first = parse(names::SEQ_FIRST, required(names::SEQ_FIRST)?)?;
                let last = parse(names::SEQ_LAST, required(names::SEQ_LAST)?)?;
                if first > last || last > EventId::MAX_SEQUENCE {
                    let why = format!("{first} to {last} is not a range of sequence numbers");
                    return Err(EnvelopeError::Header { name: names::SEQ_LAST, why });
                }
                Content::Events { origin, first, last }
            }
            (ALERTS, Topic::Alerts) => Content::Alerts,
            (other, topic) => {
                let why = format!("`{}` does not belong on {}", shown(other), topic.as_str());
                return Err(EnvelopeError::Header { name: names::CONTENT, why });
            }
        };
        let encoding = match required(names::ENCODING)? {
            "identity" => Encoding::Identity,
            "zstd" => Encoding::Zstd,
            other => {
                let why = format!("`{}` is not `identity` or `zstd`", shown(other));
                return Err(EnvelopeError::Header { name: names::ENCODING, why });
            }
        };
        let count: u32 = parse(names::COUNT, required(names::COUNT)?)?;
        if count == 0 || count as usize > codec::MAX_EVENTS {
            let why = format!("{count} is not 1 to {}", codec::MAX_EVENTS);
            return Err(EnvelopeError::Header { name: names::COUNT, why });
        }
        let id = required(names::MESSAGE_ID)?;
        let id_fits = (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        if !id_fits {
            let why = format!("`{}` is not 1 to {ID_MAX} visible characters", shown(id));
            return Err(EnvelopeError::Header { name: names::MESSAGE_ID, why });
        }
        let received_at = header(names::RECEIVED_AT)
            .map(|text| parse(names::RECEIVED_AT, text).map(Timestamp::from_nanos))
            .transpose()?;
        Ok(Self { subject, content, encoding, count, id: id.to_owned(), received_at, body })
    }

    /// The same, with when it was received; what it said of that before is gone.
    #[must_use]
    pub const fn with_received_at(mut self, at: Timestamp) -> Self {
        self.received_at = Some(at);
        self
    }

    /// The same body for another topic: what a hop does that has checked it. Both topics must carry the
    /// same things.
    #[must_use]
    pub fn with_topic(mut self, topic: Topic) -> Self {
        self.subject.topic = topic;
        self
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    text: &str,
) -> Result<T, EnvelopeError> {
    text.parse().map_err(|error: T::Err| EnvelopeError::Header {
        name,
        why: format!("`{}`: {error}", shown(text)),
    })
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

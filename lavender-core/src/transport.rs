//! Moving events and alerts between stages: subjects, publishing, consuming, acknowledging.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::alert::{AgentIdentity, Alert};
use crate::error::Result;
use crate::event::Event;
use crate::id::{AgentId, TenantId};

/// What a message is about: the first words of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Topic {
    /// Telemetry as an agent sent it: `telemetry.raw`.
    TelemetryRaw,
    /// Telemetry that ingest has checked: `telemetry.accepted`. Where all stages run in one process
    /// there is no hop to check at, and the agent publishes here.
    TelemetryAccepted,
    /// Alerts: `alerts`.
    Alerts,
}

impl Topic {
    /// The words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TelemetryRaw => "telemetry.raw",
            Self::TelemetryAccepted => "telemetry.accepted",
            Self::Alerts => "alerts",
        }
    }
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::TelemetryRaw, Self::TelemetryAccepted, Self::Alerts];
}

/// Where a message is published: a topic, and whose it is.
///
/// ```
/// use lavender_core::transport::{Subject, Topic};
/// use lavender_core::{AgentId, TenantId};
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let subject = Subject::new(Topic::Alerts, TenantId::new("acme")?, AgentId::new("web-1")?);
/// assert_eq!(subject.to_string(), "alerts.acme.web-1");
/// assert_eq!("alerts.acme.web-1".parse(), Ok(subject));
/// assert!("alerts.acme.>".parse::<Subject>().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The topic.
    pub topic: Topic,
    /// The tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
}

impl Subject {
    /// A subject of one agent.
    pub const fn new(topic: Topic, tenant: TenantId, agent: AgentId) -> Self {
        Self { topic, tenant, agent }
    }
}

/// The error of a text that is not a [`Subject`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{subject}` is not a subject of Lavender's: <topic>.<tenant>.<agent>, each name 1 to 64 of a-z A-Z 0-9 _ -"
)]
pub struct SubjectError {
    /// The text, cut to 200 characters.
    pub subject: String,
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let parse = || {
            let (rest, agent) = text.rsplit_once('.')?;
            let (topic, tenant) = rest.rsplit_once('.')?;
            let topic = Topic::ALL.into_iter().find(|known| known.as_str() == topic)?;
            Some(Self::new(topic, TenantId::new(tenant).ok()?, AgentId::new(agent).ok()?))
        };
        parse().ok_or_else(|| SubjectError { subject: text.chars().take(200).collect() })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.topic.as_str(), self.tenant, self.agent)
    }
}

/// What a message carries. Within a process it is typed and shared; nothing is serialised.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// Events of one agent.
    Events(Vec<Arc<Event>>),
    /// Alerts of one agent.
    Alerts(Vec<Arc<Alert>>),
}

impl Payload {
    /// How many events or alerts it holds.
    pub const fn len(&self) -> usize {
        match self {
            Self::Events(events) => events.len(),
            Self::Alerts(alerts) => alerts.len(),
        }
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Whose it is.
    pub source: AgentIdentity,
    /// What it is about.
    pub topic: Topic,
    /// What it carries.
    pub payload: Payload,
}

impl Message {
    /// Where it is published.
    pub fn subject(&self) -> Subject {
        Subject::new(self.topic, self.source.tenant.clone(), self.source.agent.clone())
    }
}

/// Publishes messages.
#[async_trait]
pub trait Publisher: fmt::Debug + Send + Sync + 'static {
    /// Hands messages over. Returns once the transport owns them: they survive what the transport
    /// survives. Waits while it is full.
    ///
    /// # Errors
    ///
    /// When they were not taken; none of them was, or taking them again is taking them once.
    async fn publish(&self, messages: Vec<Message>) -> Result<()>;
}

/// Who reads what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// What is read.
    pub topic: Topic,
    /// The durable's name: consumers of one name share the messages, each name gets all of them.
    pub durable: Arc<str>,
}

/// Hands out messages to consumers.
#[async_trait]
pub trait Subscriber: fmt::Debug + Send + Sync + 'static {
    /// Begins to read, or goes on where the durable of this name stood.
    ///
    /// # Errors
    ///
    /// When the subscription cannot be made.
    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>>;
}

/// Both ends of a transport.
pub trait Transport: Publisher + Subscriber {}

impl<T: Publisher + Subscriber + ?Sized> Transport for T {}

/// Reads the messages of one subscription.
///
/// # Contract
///
/// - A message comes again until it is acknowledged: every reader must do well to see it twice.
/// - Dropping the future of [`next`](Self::next) loses nothing.
#[async_trait]
pub trait Consumer: fmt::Debug + Send + 'static {
    /// Waits for a message, and takes along what else is there, up to `max` messages. Empty at the end:
    /// the transport was closed and nothing is left.
    ///
    /// # Errors
    ///
    /// When the transport cannot go on.
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>>;
}

/// A message on its way to a consumer.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// How often it was delivered, from 1.
    pub attempt: u32,
    /// How to answer. Dropped without an answer, the message comes again.
    pub ack: Box<dyn Ack>,
}

/// The answer to a delivery.
#[async_trait]
pub trait Ack: fmt::Debug + Send + 'static {
    /// What the message asked for is done: it does not come again.
    ///
    /// # Errors
    ///
    /// When the transport did not take the answer; the message may come again.
    async fn ack(self: Box<Self>) -> Result<()>;

    /// It could not be done now: it comes again, after `delay`.
    ///
    /// # Errors
    ///
    /// When the transport did not take the answer; the message comes again all the same.
    async fn nak(self: Box<Self>, delay: Duration) -> Result<()>;
}

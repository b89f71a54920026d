//! What a connection to JetStream is told.

use std::path::PathBuf;
use std::time::Duration;

use lavender_core::transport::{Subscription, Topic};

use super::streams::StreamOptions;

/// How a client shows who it is. Secrets are read from files when it connects, and stand in no option, URL or
/// log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Not at all, or by its certificate alone.
    #[default]
    None,
    /// By an nkey, whose seed is the first line of this file.
    Nkey(PathBuf),
    /// By a credentials file: a JWT and the seed that belongs to it.
    File(PathBuf),
}

/// How the connection is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Refuse to talk in the clear.
    pub required: bool,
    /// Who may vouch for the server, as PEM; the system's authorities when there is none.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain and its key, as PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is done about streams and durables when a transport opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setup {
    /// Make what is missing, and check what is there.
    #[default]
    Create,
    /// Check that everything is there, and make nothing.
    Check,
    /// Ask nothing: for agents, which may publish on their own subjects and do no more.
    Skip,
}

/// How messages are consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// How long a delivery may stay unanswered before it comes again, perhaps to another. 30 s unless said.
    pub ack_wait: Duration,
    /// The most deliveries of a durable that are out at once, for all who share it. 1,024 unless said.
    pub in_flight: u32,
    /// How often a message is delivered before it is put aside as a dead letter. 10 unless said.
    pub attempts: u32,
    /// How long a delivery that was dropped without an answer waits at first; doubled with each attempt. 10 ms
    /// unless said.
    pub retry_delay: Duration,
    /// The longest such wait. 30 s unless said.
    pub retry_delay_max: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(30),
            in_flight: 1_024,
            attempts: 10,
            retry_delay: Duration::from_millis(10),
            retry_delay_max: Duration::from_secs(30),
        }
    }
}

impl ConsumerOptions {
    /// How long a message waits that was not done with at its so-manieth attempt, from 1.
    pub fn delay_after(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.retry_delay.saturating_mul(factor).min(self.retry_delay_max)
    }
}

/// Everything that a connection is told.
///
/// ```
/// use lavender_transport::nats::{Credentials, JetStreamOptions, Setup};
///
/// # fn main() -> lavender_core::Result<()> {
/// let options = JetStreamOptions::from_url(
///     "tls://a.example:4222,b.example:4222?nkey=/etc/lavender/agent.nk&inbox=_INBOX_web-1&setup=skip",
/// )?;
/// assert_eq!(options.servers, ["nats://a.example:4222", "nats://b.example:4222"]);
/// assert!(options.tls.required);
/// assert_eq!(options.credentials, Credentials::Nkey("/etc/lavender/agent.nk".into()));
/// assert_eq!(options.setup, Setup::Skip);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JetStreamOptions {
    /// The servers, as `nats://host:port`; others of their cluster are learnt from them.
    pub servers: Vec<String>,
    /// The name by which servers show the client. `lavender` unless said.
    pub name: String,
    /// How the client shows who it is.
    pub credentials: Credentials,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// What the subjects begin with on which answers come: permissions need one of the client's own.
    pub inbox_prefix: Option<String>,
    /// What is done about streams and durables.
    pub setup: Setup,
    /// What streams must be like.
    pub streams: StreamOptions,
    /// The durables that are made along with the streams, so that what is published before they are read waits
    /// for them: `ingest`, `detection`, `telemetry-writer` and `alert-writer` unless said. Name those that are
    /// read: a stream keeps a message until the last of its durables has it, and refuses new ones when it is
    /// full.
    pub durables: Vec<Subscription>,
    /// How messages are consumed.
    pub consumer: ConsumerOptions,
    /// How long the server may take to answer. 5 s unless said.
    pub timeout: Duration,
    /// The most messages that are published and not acknowledged. 256 unless said.
    pub in_flight: usize,
}

impl JetStreamOptions {
    /// The defaults, for these servers.
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        let durable = |topic, name: &str| Subscription { topic, durable: name.into() };
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            name: "lavender".into(),
            credentials: Credentials::None,
            tls: Tls::default(),
            inbox_prefix: None,
            setup: Setup::Create,
            streams: StreamOptions::default(),
            durables: vec![
                durable(Topic::TelemetryRaw, "ingest"),
                durable(Topic::TelemetryAccepted, "detection"),
                durable(Topic::TelemetryAccepted, "telemetry-writer"),
                durable(Topic::Alerts, "alert-writer"),
            ],
            consumer: ConsumerOptions::default(),
            timeout: Duration::from_secs(5),
            in_flight: 256,
        }
    }

    /// What errors and logs call the connection. Holds no secret: options have none.
    pub(super) fn component(&self) -> String {
        format!("transport {}", self.servers.join(","))
    }
}

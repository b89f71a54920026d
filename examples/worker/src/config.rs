//! The configuration: a file, and flags that go before it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use lavender_transport::ingest::{IngestOptions, Rate};
use serde::Deserialize;

use crate::cli::WorkerArgs;
use crate::detect::{DetectionConfig, RulesConfig};

/// The variable that names the configuration.
pub const VARIABLE: &str = "LAVENDER_WORKER_CONFIG";

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong. The line is not shown: it may hold the store's password.
    #[error("{}:{line}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// The durable of a role is not among those that the streams have.
    #[error("[transport] durables: `{name}` is none; they are {known}")]
    Durable {
        /// What was named.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The listener would be open to the network, and it asks nobody who they are.
    #[error(
        "[listener] address: {address} is not of the loopback; `/metrics` is for this host alone"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
}

/// The whole configuration. Unknown keys are errors.
///
/// ```
/// use std::path::Path;
/// use lavender_worker::config::Config;
///
/// let text = "[transport]\nurl = \"nats://broker.example:4222\"\n[store]\nretention_days = 30\n";
/// let config = Config::parse(text, Path::new("worker.toml")).unwrap();
/// assert_eq!(config.transport.url, "nats://broker.example:4222");
/// let error = Config::parse("[store]\nuri = 1\n", Path::new("worker.toml")).unwrap_err();
/// assert!(error.to_string().starts_with("worker.toml:2: unknown field `uri`"), "{error}");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[transport]`: the broker.
    pub transport: TransportConfig,
    /// `[store]`: where events and alerts are kept.
    pub store: StoreConfig,
    /// `[rules]`: what `detect` looks for.
    pub rules: RulesConfig,
    /// `[detection]`: how `detect` does it.
    pub detection: DetectionConfig,
    /// `[ingest]`: what agents may send.
    pub ingest: IngestConfig,
    /// `[listener]`: `/healthz` and `/metrics`.
    pub listener: ListenerConfig,
}

/// `[transport]`: the broker, and what its streams are like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// Where: see `JetStreamOptions::from_url`. Certificates, nkey and inbox prefix stand here, by file.
    pub url: String,
    /// The durables that are made with the streams. Name those that are read: a stream keeps a message until
    /// each of its durables has it.
    pub durables: Vec<String>,
    /// The most bytes of each stream of telemetry, which the broker sets aside.
    pub telemetry_bytes_max: u64,
    /// The most bytes of each other stream.
    pub other_bytes_max: u64,
    /// The most deliveries of a durable that are out at once, for all who share it.
    pub in_flight: NonZeroU32,
    /// How long a delivery may stay unanswered before it comes again: what a killed worker had waits for so long.
    pub ack_wait_secs: NonZeroU32,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            durables: ["ingest", "detection", "telemetry-writer", "alert-writer"]
                .map(Into::into)
                .into(),
            telemetry_bytes_max: 1 << 30,
            other_bytes_max: 256 << 20,
            in_flight: NonZeroU32::MIN.saturating_add(1_023),
            ack_wait_secs: NonZeroU32::MIN.saturating_add(29),
        }
    }
}

/// `[store]`: where events and alerts are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Where: `postgres://…` or `sqlite:PATH`.
    pub url: String,
    /// How many days events are kept, by the telemetry-writer; for ever when it is not said. Alerts stay.
    pub retention_days: Option<NonZeroU32>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "postgres://localhost/lavender".into(), retention_days: None }
    }
}

/// `[ingest]`: what agents may send.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// The largest body of a message, compressed as it is.
    pub body_bytes_max: usize,
    /// How many events an agent may send in a second, by each worker.
    pub events_per_second: NonZeroU32,
    /// How many it may send at once.
    pub burst: NonZeroU32,
    /// How far an event may be ahead of the clock here.
    pub ahead_max_secs: u64,
    /// How far behind it an event may be: as long as agents' spools last.
    pub age_max_secs: u64,
    /// How long a missing number may come late before it counts as lost.
    pub gap_wait_secs: u64,
    /// The most bytes that agents' numbers take, which the broker sets aside.
    pub state_bytes_max: u64,
}

impl Default for IngestConfig {
    fn default() -> Self {
        let options = IngestOptions::default();
        let rate = options.events_per_agent.unwrap_or(Rate::new(50_000, 1_000_000));
        Self {
            body_bytes_max: options.checks.body_bytes_max,
            events_per_second: rate.per_second,
            burst: rate.burst,
            ahead_max_secs: options.checks.ahead_max.as_secs(),
            age_max_secs: options.checks.age_max.as_secs(),
            gap_wait_secs: options.gap_wait.as_secs(),
            state_bytes_max: 64 << 20,
        }
    }
}

/// `[listener]`: where `/healthz` and `/metrics` are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerConfig {
    /// An address of the loopback; port 0 takes a free one, which is logged.
    pub address: SocketAddr,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

impl Config {
    /// Reads a configuration; `path` is only for the error.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Content`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            let message = error.message().to_owned();
            ConfigError::Content { path: path.to_owned(), line, message }
        })
    }

    /// The file that is named, with the flags that go before it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is wrong, or the listener would not be on the loopback.
    pub fn load(args: &WorkerArgs) -> Result<Self, ConfigError> {
        let path = args.config.clone().or_else(|| std::env::var_os(VARIABLE).map(Into::into));
        let mut config = match path {
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                Self::parse(&text, &path)?
            }
            None => Self::default(),
        };
        if let Some(url) = &args.nats {
            config.transport.url.clone_from(url);
        }
        if let Some(address) = args.listen {
            config.listener.address = address;
        }
        let address = config.listener.address;
        if !address.ip().is_loopback() {
            return Err(ConfigError::NotLoopback { address });
        }
        Ok(config)
    }
}

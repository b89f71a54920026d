//! Streams and durables: made when they are missing, and refused when they are other than configured.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{ConsumerInfoErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use lavender_core::command::MAX_LIFETIME;
use lavender_core::transport::{Subscription, Topic};
use lavender_core::{ErrorKind, Result};

use super::connection::Connection;
use super::{ConsumerOptions, JetStreamOptions, Setup};

/// What streams must be like. A stream that is full refuses what is published, so that the publisher keeps it;
/// it never drops what was not consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamOptions {
    /// How many servers keep each stream: 1 unless said, 3 in a cluster.
    pub replicas: usize,
    /// How long a message is known by its id, so that publishing it again does nothing: longer than retries
    /// take. 10 minutes unless said.
    pub duplicate_window: Duration,
    /// The most bytes of each stream of telemetry. 1 GiB unless said. The server sets it aside.
    pub telemetry_bytes_max: u64,
    /// The most bytes of each other stream. 256 MiB unless said.
    pub other_bytes_max: u64,
    /// The most messages of each stream; no bound unless said.
    pub messages_max: Option<u64>,
    /// How long commands are kept. 7 days unless said.
    pub commands_age_max: Duration,
    /// How long dead letters are kept. 30 days unless said.
    pub dead_letters_age_max: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            replicas: 1,
            duplicate_window: Duration::from_secs(600),
            telemetry_bytes_max: 1 << 30,
            other_bytes_max: 256 << 20,
            messages_max: None,
            commands_age_max: DAY * 7,
            dead_letters_age_max: DAY * 30,
        }
    }
}

/// One stream.
struct Layout {
    name: &'static str,
    subjects: &'static [&'static str],
    retention: RetentionPolicy,
}

const LAYOUT: [Layout; 6] = [
    Layout {
        name: "TELEMETRY_RAW",
        subjects: &["telemetry.raw.*.*"],
        retention: RetentionPolicy::WorkQueue,
    },
    Layout {
        name: "TELEMETRY_CANONICAL",
        subjects: &["telemetry.accepted.*.*"],
        retention: RetentionPolicy::Interest,
    },
    Layout { name: "ALERTS", subjects: &["alerts.*.*"], retention: RetentionPolicy::Interest },
    Layout { name: "COMMANDS", subjects: &["cmd.*.*"], retention: RetentionPolicy::Limits },
    Layout {
        name: "COMMAND_RESULTS",
        subjects: &["cmd.result.*.*"],
        retention: RetentionPolicy::WorkQueue,
    },
    Layout { name: "DLQ", subjects: &["dlq.*.*.*"], retention: RetentionPolicy::Limits },
];

/// The stream of a topic.
pub(super) fn stream_of(topic: Topic) -> &'static str {
    match topic {
        Topic::TelemetryRaw => "TELEMETRY_RAW",
        Topic::Alerts => "ALERTS",
        _ => "TELEMETRY_CANONICAL",
    }
}

fn config(layout: &Layout, options: &StreamOptions) -> Config {
    let telemetry = layout.name.starts_with("TELEMETRY");
    let bytes = if telemetry { options.telemetry_bytes_max } else { options.other_bytes_max };
    let max_age = match layout.name {
        "COMMANDS" => options.commands_age_max,
        "DLQ" => options.dead_letters_age_max,
        _ => Duration::ZERO,
    };
    let bound = |most: u64| i64::try_from(most).unwrap_or(i64::MAX);
    let duplicate_window = match max_age {
        Duration::ZERO => options.duplicate_window,
        // A command that is published again while it is in its time is published once.
        age if layout.name == "COMMANDS" => MAX_LIFETIME.min(age),
        age => options.duplicate_window.min(age),
    };
    Config {
        name: layout.name.into(),
        subjects: layout.subjects.iter().map(|subject| (*subject).into()).collect(),
        retention: layout.retention,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_bytes: bound(bytes),
        max_messages: options.messages_max.map_or(-1, bound),
        max_age,
        duplicate_window,
        num_replicas: options.replicas,
        ..Config::default()
    }
}

/// Makes or checks every stream and the durables.
pub(super) async fn set_up(connection: &Connection, options: &JetStreamOptions) -> Result<()> {
    if options.setup == Setup::Skip {
        return Ok(());
    }
    for layout in &LAYOUT {
        let stream = stream(connection, options.setup, config(layout, &options.streams)).await?;
        for Subscription { topic, durable: name } in &options.durables {
            if stream_of(*topic) == layout.name {
                durable(connection, options.setup, &stream, name, &options.consumer).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn stream(
    connection: &Connection,
    setup: Setup,
    wanted: Config,
) -> Result<Stream> {
    let name = wanted.name.clone();
    let failed = |error: &dyn std::fmt::Display| {
        connection.error(ErrorKind::Unavailable, format!("stream {name}: {error}"))
    };
    let stream = match connection.context.get_stream(&name).await {
        Ok(stream) => stream,
        Err(error) if is_missing(error.kind()) => {
            if setup == Setup::Check {
                let why = format!("there is no stream {name}, and this is not to make it");
                return Err(connection.error(ErrorKind::NotFound, why));
            }
            match connection.context.create_stream(wanted.clone()).await {
                Ok(stream) => stream,
                // Perhaps another has made it meanwhile; if not, the first error says why.
                Err(error) => match connection.context.get_stream(&name).await {
                    Ok(stream) => stream,
                    Err(_) => return Err(failed(&error)),
                },
            }
        }
        Err(error) => return Err(failed(&error)),
    };
    // Read back: what a server does not know, it may drop without a word.
    let found = &stream.cached_info().config;
    let mut differences = Differences::default();
    differences.look("subjects", &wanted.subjects, &found.subjects);
    differences.look("retention", wanted.retention, found.retention);
    differences.look("discard", wanted.discard, found.discard);
    differences.look("storage", wanted.storage, found.storage);
    differences.look("max_bytes", wanted.max_bytes, found.max_bytes);
    differences.look("max_msgs", wanted.max_messages, found.max_messages);
    differences.look(
        "max_msgs_per_subject",
        wanted.max_messages_per_subject.max(0),
        found.max_messages_per_subject.max(0),
    );
    differences.look("max_age", wanted.max_age, found.max_age);
    differences.look("duplicate_window", wanted.duplicate_window, found.duplicate_window);
    differences.look("replicas", wanted.num_replicas, found.num_replicas);
    differences.look("allow_msg_ttl", wanted.allow_message_ttl, found.allow_message_ttl);
    differences.refuse(connection, &format!("stream {name}"))?;
    Ok(stream)
}

fn is_missing(kind: GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.code() == 404)
}

/// Makes or checks a durable of a stream.
pub(super) async fn durable(
    connection: &Connection,
    setup: Setup,
    stream: &Stream,
    name: &str,
    options: &ConsumerOptions,
) -> Result<()> {
    connection.check_name("durable", name)?;
    let wanted = pull::Config {
        durable_name: Some(name.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: options.ack_wait,
        // Dead letters are put aside here, with the reason, and not forgotten by the server.
        max_deliver: -1,
        max_ack_pending: i64::from(options.in_flight),
        ..pull::Config::default()
    };
    let called = format!("durable {name} of stream {}", stream.cached_info().config.name);
    let found = match stream.consumer_info(name).await {
        Ok(info) => info,
        Err(error) if !matches!(error.kind(), ConsumerInfoErrorKind::NotFound) => {
            let why = format!("{called} cannot be looked up: {error}");
            return Err(connection.error(ErrorKind::Unavailable, why));
        }
        Err(error) if setup == Setup::Check => {
            let why = format!("{called}: {error}, and this is not to make it");
            return Err(connection.error(ErrorKind::NotFound, why));
        }
        Err(_) => match stream.create_consumer(wanted.clone()).await {
            Ok(consumer) => consumer.cached_info().clone(),
            Err(error) => {
                let why = format!("{called} cannot be made: {error}");
                return Err(connection.error(ErrorKind::Unavailable, why));
            }
        },
    };
    let found = &found.config;
    let mut differences = Differences::default();
    differences.look("deliver_subject", &None, &found.deliver_subject);
    differences.look("ack_policy", wanted.ack_policy, found.ack_policy);
    differences.look("ack_wait", wanted.ack_wait, found.ack_wait);
    differences.look("max_deliver", wanted.max_deliver, found.max_deliver);
    differences.look("max_ack_pending", wanted.max_ack_pending, found.max_ack_pending);
    differences.look("filter_subject", &wanted.filter_subject, &found.filter_subject);
    differences.refuse(connection, &called)
}

/// What is other than configured.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn look<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, wanted: T, found: T) {
        if wanted != found {
            self.0.push(format!("{what} is {found:?} and not {wanted:?}"));
        }
    }

    fn refuse(self, connection: &Connection, what: &str) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let why = format!(
            "{what} is there, and other than configured: {}. Change the configuration, or the server's with `nats`",
            self.0.join(", ")
        );
        Err(connection.error(ErrorKind::Invalid, why))
    }
}

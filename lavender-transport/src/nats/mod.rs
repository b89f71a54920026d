//! JetStream: the transport between processes, and state on its key-value buckets.
//!
//! ```no_run
//! use lavender_core::transport::{Subscriber, Subscription, Topic};
//! use lavender_transport::nats::{JetStream, JetStreamOptions};
//!
//! # async fn run() -> lavender_core::Result<()> {
//! let transport = JetStream::open(JetStreamOptions::from_url("nats://127.0.0.1:4222")?).await?;
//! let writer = Subscription { topic: Topic::Alerts, durable: "alert-writer".into() };
//! for delivery in transport.subscribe(writer).await?.next(64).await? {
//!     println!("{} {}", delivery.message.subject(), delivery.message.payload.len());
//!     delivery.ack.ack().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | stream | subjects | kept until | [durables](JetStreamOptions::durables) |
//! |---|---|---|---|
//! | `TELEMETRY_RAW` | `telemetry.raw.<tenant>.<agent>` | `ingest` has it | `ingest` |
//! | `TELEMETRY_CANONICAL` | `telemetry.accepted.<tenant>.<agent>` | every durable has it | `detection`, `telemetry-writer` |
//! | `ALERTS` | `alerts.<tenant>.<agent>` | every durable has it | `alert-writer` |
//! | `COMMANDS` | `cmd.<tenant>.<agent>` | 7 days | one for each agent, made by it |
//! | `COMMAND_RESULTS` | `cmd.result.<tenant>.<agent>` | `control-plane` has it | `control-plane`, made by it |
//! | `DLQ` | `dlq.<stage>.<tenant>.<agent>` | 30 days | |
//!
//! `heartbeat.<tenant>.<agent>` is in no stream; see [`JetStream::heartbeat`].
//!
//! - nats-server is 2.11 or newer. Streams and durables are made when they are missing; what is there is read
//!   back, and refused when it is other than configured.
//! - A stream that is full refuses: who publishes waits, and no message is dropped for a newer one.
//! - Every message has its id, so that publishing it again is publishing it once, within the stream's
//!   duplicate window.
//! - What the server does not permit is [`Denied`](lavender_core::ErrorKind::Denied) at once, and not tried again.
//! - What cannot be read, or was delivered [too often](ConsumerOptions::attempts), is put aside under
//!   `dlq.<stage>.<tenant>.<agent>` with [the reason](dead_letter), and holds up nothing.
//! - A durable's messages that were delivered and not answered come again after
//!   [`ack_wait`](ConsumerOptions::ack_wait), whoever had them.

mod answer;
mod command;
mod connection;
mod consume;
mod control_plane;
mod options;
mod publish;
mod rulesets;
mod share;
mod state;
mod streams;
mod url;

use std::fmt;
use std::sync::Arc;

use async_nats::connection::State;
use async_nats::jetstream::consumer::pull;
use lavender_core::envelope::Envelope;
use lavender_core::transport::{Consumer, Message, Publisher, Subscriber, Subscription, Topic};
use lavender_core::{Error, ErrorKind, Result, async_trait};
use tokio::sync::{mpsc, watch};

#[cfg(feature = "ingest")]
pub(crate) use self::answer::Hold;
use self::answer::{Dropped, answer_dropped};
pub use self::answer::{JetStreamAck, dead_letter};
pub use self::command::{JetStreamCommands, JetStreamReports, command_permissions};
use self::connection::Connection;
use self::consume::JetStreamConsumer;
pub use self::consume::{EnvelopeConsumer, EnvelopeDelivery};
pub use self::control_plane::control_plane_permissions;
pub use self::options::{ConsumerOptions, Credentials, JetStreamOptions, Setup, Tls};
use self::publish::{FULL_DELAY, Fault, Outbox};
pub use self::rulesets::{JetStreamRules, ruleset_permissions};
pub use self::state::{BucketOptions, JetStreamState};
pub use self::streams::StreamOptions;
use crate::publish::EnvelopePublisher;

/// A transport over JetStream. Clones share the connection. See the [module](self).
#[derive(Clone)]
pub struct JetStream {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Connection,
    outbox: Outbox,
    options: JetStreamOptions,
    dropped: mpsc::UnboundedSender<Dropped>,
    closed: watch::Sender<bool>,
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl JetStream {
    /// Connects, checks the server's version, and makes or checks streams and durables.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) for a server before 2.11, [`Invalid`](ErrorKind::Invalid) for
    /// streams that are other than configured, [`Denied`](ErrorKind::Denied) when the server does not know the
    /// client, and what else keeps it from connecting.
    pub async fn open(options: JetStreamOptions) -> Result<Self> {
        let connection = Connection::open(&options).await?;
        streams::set_up(&connection, &options).await?;
        let (dropped, answers) = mpsc::unbounded_channel();
        tokio::spawn(answer_dropped(connection.clone(), answers));
        let outbox = Outbox::new(connection.clone(), options.in_flight);
        let closed = watch::Sender::new(false);
        Ok(Self { shared: Arc::new(Shared { connection, outbox, options, dropped, closed }) })
    }

    /// Ends publishing here. Consumers of this transport get what is left of their durables, then the end,
    /// also of what others still publish.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
    }

    /// Begins to read without opening what is read, for stages that check and pass on. Such a stage counts
    /// [attempts](EnvelopeDelivery::attempt) itself.
    ///
    /// # Errors
    ///
    /// When the subscription cannot be made.
    pub async fn subscribe_envelopes(
        &self,
        subscription: Subscription,
    ) -> Result<EnvelopeConsumer> {
        let Shared { connection, options, dropped, closed, .. } = &*self.shared;
        let Subscription { topic, durable } = subscription;
        connection.check_name("durable", &durable)?;
        let stream_name = streams::stream_of(topic);
        let missing = |error: &dyn fmt::Display| {
            let why = format!("durable {durable} of stream {stream_name}: {error}");
            connection.error(ErrorKind::Unavailable, why)
        };
        if options.setup != Setup::Skip {
            let stream = connection.context.get_stream(stream_name).await;
            let stream = stream.map_err(|error| missing(&error))?;
            streams::durable(connection, options.setup, &stream, &durable, &options.consumer)
                .await?;
        }
        let found = connection
            .context
            .get_consumer_from_stream::<pull::Config, _, _>(&*durable, stream_name)
            .await
            .map_err(|error| missing(&error))?;
        EnvelopeConsumer::open(
            connection.clone(),
            found,
            options.consumer,
            dropped.clone(),
            closed.subscribe(),
        )
        .await
    }

    /// As [`subscribe`](Subscriber::subscribe), for stages that know something of each agent: the messages of one come to
    /// one of those that consume the durable in this way, as long as it is there. They say so once a second on
    /// `worker.<durable>.here.<id>`, and hand on to each other what comes to the wrong one, on
    /// `worker.<durable>.to.<id>.>`; both over core NATS. Where the server does not permit these, each takes what
    /// comes to it.
    ///
    /// It is for speed alone. When one comes or goes, or is slow, messages of an agent may be with two at a time; and what
    /// was handed to one that was killed comes again after [`ack_wait`](ConsumerOptions::ack_wait), as what it had
    /// itself.
    ///
    /// # Errors
    ///
    /// When a subscription cannot be made.
    pub async fn subscribe_by_agent(
        &self,
        subscription: Subscription,
    ) -> Result<Box<dyn Consumer>> {
        let mut consumer = self.subscribe_envelopes(subscription).await?;
        consumer.share().await?;
        Ok(Box::new(JetStreamConsumer::new(consumer)))
    }

    /// Asks the broker for a durable: whether it is there and answers, for checks of health.
    ///
    /// # Errors
    ///
    /// When it does not answer, or has no such durable.
    pub async fn check(&self, subscription: &Subscription) -> Result<()> {
        let Shared { connection, .. } = &*self.shared;
        let Subscription { topic, durable } = subscription;
        connection.check_name("durable", durable)?;
        let stream = streams::stream_of(*topic);
        let asked = connection
            .context
            .get_consumer_from_stream::<pull::Config, _, _>(&**durable, stream)
            .await;
        asked.map(|_| ()).map_err(|error| {
            let why = format!("durable {durable} of stream {stream}: {error}");
            connection.error(ErrorKind::Unavailable, why)
        })
    }

    /// Whether it is connected just now. It connects again by itself.
    pub fn is_connected(&self) -> bool {
        self.shared.connection.client.connection_state() == State::Connected
    }

    /// State on the same connection.
    ///
    /// # Errors
    ///
    /// When the bucket cannot be made, or is other than configured.
    pub async fn state(&self, options: BucketOptions) -> Result<JetStreamState> {
        let Shared { connection, options: transport, .. } = &*self.shared;
        JetStreamState::open(connection.clone(), transport.setup, options).await
    }

    /// Says on `heartbeat.<tenant>.<agent>` that an agent lives, over core NATS: who listens just now hears it, and
    /// nothing keeps it. The body is lines of JSON, as in every message. Takes half a second, in which the server may
    /// refuse it, and never waits for a server that is away.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied) when the server does not permit it, [`Unavailable`](ErrorKind::Unavailable) when it
    /// is not connected.
    pub async fn heartbeat(&self, message: &Message) -> Result<()> {
        let Shared { connection, outbox, .. } = &*self.shared;
        publish::heartbeat(connection, message, outbox.body_bytes_max()).await
    }

    fn check_open(&self) -> Result<()> {
        if *self.shared.closed.borrow() {
            return Err(self.shared.connection.error(ErrorKind::Unavailable, "it is closed"));
        }
        Ok(())
    }

    /// Waits while the stream is full, and publishes one after the other, so that their order stays.
    async fn publish_when_there_is_room(&self, envelope: &Envelope) -> Result<()> {
        let (mut delay, longest) = FULL_DELAY;
        let mut closed = self.shared.closed.subscribe();
        loop {
            self.check_open()?;
            let mut results = self.shared.outbox.send(std::slice::from_ref(envelope)).await;
            match results.pop() {
                Some(Err(Fault::Full(why))) => {
                    tracing::debug!("{}: waits: {why}", envelope.subject());
                    // Either is reason to look again.
                    let _ = tokio::time::timeout(delay, closed.wait_for(|closed| *closed)).await;
                    delay = (delay * 2).min(longest);
                }
                Some(Err(fault)) => return Err(self.shared.outbox.error(fault)),
                Some(Ok(())) | None => return Ok(()),
            }
        }
    }
}

#[async_trait]
impl EnvelopePublisher for JetStream {
    async fn publish_envelopes(&self, envelopes: &[Envelope]) -> Vec<Result<()>> {
        let results = self.shared.outbox.send(envelopes).await;
        let error = |fault| self.shared.outbox.error(fault);
        results.into_iter().map(|result| result.map_err(error)).collect()
    }

    fn body_bytes_max(&self) -> usize {
        self.shared.outbox.body_bytes_max()
    }
}

#[async_trait]
impl Publisher for JetStream {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        self.check_open()?;
        let Shared { connection, outbox, .. } = &*self.shared;
        let mut envelopes = Vec::with_capacity(messages.len());
        for message in &messages {
            let sealed = Envelope::encode(message, outbox.body_bytes_max());
            envelopes.extend(sealed.map_err(|error| connection.error(ErrorKind::Invalid, error))?);
        }
        let mut full = Vec::new();
        let mut failed: Option<Error> = None;
        for (envelope, result) in envelopes.iter().zip(outbox.send(&envelopes).await) {
            match result {
                Ok(()) => {}
                Err(Fault::Full(_)) => full.push(envelope),
                // A fault that trying again does not mend is the one to tell.
                Err(fault) => {
                    let error = outbox.error(fault);
                    if failed.as_ref().is_none_or(|earlier| earlier.is_retryable()) {
                        failed = Some(error);
                    }
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        for envelope in full {
            self.publish_when_there_is_room(envelope).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Subscriber for JetStream {
    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>> {
        let consumer = self.subscribe_envelopes(subscription).await?;
        Ok(Box::new(JetStreamConsumer::new(consumer)))
    }
}

/// The stream that a topic's messages are in, for tools that look at them.
pub fn stream_of(topic: Topic) -> &'static str {
    streams::stream_of(topic)
}

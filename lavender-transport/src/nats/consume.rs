//! Consuming: pulls that survive being given up, and deliveries with their answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_nats::jetstream::{self, consumer::Consumer as Durable, consumer::pull};
use async_nats::{HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use lavender_core::codec::BatchDecoder;
use lavender_core::envelope::{Envelope, EnvelopeError, MAX_BODY_BYTES};
use lavender_core::transport::{Consumer, Delivery};
use lavender_core::{ErrorKind, Result, async_trait};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::ConsumerOptions;
use super::answer::{DeadLetter, Dropped, JetStreamAck};
use super::connection::Connection;
use super::share::Share;

/// How long the server keeps a request for messages. Short, since one that is lost with its server is only
/// missed then.
const PULL_EXPIRES: Duration = Duration::from_secs(5);

/// How much later than that a request is given up here.
const PULL_SLACK: Duration = Duration::from_secs(1);

/// How often it is looked, after the close, whether anything is left.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The most bytes of bodies that are handed out together, unless one alone has more: what is many to look at at once is
/// not many times the memory.
const TOGETHER_BYTES: usize = 16 << 20;

/// A message as it came, unopened: for stages that check and pass on.
#[derive(Debug)]
pub struct EnvelopeDelivery {
    subject: String,
    headers: HeaderMap,
    pub(super) body: Bytes,
    stage: String,
    stream: String,
    pub(super) sequence: u64,
    /// How often it was delivered, from 1.
    pub attempt: u32,
    /// How to answer.
    pub ack: JetStreamAck,
}

impl EnvelopeDelivery {
    /// The subject that it came on.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// How many bytes the body has, compressed as it is.
    pub const fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Reads the headers; the body stays closed.
    ///
    /// # Errors
    ///
    /// When they are not those of an envelope, or name another agent than the subject does.
    pub fn envelope(&self) -> Result<Envelope, EnvelopeError> {
        let header = |name| self.headers.get(name).map(async_nats::HeaderValue::as_str);
        Envelope::read(&self.subject, header, self.body.clone())
    }

    /// Puts it aside as a dead letter, with the reason, and acknowledges it.
    ///
    /// # Errors
    ///
    /// When it could not be stored there; the message comes again.
    pub async fn reject(self, reason: impl Into<String>) -> Result<()> {
        let letter = DeadLetter {
            stage: self.stage,
            subject: self.subject,
            headers: self.headers,
            body: self.body,
            attempt: self.attempt,
            stream: self.stream,
            sequence: self.sequence,
        };
        letter.put_aside(self.ack, reason.into()).await
    }
}

/// What a server's status line means for a request.
enum Status {
    /// The request is over.
    Over,
    /// Nobody takes requests: the durable is gone, or JetStream is not ready.
    NobodyThere,
    /// The durable was deleted.
    Deleted,
}

/// Reads messages of one durable, unopened.
#[derive(Debug)]
pub struct EnvelopeConsumer {
    connection: Connection,
    durable: Durable<pull::Config>,
    options: ConsumerOptions,
    name: String,
    request_subject: String,
    inbox: String,
    subscriber: Subscriber,
    dropped: mpsc::UnboundedSender<Dropped>,
    closed: watch::Receiver<bool>,
    connections: watch::Receiver<u64>,
    /// What came and was not handed out yet.
    waiting: VecDeque<EnvelopeDelivery>,
    /// How much the server still owes of each request, and when the request is given up.
    requests: BTreeMap<u64, (usize, Instant)>,
    next_request: u64,
    /// With the others that agents are shared out among.
    share: Option<Share>,
}

impl EnvelopeConsumer {
    pub(super) async fn open(
        connection: Connection,
        durable: Durable<pull::Config>,
        options: ConsumerOptions,
        dropped: mpsc::UnboundedSender<Dropped>,
        closed: watch::Receiver<bool>,
    ) -> Result<Self> {
        let inbox = connection.client.new_inbox();
        let subscriber = connection.client.subscribe(format!("{inbox}.*")).await;
        let subscriber =
            subscriber.map_err(|error| connection.error(ErrorKind::Unavailable, error))?;
        let info = durable.cached_info();
        let (stream, name) = (&info.stream_name, info.name.clone());
        Ok(Self {
            request_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            connections: connection.notices.connections(),
            name,
            connection,
            durable,
            options,
            inbox,
            subscriber,
            dropped,
            closed,
            waiting: VecDeque::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            share: None,
        })
    }

    /// Takes the messages of some agents, and leaves others to others that do so: see [`Share`].
    pub(super) async fn share(&mut self) -> Result<()> {
        self.share = Some(Share::open(self.connection.clone(), &self.name).await?);
        Ok(())
    }

    /// Waits for a message, and takes along what else is there, up to `max`. Empty at the end. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    ///
    /// When the durable was deleted.
    pub async fn next(&mut self, max: usize) -> Result<Vec<EnvelopeDelivery>> {
        let max = max.max(1);
        loop {
            let beat_at = match &mut self.share {
                Some(share) => Some(share.beat().await),
                None => None,
            };
            while let Some(Some(message)) = self.subscriber.next().now_or_never() {
                self.take(message)?;
            }
            if let Some(share) = &mut self.share {
                share.hand_on().await?;
            }
            while let Some(message) = self.share.as_mut().and_then(Share::handed_now) {
                self.accept(message);
            }
            if !self.waiting.is_empty() {
                let count = self.together(max);
                let owed = self.owed();
                // Where who takes what is settled, the server sends the next while these are worked on. Elsewhere they are
                // for whoever is free.
                let ahead = self.share.is_some() && !*self.closed.borrow();
                if ahead && self.waiting.len() - count + owed < max {
                    self.request(max - owed).await?;
                }
                return Ok(self.waiting.drain(..count).collect());
            }
            let closed = *self.closed.borrow();
            if closed && self.is_drained().await {
                return Ok(Vec::new());
            }
            let now = Instant::now();
            let owed = self.owed();
            if owed < max {
                self.request(max - owed).await?;
            }
            let until = self.requests.values().map(|(_, until)| *until).min();
            let mut wait_until = until.unwrap_or(now + PULL_EXPIRES);
            wait_until = beat_at.map_or(wait_until, |beat_at| beat_at.min(wait_until));
            if closed {
                wait_until = wait_until.min(now + LOOK_AGAIN);
            }
            tokio::select! {
                biased;
                message = self.subscriber.next() => match message {
                    Some(message) => self.take(message)?,
                    None => {
                        let why = "the connection is closed";
                        return Err(self.connection.error(ErrorKind::Unavailable, why));
                    }
                },
                Some(message) = handed(&mut self.share) => self.accept(message),
                // What was asked of the connection before is forgotten with it.
                _ = self.connections.changed() => self.requests.clear(),
                _ = self.closed.changed(), if !closed => {}
                () = tokio::time::sleep_until(wait_until) => {}
            }
        }
    }

    /// How many of those that wait are handed out together.
    fn together(&self, max: usize) -> usize {
        let mut bytes = 0;
        let fits = |delivery: &&EnvelopeDelivery| {
            let first = bytes == 0;
            bytes += delivery.body.len();
            first || bytes <= TOGETHER_BYTES
        };
        self.waiting.iter().take(max).take_while(fits).count()
    }

    /// How long a delivery may stay unanswered before it comes again.
    pub const fn ack_wait(&self) -> Duration {
        self.options.ack_wait
    }

    /// How many messages the server still has to send.
    fn owed(&mut self) -> usize {
        let now = Instant::now();
        self.requests.retain(|_, (_, until)| *until > now);
        self.requests.values().map(|(owed, _)| owed).sum()
    }

    /// Asks for so many messages.
    async fn request(&mut self, batch: usize) -> Result<()> {
        let request = self.next_request;
        let expires = PULL_EXPIRES.as_nanos();
        let payload = format!("{{\"batch\":{batch},\"expires\":{expires}}}");
        let reply = format!("{}.{request}", self.inbox);
        let subject = self.request_subject.clone();
        let sent = self.connection.client.publish_with_reply(subject, reply, payload.into()).await;
        sent.map_err(|error| self.connection.error(ErrorKind::Unavailable, error))?;
        self.next_request += 1;
        let until = Instant::now() + PULL_EXPIRES + PULL_SLACK;
        self.requests.insert(request, (batch, until));
        Ok(())
    }

    /// Takes what the server sent: a message, or word of a request.
    fn take(&mut self, message: async_nats::Message) -> Result<()> {
        let Some(status) = message.status else {
            // A message does not say for which request it is; the server answers the oldest first.
            if let Some(mut oldest) = self.requests.first_entry() {
                oldest.get_mut().0 -= 1;
                if oldest.get().0 == 0 {
                    oldest.remove();
                }
            }
            let for_here = match &mut self.share {
                Some(share) => share.keep(message),
                None => Some(message),
            };
            if let Some(message) = for_here {
                self.accept(message);
            }
            return Ok(());
        };
        let request = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let request: u64 = request.unwrap_or(u64::MAX);
        let text = message.description.as_deref().unwrap_or_default();
        match status_of(status, text) {
            None => {}
            Some(Status::Over) => {
                self.requests.remove(&request);
            }
            Some(Status::NobodyThere) => {
                // Asked again when the pause is over, and not at once for ever.
                tracing::warn!(
                    "{}: durable {} does not answer",
                    self.connection.component,
                    self.name
                );
                let until = Instant::now() + Duration::from_millis(250);
                self.requests.entry(request).and_modify(|entry| entry.1 = until);
            }
            Some(Status::Deleted) => {
                let why = format!("durable {} was deleted", self.name);
                return Err(self.connection.error(ErrorKind::NotFound, why));
            }
        }
        Ok(())
    }

    fn accept(&mut self, message: async_nats::Message) {
        let message = jetstream::Message { message, context: self.connection.context.clone() };
        let (stream, sequence, attempt) = match message.info() {
            Ok(info) => (info.stream.to_owned(), info.stream_sequence, info.delivered),
            Err(error) => {
                tracing::error!(%error, "what came is not of JetStream");
                return;
            }
        };
        let message = message.message;
        let Some(reply) = message.reply else { return };
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        self.waiting.push_back(EnvelopeDelivery {
            subject: message.subject.to_string(),
            headers: message.headers.unwrap_or_default(),
            body: message.payload,
            stage: self.name.clone(),
            stream,
            sequence,
            attempt,
            ack: JetStreamAck {
                connection: self.connection.clone(),
                reply,
                dropped: self.dropped.clone(),
                delay: self.options.delay_after(attempt),
                answered: false,
            },
        });
    }

    /// Whether everything that was published is done with, by all who share the durable.
    async fn is_drained(&self) -> bool {
        match self.durable.get_info().await {
            Ok(info) => info.num_pending == 0 && info.num_ack_pending == 0,
            Err(error) => {
                tracing::warn!(%error, "durable {} cannot be asked", self.name);
                false
            }
        }
    }
}

/// What the server has sent and nobody has read goes back to it, rather than wait for the end of its time.
impl Drop for EnvelopeConsumer {
    fn drop(&mut self) {
        while let Some(Some(message)) = self.subscriber.next().now_or_never() {
            if message.status.is_none() {
                self.accept(message);
            }
        }
        let left = self.share.take().map(Share::end);
        for message in left.into_iter().flatten() {
            self.accept(message);
        }
    }
}

/// Waits for what others hand on, where agents are shared out.
async fn handed(share: &mut Option<Share>) -> Option<async_nats::Message> {
    share.as_mut()?.handed().await
}

fn status_of(status: StatusCode, text: &str) -> Option<Status> {
    match status.as_u16() {
        // Idle heartbeats.
        100 => None,
        409 if text.contains("Consumer Deleted") => Some(Status::Deleted),
        503 => Some(Status::NobodyThere),
        _ => Some(Status::Over),
    }
}

/// Reads messages of one durable, opened. What cannot be read, or was tried too often, is put aside.
#[derive(Debug)]
pub(super) struct JetStreamConsumer {
    envelopes: EnvelopeConsumer,
    decoder: BatchDecoder,
}

impl JetStreamConsumer {
    pub(super) fn new(envelopes: EnvelopeConsumer) -> Self {
        Self { envelopes, decoder: BatchDecoder::new() }
    }

    fn open(&mut self, delivery: EnvelopeDelivery) -> Option<Delivery> {
        let attempts = self.envelopes.options.attempts;
        let reason = if delivery.attempt > attempts {
            format!("it was delivered {attempts} times and never done with")
        } else {
            let decoder = &mut self.decoder;
            let opened = delivery
                .envelope()
                .and_then(|envelope| envelope.decode_with(decoder, MAX_BODY_BYTES));
            match opened {
                Ok(message) => {
                    let EnvelopeDelivery { attempt, ack, .. } = delivery;
                    return Some(Delivery { message, attempt, ack: Box::new(ack) });
                }
                Err(error) => error.to_string(),
            }
        };
        // In its own time: what follows does not wait for it.
        tokio::spawn(async move {
            if let Err(error) = delivery.reject(reason).await {
                tracing::error!(%error, "a message that is poison comes again");
            }
        });
        None
    }
}

#[async_trait]
impl Consumer for JetStreamConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>> {
        loop {
            let deliveries = self.envelopes.next(max).await?;
            if deliveries.is_empty() {
                return Ok(Vec::new());
            }
            let opened: Vec<_> =
                deliveries.into_iter().filter_map(|delivery| self.open(delivery)).collect();
            if !opened.is_empty() {
                return Ok(opened);
            }
        }
    }
}

//! Answers to deliveries, and where those end that cannot be done.

use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderName};
use async_nats::{Request, Subject};
use bytes::Bytes;
use lavender_core::envelope::names;
use lavender_core::transport::Ack;
use lavender_core::{AgentId, ErrorKind, Result, TenantId, async_trait};
use tokio::sync::mpsc;

use super::connection::Connection;

/// The headers that a dead letter has beside those of the message.
pub mod dead_letter {
    /// Why it was put aside.
    pub const REASON: &str = "Lav-Dead-Reason";
    /// By which stage: the durable's name.
    pub const STAGE: &str = "Lav-Dead-Stage";
    /// The subject that it came on.
    pub const SUBJECT: &str = "Lav-Dead-Subject";
    /// The id that it came with.
    pub const MESSAGE_ID: &str = "Lav-Dead-Msg-Id";
    /// How often it was delivered.
    pub const ATTEMPTS: &str = "Lav-Dead-Attempts";
    /// How many bytes its body had, where that had to be cut.
    pub const CUT_FROM: &str = "Lav-Dead-Cut-From";
}

/// The longest reason that is kept.
const REASON_MAX: usize = 500;

/// How often it is tried to put a letter aside, before the message is left to come again.
const TRIES: u32 = 5;

/// A delivery that was dropped without an answer.
#[derive(Debug)]
pub(super) struct Dropped {
    reply: Subject,
    delay: Duration,
}

/// The answer to one delivery. Dropped, the message comes again, later each time.
#[derive(Debug)]
pub struct JetStreamAck {
    pub(super) connection: Connection,
    pub(super) reply: Subject,
    pub(super) dropped: mpsc::UnboundedSender<Dropped>,
    pub(super) delay: Duration,
    pub(super) answered: bool,
}

impl JetStreamAck {
    /// Answers, and waits until the server says that it has the answer.
    pub(super) async fn confirm(mut self, answer: &'static str) -> Result<()> {
        self.answered = true;
        let request = Request::new().payload(answer.into()).timeout(Some(self.connection.timeout));
        match self.connection.client.send_request(self.reply.clone(), request).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let why = format!("the acknowledgement was not taken: {error}");
                Err(self.connection.error(ErrorKind::Unavailable, why))
            }
        }
    }

    /// By what the delivery is kept from coming again while it is worked on.
    #[cfg(feature = "ingest")]
    pub(crate) fn hold(&self) -> Hold {
        Hold { connection: self.connection.clone(), reply: self.reply.clone() }
    }

    async fn again(mut self, delay: Duration) -> Result<()> {
        self.answered = true;
        nak(&self.connection, self.reply.clone(), delay).await
    }
}

impl Drop for JetStreamAck {
    fn drop(&mut self) {
        if !self.answered {
            // Nobody listens when the connection is gone; it comes again by its time.
            let _ = self.dropped.send(Dropped { reply: self.reply.clone(), delay: self.delay });
        }
    }
}

#[async_trait]
impl Ack for JetStreamAck {
    async fn ack(self: Box<Self>) -> Result<()> {
        self.confirm("+ACK").await
    }

    async fn nak(self: Box<Self>, delay: Duration) -> Result<()> {
        self.again(delay).await
    }
}

/// Says of a delivery that it is being worked on.
#[cfg(feature = "ingest")]
#[derive(Debug)]
pub(crate) struct Hold {
    connection: Connection,
    reply: Subject,
}

#[cfg(feature = "ingest")]
impl Hold {
    /// Lets the time start anew after which it comes again. While the server is away it is not told: the delivery
    /// may then come again, and is done twice.
    pub(crate) async fn renew(&self) {
        let sent = self.connection.client.publish(self.reply.clone(), "+WPI".into());
        let _ = tokio::time::timeout(self.connection.timeout, sent).await;
    }
}

async fn nak(connection: &Connection, reply: Subject, delay: Duration) -> Result<()> {
    let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    let answer = match nanos {
        0 => Bytes::from_static(b"-NAK"),
        nanos => format!("-NAK {{\"delay\":{nanos}}}").into(),
    };
    let sent = tokio::time::timeout(connection.timeout, connection.client.publish(reply, answer));
    match sent.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(connection.error(ErrorKind::Unavailable, error)),
        Err(_) => Err(connection.error(ErrorKind::Timeout, "the refusal was not sent")),
    }
}

/// Answers for those who did not, until the transport and all its deliveries are gone.
pub(super) async fn answer_dropped(
    connection: Connection,
    mut dropped: mpsc::UnboundedReceiver<Dropped>,
) {
    while let Some(Dropped { reply, delay }) = dropped.recv().await {
        if let Err(error) = nak(&connection, reply, delay).await {
            tracing::warn!(%error, "a dropped delivery comes again only by its time");
        }
    }
}

/// A message on its way into the dead letters.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) stage: String,
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) attempt: u32,
    pub(super) stream: String,
    pub(super) sequence: u64,
}

impl DeadLetter {
    /// Stores it under `dlq.<stage>.<tenant>.<agent>`, and then acknowledges the message; if it cannot be
    /// stored, the message comes again.
    pub(super) async fn put_aside(self, ack: JetStreamAck, reason: String) -> Result<()> {
        let connection = ack.connection.clone();
        tracing::error!(
            subject = %self.subject, attempt = self.attempt, stage = %self.stage, %reason,
            "a message is put aside as a dead letter"
        );
        let mut delay = Duration::from_millis(50);
        let mut failure = None;
        for _ in 0..TRIES {
            match self.store(&connection, &reason).await {
                Ok(()) => return ack.confirm("+ACK").await,
                Err(why) => failure = Some(why),
            }
            tokio::time::sleep(delay).await;
            delay *= 2;
        }
        let why = failure.unwrap_or_default();
        tracing::error!(subject = %self.subject, %why, "a dead letter could not be stored");
        // Long enough that it holds up nobody, and it stays where it is.
        let _ = ack.again(Duration::from_secs(60)).await;
        Err(connection.error(ErrorKind::Unavailable, format!("dead letter: {why}")))
    }

    async fn store(&self, connection: &Connection, reason: &str) -> Result<(), String> {
        let (tenant, agent) = self.whose();
        let subject = format!("dlq.{}.{tenant}.{agent}", self.stage);
        let mut headers = HeaderMap::new();
        for (name, values) in self.headers.iter() {
            let name: &HeaderName = name;
            // The others are orders to the broker, which a sender of poison may not give.
            if name.to_string().starts_with("Lav-") {
                values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
            }
        }
        let id = format!("dlq/{}/{}/{}", self.stage, self.stream, self.sequence);
        headers.insert(names::MESSAGE_ID, id.as_str());
        headers.insert(dead_letter::REASON, one_line(reason).as_str());
        headers.insert(dead_letter::STAGE, self.stage.as_str());
        headers.insert(dead_letter::SUBJECT, one_line(&self.subject).as_str());
        headers.insert(dead_letter::ATTEMPTS, self.attempt.to_string().as_str());
        if let Some(id) = self.headers.get(names::MESSAGE_ID) {
            headers.insert(dead_letter::MESSAGE_ID, one_line(id.as_str()).as_str());
        }
        // What came in with full headers does not fit with more of them.
        let room = connection.client.max_payload().saturating_sub(16 << 10);
        let mut body = self.body.clone();
        if room > 0 && body.len() > room {
            headers.insert(dead_letter::CUT_FROM, body.len().to_string().as_str());
            body.truncate(room);
        }
        let published = connection.context.publish_with_headers(subject, headers, body).await;
        match published {
            Ok(ack) => ack.await.map(|_| ()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tenant and agent of the subject that it came on.
    fn whose(&self) -> (&str, &str) {
        let mut last = self.subject.rsplit('.');
        // What is no name may be a wildcard, or end the line.
        match (last.next(), last.next()) {
            (Some(agent), Some(tenant))
                if AgentId::new(agent).is_ok() && TenantId::new(tenant).is_ok() =>
            {
                (tenant, agent)
            }
            _ => ("unknown", "unknown"),
        }
    }
}

/// A header's value is one line of bounded length.
fn one_line(text: &str) -> String {
    text.chars().take(REASON_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

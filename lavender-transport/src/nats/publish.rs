//! Publishing: a bounded window of messages that wait for their acknowledgements.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lavender_core::envelope::Envelope;
use lavender_core::transport::Message;
use lavender_core::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::connection::Connection;

/// What headers take beside the body, at the most.
const HEADERS_MAX: usize = 1_024;

/// What servers take unless they say otherwise.
const PAYLOAD_MAX: usize = 1 << 20;

/// `JSStreamStoreFailedF`: by its text, the stream is full.
const STORE_FAILED: u64 = 10_077;

/// `JSStreamMessageExceedsMaximumErr`.
const MESSAGE_EXCEEDS: u64 = 10_054;

/// Why an envelope was not taken.
#[derive(Debug)]
pub(super) enum Fault {
    /// The stream is full: it will be taken when consumers have made room.
    Full(String),
    /// Anything else.
    Other(ErrorKind, String),
}

impl Fault {
    pub(super) fn into_error(self, connection: &Connection) -> Error {
        match self {
            Self::Full(why) => connection.error(ErrorKind::Unavailable, why),
            Self::Other(kind, why) => connection.error(kind, why),
        }
    }
}

/// The publishing side of a connection. The window is shared by all who publish.
#[derive(Debug)]
pub(super) struct Outbox {
    connection: Connection,
    window: Arc<Semaphore>,
}

impl Outbox {
    pub(super) fn new(connection: Connection, in_flight: usize) -> Self {
        Self { connection, window: Arc::new(Semaphore::new(in_flight.clamp(1, 65_536))) }
    }

    pub(super) fn body_bytes_max(&self) -> usize {
        let most = match self.connection.client.max_payload() {
            0 => PAYLOAD_MAX,
            most => most,
        };
        most.saturating_sub(HEADERS_MAX)
    }

    /// Publishes, and says of each whether it was stored.
    pub(super) async fn send(&self, envelopes: &[Envelope]) -> Vec<Result<(), Fault>> {
        let mut denials = self.connection.notices.denials();
        let subjects: Vec<String> =
            envelopes.iter().map(|envelope| envelope.subject().to_string()).collect();
        let mut results: Vec<Option<Result<(), Fault>>> = Vec::new();
        results.resize_with(envelopes.len(), || None);
        let mut acks = FuturesUnordered::new();
        let (mut next, mut open) = (0, envelopes.len());
        while open > 0 {
            if results.get(next).is_some_and(Option::is_some) {
                next += 1;
                continue;
            }
            tokio::select! {
                biased;
                denial = denials.recv() => {
                    let denied = match denial {
                        Ok(denial) => denial.subject,
                        // Too many at once; those that were missed are found by their timeouts.
                        Err(RecvError::Lagged(_) | RecvError::Closed) => continue,
                    };
                    for (subject, result) in subjects.iter().zip(&mut results) {
                        if result.is_none() && **subject == *denied {
                            *result = Some(Err(not_permitted(subject)));
                            open -= 1;
                        }
                    }
                }
                Some((index, result)) = acks.next(), if !acks.is_empty() => {
                    settle(&mut results, index, result, &mut open);
                }
                Ok(permit) = Arc::clone(&self.window).acquire_owned(), if next < envelopes.len() => {
                    let index = next;
                    next += 1;
                    match self.hand_over(&envelopes[index], &subjects[index]).await {
                        Ok(ack) => acks.push(async move {
                            let result = ack.await;
                            drop(permit);
                            (index, result.map(|_| ()).map_err(|error| self.fault(&error)))
                        }),
                        Err(fault) => settle(&mut results, index, Err(fault), &mut open),
                    }
                }
            }
        }
        let missing = || Err(Fault::Other(ErrorKind::Internal, "no answer was kept".into()));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }

    async fn hand_over(
        &self,
        envelope: &Envelope,
        subject: &str,
    ) -> Result<jetstream::context::PublishAckFuture, Fault> {
        // The client would keep it for when it is connected again; who publishes keeps it already.
        if self.connection.client.connection_state() != State::Connected {
            return Err(Fault::Other(ErrorKind::Unavailable, "it is not connected".into()));
        }
        let message =
            PublishMessage::build().payload(envelope.body().clone()).headers(headers(envelope));
        let sent = self.connection.context.send_publish(subject.to_owned(), message).await;
        sent.map_err(|error| self.fault(&error))
    }

    /// Publishes one body under an id.
    pub(super) async fn send_one(
        &self,
        subject: &str,
        id: &str,
        body: bytes::Bytes,
    ) -> Result<(), Fault> {
        if self.connection.client.connection_state() != State::Connected {
            return Err(Fault::Other(ErrorKind::Unavailable, "it is not connected".into()));
        }
        let mut denials = self.connection.notices.denials();
        let denied = async {
            loop {
                match denials.recv().await {
                    Ok(denial) if *denial.subject == *subject => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let message = PublishMessage::build().payload(body).message_id(id);
        let send = async {
            let sent = self.connection.context.send_publish(subject.to_owned(), message).await;
            sent.map_err(|error| self.fault(&error))?.await.map_err(|error| self.fault(&error))
        };
        tokio::select! {
            biased;
            () = denied => Err(not_permitted(subject)),
            sent = send => sent.map(|_| ()),
        }
    }

    fn fault(&self, error: &PublishError) -> Fault {
        let other = |kind, why: String| Fault::Other(kind, why);
        match error.kind() {
            PublishErrorKind::TimedOut => match self.connection.notices.refused_inbox() {
                Some(subject) => other(
                    ErrorKind::Denied,
                    format!(
                        "the server does not let this client hear answers on `{subject}`: set the inbox prefix that its permissions name"
                    ),
                ),
                None => other(ErrorKind::Timeout, "the broker did not acknowledge it".into()),
            },
            PublishErrorKind::StreamNotFound => other(
                ErrorKind::Unavailable,
                "no stream takes it, or JetStream is not ready".into(),
            ),
            PublishErrorKind::MaxPayloadExceeded => other(ErrorKind::Invalid, error.to_string()),
            _ => {
                let refusal =
                    error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
                let Some(refusal) = refusal else {
                    return other(ErrorKind::Unavailable, error.to_string());
                };
                let code = refusal.error_code().0;
                match code {
                    STORE_FAILED if refusal.to_string().contains("maximum") => {
                        Fault::Full(format!("the stream is full: {refusal}"))
                    }
                    MESSAGE_EXCEEDS => other(ErrorKind::Invalid, refusal.to_string()),
                    _ => other(ErrorKind::Unavailable, refusal.to_string()),
                }
            }
        }
    }

    pub(super) fn error(&self, fault: Fault) -> Error {
        fault.into_error(&self.connection)
    }
}

fn headers(envelope: &Envelope) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in envelope.headers() {
        headers.insert(name, &*value);
    }
    headers
}

/// How long the server may take to refuse what it does not acknowledge.
const REFUSAL_WAIT: Duration = Duration::from_millis(500);

/// See [`JetStream::heartbeat`](super::JetStream::heartbeat).
pub(super) async fn heartbeat(
    connection: &Connection,
    message: &Message,
    body_bytes_max: usize,
) -> Result<()> {
    if connection.client.connection_state() != State::Connected {
        return Err(connection.error(ErrorKind::Unavailable, "it is not connected"));
    }
    let mut denials = connection.notices.denials();
    let subject = format!("heartbeat.{}.{}", message.source.tenant, message.source.agent);
    let sealed = Envelope::encode(message, body_bytes_max);
    let sealed = sealed.map_err(|error| connection.error(ErrorKind::Invalid, error))?;
    let send = async {
        for envelope in &sealed {
            let body = envelope.body().clone();
            connection
                .client
                .publish_with_headers(subject.clone(), headers(envelope), body)
                .await
                .map_err(|error| connection.error(ErrorKind::Unavailable, error))?;
        }
        Ok(())
    };
    let late = |_| connection.error(ErrorKind::Timeout, "a heartbeat could not be sent");
    tokio::time::timeout(connection.timeout, send).await.map_err(late)??;
    let refused = async {
        while let Ok(denial) = denials.recv().await {
            if *denial.subject == *subject {
                return;
            }
        }
        std::future::pending().await
    };
    match tokio::time::timeout(REFUSAL_WAIT, refused).await {
        Ok(()) => Err(not_permitted(&subject).into_error(connection)),
        Err(_) => Ok(()),
    }
}

fn not_permitted(subject: &str) -> Fault {
    let why = format!("the server does not let this client publish on `{subject}`");
    Fault::Other(ErrorKind::Denied, why)
}

fn settle(
    results: &mut [Option<Result<(), Fault>>],
    index: usize,
    result: Result<(), Fault>,
    open: &mut usize,
) {
    if let Some(slot @ None) = results.get_mut(index) {
        *slot = Some(result);
        *open -= 1;
    }
}

/// How long a full stream is left alone: at first, and at the most.
pub(super) const FULL_DELAY: (Duration, Duration) =
    (Duration::from_millis(5), Duration::from_millis(500));

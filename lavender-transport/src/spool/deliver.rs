//! Delivery: the first frames, in order, again and again until the broker has them.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::envelope::Envelope;
use lavender_core::{Error, ErrorKind};
use tokio::sync::{mpsc, oneshot, watch};

use super::spooled::Request;
use super::{Connect, SpoolStatus};
use crate::publish::EnvelopePublisher;
use crate::retry::Backoff;

/// How long what is not permitted is left alone: permissions are changed by people.
const DENIED_DELAY: Duration = Duration::from_secs(30);

/// What stops a delivery for now.
enum Stop {
    /// Told to.
    End,
    /// A fault of the other side or of the configuration.
    Fault(Error),
}

/// Delivers until it is stopped.
pub(super) async fn deliver(
    requests: mpsc::Sender<Request>,
    mut status: watch::Receiver<SpoolStatus>,
    mut stopped: watch::Receiver<bool>,
    in_flight: usize,
    to: impl Connect,
) {
    let mut publisher = None;
    let first_delay = || Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let mut backoff = first_delay();
    let run = async {
        loop {
            match step(&requests, &mut status, in_flight, &to, &mut publisher).await {
                Ok(()) => backoff = first_delay(),
                Err(Stop::End) => return,
                Err(Stop::Fault(error)) => {
                    let delay = match error.kind() {
                        ErrorKind::Denied => DENIED_DELAY,
                        _ => backoff.next(),
                    };
                    tracing::warn!(%error, retry_in_ms = delay.as_millis() as u64, "not delivered; it stays in the spool");
                    let fault = Request::Fault(Some(error.to_string()));
                    if requests.send(fault).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(delay).await;
                }
            }
        }
    };
    tokio::select! {
        () = run => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Delivers the first frames, or waits until there are some.
async fn step(
    requests: &mpsc::Sender<Request>,
    status: &mut watch::Receiver<SpoolStatus>,
    in_flight: usize,
    to: &impl Connect,
    publisher: &mut Option<Arc<dyn EnvelopePublisher>>,
) -> Result<(), Stop> {
    let ask = async |request| requests.send(request).await.map_err(|_| Stop::End);
    status.wait_for(|now| now.waiting > 0).await.map_err(|_| Stop::End)?;
    let publisher = match publisher {
        Some(publisher) => publisher,
        none => none.insert(to.connect().await.map_err(Stop::Fault)?),
    };
    let (answer, answered) = oneshot::channel();
    ask(Request::Front(in_flight, answer)).await?;
    let front = answered.await.map_err(|_| Stop::End)?;
    let envelopes: Vec<Envelope> = front.into_iter().map(|frame| frame.envelope).collect();
    if envelopes.is_empty() {
        // The thread could not read them, and has said why.
        tokio::time::sleep(Duration::from_millis(100)).await;
        return Ok(());
    }
    let results = publisher.publish_envelopes(&envelopes).await;
    let taken = results.iter().take_while(|result| result.is_ok()).count();
    if taken > 0 {
        ask(Request::Advance(taken)).await?;
        ask(Request::Fault(None)).await?;
    }
    match results.into_iter().nth(taken) {
        Some(Err(error)) if error.kind() == ErrorKind::Invalid => {
            ask(Request::Reject(error.to_string())).await
        }
        Some(Err(error)) => Err(Stop::Fault(error)),
        _ => Ok(()),
    }
}

//! What a worker gives out, tried until it is taken: by the broker, and by the state store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lavender_core::envelope::Envelope;
use lavender_core::{Clock, Error, ErrorKind, Result, Timestamp};
use tokio::sync::watch;

use super::counts::{Counts, IngestCounts};
use super::ledger::{Agent, Ledger, Standing};
use crate::EnvelopePublisher;
use crate::retry::Backoff;

/// How long it is waited before it is tried again: at first, and at the most.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Why a worker does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// It was told to stop while it waited for another to take what it has. Nothing is lost: the messages come again.
    Stopping,
    /// Trying again does not help.
    Failed(Error),
}

/// What the parts of a worker share.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) publisher: Arc<dyn EnvelopePublisher>,
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counts: Counts,
    pub(super) stop: watch::Sender<bool>,
    /// Agents that there is something to do for, and when.
    pub(super) watched: Mutex<HashMap<Agent, Timestamp>>,
    pub(super) watched_max: usize,
}

impl Output {
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits; says whether it is told to stop instead.
    pub(super) async fn pause(&self, wait: Duration) -> bool {
        let mut stop = self.stop.subscribe();
        tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await.is_ok()
    }

    /// Asks the state store until it answers.
    pub(super) async fn until_kept<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Halt>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::new(RETRY_DELAY.0, RETRY_DELAY.1);
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_retryable() => error,
                Err(error) => return Err(Halt::Failed(error)),
            };
            tracing::warn!(%error, "the state store does not answer; tried again");
            self.wait(&mut backoff, |counts| counts.state_retries += 1).await?;
        }
    }

    /// Publishes until the broker has it all; says of each that it does not take why not.
    pub(super) async fn until_taken(
        &self,
        envelopes: &[Envelope],
    ) -> Result<Vec<Option<Error>>, Halt> {
        let mut refused: Vec<Option<Error>> = Vec::new();
        refused.resize_with(envelopes.len(), || None);
        let mut waiting: Vec<usize> = (0..envelopes.len()).collect();
        let mut backoff = Backoff::new(RETRY_DELAY.0, RETRY_DELAY.1);
        while !waiting.is_empty() {
            let these: Vec<Envelope> = waiting.iter().map(|at| envelopes[*at].clone()).collect();
            let results = self.publisher.publish_envelopes(&these).await;
            let mut again = Vec::new();
            let mut last = None;
            for (at, result) in waiting.into_iter().zip(results) {
                match result {
                    Ok(()) => {}
                    Err(error) if error.is_retryable() => {
                        again.push(at);
                        last = Some(error);
                    }
                    // Of all of them: what is configured is wrong, and not what is published.
                    Err(error) if error.kind() == ErrorKind::Denied => {
                        return Err(Halt::Failed(error));
                    }
                    Err(error) => refused[at] = Some(error),
                }
            }
            waiting = again;
            if let Some(error) = last {
                tracing::warn!(%error, messages = waiting.len(), "not published; tried again");
                self.wait(&mut backoff, |counts| counts.publish_retries += 1).await?;
            }
        }
        Ok(refused)
    }

    async fn wait(
        &self,
        backoff: &mut Backoff,
        count: impl FnOnce(&mut IngestCounts) + Send,
    ) -> Result<(), Halt> {
        count(&mut self.counts.lock());
        match self.pause(backoff.next()).await {
            true => Err(Halt::Stopping),
            false => Ok(()),
        }
    }

    /// Publishes the gaps of an agent that are decided, and watches those that are not.
    pub(super) async fn follow(&self, agent: &Agent, mut standing: Standing) -> Result<(), Halt> {
        while !standing.gaps.is_empty() {
            // Until it is done others may do it, or this one again.
            self.watch(agent, standing.due);
            let mut envelopes = Vec::with_capacity(standing.gaps.len());
            for gap in &standing.gaps {
                let message = gap.message(standing.source.clone());
                let sealed = Envelope::encode(&message, self.publisher.body_bytes_max());
                let sealed = sealed.map_err(|error| {
                    Halt::Failed(Error::new(ErrorKind::Internal, "ingest: a gap", error))
                })?;
                let stamp = |envelope: Envelope| envelope.with_received_at(gap.decided_at());
                envelopes.extend(sealed.into_iter().map(stamp));
            }
            let mut refused = self.until_taken(&envelopes).await?.into_iter().flatten();
            if let Some(error) = refused.next() {
                return Err(Halt::Failed(error));
            }
            let published = || self.ledger.published(agent, &standing.gaps);
            let (now, told) = self.until_kept(published).await?;
            let mut counts = self.counts.lock();
            counts.gaps += told.len() as u64;
            counts.lost = told.iter().fold(counts.lost, |sum, gap| sum.saturating_add(gap.count()));
            drop(counts);
            standing = now;
        }
        self.watch(agent, standing.due);
        Ok(())
    }

    pub(super) fn watched(&self) -> MutexGuard<'_, HashMap<Agent, Timestamp>> {
        // Nothing panics while it holds the lock.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers when there is something to do for an agent.
    pub(super) fn watch(&self, agent: &Agent, due: Option<Timestamp>) {
        let mut watched = self.watched();
        match due {
            None => {
                watched.remove(agent);
            }
            Some(due) if watched.len() < self.watched_max || watched.contains_key(agent) => {
                watched.insert(agent.clone(), due);
            }
            Some(_) => self.counts.lock().unwatched += 1,
        }
    }
}

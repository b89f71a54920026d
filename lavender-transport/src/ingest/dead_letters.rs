//! What is no good is put aside, in its own time: what follows does not wait for it.

use std::sync::Arc;

use lavender_core::transport::{Ack as _, Subject};
use lavender_core::{AgentId, Clock, TenantId};
use tokio::task::JoinSet;

use super::ledger::{Agent, agent_of};
use super::options::Rate;
use super::output::Output;
use crate::AgentLimits;
use crate::nats::EnvelopeDelivery;

/// The most messages that are being put aside at once.
const AT_ONCE: usize = 64;

/// Puts messages aside, of each agent so many.
#[derive(Debug)]
pub(super) struct DeadLetters {
    output: Arc<Output>,
    limits: AgentLimits,
    /// Under which name those are counted together whose subject names nobody.
    unknown: Option<Agent>,
    tasks: JoinSet<()>,
}

impl DeadLetters {
    pub(super) fn new(output: Arc<Output>, rate: Rate, clock: Arc<dyn Clock>) -> Self {
        let limits = AgentLimits::new(rate.per_second, rate.burst, clock);
        let unknown = TenantId::new("unknown").ok().zip(AgentId::new("unknown").ok());
        Self { output, limits, unknown, tasks: JoinSet::new() }
    }

    /// Keeps a message with the reason; or discards it, where its agent has too many.
    pub(super) async fn put(&mut self, delivery: EnvelopeDelivery, reason: String) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= AT_ONCE {
            self.tasks.join_next().await;
        }
        let whose = delivery.subject().parse::<Subject>().ok();
        let whose = whose.as_ref().map(agent_of).or_else(|| self.unknown.clone());
        let kept = whose.is_none_or(|whose| self.limits.check(&whose.0, &whose.1, 1).is_ok());
        let output = Arc::clone(&self.output);
        self.tasks.spawn(async move {
            let result = if kept {
                delivery.reject(reason).await
            } else {
                let subject = delivery.subject();
                tracing::error!(%subject, %reason, "a dead letter is one too many, and is discarded");
                Box::new(delivery.ack).ack().await
            };
            match result {
                Ok(()) if kept => output.counts.lock().dead_letters += 1,
                Ok(()) => output.counts.lock().dead_letters_discarded += 1,
                Err(error) => tracing::error!(%error, "a message that is no good comes again"),
            }
        });
    }

    /// Forgets who has sent nothing bad for long.
    pub(super) fn forget(&self) {
        self.limits.forget_quiet();
    }

    /// Waits until all are put aside.
    pub(super) async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

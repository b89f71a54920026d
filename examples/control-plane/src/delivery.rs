//! Commands on their way to agents, and what agents report of them.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lavender_core::command::{
    CommandId, CommandRefusal, CommandReport, CommandResult, ReportDelivery, ReportSource,
};
use lavender_core::store::IssuedCommand;
use lavender_core::{Bytes, ErrorKind, Result};
use tokio::time::{MissedTickBehavior, interval};

use crate::plane::ControlPlane;

/// The most commands that are looked at together.
const PENDING: u32 = 1_000;

/// How long a report waits that could not be stored.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The commands that were handed over since the start, or never can be, as long as they are pending.
#[derive(Debug, Default)]
pub(crate) struct Sent(Mutex<HashSet<CommandId>>);

impl Sent {
    fn lock(&self) -> MutexGuard<'_, HashSet<CommandId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of handing a command over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// It was taken.
    Over,
    /// It can be tried again.
    NotYet,
    /// There is no way to that agent.
    Never,
}

/// Hands a command over.
pub(crate) async fn send(plane: &ControlPlane, issued: &IssuedCommand) -> Handed {
    let Some(sink) = &plane.options().commanding.sink else { return Handed::Never };
    let command = issued.command();
    let bytes = Bytes::from(issued.signed().to_bytes());
    let error = match sink.publish(&command.tenant, &command.agent, bytes).await {
        Ok(()) => {
            plane.sent().lock().insert(command.id);
            return Handed::Over;
        }
        Err(error) => error,
    };
    tracing::warn!("command {} could not be sent: {error}", command.id);
    if error.is_retryable() {
        return Handed::NotYet;
    }
    // Said once.
    plane.sent().lock().insert(command.id);
    Handed::Never
}

/// Hands over, for ever, what is pending and was not: since the broker was away, or the control plane was stopped.
pub(crate) async fn resend(plane: &ControlPlane) {
    let mut ticks = interval(plane.options().resend_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if plane.options().commanding.sink.is_none() {
            continue;
        }
        let pending = match plane.store().pending_commands(plane.now(), PENDING).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::warn!("pending commands could not be looked at: {error}");
                continue;
            }
        };
        let unsent: Vec<IssuedCommand> = {
            let mut sent = plane.sent().lock();
            let ids: HashSet<CommandId> =
                pending.iter().map(|issued| issued.command().id).collect();
            sent.retain(|id| ids.contains(id));
            let is_unsent = |issued: &IssuedCommand| !sent.contains(&issued.command().id);
            pending.into_iter().filter(is_unsent).collect()
        };
        for issued in unsent {
            // Others would meet the same.
            if send(plane, &issued).await == Handed::NotYet {
                break;
            }
        }
    }
}

/// Takes what agents report, until the source ends: keeps results, and audits what was refused.
///
/// # Errors
///
/// When the source cannot go on.
pub async fn take_reports(plane: &ControlPlane, mut reports: impl ReportSource) -> Result<()> {
    while let Some(ReportDelivery { report, ack }) = reports.next().await? {
        let answered = match record(plane, &report).await {
            Ok(()) => ack.ack().await,
            Err(error) => {
                tracing::warn!("what {} reports could not be stored: {error}", report.agent());
                ack.nak(AGAIN_AFTER).await
            }
        };
        if let Err(error) = answered {
            tracing::warn!("a report comes again: {error}");
        }
    }
    Ok(())
}

async fn record(plane: &ControlPlane, report: &CommandReport) -> Result<()> {
    let result = match report {
        CommandReport::Result(result) => result,
        CommandReport::Refusal(refusal) => return audit(plane, refusal).await,
        _ => return Ok(()),
    };
    match plane.store().record_result(result, plane.now()).await {
        Ok(true) => {
            plane.metrics().command_results.inc();
            Ok(())
        }
        Ok(false) => {
            let known = plane.store().command(&result.tenant, result.command).await?;
            let first = known.and_then(|known| known.result);
            // The first again, for it was not known to have come.
            if first.is_none_or(|(first, _)| first == result.outcome) {
                return Ok(());
            }
            audit(plane, &other_than_first(result, "it has another result already")).await
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            audit(plane, &other_than_first(result, "no such command was given to it")).await
        }
        Err(error) => Err(error),
    }
}

/// A result that changes nothing, as what is audited.
fn other_than_first(result: &CommandResult, why: &str) -> CommandRefusal {
    use lavender_core::command::CommandOutcome::{Failed, Refused};

    let outcome = result.outcome.as_str();
    let reason = match &result.outcome {
        Refused { reason } | Failed { reason } => format!("{outcome}: {reason} ({why})"),
        _ => format!("{outcome} ({why})"),
    };
    CommandRefusal {
        tenant: result.tenant.clone(),
        agent: result.agent.clone(),
        claimed: Some(result.command),
        reason: reason.into(),
        refused_at: result.finished_at,
    }
}

async fn audit(plane: &ControlPlane, refusal: &CommandRefusal) -> Result<()> {
    plane.store().record_refusal(refusal, plane.now()).await?;
    plane.metrics().command_refusals.inc();
    Ok(())
}

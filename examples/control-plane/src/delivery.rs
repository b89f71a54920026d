//! Commands on their way to agents, and what agents report of them.

use std::time::Duration;

use lavender_core::command::{
    CommandRefusal, CommandReport, CommandResult, ReportDelivery, ReportSource,
};
use lavender_core::store::{IssuedCommand, PendingQuery};
use lavender_core::{Bytes, ErrorKind, Result};
use tokio::time::{MissedTickBehavior, interval};

use crate::plane::ControlPlane;
use crate::sent::Claim;

/// How long a report waits that could not be stored.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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

/// Hands a command over, unless somebody else does so at this moment or has done so.
pub(crate) async fn send(plane: &ControlPlane, issued: &IssuedCommand) -> Handed {
    let Some(sink) = &plane.options().commanding.sink else { return Handed::Never };
    let claim = match plane.sent().claim(issued) {
        Ok(claim) => claim,
        Err(handed) => return handed,
    };
    let command = issued.command();
    let bytes = Bytes::from(issued.signed().to_bytes());
    let Err(error) = sink.publish(&command.tenant, &command.agent, bytes).await else {
        settle(plane, claim);
        return Handed::Over;
    };
    tracing::warn!("command {} could not be sent: {error}", command.id);
    if error.is_retryable() {
        return Handed::NotYet;
    }
    // Said once.
    settle(plane, claim);
    Handed::Never
}

fn settle(plane: &ControlPlane, claim: Claim<'_>) {
    let forgotten = claim.settle();
    plane.metrics().commands_forgotten.inc_by(forgotten);
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
        if let Err(error) = hand_over(plane).await {
            tracing::warn!("pending commands could not be looked at: {error}");
        }
    }
}

/// Goes once through all that is pending, by pages, so that nothing is forgotten however much expires before it.
async fn hand_over(plane: &ControlPlane) -> Result<()> {
    let (now, mut pass) = (plane.now(), plane.sent().begin_pass());
    let mut query = PendingQuery::default();
    loop {
        let page = plane.store().pending_commands(now, &query).await?;
        for issued in plane.sent().unsent(&mut pass, page.items, page.next.is_none()) {
            // Others would meet the same.
            if send(plane, &issued).await == Handed::NotYet {
                return Ok(());
            }
        }
        match page.next {
            None => return Ok(()),
            next => query.after = next,
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

//! What the ways of commands to agents and back promise.

use std::time::Duration;

use super::sample::START;
use crate::command::{
    CommandAction, CommandDelivery, CommandOutcome, CommandRefusal, CommandReport, CommandResult,
    CommandSink, CommandSource, KeyId, ReportDelivery, ReportSource, SignedCommand, Signer,
};
use crate::{AgentId, Bytes, TenantId};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Checks that what is handed to `sink` for an agent comes out of its `source`, and what it reports out of `reports`.
/// Nothing must have been sent before.
///
/// # Panics
///
/// Where it does not.
pub async fn command_delivery(
    (tenant, agent): (&TenantId, &AgentId),
    sink: &dyn CommandSink,
    source: &mut dyn CommandSource,
    reports: &mut dyn ReportSource,
) {
    let signer = Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32]);
    let order = || {
        let minute = Duration::from_secs(60);
        let (tenant, agent) = (tenant.clone(), agent.clone());
        signer.order(tenant, agent, CommandAction::Ping, START, minute).unwrap()
    };
    let (first, second) = (order(), order());
    for signed in [&first, &second] {
        sink.publish(tenant, agent, Bytes::from(signed.to_bytes())).await.unwrap();
    }
    let delivery = next(source).await;
    assert_eq!((&delivery.signed[..], delivery.attempt), (&first.to_bytes()[..], 1));
    // Nobody answers: it comes again, and says so.
    drop(delivery);
    let mut open = vec![first, second];
    let mut again = 0;
    while !open.is_empty() {
        let delivery = next(source).await;
        let at = open.iter().position(|signed| signed.to_bytes() == delivery.signed);
        let signed = open.remove(at.expect("something else came"));
        again += u32::from(delivery.attempt > 1);
        let report = result(&signed, tenant, agent);
        let refusal = CommandReport::Refusal(CommandRefusal {
            tenant: tenant.clone(),
            agent: agent.clone(),
            claimed: None,
            reason: "a \u{0} b".into(),
            refused_at: START,
        });
        delivery.reply.report(vec![report.clone(), refusal.clone()]).await.unwrap();
        let expected = [report, refusal];
        let (mut seen, mut left) = ([0, 0], 2);
        while left > 0 {
            let ReportDelivery { report, ack } = next_report(reports).await;
            let at = expected.iter().position(|expected| *expected == report);
            let seen = &mut seen[at.expect("another report came")];
            *seen += 1;
            // The first time nobody answers: it comes again.
            if *seen > 1 {
                ack.ack().await.unwrap();
                left -= 1;
            }
        }
    }
    assert_eq!(again, 1, "one was delivered before");
    let nothing = tokio::time::timeout(Duration::from_millis(200), source.next()).await;
    assert!(nothing.is_err(), "something was left: {nothing:?}");
}

fn result(signed: &SignedCommand, tenant: &TenantId, agent: &AgentId) -> CommandReport {
    CommandReport::Result(CommandResult {
        command: signed.claimed_id(),
        tenant: tenant.clone(),
        agent: agent.clone(),
        outcome: CommandOutcome::DONE,
        finished_at: START,
    })
}

async fn next(source: &mut dyn CommandSource) -> CommandDelivery {
    let next = tokio::time::timeout(PATIENCE, source.next()).await;
    next.expect("no command came").unwrap().expect("it ended")
}

async fn next_report(reports: &mut dyn ReportSource) -> ReportDelivery {
    let next = tokio::time::timeout(PATIENCE, reports.next()).await;
    next.expect("no report came").unwrap().expect("it ended")
}

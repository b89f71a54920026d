//! Looks after holes: those that this worker has seen, and those that one left behind which is gone.

use std::time::Duration;

use tokio::time::Instant;

use super::ledger::Agent;
use super::output::{Halt, Output};

/// How often it is looked who is due: a part of what is waited, within these bounds.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Until it is told to stop.
pub(super) async fn watch(output: &Output, scan_interval: Duration) -> Result<(), Halt> {
    let look = (output.ledger.gap_wait / 8).clamp(LOOK.0, LOOK.1);
    let mut next_scan = Instant::now();
    while !output.is_stopping() {
        if Instant::now() >= next_scan {
            scan(output).await?;
            next_scan = Instant::now() + scan_interval;
        }
        for agent in due(output) {
            if output.is_stopping() {
                break;
            }
            let standing = output.until_kept(|| output.ledger.settle(&agent)).await?;
            output.follow(&agent, standing).await?;
        }
        output.pause(look).await;
    }
    Ok(())
}

fn due(output: &Output) -> Vec<Agent> {
    let now = output.clock.now();
    output
        .watched()
        .iter()
        .filter(|(_, due)| **due <= now)
        .map(|(agent, _)| agent.clone())
        .collect()
}

/// Looks at what the state store has of every agent.
async fn scan(output: &Output) -> Result<(), Halt> {
    let mut after: Option<String> = None;
    loop {
        let page = || output.ledger.agents(after.as_deref());
        let (agents, next) = output.until_kept(page).await?;
        for agent in agents {
            if output.is_stopping() {
                return Ok(());
            }
            let standing = output.until_kept(|| output.ledger.look(&agent)).await?;
            if let Some(due) = standing.and_then(|standing| standing.due) {
                output.watch(&agent, Some(due));
            }
        }
        match next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

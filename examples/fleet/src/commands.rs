//! Commands to the fleet's agent, given by its control plane.

use std::time::Duration;

use lavender_core::command::CommandOutcome;
use lavender_core::{Clock as _, CommandId, SystemClock, TenantId};
use serde_json::json;
use tokio::time::timeout;

use crate::error::{FleetError, Result};
use crate::fleet::Fleet;
use crate::site::{AGENTS, TENANT};

/// How long a result may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the store is asked for it, and how soon a control plane that does not know the agent yet is asked again.
const LOOK: Duration = Duration::from_millis(2);
const AGAIN: Duration = Duration::from_millis(100);

/// Gives so many commands, one after the other, and tells how long each took from being asked for to its result in the
/// store.
///
/// # Errors
///
/// When one is not carried out.
pub async fn commands(fleet: &Fleet, count: usize) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        let late = |_| FleetError::Late("the result of a command".into(), PATIENCE.as_secs());
        latencies.push(timeout(PATIENCE, ping(fleet)).await.map_err(late)??);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

async fn ping(fleet: &Fleet) -> Result<Duration> {
    let path = format!("/api/v1/agents/{}/commands", AGENTS[0]);
    let body = json!({"command": {"action": "ping"}, "lifetime_s": 60});
    let (began, given) = loop {
        let began = SystemClock.boot_time();
        match fleet.control_plane.ask("POST", &path, &body).await? {
            (201, given) => break (began, given),
            // No event of the agent is stored yet, or one asks more often than one may.
            (404 | 429, _) => tokio::time::sleep(AGAIN).await,
            (status, why) => {
                return Err(FleetError::Broken(format!("a ping was refused by {status}: {why}")));
            }
        }
    };
    let broken = || FleetError::Broken(format!("a ping was answered by {given}"));
    let id: CommandId =
        given["command"]["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(broken)?;
    let tenant = TenantId::new(TENANT).map_err(|error| FleetError::Broken(error.to_string()))?;
    loop {
        let result = fleet.store.command(&tenant, id).await?.and_then(|issued| issued.result);
        match result {
            Some((CommandOutcome::DONE, _)) => return Ok(SystemClock.boot_time().since(began)),
            Some((other, _)) => {
                return Err(FleetError::Broken(format!("a ping was answered by {other:?}")));
            }
            None => tokio::time::sleep(LOOK).await,
        }
    }
}

//! Commands to the fleet's agent, as a control plane gives them.

use std::time::Duration;

use lavender_core::command::{
    CommandAction, CommandOutcome, CommandReport, CommandSink as _, ReportSource as _,
};
use lavender_core::{AgentId, Bytes, Clock as _, SystemClock, TenantId};
use lavender_transport::nats::{JetStream, JetStreamOptions, JetStreamReports, Setup};
use tokio::time::timeout;

use crate::error::{FleetError, Result};
use crate::fleet::Fleet;
use crate::site::{AGENTS, TENANT};

/// How long a result may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives so many commands, one after the other, and tells how long each took from being signed to its result.
///
/// # Errors
///
/// When one is not carried out.
pub async fn commands(fleet: &Fleet, count: usize) -> Result<Vec<Duration>> {
    let mut options = JetStreamOptions::from_url(&fleet.site.url(fleet.broker.port, "worker"))?;
    options.setup = Setup::Skip;
    let transport = JetStream::open(options).await?;
    let mut reports = transport.command_reports().await?;
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        latencies.push(ping(fleet, &transport, &mut reports).await?);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

async fn ping(
    fleet: &Fleet,
    transport: &JetStream,
    reports: &mut JetStreamReports,
) -> Result<Duration> {
    let broken = |error: &dyn std::fmt::Display| FleetError::Broken(error.to_string());
    let tenant = TenantId::new(TENANT).map_err(|error| broken(&error))?;
    let agent = AgentId::new(AGENTS[0]).map_err(|error| broken(&error))?;
    let began = SystemClock.boot_time();
    let (now, minute) = (SystemClock.now(), Duration::from_secs(60));
    let order = fleet.signer.order(tenant.clone(), agent.clone(), CommandAction::Ping, now, minute);
    let order = order.map_err(|error| broken(&error))?;
    transport.publish(&tenant, &agent, Bytes::from(order.to_bytes())).await?;
    let late = |_| FleetError::Late("the result of a command".into(), PATIENCE.as_secs());
    let told = timeout(PATIENCE, reports.next()).await.map_err(late)??;
    let told = told.ok_or_else(|| broken(&"reports have ended"))?;
    told.ack.ack().await?;
    match told.report {
        CommandReport::Result(result)
            if result.command == order.claimed_id() && result.outcome == CommandOutcome::DONE =>
        {
            Ok(SystemClock.boot_time().since(began))
        }
        other => Err(broken(&format!("a ping was answered by {other:?}"))),
    }
}

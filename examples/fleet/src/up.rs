//! A fleet to look at: it stands until it is told to stop.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use lavender_core::store::{AlertQuery, TimeRange};

use crate::error::Result;
use crate::fleet::{Fleet, Programs};
use crate::site::TENANT;

/// How often the database is asked for alerts.
const INTERVAL: Duration = Duration::from_millis(200);

/// Starts a fleet with its dashboard at `listen`, acts like an attacker once, and gives `say` the alerts as they are stored,
/// until SIGINT or SIGTERM.
///
/// # Errors
///
/// When a part does not start, or ends by itself; then all that was started is stopped.
pub async fn up(
    programs: &Programs,
    listen: SocketAddr,
    say: impl Fn(String) -> Result<()>,
) -> Result<()> {
    let stop = lavender_core::pipeline::signal()?;
    let mut fleet = Fleet::start(programs, listen).await?;
    let watched = fleet.cgroup.path().display();
    say(format!("The fleet is up; the agent watches {watched}. Ctrl+C to stop"))?;
    let control_plane = &fleet.control_plane;
    say(format!("Dashboard: http://{}", control_plane.address))?;
    let token = control_plane.token();
    say(format!("first admin token of tenant {TENANT}, shown only now: {token}"))?;
    fleet.cgroup.decode_and_run("hello").await?;
    tokio::select! {
        name = stop => say(format!("{name}: stopping"))?,
        failed = show(&mut fleet, &say) => failed?,
    }
    fleet.stop().await
}

/// Shows alerts as they are stored, for ever.
async fn show(fleet: &mut Fleet, say: &impl Fn(String) -> Result<()>) -> Result<()> {
    let mut shown = HashSet::new();
    loop {
        fleet.look()?;
        let page = fleet.store.alerts(&AlertQuery::new(TimeRange::ALL)).await?;
        for alert in page.items.iter().rev().filter(|alert| shown.insert(alert.id)) {
            let (agent, rule) = (&alert.source.agent, &alert.rule.title);
            say(format!("{} {agent} {}: {rule}", alert.observed_at, alert.severity))?;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

//! Rules that are published by the fleet's control plane.

use std::time::Duration;

use lavender_core::store::{AlertQuery, TimeRange};
use lavender_core::{AgentId, Clock as _, SystemClock, TenantId};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::error::{FleetError, Result};
use crate::fleet::Fleet;
use crate::site::{AGENTS, TENANT};

/// How long it may take until a published rule is in use everywhere, and until what it finds is an alert.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);

/// What the rule looks for.
const MARK: &str = "by-a-published-rule";

const RULE_ID: &str = "b3f0c9d2-54a1-4b7e-8f0e-6a3d2c1b0a99";

/// Publishes a rule, and tells how long it took until the agent said that it uses it. Then an act that it looks for is an
/// alert of it, and the detection worker has taken it, too.
///
/// # Errors
///
/// When something of that does not hold.
pub async fn published(fleet: &mut Fleet) -> Result<Duration> {
    let began = SystemClock.boot_time();
    let text = format!(
        "title: Act of the Fleet Check\nid: {RULE_ID}\n\
         logsource: {{product: linux, category: process_creation}}\n\
         detection: {{s: {{CommandLine|contains: {MARK}}}, condition: s}}\nlevel: high\n"
    );
    let files = json!({"files": [{"name": "fleet-check.yml", "text": text}]});
    let uploaded = post(fleet, "/api/v1/rulesets", &files).await?;
    let digest = uploaded["digest"].as_str().unwrap_or_default();
    let path = format!("/api/v1/rulesets/{digest}/publish");
    let published = post(fleet, &path, &json!({"revision": 0})).await?;
    if published["sent"] != true {
        return Err(FleetError::Broken(format!("a rule was not published: {published}")));
    }
    let used = in_time("the agent that uses a published rule", in_use(fleet)).await?;
    let took = SystemClock.boot_time().since(began);
    used?;
    fleet.cgroup.decode_and_run(MARK).await?;
    in_time("the alert of a published rule", raised(fleet)).await??;
    fleet.detects().wait_until_it_says("published rules are in use").await?;
    Ok(took)
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    let late = |_| FleetError::Late(what.into(), PATIENCE.as_secs());
    timeout(PATIENCE, work).await.map_err(late)
}

async fn post(fleet: &Fleet, path: &str, body: &Value) -> Result<Value> {
    match fleet.control_plane.ask("POST", path, body).await? {
        (200 | 201, answer) => Ok(answer),
        (status, why) => Err(FleetError::Broken(format!("{path} was refused by {status}: {why}"))),
    }
}

fn tenant() -> Result<TenantId> {
    TenantId::new(TENANT).map_err(|error| FleetError::Broken(error.to_string()))
}

/// Waits until the agent says in a heartbeat that it uses the first revision.
async fn in_use(fleet: &Fleet) -> Result<()> {
    let agent = AgentId::new(AGENTS[0]).map_err(|error| FleetError::Broken(error.to_string()))?;
    loop {
        let known = fleet.store.fleet_agent(&tenant()?, &agent).await?;
        let ruleset = known.and_then(|known| known.heartbeat?.0.ruleset);
        if ruleset.and_then(|ruleset| ruleset.in_use).is_some_and(|in_use| in_use.revision == 1) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn raised(fleet: &Fleet) -> Result<()> {
    let query = AlertQuery { tenant: Some(tenant()?), ..AlertQuery::new(TimeRange::ALL) };
    loop {
        let alerts = fleet.store.alerts(&query).await?.items;
        if alerts.iter().any(|alert| &*alert.rule.id == RULE_ID) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

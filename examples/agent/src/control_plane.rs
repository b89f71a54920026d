//! The control plane of this one host, in the agent's process, since an SQLite file is open in one process at a time.
//!
//! The agent does not depend on it: what goes wrong here is said, and the host is watched all the same.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lavender_control_plane::{ControlPlane, Options, RulesetSink, serve, welcome};
use lavender_core::ruleset::Ruleset;
use lavender_core::store::{LivenessTimes, Publication};
use lavender_core::{Clock as _, Result, SystemClock, TenantId, async_trait};
use lavender_detect::RuleHandle;
use lavender_store::Store;
use tokio::net::TcpListener;

use crate::config::{AgentConfig, Config, TransportUrl};
use crate::published::put_in_use;
use crate::rules::RuleSource;

/// Serves the dashboard and its API as configured, until it is dropped. It returns at the end only when nothing is to
/// be served, or nothing can be.
pub async fn control_plane(
    config: Config,
    store: Arc<dyn Store>,
    source: RuleSource,
    rules: RuleHandle,
) {
    let tenant = config.agent.tenant_id.clone();
    let sink = InProcess { tenant, source, rules: rules.clone() };

    let wanted = &config.control_plane;
    if !wanted.enabled.unwrap_or(config.transport.url == TransportUrl::Memory) {
        return;
    }
    let listener = match TcpListener::bind(wanted.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(
                "there is no dashboard: {} cannot be listened on: {error}; the host is watched all the same. Choose \
                 another address by --listen or `listen` under [control_plane], or say --no-control-plane",
                wanted.listen
            );
            return;
        }
    };
    announce(listener.local_addr().unwrap_or(wanted.listen), &store, &config.agent.tenant_id).await;
    let liveness = liveness(&config.agent);
    let rulesets: Option<Arc<dyn RulesetSink>> = Some(Arc::new(sink));
    let options = Options { liveness, rules, rulesets, ..Options::default() };
    let plane = ControlPlane::new(store, options);
    if let Err(error) = serve(plane, listener).await {
        tracing::warn!(
            "the dashboard is served no longer: {error}; the host is watched all the same"
        );
    }
}

/// Puts what is published in use in this process.
#[derive(Debug)]
struct InProcess {
    /// The tenant of the agent.
    tenant: TenantId,
    /// Where its other rules come from.
    source: RuleSource,
    /// The rules in use.
    rules: RuleHandle,
}

#[async_trait]
impl RulesetSink for InProcess {
    async fn publish(
        &self,
        tenant: &TenantId,
        publication: &Publication,
        rules: &Ruleset,
    ) -> Result<()> {
        if *tenant != self.tenant {
            return Ok(());
        }
        put_in_use(&self.source, &self.rules, publication.revision, rules).await
    }
}

/// Says where the dashboard is and, where nobody has a token yet, the first one: the only time that it is shown.
async fn announce(at: SocketAddr, store: &Arc<dyn Store>, tenant: &TenantId) {
    let mut text = format!("Dashboard: http://{at}\n");
    match welcome(&**store, tenant, SystemClock.now()).await {
        Ok(Some(secret)) => {
            let secret = secret.reveal();
            text += &format!("first admin token of tenant {tenant}, shown only now: {secret}\n");
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("there is no first admin token: {error}"),
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// An agent is late after two heartbeats that did not come, and gone after three.
fn liveness(agent: &AgentConfig) -> LivenessTimes {
    let heartbeat = Duration::from_secs(agent.heartbeat_interval_secs.get().into());
    LivenessTimes { degraded_after: heartbeat * 2, offline_after: heartbeat * 3 }
}

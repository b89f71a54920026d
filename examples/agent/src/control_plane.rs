//! The control plane of this one host, in the agent's process, since an SQLite file is open in one process at a time.
//!
//! The agent does not depend on it: what goes wrong here is said, and the host is watched all the same.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lavender_control_plane::{ControlPlane, Options, serve, welcome};
use lavender_core::store::LivenessTimes;
use lavender_core::{Clock as _, SystemClock, TenantId};
use lavender_detect::RuleHandle;
use lavender_store::Store;
use tokio::net::TcpListener;

use crate::config::{AgentConfig, Config, TransportUrl};

/// Serves the dashboard and its API as configured, until it is dropped. It returns at the end only when nothing is to
/// be served, or nothing can be.
pub async fn control_plane(config: Config, store: Arc<dyn Store>, rules: RuleHandle) {
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
    let plane = ControlPlane::new(store, Options { liveness, rules, ..Options::default() });
    if let Err(error) = serve(plane, listener).await {
        tracing::warn!(
            "the dashboard is served no longer: {error}; the host is watched all the same"
        );
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

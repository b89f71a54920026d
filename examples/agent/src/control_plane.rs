//! The control plane of this one host, in the agent's process, since an SQLite file is open in one process at a time.
//!
//! The agent does not depend on it: what goes wrong here is said, and the host is watched all the same.

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lavender_control_plane::keys::{self, KeyError};
use lavender_control_plane::{
    Commanding, ControlPlane, Options, RulesetSink, serve, take_reports, welcome,
};
use lavender_core::command::{CommandSink, CommandSource, KeyId, Signer, Verifier};
use lavender_core::ruleset::Ruleset;
use lavender_core::store::{LivenessTimes, Publication};
use lavender_core::{AgentIdentity, Clock as _, SystemClock, TenantId, async_trait};
use lavender_detect::RuleHandle;
use lavender_store::Store;
use lavender_transport::MemoryCommands;
use tokio::net::TcpListener;

use crate::config::{AgentConfig, Config, TransportUrl};
use crate::exit::{Exit, Failure};
use crate::plan::RuleReload;
use crate::published::{Published, follows_fleet, put_in_use};

/// The most commands, and reports of them, that wait within the process.
const COMMANDS_WAITING: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// How the dashboard's commands get to the agent: by a key of its own, within the process.
#[derive(Clone, Debug)]
pub struct OwnCommands {
    signer: Arc<Signer>,
    commands: MemoryCommands,
}

impl OwnCommands {
    /// Where a dashboard is to be served. Without a key, which is made at the first start, it can give no commands.
    pub fn open(config: &Config, identity: &AgentIdentity) -> Option<Self> {
        if !is_served(config) {
            return None;
        }
        let folder = Path::new(config.commands.state_dir.as_ref());
        let signer = signer(folder).inspect_err(|error| {
            tracing::warn!(%error, "the dashboard gives no commands");
        });
        let commands =
            MemoryCommands::new(identity.tenant.clone(), identity.agent.clone(), COMMANDS_WAITING);
        Some(Self { signer: Arc::new(signer.ok()?), commands })
    }

    /// Pins the key.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`] when another key has its name.
    pub fn pin(&self, verifier: Verifier) -> Result<Verifier, Failure> {
        let pinned = verifier.with_key(self.signer.key().clone(), self.signer.public_key());
        pinned.map_err(|error| Failure::new(Exit::Configuration, format!("[commands]: {error}")))
    }

    /// What comes for the agent.
    pub fn source(&self) -> Box<dyn CommandSource> {
        Box::new(self.commands.source())
    }
}

fn signer(folder: &Path) -> Result<Signer, KeyError> {
    let path = folder.join("signing.key");
    let fail = |error| KeyError::Write { path: path.clone(), error };
    std::fs::create_dir_all(folder).map_err(fail)?;
    if path.exists() {
        return keys::load(&path);
    }
    let id = KeyId::new(OWN_KEY).map_err(|error| fail(std::io::Error::other(error)))?;
    keys::generate(id, &path)
}

/// What the key of the agent's own dashboard is called.
const OWN_KEY: &str = "own-dashboard";

fn is_served(config: &Config) -> bool {
    config.control_plane.enabled.unwrap_or(config.transport.url == TransportUrl::Memory)
}

/// Serves the dashboard and its API as configured, until it is dropped. It returns at the end only when nothing is to
/// be served, or nothing can be.
pub async fn control_plane(
    config: Config,
    store: Arc<dyn Store>,
    rules: RuleHandle,
    reload: RuleReload,
    own: Option<OwnCommands>,
) {
    let wanted = &config.control_plane;
    if !is_served(&config) {
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
    let (commanding, reports) = match own {
        Some(OwnCommands { signer, commands }) => {
            let reports = commands.reports();
            let sink: Arc<dyn CommandSink> = Arc::new(commands);
            (Commanding { signer: Some(signer), sink: Some(sink) }, Some(reports))
        }
        None => (Commanding::default(), None),
    };
    // Where a fleet publishes, this host does not.
    let rulesets = (!follows_fleet(&config)).then(|| {
        let sink = InProcess { tenant: config.agent.tenant_id.clone(), reload };
        Arc::new(sink) as Arc<dyn RulesetSink>
    });
    let options = Options { liveness, rules, commanding, rulesets, ..Options::default() };
    let plane = ControlPlane::new(store, options);
    let taking = async {
        match reports {
            Some(reports) => take_reports(&plane, reports).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        Err(error) = serve(plane.clone(), listener) => tracing::warn!(
            "the dashboard is served no longer: {error}; the host is watched all the same"
        ),
        Err(error) = taking => tracing::warn!(%error, "results of commands are taken no longer"),
        else => {}
    }
}

/// Puts what is published in use in this process.
#[derive(Debug)]
struct InProcess {
    /// The tenant of the agent.
    tenant: TenantId,
    reload: RuleReload,
}

#[async_trait]
impl RulesetSink for InProcess {
    async fn publish(
        &self,
        tenant: &TenantId,
        publication: &Publication,
        rules: &Ruleset,
    ) -> lavender_core::Result<()> {
        if *tenant != self.tenant {
            return Ok(());
        }
        let published = Published { revision: publication.revision, rules: rules.clone() };
        put_in_use(&self.reload, published).await
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

//! The agent in a fleet: what it publishes is on its disk until the broker has it.
//!
//! Detection and response do not wait for the network, and the agent starts and protects with the broker down. What
//! the spool has taken is kept in the local store, too: the host has its own record, and detectors go on from it after
//! a kill.

mod broker;
mod commands;
mod options;
mod publisher;
#[cfg(feature = "live")]
mod rulesets;

use std::sync::Arc;
use std::time::Duration;

use lavender_core::command::CommandSource;
use lavender_core::{AgentIdentity, ErrorKind, Publisher, Sequencer, SystemClock};
use lavender_transport::spool::{Reporter, SpoolOptions, Spooled};
use tokio::task::JoinHandle;

use self::broker::Broker;
use self::commands::BrokerCommands;
use self::publisher::FleetPublisher;
#[cfg(feature = "live")]
use self::rulesets::Following;
use crate::config::{TransportConfig, TransportUrl};
use crate::exit::{Exit, Failure};
#[cfg(feature = "live")]
use crate::kept_rules::Kept;
#[cfg(feature = "live")]
use crate::plan::RuleReload;

/// How long stopping waits for a broker that took nothing so far.
const FAULT_PATIENCE: Duration = Duration::from_millis(500);

/// The spool, and the connection behind it.
#[derive(Debug)]
pub struct Fleet {
    spool: Arc<Spooled>,
    broker: Broker,
    heartbeats: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Opens the spool where a broker is configured, and begins to deliver. The sequence goes on behind what the spool
    /// knows of it. Must be called within a runtime of tokio.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`] when the options cannot be, [`Exit::Store`] when the spool cannot be used.
    pub fn open(
        config: &TransportConfig,
        identity: &AgentIdentity,
        sequencer: &Sequencer,
    ) -> Result<Option<Self>, Failure> {
        let TransportUrl::Broker(url) = &config.url else { return Ok(None) };
        let options = options::options(config, url, identity)?;
        let mut bounds = SpoolOptions::default();
        bounds.bytes_max = config.spool_bytes_max;
        let reporter = Reporter {
            source: identity.clone(),
            sequencer: sequencer.clone(),
            clock: Arc::new(SystemClock),
        };
        let broker = Broker::new(options);
        let spool = Spooled::open(&config.spool_dir, bounds, reporter, broker.clone()).map_err(
            |error| match error.kind() {
                ErrorKind::Conflict => {
                    Failure::new(Exit::Store, format!("{error} (`spool_dir` under [transport])"))
                }
                _ => Failure::new(Exit::Store, error),
            },
        )?;
        tracing::info!("publishes to {url}, over {}", config.spool_dir.display());
        Ok(Some(Self { spool: Arc::new(spool), broker, heartbeats: Vec::new() }))
    }

    /// A publisher to the fleet, and then to `local`.
    pub fn publisher(&mut self, local: Arc<dyn Publisher>) -> Arc<dyn Publisher> {
        let (beats, task) = self.broker.heartbeats();
        self.heartbeats.push(task);
        Arc::new(FleetPublisher::new(Arc::clone(&self.spool), local, beats))
    }

    /// What comes for this agent.
    pub fn commands(&self, identity: &AgentIdentity) -> Box<dyn CommandSource> {
        Box::new(BrokerCommands::new(self.broker.connected(), identity.clone()))
    }

    /// Follows the rules that are published in the fleet, for as long as it is polled.
    #[cfg(feature = "live")]
    pub fn follow_rules(
        &self,
        identity: &AgentIdentity,
        reload: RuleReload,
        kept: Kept,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (connected, tenant) = (self.broker.connected(), identity.tenant.clone());
        let following = Following::new(connected, tenant, (reload, kept));
        async move { match following.run().await {} }
    }

    /// Waits until everything is delivered, for so long at the most; not at all for a broker that is away. What is left
    /// stays on disk for the next run.
    pub async fn close(self, patience: Duration) {
        let away = self.spool.status().fault.is_some();
        let patience = if away { patience.min(FAULT_PATIENCE) } else { patience };
        let status = self.spool.close(patience).await;
        self.heartbeats.iter().for_each(JoinHandle::abort);
        tracing::info!(
            delivered = status.delivered,
            waiting = status.waiting,
            shed = status.shed,
            "the spool is closed; what waits is delivered by the next run"
        );
        if let Some(fault) = status.fault {
            tracing::warn!(fault, "the spool could not deliver");
        }
    }
}

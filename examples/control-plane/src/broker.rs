//! The broker that brings commands to agents, and published rulesets to detection workers. The control plane starts and serves without it.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::command::CommandSink;
use lavender_core::ruleset::{PublishedRulesets, Ruleset};
use lavender_core::store::Publication;
use lavender_core::{AgentId, Bytes, Error, ErrorKind, Result, TenantId, async_trait};
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions, Setup};
use tokio::sync::watch;

use crate::delivery::take_reports;
use crate::plane::ControlPlane;
use crate::rulesets::RulesetSink;

/// The wait after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A broker, connected or not. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Broker {
    options: JetStreamOptions,
    connected: watch::Sender<Option<JetStream>>,
}

impl Broker {
    /// The broker at a URL, as the workers take it: certificates, nkey and inbox prefix stand in it, by file. Its streams
    /// are the workers' to make.
    ///
    /// # Errors
    ///
    /// When it is no such URL.
    pub fn new(url: &str) -> Result<Self> {
        let mut options = JetStreamOptions::from_url(url)?;
        options.setup = Setup::Skip;
        options.name = "lavender-control-plane".into();
        Ok(Self { options, connected: watch::Sender::new(None) })
    }

    /// Connects, and takes what agents report, for ever. What is away is waited for.
    pub async fn take_reports(&self, plane: ControlPlane) {
        loop {
            if let Err(error) = self.try_take_reports(&plane).await {
                tracing::warn!("commands and their results wait for the broker: {error}");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn try_take_reports(&self, plane: &ControlPlane) -> Result<()> {
        let known = self.connected.borrow().clone();
        let transport = match known {
            Some(transport) => transport,
            None => JetStream::open(self.options.clone()).await?,
        };
        // The client connects again by itself from now on.
        self.connected.send_replace(Some(transport.clone()));
        take_reports(plane, transport.command_reports().await?).await
    }

    /// Whether it is connected just now.
    pub fn is_connected(&self) -> bool {
        self.connected.borrow().as_ref().is_some_and(JetStream::is_connected)
    }

    fn connected(&self) -> Result<JetStream> {
        let connected = self.connected.borrow().clone();
        connected
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "broker", "it is not connected yet"))
    }
}

#[async_trait]
impl CommandSink for Broker {
    async fn publish(&self, tenant: &TenantId, agent: &AgentId, signed: Bytes) -> Result<()> {
        self.connected()?.publish(tenant, agent, signed).await
    }
}

#[async_trait]
impl RulesetSink for Broker {
    async fn publish(
        &self,
        tenant: &TenantId,
        publication: &Publication,
        rules: &Ruleset,
    ) -> Result<()> {
        let mut bucket = BucketOptions::rules();
        bucket.replicas = self.options.streams.replicas;
        let bucket = Arc::new(self.connected()?.state(bucket).await?);
        PublishedRulesets::new(bucket).publish(tenant, publication.revision, rules).await?;
        Ok(())
    }
}

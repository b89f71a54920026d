//! Commands from the broker.

use std::time::Duration;

use lavender_core::command::{CommandDelivery, CommandSource};
use lavender_core::{AgentIdentity, Result, async_trait};
use lavender_transport::nats::{JetStream, JetStreamCommands};
use tokio::sync::watch;

/// The wait after a failure, doubled up to the second: what is not permitted is for people to mend.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What comes for this agent, as soon as there is a connection.
#[derive(Debug)]
pub(super) struct BrokerCommands {
    connected: watch::Receiver<Option<JetStream>>,
    identity: AgentIdentity,
    open: Option<JetStreamCommands>,
}

impl BrokerCommands {
    pub(super) const fn new(
        connected: watch::Receiver<Option<JetStream>>,
        identity: AgentIdentity,
    ) -> Self {
        Self { connected, identity, open: None }
    }

    async fn open(&mut self) -> Result<()> {
        let known = self.connected.wait_for(Option::is_some).await;
        let Some(transport) = known.ok().and_then(|transport| transport.clone()) else {
            // Nobody connects any more: the agent ends.
            return std::future::pending().await;
        };
        let AgentIdentity { tenant, agent, .. } = &self.identity;
        self.open = Some(transport.commands(tenant, agent).await?);
        tracing::info!("takes commands");
        Ok(())
    }
}

#[async_trait]
impl CommandSource for BrokerCommands {
    async fn next(&mut self) -> Result<Option<CommandDelivery>> {
        let (mut delay, longest) = AGAIN_AFTER;
        loop {
            let failed = match &mut self.open {
                Some(open) => match open.next().await {
                    Ok(delivery) => return Ok(delivery),
                    Err(error) => {
                        self.open = None;
                        error
                    }
                },
                None => match self.open().await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };
            tracing::warn!(error = %failed, "no commands come");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(longest);
        }
    }
}

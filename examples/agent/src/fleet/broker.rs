//! The connection to the broker: the spool makes it, heartbeats use it.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::transport::Message;
use lavender_core::{ErrorKind, Result, async_trait};
use lavender_transport::EnvelopePublisher;
use lavender_transport::nats::{JetStream, JetStreamOptions};
use lavender_transport::spool::Connect;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How many heartbeats may wait; more are of no use.
const HEARTBEATS: usize = 4;

/// How long heartbeats that are not permitted are left out: permissions are changed by people.
const DENIED_DELAY: Duration = Duration::from_secs(300);

/// Connects, and shows the connection to others.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    options: JetStreamOptions,
    connected: watch::Sender<Option<JetStream>>,
}

impl Broker {
    pub(super) fn new(options: JetStreamOptions) -> Self {
        Self { options, connected: watch::Sender::new(None) }
    }

    /// The connection, once there is one.
    pub(super) fn connected(&self) -> watch::Receiver<Option<JetStream>> {
        self.connected.subscribe()
    }

    /// Sends heartbeats as they come, and drops them while the broker is away.
    pub(super) fn heartbeats(&self) -> (mpsc::Sender<Message>, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel::<Message>(HEARTBEATS);
        let connected = self.connected.subscribe();
        let task = tokio::spawn(async move {
            while let Some(message) = receiver.recv().await {
                let Some(broker) = connected.borrow().clone() else { continue };
                match broker.heartbeat(&message).await {
                    Err(error) if error.kind() == ErrorKind::Denied => {
                        tracing::error!(%error, "heartbeats are not permitted: this is a fault of the broker's configuration");
                        tokio::time::sleep(DENIED_DELAY).await;
                    }
                    Err(error) => tracing::debug!(%error, "a heartbeat was not sent"),
                    Ok(()) => {}
                }
            }
        });
        (sender, task)
    }
}

#[async_trait]
impl Connect for Broker {
    async fn connect(&self) -> Result<Arc<dyn EnvelopePublisher>> {
        let broker = JetStream::open(self.options.clone()).await?;
        self.connected.send_replace(Some(broker.clone()));
        Ok(Arc::new(broker))
    }
}

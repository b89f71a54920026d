//! To the fleet first, then to the local store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lavender_core::event::{Event, EventData, EventKind, SpoolHealth};
use lavender_core::transport::{Message, Payload, Topic};
use lavender_core::{Publisher, Result};
use lavender_transport::spool::{SpoolStatus, Spooled};
use tokio::sync::mpsc;

/// How long the local store is waited for, by the message. One that is slow makes room in less, and holds telemetry up as it does on a host
/// alone: the queue sheds what does not fit, and counts it.
const LOCAL_PATIENCE: Duration = Duration::from_secs(5);

/// How much of a fault is told.
const FAULT_CHARS: usize = 300;

/// Publishes to the spool, then to the local store. Whatever the store has, the fleet gets, too: a kill in between leaves
/// what is told again by the same id. A local store that stands still is left out, so that it does not hold up the fleet.
#[derive(Debug)]
pub(super) struct FleetPublisher {
    spool: Arc<Spooled>,
    local: Arc<dyn Publisher>,
    /// Whether the local store did not take what came last.
    behind: AtomicBool,
    heartbeats: mpsc::Sender<Message>,
}

impl FleetPublisher {
    pub(super) const fn new(
        spool: Arc<Spooled>,
        local: Arc<dyn Publisher>,
        heartbeats: mpsc::Sender<Message>,
    ) -> Self {
        Self { spool, local, behind: AtomicBool::new(false), heartbeats }
    }

    /// Lets heartbeats tell how the spool stands, and sends them on.
    fn beat(&self, messages: &mut [Message]) {
        for message in messages {
            let Payload::Events(events) = &mut message.payload else { continue };
            let beats = events.iter_mut().filter(|event| event.kind() == EventKind::Heartbeat);
            for event in beats {
                let heartbeat: &mut Event = Arc::make_mut(event);
                if let EventData::Heartbeat(heartbeat) = &mut heartbeat.data {
                    heartbeat.spool = Some(health(self.spool.status()));
                }
                let payload = Payload::Events(vec![Arc::clone(event)]);
                let beat =
                    Message { source: message.source.clone(), topic: message.topic, payload };
                // One that finds no room is late, and of no use.
                let _ = self.heartbeats.try_send(beat);
            }
        }
    }

    /// Hands a copy to the local store. One that it does not take in time is counted as not stored when the agent stops.
    async fn keep_locally(&self, mut messages: Vec<Message>) -> Result<()> {
        for message in &mut messages {
            if message.topic == Topic::TelemetryRaw {
                // Nothing lies between the agent and its own store.
                message.topic = Topic::TelemetryAccepted;
            }
        }
        for message in messages {
            let behind = self.behind.load(Ordering::Relaxed);
            let patience = if behind { Duration::ZERO } else { LOCAL_PATIENCE };
            match tokio::time::timeout(patience, self.local.publish(vec![message])).await {
                Ok(result) => {
                    result?;
                    self.behind.store(false, Ordering::Relaxed);
                }
                Err(_) if !self.behind.swap(true, Ordering::Relaxed) => {
                    tracing::error!(
                        "the local store does not take what it is given; the fleet still gets it"
                    );
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Publisher for FleetPublisher {
    async fn publish(&self, mut messages: Vec<Message>) -> Result<()> {
        self.beat(&mut messages);
        self.spool.publish(messages.clone()).await?;
        self.keep_locally(messages).await
    }
}

fn health(status: SpoolStatus) -> SpoolHealth {
    let SpoolStatus { bytes, waiting, shed, fault, .. } = status;
    let fault = fault.map(|why| why.chars().take(FAULT_CHARS).collect::<String>().into());
    SpoolHealth { bytes, waiting, shed, fault }
}

//! A source of one's own: anything that can say what happened can feed the pipeline.
//!
//!     cargo run -p lavender-cookbook --example custom_source

use std::sync::Arc;

use lavender_core::event::{Event, EventBatch, EventData, EventKind, Loss, LossStage};
use lavender_core::pipeline::{Pipeline, signal};
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    AgentId, AgentIdentity, BootId, Clock, Origin, Publisher, Result, Sequencer, Source,
    SystemClock, TenantId, async_trait,
};

/// Says three times that something was lost.
#[derive(Debug)]
struct Countdown {
    left: u64,
}

#[async_trait]
impl Source for Countdown {
    async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let lost = vec![Loss::new(LossStage::KernelRing, EventKind::FileOpen, self.left + 1)];
        Ok(Some(EventBatch { events: Vec::new(), lost }))
    }

    fn stop(&mut self) {
        self.left = 0;
    }
}

/// Writes what is published to the log.
#[derive(Debug)]
struct Log;

#[async_trait]
impl Publisher for Log {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        for message in messages {
            let Payload::Events(events) = &message.payload else { continue };
            for event in events {
                say(event);
            }
        }
        Ok(())
    }
}

#[allow(clippy::print_stdout, reason = "a sample shows what it does")]
fn say(event: &Arc<Event>) {
    if let EventData::Lost(loss) = &event.data {
        println!("{}: {} events of kind {} lost", event.observed_at, loss.count, loss.kind);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let identity = AgentIdentity {
        tenant: TenantId::new("acme")?,
        agent: AgentId::new("web-1")?,
        host: "web-1.example".into(),
    };
    let boot = BootId::from_u128(SystemClock.now().as_nanos() as u128);
    let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot));
    let report =
        Pipeline::new(Countdown { left: 3 }, identity, ids, Arc::new(Log)).run(signal()?).await?;
    assert_eq!(report.lost, 6);
    Ok(())
}

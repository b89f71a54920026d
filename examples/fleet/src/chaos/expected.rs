//! What one process raises that sees all events of an agent, in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lavender_core::event::EventBatch;
use lavender_core::pipeline::{Overflow, Pipeline};
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    AgentIdentity, AlertId, BootId, Origin, Publisher, Result as CoreResult, Sequencer, Source,
    async_trait,
};
use lavender_detect::correlate::CorrelatingDetector;
use lavender_detect::risk::RiskStage;
use lavender_detect::{FleetOptions, RuleHandle, RuleSet};

use super::own::{self, OwnDetector};
use super::stream::{Streams, rules};
use crate::error::{FleetError, Result};

/// By how much events may come late: the workers are told the same.
pub const LATENESS: Duration = Duration::from_secs(60);

/// An agent's events from its stream.
#[derive(Debug)]
struct Replayed {
    streams: Streams,
    number: usize,
    origin: Origin,
    next: u64,
}

#[async_trait]
impl Source for Replayed {
    async fn next_batch(&mut self) -> CoreResult<Option<EventBatch>> {
        let last = self.streams.events + 1;
        let end = last.min(self.next + 255);
        let events: Vec<_> = (self.next..=end)
            .map(|sequence| self.streams.event(self.number, self.origin, sequence))
            .collect();
        self.next = end + 1;
        Ok((!events.is_empty()).then_some(EventBatch { events, lost: Vec::new() }))
    }

    fn stop(&mut self) {}
}

/// Alerts by their ids, each with its rule.
pub type Alerts = BTreeMap<AlertId, String>;

/// Keeps the ids of alerts.
#[derive(Debug, Default)]
struct Raised(Mutex<Alerts>);

#[async_trait]
impl Publisher for Raised {
    async fn publish(&self, messages: Vec<Message>) -> CoreResult<()> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for message in messages {
            if let Payload::Alerts(alerts) = message.payload {
                known.extend(alerts.iter().map(|alert| (alert.id, alert.rule.id.to_string())));
            }
        }
        Ok(())
    }
}

/// The alerts that an agent's stream raises.
///
/// # Errors
///
/// When the pipeline fails.
pub async fn alerts(streams: &Streams, number: usize, source: &AgentIdentity) -> Result<Alerts> {
    let rules =
        RuleSet::from_yaml(&rules()).map_err(|errors| FleetError::Broken(errors.to_string()))?;
    let options = FleetOptions::new(LATENESS);
    let detector =
        CorrelatingDetector::new(RuleHandle::new(rules).detector(), options.correlation.clone())
            .with_novelty(options.novelty.clone());
    let risk = RiskStage::new(options.risk.unwrap_or_default())
        .map_err(|error| FleetError::Broken(error.to_string()))?;
    let raised = Arc::new(Raised::default());
    // What it says of itself has numbers of another boot, and raises nothing.
    let ids = Sequencer::new(Origin::new(&source.tenant, &source.agent, BootId::from_u128(9)));
    let origin = Streams::origin(source);
    let replayed = Replayed { streams: *streams, number, origin, next: 1 };
    Pipeline::new(replayed, source.clone(), ids, Arc::clone(&raised) as _)
        .with_queue(4_096, Overflow::Wait)
        .with_detector(detector)
        .with_alert_stage(risk)
        .run(std::future::pending::<()>())
        .await?;
    let known = raised.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut known = known.clone();
    let mut own = OwnDetector::new()?;
    for number_of_event in 1..=streams.events {
        let event = [streams.event(number, origin, number_of_event)];
        let found = own.alerts(source, &event, streams.begin);
        known.extend(found.iter().map(|alert| (alert.id, own::RULE.to_owned())));
    }
    Ok(known)
}

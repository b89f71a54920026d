//! One process that sees all events of an agent, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use lavender_core::event::{Event, EventBatch};
use lavender_core::pipeline::{Overflow, Pipeline};
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    AgentIdentity, AlertId, BootId, Origin, Publisher, Result, Sequencer, Source, async_trait,
};
use lavender_detect::correlate::CorrelatingDetector;
use lavender_detect::risk::RiskStage;
use lavender_detect::{FleetOptions, RuleHandle, RuleSet, SuppressionAnchor, SuppressionStage};

/// Alerts by their ids, each with its rule and how often it was repeated.
pub(crate) type Alerts = BTreeMap<AlertId, (String, u64)>;

/// Remembers what is published.
#[derive(Debug, Default)]
pub(crate) struct Published(pub(crate) Mutex<Alerts>);

impl Published {
    pub(crate) fn add(&self, messages: &[Message]) {
        let mut known = self.0.lock().unwrap();
        for message in messages {
            let Payload::Alerts(alerts) = &message.payload else { continue };
            for alert in alerts {
                assert_eq!(alert.source, message.source);
                let repeats = alert.repeats.map_or(0, |repeats| repeats.count);
                let rule = alert.rule.id.to_string();
                let (_, count) = known.entry(alert.id).or_insert((rule, 0));
                *count = repeats.max(*count);
            }
        }
    }
}

#[async_trait]
impl Publisher for Published {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        self.add(&messages);
        Ok(())
    }
}

#[derive(Debug)]
struct Given(VecDeque<Arc<Event>>);

#[async_trait]
impl Source for Given {
    async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
        let events: Vec<_> = self.0.drain(..self.0.len().min(7)).collect();
        Ok((!events.is_empty()).then_some(EventBatch { events, lost: Vec::new() }))
    }

    fn stop(&mut self) {}
}

/// What it raises.
pub(crate) async fn alerts(
    rules: &RuleSet,
    options: &FleetOptions,
    source: &AgentIdentity,
    events: &[Arc<Event>],
) -> Alerts {
    let handle = RuleHandle::new(rules.clone());
    let detector = CorrelatingDetector::new(handle.detector(), options.correlation.clone())
        .with_novelty(options.novelty.clone());
    let mut suppression = options.suppression.clone().unwrap();
    suppression.anchor = SuppressionAnchor::Cell;
    let published = Arc::new(Published::default());
    let ids = Sequencer::new(Origin::new(&source.tenant, &source.agent, BootId::from_u128(9)));
    let given = Given(events.iter().cloned().collect());
    Pipeline::new(given, source.clone(), ids, Arc::clone(&published) as _)
        .with_queue(4_096, Overflow::Wait)
        .with_detector(detector)
        .with_alert_stage(RiskStage::new(options.risk.clone().unwrap()).unwrap())
        .with_alert_stage(SuppressionStage::new(suppression))
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    published.0.lock().unwrap().clone()
}

//! Detection on the events of many agents, by whoever has an event at hand.

use std::fmt;
use std::sync::Arc;

use crate::event::Event;
use crate::id::TenantId;
use crate::source::{AlertStage, Detector};

/// What decides what the events of one agent come to, and what it knows of that agent: a detector, and the stages that
/// its alerts pass, in order.
#[derive(Debug)]
pub struct AgentDetection {
    /// Looks at events.
    pub detector: Box<dyn Detector>,
    /// What alerts pass.
    pub stages: Vec<Box<dyn AlertStage>>,
}

/// Looks at the events of many agents, and keeps what is known of each apart. Each tenant may have rules of its own.
///
/// Most events are nothing to anybody: [`concerns`](Self::concerns) says so without what is known of their agent, and
/// only for the others is that fetched, given to an [`AgentDetection`] made by [`begin`](Self::begin), and told of them.
///
/// # Contract
///
/// - What an event that does not concern anybody does to a detector is no more than to tell it the time.
/// - What detectors and stages keep ([`Stateful`](crate::Stateful)) decides the same, within their lateness, in whatever
///   order and however often events come. That is what makes several workers as good as one.
pub trait FleetDetector: fmt::Debug + Send + 'static {
    /// Whether an event is more to its agent's detector than the time: a rule matches it, or it tells of a loss.
    fn concerns(&mut self, tenant: &TenantId, event: &Arc<Event>) -> bool;

    /// What decides for an agent of this tenant of which nothing is known. What is known is [restored](crate::Stateful::restore) into
    /// it.
    fn begin(&mut self, tenant: &TenantId) -> AgentDetection;

    /// Whether rules have been replaced since this was asked last, so that every agent's detector has to be made again
    /// and told the time once more. Asked before the events of each batch.
    fn take_renewed(&mut self) -> bool {
        false
    }
}

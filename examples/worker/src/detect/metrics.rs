//! What detection has done, for `/metrics`.

use std::fmt;

use lavender_core::pipeline::DetectionProgress;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

/// Reads what a detection worker has done whenever somebody asks: `lavender_detection_…_total`.
#[derive(Debug)]
pub(super) struct Detected(DetectionProgress);

impl Detected {
    pub(super) fn register(registry: &mut Registry, progress: DetectionProgress) {
        registry.register_collector(Box::new(Self(progress)));
    }
}

impl Collector for Detected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let report = self.0.report();
        let counters = [
            ("events", "Events that rules were evaluated on", report.events),
            ("concerning", "Of these, events that a rule matched", report.concerning),
            ("steps", "Changes of what is known of an agent", report.steps),
            (
                "state_bytes",
                "Bytes of what is known of agents that were written",
                report.state_bytes,
            ),
            ("conflicts", "Changes done again since another worker was faster", report.conflicts),
            ("alerts", "Alerts that were published", report.alerts),
            ("updates", "Reports of repeats that were published", report.updates),
            ("suppressed", "Alerts that only repeated others", report.suppressed),
            ("forgotten", "What was forgotten before its time for want of room", report.forgotten),
            ("late", "What came too late to count", report.late),
            ("unreadable", "Parts of states that could not be read", report.unreadable),
            ("failures", "Tries that failed", report.failures),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            let name = format!("lavender_detection_{name}");
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(&name, help, None, kind)?)?;
        }
        Ok(())
    }
}

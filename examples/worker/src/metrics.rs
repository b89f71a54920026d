//! What a worker counts, for `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// What a stage has read, and what of it is done with.
#[derive(Clone, Debug, Default)]
pub struct Consumed {
    /// Messages that were delivered.
    pub messages: Counter,
    /// Events or alerts in them.
    pub items: Counter,
    /// Messages that were delivered before.
    pub redelivered: Counter,
    /// Messages that were acknowledged.
    pub acknowledged: Counter,
}

impl Consumed {
    /// Counters in a registry: `lavender_consumed_…_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        for (name, help, counter) in [
            ("messages", "Messages that were delivered", &counters.messages),
            ("items", "Events or alerts that were delivered", &counters.items),
            ("redelivered", "Messages that were delivered before", &counters.redelivered),
            ("acknowledged", "Messages that are done with", &counters.acknowledged),
        ] {
            registry.register(format!("lavender_consumed_{name}"), help, counter.clone());
        }
        counters
    }
}

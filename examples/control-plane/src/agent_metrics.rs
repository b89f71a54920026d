//! What agents said of themselves last, as metrics: whoever scrapes them has a token, since they are of a tenant.

use lavender_core::event::Heartbeat;
use lavender_core::store::{FleetAgent, Liveness};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The agent, and of those with more than one count for it what is counted.
type Labels = Vec<(&'static str, String)>;

/// The agents of one tenant as metrics. Counters are since the agent started.
#[derive(Debug)]
pub(crate) struct AgentMetrics {
    registry: Registry,
    liveness: Family<Labels, Gauge>,
    last_seen: Family<Labels, Gauge>,
    isolated: Family<Labels, Gauge>,
    events: Family<Labels, Counter>,
    alerts: Family<Labels, Counter>,
    lost: Family<Labels, Counter>,
    filtered: Family<Labels, Counter>,
    throttled: Family<Labels, Counter>,
    unhashed: Family<Labels, Counter>,
    undescribed: Family<Labels, Counter>,
}

impl AgentMetrics {
    /// Of no agent yet.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("lavender_agent");
        let mut gauge = |name: &str, help: &str| {
            let family = Family::<Labels, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let liveness = gauge("liveness", "Whether the agent is in this state");
        let last_seen = gauge("last_seen_timestamp_seconds", "When it was last heard of");
        let isolated = gauge("isolated", "Whether its host is cut off the network by an order");
        let mut counter = |name: &str, help: &str| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        Self {
            liveness,
            last_seen,
            isolated,
            events: counter("events", "Events that its sensor delivered"),
            alerts: counter("alerts", "Alerts that it raised itself"),
            lost: counter("lost", "Events lost, at all stages together"),
            filtered: counter("filtered", "Events left out since no rule and no policy needs them"),
            throttled: counter(
                "throttled",
                "Events beyond what is let through of one process or control group; they are among the lost",
            ),
            unhashed: counter("unhashed", "Files of programs that were not hashed"),
            undescribed: counter(
                "undescribed",
                "Containers of which it is not known what their runtime says",
            ),
            registry,
        }
    }

    /// Adds an agent.
    pub(crate) fn add(&self, agent: &FleetAgent) {
        let name = agent.record.source.agent.as_str();
        let of = || vec![("agent", name.to_owned())];
        if let Some((now, _)) = agent.liveness {
            for state in [Liveness::Online, Liveness::Degraded, Liveness::Offline] {
                let gauge = self.liveness.get_or_create(&with(of(), "state", state.as_str()));
                gauge.set((state == now).into());
            }
        }
        let seconds = agent.record.last_seen.as_millis().div_euclid(1_000);
        self.last_seen.get_or_create(&of()).set(seconds);
        let Some((beat, _)) = &agent.heartbeat else { return };
        self.isolated.get_or_create(&of()).set(beat.isolated.into());
        let Heartbeat { events, alerts, lost, .. } = beat;
        for (family, count) in [(&self.events, events), (&self.alerts, alerts), (&self.lost, lost)]
        {
            family.get_or_create(&of()).inc_by(*count);
        }
        let add = |family: &Family<Labels, Counter>, by: &'static str, what: &str, count: u64| {
            family.get_or_create(&with(of(), by, what)).inc_by(count);
        };
        for (kind, count) in &beat.filtered {
            add(&self.filtered, "kind", kind.as_str(), *count);
        }
        for (kind, count) in &beat.throttled {
            add(&self.throttled, "kind", kind.as_str(), *count);
        }
        for (why, count) in &beat.unhashed {
            add(&self.unhashed, "reason", why.as_str(), *count);
        }
        for (why, count) in &beat.undescribed {
            add(&self.undescribed, "reason", why.as_str(), *count);
        }
    }

    /// All of them, in the text format of OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

fn with(mut labels: Labels, name: &'static str, value: &str) -> Labels {
    labels.push((name, value.to_owned()));
    labels
}

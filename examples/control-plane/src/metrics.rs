//! What the control plane counts of itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the text of metrics is.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters, all of them without labels: what a tenant does is nothing for who scrapes them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered.
    pub requests: Counter,
    /// Requests answered with a status of 500 or more.
    pub failures: Counter,
    /// Requests with no token, or a wrong one.
    pub refused: Counter,
    /// Requests refused since their peer made too many.
    pub limited: Counter,
    /// Transitions of agents that were noticed.
    pub transitions: Counter,
    /// Looks at the agents, or at the feed, that failed.
    pub sweep_failures: Counter,
    /// Results of commands that agents reported.
    pub command_results: Counter,
    /// What agents refused, or reported otherwise than first.
    pub command_refusals: Counter,
    /// Commands that are handed over again, since there was no room to remember that they were.
    pub commands_forgotten: Counter,
    /// Published rulesets that were taken to where rules are evaluated.
    pub rulesets_handed_over: Counter,
    /// Tries to take a published ruleset there that failed.
    pub ruleset_failures: Counter,
    /// Clients of the live stream.
    pub live_clients: Gauge,
    /// Whether the broker is connected; nothing where there is none.
    broker_connected: Family<[(&'static str, &'static str); 0], Gauge>,
    /// Changes that slow clients of the live stream were told that they missed.
    pub live_missed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("lavender_control_plane");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let requests = counter("requests", "Requests answered");
        let failures = counter("failures", "Requests answered with a status of 500 or more");
        let refused = counter("refused", "Requests with no token or a wrong one");
        let limited = counter("limited", "Requests refused since their peer made too many");
        let transitions = counter("transitions", "Transitions of agents that were noticed");
        let sweep_failures =
            counter("sweep_failures", "Looks at the agents or at the feed that failed");
        let command_results =
            counter("command_results", "Results of commands that agents reported");
        let command_refusals =
            counter("command_refusals", "What agents refused or reported otherwise than first");
        let commands_forgotten = counter(
            "commands_forgotten",
            "Commands that are handed over again since there was no room to remember that they were",
        );
        let rulesets_handed_over = counter(
            "rulesets_handed_over",
            "Published rulesets that were taken to where rules are evaluated",
        );
        let ruleset_failures = counter(
            "ruleset_failures",
            "Tries to take a published ruleset to where rules are evaluated that failed",
        );
        let live_missed =
            counter("live_missed", "Changes that slow clients of the live stream missed");
        let live_clients = Gauge::default();
        registry.register("live_clients", "Clients of the live stream", live_clients.clone());
        let broker_connected = Family::default();
        let help = "Whether the broker is connected";
        registry.register("broker_connected", help, Family::clone(&broker_connected));
        Self {
            registry,
            requests,
            failures,
            refused,
            limited,
            transitions,
            sweep_failures,
            command_results,
            command_refusals,
            commands_forgotten,
            rulesets_handed_over,
            ruleset_failures,
            live_clients,
            broker_connected,
            live_missed,
        }
    }
}

impl Metrics {
    /// All of them, in the text format of OpenMetrics, and whether the broker is connected, where there is one.
    pub fn text(&self, broker_connected: Option<bool>) -> String {
        if let Some(connected) = broker_connected {
            self.broker_connected.get_or_create(&[]).set(connected.into());
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

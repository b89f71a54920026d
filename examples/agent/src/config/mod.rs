//! `lavender.toml`: everything that can be configured, with what holds when nothing is.
//!
//! Unknown keys are errors. Lists replace the built-in ones, they do not add to them.

mod agent;
mod alerts;
mod canary;
mod commands;
mod containers;
mod control_plane;
mod correlation;
mod error;
mod evidence;
mod file;
mod filters;
mod hash;
mod isolate;
mod output;
mod prevention;
mod response;
mod risk;
mod rules;
mod sensor;
mod store;
mod telemetry;
mod throttle;
mod transport;

use serde::{Deserialize, Serialize};

pub use self::agent::AgentConfig;
pub use self::alerts::{AlertsConfig, SuppressBy};
pub use self::canary::CanaryConfig;
pub use self::commands::{CommandsConfig, PinnedKey, PublicKey};
pub use self::containers::ContainersConfig;
pub use self::control_plane::ControlPlaneConfig;
pub use self::correlation::CorrelationConfig;
pub use self::error::ConfigError;
pub use self::evidence::EvidenceConfig;
pub use self::file::{SYSTEM_FILE, VARIABLE, find, load, parse};
pub use self::filters::{AbsolutePath, FiltersConfig, PathEnd, PathPattern, ProgramPath};
pub use self::hash::HashConfig;
pub use self::isolate::IsolateConfig;
pub use self::output::OutputConfig;
pub use self::prevention::PreventionConfig;
pub use self::response::{PolicyClause, PossibleAction, ResponseConfig};
pub use self::risk::{PointsConfig, RiskConfig, ThresholdConfig, Thresholds};
pub use self::rules::{OverBudget, RulesConfig, UndeterminedPolicy};
pub use self::sensor::{RingBytes, SensorConfig, WatchedKind};
pub use self::store::StoreConfig;
pub use self::telemetry::{Extent, Telemetry};
pub use self::throttle::ThrottleConfig;
pub use self::transport::{TransportConfig, TransportUrl};

/// The whole configuration.
///
/// ```
/// use std::path::Path;
/// use lavender_agent::config;
///
/// let text = "[agent]\ntenant_id = \"acme\"\n[response]\ndry_run = true\n";
/// let config = config::parse(text, Path::new("lavender.toml")).unwrap();
/// assert_eq!(config.agent.tenant_id.as_str(), "acme");
/// assert_eq!(config.agent.heartbeat_interval_secs.get(), 15);
///
/// let error = config::parse("[response]\ndryrun = true\n", Path::new("lavender.toml")).unwrap_err();
/// assert!(error.to_string().starts_with("lavender.toml:2:1: unknown field `dryrun`"), "{error}");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[agent]`: who this agent is.
    pub agent: AgentConfig,
    /// `[transport]`: how telemetry and alerts reach the fleet, where there is one.
    pub transport: TransportConfig,
    /// `[sensor]`: what of the kernel is watched, and with how much memory.
    pub sensor: SensorConfig,
    /// `[rules]`: which rules.
    pub rules: RulesConfig,
    /// `[correlation]`: how detections are correlated.
    pub correlation: CorrelationConfig,
    /// `[filters]`: the lists that the built-in rules go by.
    pub filters: FiltersConfig,
    /// `[risk]`: how much gathers against a process tree, and when that is an alert.
    pub risk: RiskConfig,
    /// `[alerts]`: what becomes of alerts that repeat.
    pub alerts: AlertsConfig,
    /// `[response]`: what is done about an alert.
    pub response: ResponseConfig,
    /// `[prevention]`: what the kernel kills or refuses by itself.
    pub prevention: PreventionConfig,
    /// `[evidence]`: what is kept of what came before an alert.
    pub evidence: EvidenceConfig,
    /// `[canary]`: the agent's own act, which its sensor must see.
    pub canary: CanaryConfig,
    /// `[commands]`: whose commands are taken.
    pub commands: CommandsConfig,
    /// `[store]`: where events and alerts are kept.
    pub store: StoreConfig,
    /// `[control_plane]`: the dashboard and its API.
    pub control_plane: ControlPlaneConfig,
    /// `[output]`: what is printed.
    pub output: OutputConfig,
}

//! `[response]`: what is done about an alert.

use std::num::NonZeroU32;
use std::sync::Arc;

use lavender_core::{ResponseAction, Severity};
use lavender_detect::ResponseClause;
use serde::{Deserialize, Serialize};

use super::{AbsolutePath, IsolateConfig, ProgramPath};

/// `[response]`: what is done about an alert. Nothing, unless `policy` or `rule_actions` say so and `dry_run` is
/// turned off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseConfig {
    /// Only say what would be done.
    pub dry_run: bool,
    /// What rules may ask for by themselves (`response` under their key `lavender`).
    pub rule_actions: Vec<PossibleAction>,
    /// Programs whose processes are never acted upon, by absolute path: who runs the file is protected, not who
    /// has the name.
    pub protected_executables: Vec<ProgramPath>,
    /// Files, and folders with all that is in them, that are never put into quarantine.
    pub protected_paths: Vec<AbsolutePath>,
    /// How much is done in a minute at the most; a tree of processes counts as one.
    pub max_per_minute: NonZeroU32,
    /// More responses than this within `breaker_window_secs` open the circuit breaker.
    pub breaker_responses: NonZeroU32,
    /// Over how long the circuit breaker counts.
    pub breaker_window_secs: NonZeroU32,
    /// How long it stays open; nothing is done then.
    pub breaker_open_secs: NonZeroU32,
    /// Where files are put.
    pub quarantine_dir: AbsolutePath,
    /// `[response.isolate]`: what is cut off the network.
    pub isolate: IsolateConfig,
    /// `[[response.policy]]`: what is done about which alerts.
    pub policy: Vec<PolicyClause>,
}

/// `[[response.policy]]`: what is done about alerts that fit. All conditions that are set must hold; of a list,
/// one entry is enough.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct PolicyClause {
    actions: Vec<PossibleAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_severity: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_score: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    techniques: Vec<Arc<str>>,
}

/// A clause as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    actions: Vec<PossibleAction>,
    #[serde(default)]
    min_severity: Option<Severity>,
    #[serde(default)]
    min_score: Option<u32>,
    #[serde(default)]
    rules: Vec<Arc<str>>,
    #[serde(default)]
    tags: Vec<Arc<str>>,
    #[serde(default)]
    techniques: Vec<Arc<str>>,
}

impl TryFrom<Unchecked> for PolicyClause {
    type Error = String;

    fn try_from(written: Unchecked) -> Result<Self, String> {
        let Unchecked { actions, min_severity, min_score, rules, tags, techniques } = written;
        let clause = Self { actions, min_severity, min_score, rules, tags, techniques };
        clause.to_clause().check().map_err(|fault| fault.to_string())?;
        Ok(clause)
    }
}

impl PolicyClause {
    /// The same as the decision takes it.
    pub fn to_clause(&self) -> ResponseClause {
        ResponseClause {
            min_severity: self.min_severity,
            min_score: self.min_score,
            rules: self.rules.clone(),
            tags: self.tags.clone(),
            techniques: self.techniques.clone(),
            ..ResponseClause::new(self.actions.iter().map(|action| action.0))
        }
    }
}

/// An action that this agent can carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct PossibleAction(ResponseAction);

impl From<PossibleAction> for ResponseAction {
    fn from(action: PossibleAction) -> Self {
        action.0
    }
}

impl From<PossibleAction> for &'static str {
    fn from(action: PossibleAction) -> Self {
        action.0.as_str()
    }
}

impl TryFrom<String> for PossibleAction {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self).map_err(|error| {
            let possible = ResponseAction::ALL.map(ResponseAction::as_str).join(", ");
            format!("{error}: use one of {possible}")
        })
    }
}

/// What a host needs to stay reachable, and what keeps its containers.
const PROTECTED_EXECUTABLES: [&str; 18] = [
    "/usr/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-journald",
    "/usr/lib/systemd/systemd-logind",
    "/usr/lib/systemd/systemd-networkd",
    "/usr/lib/systemd/systemd-resolved",
    "/usr/lib/systemd/systemd-udevd",
    "/usr/sbin/init",
    "/usr/sbin/sshd",
    "/usr/bin/dbus-daemon",
    "/usr/bin/sudo",
    "/usr/bin/su",
    "/usr/bin/login",
    "/usr/bin/conmon",
    "/usr/bin/containerd",
    "/usr/bin/containerd-shim-runc-v2",
    "/usr/bin/crio",
    "/usr/bin/dockerd",
    "/usr/bin/kubelet",
];

impl Default for ResponseConfig {
    fn default() -> Self {
        let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            dry_run: true,
            rule_actions: Vec::new(),
            protected_executables: PROTECTED_EXECUTABLES
                .into_iter()
                .flat_map(|path| ProgramPath::try_from(path.to_owned()))
                .collect(),
            protected_paths: lavender_bpf::PROTECTED_PATHS.map(AbsolutePath::known).into(),
            max_per_minute: number(10),
            breaker_responses: number(30),
            breaker_window_secs: number(300),
            breaker_open_secs: number(900),
            quarantine_dir: AbsolutePath::known("/var/lib/lavender/quarantine"),
            isolate: IsolateConfig::default(),
            policy: Vec::new(),
        }
    }
}

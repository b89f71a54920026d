//! `lavender-agent doctor --plan`: which events leave the kernel, and for which rules.

use std::fmt::Write as _;

use lavender_bpf::support::{Capabilities, Probe};
use lavender_core::event::EventKind;
use lavender_core::{Selection, SensorPlan};
use lavender_detect::{BlockedRule, HostCapabilities, RuleSet, blocked_rules};
use serde::Serialize;

use crate::canary;
use crate::cli::DoctorArgs;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::plan::Policy;
use crate::rules::RuleSource;

/// So many rules are named for each kind, and so many keys.
const NAMED: usize = 3;

/// Which events leave the kernel, and for which rules.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    kinds: Vec<PlannedKind>,
    /// The rules that no event on this host can make match.
    blocked: Vec<BlockedRule>,
}

/// A kind of events.
#[derive(Debug, Serialize)]
struct PlannedKind {
    kind: EventKind,
    /// Whether any leave the kernel.
    wanted: bool,
    /// Whether the configuration asks for all of them, or they are always there: process life.
    all_by_policy: bool,
    /// Which of them are delivered since they may be done against the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    against_agent: Option<AgainstAgent>,
    /// Which of them are delivered to show the agent's canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<Selection>,
    /// The ids of the rules that need any.
    rules: Vec<String>,
    /// What of them those rules need. Without one, and with rules: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<Selection>,
}

/// Which events of a kind are delivered since they may be done against the agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum AgainstAgent {
    /// Those of which its own process is the target.
    Aimed,
    /// These; all of them where nobody can tell which are.
    Some(Selection),
}

fn against_agent(kind: EventKind, policy: &Policy) -> Option<AgainstAgent> {
    if is_aimed(kind) {
        return Some(AgainstAgent::Aimed);
    }
    policy.against_agent().selection(kind).cloned().map(AgainstAgent::Some)
}

/// Whether sensors tell if such an event is done to the agent's own process.
const fn is_aimed(kind: EventKind) -> bool {
    matches!(kind, EventKind::Signal | EventKind::Ptrace | EventKind::ProcessVmWrite)
}

impl PlanReport {
    /// As configured, on this host.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`] when the configuration or a rule is wrong.
    pub fn new(args: &DoctorArgs, host: &Capabilities) -> Result<Self, Failure> {
        let (config, file) = config::load(args.config.config.as_deref())?;
        let rules = RuleSource::new(&config, &args.rules).load()?;
        let watched = &config.sensor.kinds;
        let is_watched = |kind: EventKind| {
            is_process_life(kind)
                || watched.is_empty()
                || watched.iter().any(|one| kind == (*one).into())
        };
        let asked = config.sensor.telemetry.with(SensorPlan::default());
        let canary = canary::canary(&config)?;
        let policy = Policy::new(&config, (file.as_deref(), &args.rules), canary.as_ref());
        let plan = policy.plan(&rules);
        let needed = rules.sensor_plan();
        let each: Vec<_> =
            rules.iter().map(|rule| (&rule.meta().id, rules.sensor_plan_of(rule))).collect();
        let kinds = Probe::ALL.into_iter().filter_map(Probe::kind).map(|kind| PlannedKind {
            kind,
            wanted: is_watched(kind) && (plan.wants(kind) || is_aimed(kind)),
            all_by_policy: is_process_life(kind)
                || asked.selection(kind).is_some_and(Selection::is_all),
            against_agent: against_agent(kind, &policy),
            canary: policy.canary().and_then(|canary| canary.selection(kind)).cloned(),
            rules: if is_process_life(kind) {
                Vec::new()
            } else {
                let needing = each.iter().filter(|(_, plan)| plan.wants(kind));
                needing.map(|(id, _)| id.to_string()).collect()
            },
            needed: needed.selection(kind).cloned(),
        });
        let kinds = kinds.collect();
        Ok(Self { kinds, blocked: blocked(&rules, host, is_watched)? })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.kinds {
            let wanted = match (row.wanted, row.all_by_policy, &row.needed) {
                (false, ..) => "not watched".to_owned(),
                (true, true, _) => "all".to_owned(),
                (true, false, Some(needed)) => shown(needed),
                (true, false, None) if row.against_agent.is_none() => "the canary's".to_owned(),
                (true, false, None) => "what may be done against the agent".to_owned(),
            };
            let _ = writeln!(text, "{:<16} {wanted}", row.kind.as_str());
            if let Some(needed) = row.needed.as_ref().filter(|_| row.all_by_policy) {
                let _ = writeln!(text, "{:<16}   of which rules need: {}", "", shown(needed));
            }
            if let (true, false, Some(against)) =
                (row.wanted, row.all_by_policy, &row.against_agent)
            {
                let shown = match against {
                    AgainstAgent::Aimed => "those aimed at its process".to_owned(),
                    AgainstAgent::Some(selection) => shown(selection),
                };
                let _ = writeln!(text, "{:<16}   against the agent: {shown}", "");
            }
            if let (true, false, Some(canary)) = (row.wanted, row.all_by_policy, &row.canary) {
                let _ = writeln!(text, "{:<16}   the canary's: {}", "", shown(canary));
            }
            if !row.rules.is_empty() {
                let (count, some) = (row.rules.len(), some_of(row.rules.iter()));
                let _ = writeln!(text, "{:<16}   by {count} of the rules: {some}", "");
            }
        }
        let _ = writeln!(text, "\n{} of the rules cannot match on this host", self.blocked.len());
        for rule in &self.blocked {
            let reasons: Vec<String> = rule.reasons.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "{} {}: {}", rule.id, rule.title, reasons.join("; "));
        }
        text
    }
}

const fn is_process_life(kind: EventKind) -> bool {
    matches!(kind, EventKind::Exec | EventKind::Fork | EventKind::Exit)
}

/// The rules that cannot match for want of a probe, or since its kind is not to be watched.
fn blocked(
    rules: &RuleSet,
    host: &Capabilities,
    is_watched: impl Fn(EventKind) -> bool,
) -> Result<Vec<BlockedRule>, Failure> {
    let failed = |error: serde_json::Error| Failure::new(Exit::Failure, error);
    let mut host = host.clone();
    host.probes.retain(|probe| probe.kind.is_none_or(&is_watched));
    let table = serde_json::to_string(&host).map_err(failed)?;
    let table = HostCapabilities::from_json(&table).map_err(failed)?;
    Ok(blocked_rules(rules, &table))
}

fn shown(selection: &Selection) -> String {
    if selection.is_all() {
        return "all".to_owned();
    }
    let mut parts: Vec<String> =
        selection.cases().iter().map(|case| format!("those that {case}")).collect();
    if selection.keys().len() > 0 {
        parts.push(some_of(selection.keys().map(|(key, _)| key)));
    }
    parts.join("; ")
}

/// The first of a list, and how many more there are.
fn some_of<T: ToString>(all: impl ExactSizeIterator<Item = T>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let mut shown: Vec<String> = all.take(NAMED).map(|one| one.to_string()).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

//! Which rules a host cannot fire, and why.

use std::fmt;
use std::sync::Arc;

use lavender_core::event::EventKind;
use serde::{Deserialize, Serialize};

use super::audit;
use super::correlated::add_blocked;
use crate::event::{AuditView, EventField, Route};
use crate::logsource::LogSource;
use crate::outlook::{Possible, outlook};
use crate::ruleset::{Rule, RuleSet};
use crate::truth::Truth;

/// Which kinds of events a host delivers: the capability table that `lavender-agent doctor --json` prints.
///
/// ```
/// use lavender_detect::HostCapabilities;
///
/// let host = HostCapabilities::from_json(r#"{"missing":[],"probes":[
///     {"probe":"process_exec","kind":"exec","status":"available"},
///     {"probe":"file_open","kind":"file_open","status":"unavailable","reason":"no memory"}]}"#)?;
/// assert!(host.unavailable("exec".parse()?).is_none());
/// assert_eq!(host.unavailable("file_open".parse()?), Some("no memory"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostCapabilities {
    probes: Vec<Probe>,
}

#[derive(Deserialize)]
struct Table {
    probes: Vec<Probe>,
}

#[derive(Clone, Debug, Deserialize)]
struct Probe {
    #[serde(default)]
    kind: Option<EventKind>,
    status: Status,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Available,
    Unavailable,
}

impl HostCapabilities {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// When it is not JSON of that shape.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let Table { probes } = serde_json::from_str(text)?;
        Ok(Self { probes })
    }

    /// Why events of a kind are not delivered here; `None` when they are.
    pub fn unavailable(&self, kind: EventKind) -> Option<&str> {
        let mut delivering = self.probes.iter().filter(|probe| probe.kind == Some(kind)).peekable();
        if delivering.peek().is_none() {
            return Some("the table lists no probe for it");
        }
        let mut reason = None;
        for probe in delivering {
            match probe.status {
                Status::Available => return None,
                Status::Unavailable => reason = probe.reason.as_deref().or(reason),
            }
        }
        Some(reason.unwrap_or("its probe is not available"))
    }
}

/// A rule that cannot fire on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockedRule {
    /// Its id.
    pub id: Arc<str>,
    /// Its title.
    pub title: Arc<str>,
    /// Its file.
    pub file: Arc<str>,
    /// The line on which it begins.
    pub line: u32,
    /// Why: one reason for each kind of event that it is for, or the one that goes for all.
    pub reasons: Vec<BlockReason>,
}

/// Why a rule cannot fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockReason {
    /// No event of Lavender's is of the rule's log source.
    LogSource {
        /// The rule's.
        logsource: LogSource,
    },
    /// The events that it is for are not delivered by this host.
    Kind {
        /// Their kind.
        kind: EventKind,
        /// Why, as the capability table says.
        why: String,
    },
    /// It cannot match without fields that the events never have.
    Fields {
        /// Sigma's category of the events.
        category: &'static str,
        /// The fields.
        fields: Vec<Arc<str>>,
    },
    /// It asks for types of audit's records that no event of Lavender's gives.
    RecordType {
        /// The types.
        types: Vec<String>,
    },
    /// It asks for system calls by name that no audit record of Lavender's tells of.
    SystemCall {
        /// The calls.
        calls: Vec<String>,
    },
    /// It cannot match without fields that audit's records of Lavender's events never have.
    AuditFields {
        /// The fields.
        fields: Vec<Arc<str>>,
    },
    /// It looks for keywords in lines of text, and names no category of events.
    Keywords,
    /// A correlation that rules are needed for which cannot fire.
    Members {
        /// The ids of those of its rules that cannot.
        rules: Vec<Arc<str>>,
    },
    /// Its condition contradicts itself.
    Never,
}

impl fmt::Display for BlockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogSource { logsource } => {
                write!(f, "no event of Lavender's is of the log source {logsource}")
            }
            Self::Kind { kind, why } => {
                write!(f, "this host delivers no events of kind {}: {why}", kind.as_str())
            }
            Self::Fields { category, fields } => {
                write!(f, "events of {category} never have {}", fields.join(", "))
            }
            Self::RecordType { types } => {
                write!(f, "no event gives audit records of type {}", types.join(", "))
            }
            Self::SystemCall { calls } => {
                write!(f, "no audit record tells of the system call {}", calls.join(", "))
            }
            Self::AuditFields { fields } => {
                write!(f, "audit records never have {}", fields.join(", "))
            }
            Self::Keywords => f.write_str("it looks for keywords in lines of text"),
            Self::Members { rules } => {
                write!(f, "it correlates rules that cannot fire: {}", rules.join(", "))
            }
            Self::Never => f.write_str("its condition can never hold"),
        }
    }
}

/// The rules that Lavender's events on this host can never make match, in the order of the set, and behind them the
/// correlations that this leaves without what they need. Costs about a microsecond a rule.
pub fn blocked_rules(rules: &RuleSet, host: &HostCapabilities) -> Vec<BlockedRule> {
    let mut found = rules.iter().filter_map(|rule| blocked(rules, rule, host)).collect();
    add_blocked(rules, &mut found);
    found
}

fn blocked(rules: &RuleSet, rule: &Rule, host: &HostCapabilities) -> Option<BlockedRule> {
    let mut reasons = Vec::new();
    let routes = Route::ALL.into_iter();
    for route in routes.filter(|route| rule.logsource().applies_to(&route.logsource())) {
        // One kind of event on which it can match is enough.
        let reason = reason(rules, rule, route, host)?;
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if AuditView::serves(rule.logsource()) {
        reasons.extend(audit::reasons(rules, rule, host)?);
    }
    if reasons.is_empty() {
        reasons.push(BlockReason::LogSource { logsource: rule.logsource().clone() });
    }
    let (meta, file) = (rule.meta(), Arc::clone(rule.file()));
    let (id, title) = (Arc::clone(&meta.id), Arc::clone(&meta.title));
    Some(BlockedRule { id, title, file, line: rule.line(), reasons })
}

/// Why a rule cannot match events of a route; `None` when it can.
fn reason(
    rules: &RuleSet,
    rule: &Rule,
    route: Route,
    host: &HostCapabilities,
) -> Option<BlockReason> {
    let inner = rules.inner();
    if inner.leaves_to_text(rule) {
        return Some(BlockReason::Keywords);
    }
    let kind = route.kind();
    if let Some(why) = host.unavailable(kind) {
        return Some(BlockReason::Kind { kind, why: why.to_owned() });
    }
    let carries = |field: crate::FieldId| {
        EventField::ALL.get(field.index()).is_some_and(|field| route.carries(*field))
    };
    let possible = |field| if carries(field) { Possible::Anything } else { Possible::Absent };
    if outlook(&rule.expression, &inner.predicates, &possible) != Truth::False {
        return None;
    }
    let mut fields = rules.fields_of(rule);
    fields.retain(|name| inner.fields.id(name).is_some_and(|field| !carries(field)));
    if fields.is_empty() {
        return Some(BlockReason::Never);
    }
    Some(BlockReason::Fields { category: route.category(), fields })
}

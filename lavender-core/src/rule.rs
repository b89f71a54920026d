//! What is said of a rule, and what a rule finds.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::id::{AlertId, EventId};
use crate::response::ResponseAction;
use crate::text::ByteString;
use crate::time::Timestamp;

/// How bad it is: Sigma's levels.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth keeping, not worth looking at by itself.
    #[default]
    Informational,
    /// Rarely an attack.
    Low,
    /// Should be looked at.
    Medium,
    /// Should be looked at now.
    High,
    /// An attack.
    Critical,
}

impl Severity {
    /// From the least to the worst.
    pub const ALL: [Self; 5] =
        [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == name)
            .ok_or_else(|| UnknownName { what: "severity", name: name.to_owned() })
    }
}

/// The error of a name that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {what}")]
pub struct UnknownName {
    /// What it should have named.
    pub what: &'static str,
    /// The name.
    pub name: String,
}

/// What a rule says of itself, whatever it looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMeta {
    /// The rule's id: Sigma's `id` where it has one, else derived from its text.
    pub id: Arc<str>,
    /// Its title.
    pub title: Arc<str>,
    /// Its level.
    pub level: Severity,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// Its tags as written: `attack.t1059.004`, `attack.execution`, `cve.2021-4034`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// What else can cause it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub false_positives: Vec<Arc<str>>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Arc<str>>,
    /// What it asks to be done about what it finds: `response` under its key `lavender`. Policy decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response: Vec<ResponseAction>,
    /// What a match adds to the risk score of its process tree: `risk` under its key `lavender`. By its level where
    /// it doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<u32>,
    /// Whether every match is an alert of its own: `suppress: false` under its key `lavender`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsuppressed: bool,
}

impl RuleMeta {
    /// Its tags in the namespace `attack`.
    pub fn attack_tags(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tags.iter().filter(|tag| tag.starts_with("attack."))
    }

    /// The ATT&CK techniques among the tags, as ATT&CK writes them: `T1059`, `T1059.004`.
    pub fn techniques(&self) -> impl Iterator<Item = String> {
        self.tags.iter().filter_map(|tag| {
            let id = tag.strip_prefix("attack.")?;
            let digits = id.strip_prefix(['t', 'T'])?;
            let numeric = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            (numeric && digits.len() >= 4).then(|| format!("T{digits}"))
        })
    }
}

/// A field that made a rule match, and the value that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The field, as the rule names it; empty for a keyword, which looks at every field.
    pub field: Arc<str>,
    /// The value, cut to 1 KiB.
    pub value: ByteString,
}

/// Whether a rule matched, or could not be decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It matched on what was captured whole.
    #[default]
    Certain,
    /// Whether it matches depends on fields that are truncated or could not be read.
    Undetermined {
        /// Those fields.
        fields: Vec<Arc<str>>,
    },
}

impl Certainty {
    /// Whether it matched for certain.
    pub const fn is_certain(&self) -> bool {
        matches!(self, Self::Certain)
    }
}

/// A rule's match on an event, with what it matched on.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The rule.
    pub rule: Arc<RuleMeta>,
    /// The event.
    pub event: Arc<Event>,
    /// Why: the fields and values.
    pub evidence: Vec<Evidence>,
    /// Whether it is a match or could not be decided.
    pub certainty: Certainty,
    /// What a correlation found it in, or what is new about it; `None` for any other match on a single event.
    pub correlated: Option<Box<Correlated>>,
}

/// What a correlation found, or what is new: what it rests on beyond the event that it is raised with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlated {
    /// What the id of the alert is made of, with the agent: the same for the same cause, in whatever order events come.
    pub id: AlertId,
    /// When it was complete.
    pub observed_at: Timestamp,
    /// The events that it rests on, the oldest first.
    pub events: Vec<EventId>,
    /// Whether events were lost in its window; of something new, whether it may have been seen before.
    pub incomplete: bool,
}

//! Compiled correlations.

use std::fmt;
use std::sync::Arc;

use lavender_core::RuleMeta;

use super::plan::Plan;
use crate::rule::CorrelationKind;
use crate::schema::FieldId;

/// A correlation of a [`RuleSet`](crate::RuleSet).
pub struct Correlation {
    pub(crate) meta: Arc<RuleMeta>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) kind: CorrelationKind,
    pub(crate) plan: Plan,
    /// The names of what it groups by.
    pub(crate) group_by: Box<[Arc<str>]>,
    /// What it correlates: ids of rules and of other correlations.
    pub(crate) members: Box<[Arc<str>]>,
    /// Where its own firings go.
    pub(crate) parents: Box<[Feed<u16>]>,
    /// Whether it raises alerts: not when it is only there for other correlations.
    pub(crate) raises: bool,
    /// How many correlations it rests on, one on the other.
    pub(crate) level: u8,
    /// The digest of all that it says, by which its state is found.
    pub(crate) content: [u64; 2],
    pub(crate) extension: Option<serde_json::Value>,
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
}

/// How detections of a rule go into a correlation. Columns are what is asked of them: first what is grouped by, then
/// what is looked at, then what is carried along; fields of a record, or places in what was carried along.
#[derive(Clone, Debug)]
pub(crate) struct Feed<C> {
    /// The correlation's number.
    pub(crate) correlation: u32,
    /// Which of its rules it is.
    pub(crate) slot: u16,
    pub(crate) columns: Box<[C]>,
    pub(crate) group: usize,
    pub(crate) values: usize,
}

impl Correlation {
    /// What it says of itself.
    pub const fn meta(&self) -> &Arc<RuleMeta> {
        &self.meta
    }

    /// Sigma's `name`, by which other correlations may call it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its type.
    pub const fn kind(&self) -> CorrelationKind {
        self.kind
    }

    /// The length of its window, in ns.
    pub const fn timespan_ns(&self) -> i64 {
        self.plan.span
    }

    /// The names of the fields or aliases that it groups by; empty for one group of all.
    pub const fn group_by(&self) -> &[Arc<str>] {
        &self.group_by
    }

    /// The ids of the rules and correlations that it correlates, those that end or must be missing among them.
    pub const fn members(&self) -> &[Arc<str>] {
        &self.members
    }

    /// Whether it raises alerts: one that other correlations rest on does only when one of them says `generate`.
    pub const fn raises(&self) -> bool {
        self.raises
    }

    /// What stands under its key `lavender`.
    pub const fn extension(&self) -> Option<&serde_json::Value> {
        self.extension.as_ref()
    }

    /// The file that it was read from.
    pub const fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The line on which it begins.
    pub const fn line(&self) -> u32 {
        self.line
    }
}

impl fmt::Debug for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Correlation")
            .field("id", &self.meta.id)
            .field("kind", &self.kind)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// The correlations of a set of rules.
#[derive(Debug, Default)]
pub(crate) struct Correlations {
    pub(crate) all: Box<[Correlation]>,
    /// By rule number: where its detections go.
    pub(crate) feeds: Box<[Box<[Feed<FieldId>]>]>,
    /// By rule number: whether it is there for correlations only.
    pub(crate) silent: Box<[bool]>,
}

//! Correlation documents: checked one by one; what they refer to is resolved when the set is compiled.

use std::fmt;
use std::sync::Arc;

use lavender_core::RuleMeta;
use rsigma_parser::{ConditionExpr, parse_condition};
use serde::Serialize;

use super::parse::{Context, to_json};
use super::yaml::{Entry, Node, Value};
use super::{condition, novelty};

/// What a correlation asks of the detections in its span: Sigma's correlation types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CorrelationKind {
    /// How many there are.
    EventCount,
    /// How many different values a field has in them, or a tuple of fields.
    ValueCount,
    /// That the rules all matched, in any order.
    Temporal,
    /// That the rules all matched, in the order written.
    TemporalOrdered,
    /// The sum of a field.
    ValueSum,
    /// The average of a field.
    ValueAvg,
    /// A percentile of a field, by nearest rank.
    ValuePercentile,
    /// The median of a field: of an even number of values, the mean of the two in the middle.
    ValueMedian,
}

impl CorrelationKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::EventCount,
        Self::ValueCount,
        Self::Temporal,
        Self::TemporalOrdered,
        Self::ValueSum,
        Self::ValueAvg,
        Self::ValuePercentile,
        Self::ValueMedian,
    ];

    /// Sigma's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventCount => "event_count",
            Self::ValueCount => "value_count",
            Self::Temporal => "temporal",
            Self::TemporalOrdered => "temporal_ordered",
            Self::ValueSum => "value_sum",
            Self::ValueAvg => "value_avg",
            Self::ValuePercentile => "value_percentile",
            Self::ValueMedian => "value_median",
        }
    }

    /// Whether it looks at numbers in a field.
    pub(crate) const fn is_aggregate(self) -> bool {
        matches!(self, Self::ValueSum | Self::ValueAvg | Self::ValuePercentile | Self::ValueMedian)
    }

    /// Whether it matters which of its rules a detection is of.
    pub(crate) const fn is_temporal(self) -> bool {
        matches!(self, Self::Temporal | Self::TemporalOrdered)
    }
}

impl fmt::Display for CorrelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name in a document, and its line.
pub(crate) type Named = (u32, Arc<str>);

/// A name, and which field of each rule it stands for.
pub(crate) type Alias = (Named, Vec<(Named, Arc<str>)>);

/// What is written under `condition`.
#[derive(Debug)]
pub(crate) enum ConditionDocument {
    /// Nothing.
    Absent,
    /// A map of operators to numbers, with the operator's line.
    Bounds(Vec<(u32, Operator, f64)>),
    /// A boolean expression over the rules.
    Expression(u32, ConditionExpr),
}

/// An operator of a condition map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Gt,
    Gte,
    Lt,
    Lte,
    Eq,
    Neq,
}

/// A correlation as written.
#[derive(Debug)]
pub(crate) struct CorrelationDocument {
    pub(crate) meta: RuleMeta,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) kind: CorrelationKind,
    pub(crate) rules: Vec<Named>,
    pub(crate) group_by: Vec<Named>,
    pub(crate) timespan_ns: i64,
    pub(crate) condition: ConditionDocument,
    /// The fields under `condition`.
    pub(crate) fields: Vec<Arc<str>>,
    pub(crate) percentile: Option<f64>,
    pub(crate) aliases: Vec<Alias>,
    pub(crate) generate: bool,
    /// Of its rules, those that raise alerts of their own all the same.
    pub(crate) generating: Vec<Named>,
    pub(crate) until: Vec<Named>,
    pub(crate) missing: Vec<Named>,
    pub(crate) descendants_of: Option<Named>,
    pub(crate) extension: Option<serde_json::Value>,
    /// What decides how state is read: everything but the description.
    pub(crate) content: String,
    pub(crate) line: u32,
}

const KEYS: [&str; 7] =
    ["type", "rules", "group-by", "timespan", "condition", "aliases", "generate"];

impl Context<'_> {
    pub(super) fn correlation(
        &mut self,
        title: Arc<str>,
        node: &Node,
        entry: &Entry,
    ) -> Option<CorrelationDocument> {
        let body = &entry.node;
        let Some(entries) = body.as_map() else {
            self.fault(entry.line, format!("`correlation` is a mapping, not {}", body.kind()));
            return None;
        };
        for other in entries.iter().filter(|entry| !KEYS.contains(&&*entry.key)) {
            let reason = format!("`{}` is no key of a correlation: {}", other.key, KEYS.join(", "));
            self.fault(other.line, reason);
        }
        if let Some((line, reason)) = novelty::misplaced(node) {
            self.fault(line, reason);
        }
        let meta = self.meta(title, node, &["correlation"]);
        let kind = self.correlation_kind(entry.line, body);
        let rules = self.names(body, "rules");
        if rules.is_empty() {
            self.fault(entry.line, "`rules`, the ids or names of what is correlated, is missing");
        }
        let timespan_ns = self.timespan(entry.line, body);
        let (condition, fields, percentile) = self.correlation_condition(body);
        let extension = node.get("lavender");
        let list = |context: &mut Self, key| {
            extension.map(|node| context.names(node, key)).unwrap_or_default()
        };
        let (until, missing) = (list(self, "until"), list(self, "missing"));
        let generating = list(self, "generate");
        let descendants_of = list(self, "descendants_of");
        if descendants_of.len() > 1 {
            self.fault(descendants_of[1].0, "`descendants_of` is one of the rules");
        }
        let document = CorrelationDocument {
            name: self.text(node, "name"),
            rules,
            group_by: self.names(body, "group-by"),
            condition,
            fields,
            percentile,
            aliases: self.aliases(body),
            generate: self.flag(body, "generate") || self.flag(node, "generate"),
            generating,
            until,
            missing,
            descendants_of: descendants_of.into_iter().next(),
            extension: extension.map(to_json),
            content: format!("{}\0{}", to_json(body), extension.map(to_json).unwrap_or_default()),
            line: node.line,
            meta: meta?,
            kind: kind?,
            timespan_ns: timespan_ns?,
        };
        Some(document)
    }

    fn correlation_kind(&mut self, line: u32, body: &Node) -> Option<CorrelationKind> {
        let Some(name) = self.text(body, "type") else {
            self.fault(line, "`type` is missing");
            return None;
        };
        let kind = CorrelationKind::ALL.into_iter().find(|kind| kind.as_str() == &*name);
        if kind.is_none() {
            let names = CorrelationKind::ALL.map(CorrelationKind::as_str).join(", ");
            let line = body.entry("type").map_or(line, |entry| entry.line);
            self.fault(line, format!("`{name}` is not a correlation type: {names}"));
        }
        kind
    }

    /// A name or a list of names.
    fn names(&mut self, node: &Node, key: &str) -> Vec<Named> {
        let Some(value) = node.get(key) else { return Vec::new() };
        let items = match &value.value {
            Value::List(items) => items.as_slice(),
            Value::Null => &[],
            _ => std::slice::from_ref(value),
        };
        let mut names = Vec::new();
        for item in items {
            match item.scalar_text() {
                Some(text) => names.push((item.line, text.into())),
                None => self.fault(item.line, format!("`{key}` must be a list of names")),
            }
        }
        names
    }

    fn flag(&mut self, node: &Node, key: &str) -> bool {
        match node.get(key).map(|node| (node.line, &node.value)) {
            None | Some((_, Value::Null)) => false,
            Some((_, Value::Bool(value))) => *value,
            Some((line, _)) => {
                self.fault(line, format!("`{key}` is `true` or `false`"));
                false
            }
        }
    }

    fn timespan(&mut self, line: u32, body: &Node) -> Option<i64> {
        let Some(text) = self.text(body, "timespan") else {
            self.fault(line, "`timespan` is missing");
            return None;
        };
        let span = read_timespan(text.trim());
        if let Err(reason) = &span {
            let line = body.entry("timespan").map_or(line, |entry| entry.line);
            self.fault(line, format!("`{text}` is not a timespan: {reason}"));
        }
        span.ok()
    }

    fn correlation_condition(
        &mut self,
        body: &Node,
    ) -> (ConditionDocument, Vec<Arc<str>>, Option<f64>) {
        let nothing = |condition| (condition, Vec::new(), None);
        let Some(entry) = body.entry("condition") else {
            return nothing(ConditionDocument::Absent);
        };
        match &entry.node.value {
            Value::Text(text) => match parse_condition(&text.replace('\r', " ")) {
                Ok(expression) => {
                    nothing(ConditionDocument::Expression(entry.node.line, expression))
                }
                Err(error) => {
                    self.fault(entry.node.line, condition::explain(&error));
                    nothing(ConditionDocument::Absent)
                }
            },
            Value::Map(entries) => self.condition_map(&entry.node, entries),
            _ => {
                let reason = format!(
                    "`condition` is a mapping of operators to numbers, or an expression, not {}",
                    entry.node.kind()
                );
                self.fault(entry.line, reason);
                nothing(ConditionDocument::Absent)
            }
        }
    }

    fn condition_map(
        &mut self,
        node: &Node,
        entries: &[Entry],
    ) -> (ConditionDocument, Vec<Arc<str>>, Option<f64>) {
        let fields = self.names(node, "field").into_iter().map(|(_, name)| name).collect();
        let (mut bounds, mut percentile) = (Vec::new(), None);
        for entry in entries {
            let operator = match entry.key.as_str() {
                "field" => continue,
                "percentile" => None,
                "gt" => Some(Operator::Gt),
                "gte" => Some(Operator::Gte),
                "lt" => Some(Operator::Lt),
                "lte" => Some(Operator::Lte),
                "eq" => Some(Operator::Eq),
                "neq" => Some(Operator::Neq),
                other => {
                    let reason = format!(
                        "`{other}` is no key of a condition: gt, gte, lt, lte, eq, neq, field, percentile"
                    );
                    self.fault(entry.line, reason);
                    continue;
                }
            };
            let number = match &entry.node.value {
                Value::Int(value) => *value as f64,
                Value::Float(value) => *value,
                _ => {
                    self.fault(entry.line, format!("`{}` must be a number", entry.key));
                    continue;
                }
            };
            match operator {
                Some(operator) => bounds.push((entry.line, operator, number)),
                None if (0.0..=100.0).contains(&number) => percentile = Some(number),
                None => self.fault(entry.line, "`percentile` is between 0 and 100"),
            }
        }
        (ConditionDocument::Bounds(bounds), fields, percentile)
    }

    fn aliases(&mut self, body: &Node) -> Vec<Alias> {
        let Some(entry) = body.entry("aliases") else { return Vec::new() };
        let mut aliases = Vec::new();
        for alias in entry.node.as_map().unwrap_or_default() {
            let mut fields = Vec::new();
            for field in alias.node.as_map().unwrap_or_default() {
                match field.node.scalar_text() {
                    Some(text) => {
                        fields.push(((field.line, field.key.as_str().into()), text.into()))
                    }
                    None => self.fault(field.line, "an alias maps rules to field names"),
                }
            }
            if fields.is_empty() {
                self.fault(alias.line, "an alias is a mapping of rules to field names");
            }
            aliases.push(((alias.line, alias.key.as_str().into()), fields));
        }
        if aliases.is_empty() {
            self.fault(entry.line, "`aliases` is a mapping of names to rules and their fields");
        }
        aliases
    }
}

/// A number and a unit, in ns. A month or a year is no fixed time, and pySigma's `M` and `y` are not Sigma's.
pub(super) fn read_timespan(text: &str) -> Result<i64, &'static str> {
    const UNITS: &str = "write a number and s, m, h, d or w";
    let unit = text.chars().last().ok_or(UNITS)?;
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(UNITS),
    };
    let number: i64 = text[..text.len() - 1].trim().parse().map_err(|_| UNITS)?;
    if number <= 0 {
        return Err("it must be longer than nothing");
    }
    // What is longer than a third of what 64 bits of ns hold (97 years) has no place in sums of times.
    number
        .checked_mul(seconds)
        .and_then(|seconds| seconds.checked_mul(1_000_000_000))
        .filter(|ns| *ns <= i64::MAX / 3)
        .ok_or("it is too long")
}

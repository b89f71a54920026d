//! Why a rule matched, or what was missing.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use lavender_core::{ByteString, Evidence};
use serde::Serialize;

use crate::compile::{Expression, Predicate, PredicateId, Predicates, Subject, Test};
use crate::evaluate::{Buffers, decide};
use crate::record::value::TextBuffer;
use crate::record::{FieldValue, OneValue, Record};
use crate::schema::Fields;
use crate::truth::Truth;

/// A value in evidence and explanations is cut to this many bytes.
const VALUE_BYTES: usize = 1_024;
/// Of a list of values or patterns, so many are shown.
const SHOWN: usize = 8;

/// How a rule's condition comes out on a record, part by part.
///
/// Shown, it is a tree in which each line says whether it holds, what was tested, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// The rule is always, or never, true.
    Constant {
        /// Which.
        truth: Truth,
    },
    /// All parts must hold.
    All {
        /// Whether they do.
        truth: Truth,
        /// The parts.
        parts: Vec<Explanation>,
    },
    /// Any part will do.
    Any {
        /// Whether any does.
        truth: Truth,
        /// The parts.
        parts: Vec<Explanation>,
    },
    /// A test on a field.
    Test {
        /// Whether it holds, negation included.
        truth: Truth,
        /// The field; empty for keywords.
        field: Arc<str>,
        /// Whether the rule wants the test to fail.
        negated: bool,
        /// What is tested, in words.
        wanted: String,
        /// The value in the record, cut to 1 KiB; `None` where there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        found: Option<ByteString>,
    },
}

impl Explanation {
    /// Whether this part holds.
    pub const fn truth(&self) -> Truth {
        match self {
            Self::Constant { truth }
            | Self::All { truth, .. }
            | Self::Any { truth, .. }
            | Self::Test { truth, .. } => *truth,
        }
    }

    /// The tests that do not hold and without which the rule cannot match: what was missing. Of alternatives, only
    /// those of the one that came closest.
    pub fn missing(&self) -> Vec<&Self> {
        match self {
            part if part.truth() == Truth::True => Vec::new(),
            Self::All { parts, .. } => parts.iter().flat_map(Self::missing).collect(),
            Self::Any { parts, .. } => {
                parts.iter().map(Self::missing).min_by_key(Vec::len).unwrap_or_default()
            }
            part => vec![part],
        }
    }

    /// The fields and values that made the rule match: of the tests that hold and that it rests on, each field
    /// once. A test that wants something not to be there is no evidence.
    pub fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        self.collect(&mut evidence);
        evidence
    }

    fn collect(&self, evidence: &mut Vec<Evidence>) {
        if self.truth() == Truth::False {
            return;
        }
        match self {
            Self::Constant { .. } => {}
            Self::All { parts, .. } | Self::Any { parts, .. } => {
                parts.iter().for_each(|part| part.collect(evidence));
            }
            Self::Test { field, negated, found, .. } => {
                if let (false, Some(value)) = (negated, found)
                    && !evidence.iter().any(|one| one.field == *field && one.value == *value)
                {
                    evidence.push(Evidence { field: Arc::clone(field), value: value.clone() });
                }
            }
        }
    }

    /// The fields that could not be decided on.
    pub fn undetermined(&self) -> Vec<Arc<str>> {
        let mut fields = Vec::new();
        self.collect_undetermined(&mut fields);
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    fn collect_undetermined(&self, fields: &mut Vec<Arc<str>>) {
        if self.truth() != Truth::Undetermined {
            return;
        }
        match self {
            Self::Constant { .. } => {}
            Self::All { parts, .. } | Self::Any { parts, .. } => {
                parts.iter().for_each(|part| part.collect_undetermined(fields));
            }
            Self::Test { field, .. } => fields.push(Arc::clone(field)),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let mark = match self.truth() {
            Truth::True => '+',
            Truth::False => '-',
            Truth::Undetermined => '?',
        };
        write!(f, "{:1$}{mark} ", "", depth * 2)?;
        match self {
            Self::Constant { truth } => writeln!(f, "always {}", *truth == Truth::True),
            Self::All { parts, .. } | Self::Any { parts, .. } => {
                let all = matches!(self, Self::All { .. });
                writeln!(f, "{}", if all { "all of" } else { "any of" })?;
                parts.iter().try_for_each(|part| part.show(f, depth + 1))
            }
            Self::Test { field, negated, wanted, found, .. } => {
                let field = if field.is_empty() { "any field" } else { field };
                let not = if *negated { "not " } else { "" };
                write!(f, "{not}{field} {wanted}")?;
                match found {
                    Some(value) => writeln!(f, "; found {:?}", value.to_string()),
                    None => writeln!(f, "; found nothing"),
                }
            }
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, 0)
    }
}

/// Evaluates an expression part by part.
pub(crate) fn explain<R: Record + ?Sized>(
    expression: &Expression,
    predicates: &Predicates,
    fields: &Fields,
    record: &R,
) -> Explanation {
    Explainer { predicates, fields, record, buffers: Buffers::default() }.part(expression)
}

struct Explainer<'a, R: ?Sized> {
    predicates: &'a Predicates,
    fields: &'a Fields,
    record: &'a R,
    buffers: Buffers,
}

impl<R: Record + ?Sized> Explainer<'_, R> {
    fn part(&mut self, expression: &Expression) -> Explanation {
        match expression {
            Expression::Constant(value) => Explanation::Constant { truth: (*value).into() },
            Expression::Test(id) => self.test(*id, false),
            Expression::NotTest(id) => self.test(*id, true),
            Expression::All(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| self.part(part)).collect();
                let truth = parts.iter().map(Explanation::truth).fold(Truth::True, Truth::and);
                Explanation::All { truth, parts }
            }
            Expression::Any(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| self.part(part)).collect();
                let truth = parts.iter().map(Explanation::truth).fold(Truth::False, Truth::or);
                Explanation::Any { truth, parts }
            }
        }
    }

    fn test(&mut self, id: PredicateId, negated: bool) -> Explanation {
        let mut cache = None;
        let truth = decide(id, self.predicates, self.record, &mut cache, &mut self.buffers);
        let predicate = self.predicates.get(id);
        let field = match predicate.subject {
            Subject::Field(field) => Arc::clone(self.fields.name(field)),
            Subject::AnyValue => "".into(),
        };
        Explanation::Test {
            truth: if negated { !truth } else { truth },
            field,
            negated,
            wanted: self.wanted(predicate),
            found: self.found(id, predicate, truth),
        }
    }

    /// The value that was looked at; of several, the one that passed.
    fn found(
        &mut self,
        id: PredicateId,
        predicate: &Predicate,
        truth: Truth,
    ) -> Option<ByteString> {
        let mut found = None;
        let record = self.record;
        match predicate.subject {
            Subject::Field(field) => match record.value(field) {
                FieldValue::List => {
                    let _ = record
                        .elements(field, &mut |value| self.keep(id, truth, &value, &mut found));
                }
                value => found = text_of(&value),
            },
            Subject::AnyValue if truth == Truth::True => {
                let _ = record.each_value(&mut |value| self.keep(id, truth, &value, &mut found));
            }
            Subject::AnyValue => {}
        }
        found
    }

    fn keep(
        &mut self,
        id: PredicateId,
        truth: Truth,
        value: &FieldValue<'_>,
        found: &mut Option<ByteString>,
    ) -> ControlFlow<()> {
        let single = OneValue(value);
        let passes = decide(id, self.predicates, &single, &mut None, &mut self.buffers) == truth;
        if passes || found.is_none() {
            *found = text_of(value).or(found.take());
        }
        if passes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn wanted(&self, predicate: &Predicate) -> String {
        let list = |shown: Vec<String>, all: usize| {
            let more =
                if all > SHOWN { format!(" or {} more", all - SHOWN) } else { String::new() };
            format!("{}{more}", shown.join(" or "))
        };
        match &predicate.test {
            Test::Patterns(patterns) => {
                let shown =
                    patterns.iter().take(SHOWN).map(|p| format!("{:?}", p.show())).collect();
                format!("like {}", list(shown, patterns.len()))
            }
            Test::Regex(source) => format!("matching /{}/", source.pattern),
            Test::Networks(networks) => {
                let shown = networks.iter().take(SHOWN).map(ToString::to_string).collect();
                format!("in {}", list(shown, networks.len()))
            }
            Test::Compare(comparison, number) => format!("{} {number}", comparison.as_str()),
            Test::TimePart(part, comparison, number) => {
                format!("{} {} {number}", part.as_str(), comparison.as_str())
            }
            Test::Null => "null or absent".to_owned(),
            Test::Present => "present".to_owned(),
            Test::FieldRef { other, relation, .. } => {
                format!("{relation:?} the value of {}", self.fields.name(*other))
            }
        }
    }
}

fn text_of(value: &FieldValue<'_>) -> Option<ByteString> {
    let mut buffer = TextBuffer::new();
    let text = value.text(&mut buffer)?;
    Some(ByteString::from(&text[..text.len().min(VALUE_BYTES)]))
}

//! Comparison of numbers.

use std::cmp::Ordering;

use crate::record::FieldValue;

/// A number as written in a rule or found in a field. Integers stay exact.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i128),
    Float(f64),
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        }
    }
}

impl Eq for Number {}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Int(value) => value.hash(state),
            Self::Float(value) => value.to_bits().hash(state),
        }
    }
}

/// Sigma's `lt`, `lte`, `gt`, `gte`, and equality for the parts of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

impl Comparison {
    pub(crate) const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Equal => ordering.is_eq(),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "lt",
            Self::LessOrEqual => "lte",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "gte",
            Self::Equal => "equals",
        }
    }
}

impl Number {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        if let Ok(value) = text.parse::<i64>() {
            return Some(Self::Int(i128::from(value)));
        }
        if let Ok(value) = text.parse::<u64>() {
            return Some(Self::Int(i128::from(value)));
        }
        // `inf` and `nan` are words before they are numbers.
        text.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b)).then_some(())?;
        text.parse().ok().map(Self::Float)
    }

    /// The number in a field: a number, or a text that reads as one.
    pub(crate) fn of(value: &FieldValue<'_>) -> Option<Self> {
        match value {
            FieldValue::Int(value) => Some(Self::Int(i128::from(*value))),
            FieldValue::Uint(value) => Some(Self::Int(i128::from(*value))),
            FieldValue::Float(value) => Some(Self::Float(*value)),
            FieldValue::Text(text) => Self::parse(text),
            FieldValue::Short(text) => Self::parse(text.as_bytes()),
            _ => None,
        }
    }

    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Int(a), Self::Float(b)) => (a as f64).partial_cmp(&b),
            (Self::Float(a), Self::Int(b)) => a.partial_cmp(&(b as f64)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

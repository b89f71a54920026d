//! Expressions over predicates.

use rsigma_parser::{ConditionExpr, Quantifier};

use super::predicate::PredicateId;
use super::{Lowering, item};
use crate::rule::{Detection, Search, names_matching};

/// A rule's condition, with negation only at the leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Constant(bool),
    Test(PredicateId),
    NotTest(PredicateId),
    All(Box<[Expression]>),
    Any(Box<[Expression]>),
}

impl Expression {
    pub(crate) fn all(parts: Vec<Self>) -> Self {
        Self::joined(parts, true)
    }

    pub(crate) fn any(parts: Vec<Self>) -> Self {
        Self::joined(parts, false)
    }

    /// Joins parts by `and` (for which `true` is neutral) or by `or`, leaving out what changes nothing.
    fn joined(parts: Vec<Self>, neutral: bool) -> Self {
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Constant(value) if value == neutral => {}
                Self::Constant(_) => return part,
                Self::All(inner) if neutral => kept.extend(inner),
                Self::Any(inner) if !neutral => kept.extend(inner),
                part => kept.push(part),
            }
        }
        match kept.pop() {
            None => Self::Constant(neutral),
            Some(only) if kept.is_empty() => only,
            Some(last) => {
                kept.push(last);
                if neutral { Self::All(kept.into()) } else { Self::Any(kept.into()) }
            }
        }
    }

    pub(crate) fn negate(self) -> Self {
        let negate_each = |parts: Box<[Self]>| parts.into_iter().map(Self::negate).collect();
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Test(id) => Self::NotTest(id),
            Self::NotTest(id) => Self::Test(id),
            Self::All(parts) => Self::Any(negate_each(parts)),
            Self::Any(parts) => Self::All(negate_each(parts)),
        }
    }

    /// Gives `visit` every predicate in it.
    pub(crate) fn each_test(&self, visit: &mut impl FnMut(PredicateId)) {
        match self {
            Self::Constant(_) => {}
            Self::Test(id) | Self::NotTest(id) => visit(*id),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.each_test(visit));
            }
        }
    }
}

/// The expression of a detection: its conditions are alternatives.
pub(crate) fn lower_detection(detection: &Detection, lowering: &mut Lowering<'_>) -> Expression {
    let mut searches = Vec::with_capacity(detection.searches.len());
    for (name, search) in &detection.searches {
        searches.push((&**name, lower_search(search, lowering)));
    }
    Expression::any(
        detection
            .conditions
            .iter()
            .map(|condition| lower_condition(condition, detection, &searches))
            .collect(),
    )
}

fn lower_search(search: &Search, lowering: &mut Lowering<'_>) -> Expression {
    match search {
        Search::All(items) => {
            Expression::all(items.iter().map(|item| item::lower(item, lowering)).collect())
        }
        Search::Any(parts) => {
            Expression::any(parts.iter().map(|part| lower_search(part, lowering)).collect())
        }
    }
}

fn lower_condition(
    condition: &ConditionExpr,
    detection: &Detection,
    searches: &[(&str, Expression)],
) -> Expression {
    let each = |parts: &[ConditionExpr]| {
        parts.iter().map(|part| lower_condition(part, detection, searches)).collect()
    };
    match condition {
        ConditionExpr::And(parts) => Expression::all(each(parts)),
        ConditionExpr::Or(parts) => Expression::any(each(parts)),
        ConditionExpr::Not(inner) => lower_condition(inner, detection, searches).negate(),
        // Names were checked when the condition was read.
        ConditionExpr::Identifier(name) => searches
            .iter()
            .find(|(search, _)| search == name)
            .map_or(Expression::Constant(false), |(_, expression)| expression.clone()),
        ConditionExpr::Selector { quantifier, pattern } => {
            let parts = names_matching(pattern, &detection.searches)
                .filter_map(|index| searches.get(index))
                .map(|(_, expression)| expression.clone())
                .collect();
            match quantifier {
                Quantifier::All => Expression::all(parts),
                _ => Expression::any(parts),
            }
        }
    }
}

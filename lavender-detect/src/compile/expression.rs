//! Expressions over predicates.

use std::collections::HashMap;

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

    /// How many tests are in it.
    fn tests(&self) -> usize {
        let mut count = 0;
        self.each_test(&mut |_| count += 1);
        count
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

/// How many times the tests that are written in its searches a condition may make of them, by naming searches more
/// than once. Beyond some thousands of tests, more would let a small file fill the memory.
const MAX_REPEATED: usize = 4;
const ALWAYS_ALLOWED: usize = 4_096;

/// The expression of a detection: its conditions are alternatives.
pub(crate) fn lower_detection(detection: &Detection, lowering: &mut Lowering<'_>) -> Expression {
    let mut by_name = HashMap::with_capacity(detection.searches.len());
    let mut expressions = Vec::with_capacity(detection.searches.len());
    for (number, (name, search)) in detection.searches.iter().enumerate() {
        by_name.insert(&**name, number);
        expressions.push(lower_search(search, lowering));
    }
    let searches = Searches { detection, by_name, expressions };
    let sizes: Vec<usize> = searches.expressions.iter().map(Expression::tests).collect();
    let written: usize = sizes.iter().sum();
    let most = written.saturating_mul(MAX_REPEATED).max(ALWAYS_ALLOWED);
    let made = detection.conditions.iter().map(|condition| searches.tests(condition, &sizes));
    if made.fold(0, usize::saturating_add) > most {
        let reason = format!("the condition makes more than {most} tests of the {written} written");
        lowering.faults.push((detection.line, reason));
        return Expression::Constant(false);
    }
    Expression::any(detection.conditions.iter().map(|one| searches.expression(one)).collect())
}

/// The searches of a rule, lowered.
struct Searches<'a> {
    detection: &'a Detection,
    by_name: HashMap<&'a str, usize>,
    expressions: Vec<Expression>,
}

impl Searches<'_> {
    /// How many tests a condition makes when every search that it names stands in its place.
    fn tests(&self, condition: &ConditionExpr, sizes: &[usize]) -> usize {
        match condition {
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
                parts.iter().map(|part| self.tests(part, sizes)).fold(0, usize::saturating_add)
            }
            ConditionExpr::Not(inner) => self.tests(inner, sizes),
            // Names were checked when the condition was read.
            ConditionExpr::Identifier(name) => {
                self.by_name.get(name.as_str()).map_or(0, |number| sizes[*number])
            }
            ConditionExpr::Selector { pattern, .. } => {
                names_matching(pattern, &self.detection.searches).map(|number| sizes[number]).sum()
            }
        }
    }

    fn expression(&self, condition: &ConditionExpr) -> Expression {
        let each = |parts: &[ConditionExpr]| {
            parts.iter().map(|part| self.expression(part)).collect::<Vec<_>>()
        };
        match condition {
            ConditionExpr::And(parts) => Expression::all(each(parts)),
            ConditionExpr::Or(parts) => Expression::any(each(parts)),
            ConditionExpr::Not(inner) => self.expression(inner).negate(),
            ConditionExpr::Identifier(name) => {
                let number = self.by_name.get(name.as_str());
                number
                    .map_or(Expression::Constant(false), |number| self.expressions[*number].clone())
            }
            ConditionExpr::Selector { quantifier, pattern } => {
                let parts = names_matching(pattern, &self.detection.searches)
                    .map(|number| self.expressions[number].clone())
                    .collect();
                match quantifier {
                    Quantifier::All => Expression::all(parts),
                    _ => Expression::any(parts),
                }
            }
        }
    }
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

//! What can be told of a rule before any record is there.

use std::collections::HashMap;

use lavender_core::event::SyscallResult;

use crate::compile::{Expression, PredicateId, Predicates, Subject, Test};
use crate::evaluate::{Buffers, decide};
use crate::event::result;
use crate::record::{FieldValue, OneValue, Record};
use crate::schema::FieldId;
use crate::truth::Truth;

/// A record without any field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nothing;

impl Record for Nothing {
    fn value(&self, _: FieldId) -> FieldValue<'_> {
        FieldValue::Absent
    }
}

/// What is known of the values of a field before there is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Possible {
    Anything,
    Absent,
    /// This value, always.
    Is(&'static str),
    /// One of these values, or none.
    MayBe(&'static [&'static str]),
    /// What `Result` says of a call that failed, always.
    Failed,
}

/// How an expression comes out on records whose fields have only some values, whatever those are:
/// [`Truth::Undetermined`] where that depends on them.
pub(crate) fn outlook(
    expression: &Expression,
    predicates: &Predicates,
    possible: &dyn Fn(FieldId) -> Possible,
) -> Truth {
    Outlook { predicates, possible, buffers: Buffers::default() }.of(expression)
}

/// The expression without the tests whose outcome is told by what their fields can hold: `Constant` where all is.
pub(crate) fn narrowed(
    expression: &Expression,
    predicates: &Predicates,
    possible: &dyn Fn(FieldId) -> Possible,
) -> Expression {
    Outlook { predicates, possible, buffers: Buffers::default() }.narrow(expression)
}

struct Outlook<'a> {
    predicates: &'a Predicates,
    possible: &'a dyn Fn(FieldId) -> Possible,
    buffers: Buffers,
}

impl Outlook<'_> {
    fn of(&mut self, expression: &Expression) -> Truth {
        match expression {
            Expression::Constant(value) => (*value).into(),
            Expression::Test(id) => self.test(*id),
            Expression::NotTest(id) => !self.test(*id),
            Expression::All(parts) if oppose(parts) => Truth::False,
            Expression::Any(parts) if oppose(parts) => Truth::True,
            Expression::All(parts) => {
                parts.iter().fold(Truth::True, |truth, part| truth.and(self.of(part)))
            }
            Expression::Any(parts) => {
                parts.iter().fold(Truth::False, |truth, part| truth.or(self.of(part)))
            }
        }
    }

    fn narrow(&mut self, expression: &Expression) -> Expression {
        match expression {
            Expression::Constant(value) => Expression::Constant(*value),
            Expression::Test(_) | Expression::NotTest(_) => match self.of(expression) {
                Truth::True => Expression::Constant(true),
                Truth::False => Expression::Constant(false),
                Truth::Undetermined => expression.clone(),
            },
            Expression::All(parts) => {
                Expression::all(parts.iter().map(|part| self.narrow(part)).collect())
            }
            Expression::Any(parts) => {
                Expression::any(parts.iter().map(|part| self.narrow(part)).collect())
            }
        }
    }

    fn test(&mut self, id: PredicateId) -> Truth {
        let predicate = self.predicates.get(id);
        let Subject::Field(field) = predicate.subject else { return Truth::Undetermined };
        let possible = (self.possible)(field);
        // What another field holds is not known either.
        let compares_fields = matches!(predicate.test, Test::FieldRef { .. });
        match possible {
            Possible::Absent => self.decide(id, FieldValue::Absent),
            Possible::Anything => Truth::Undetermined,
            _ if compares_fields => Truth::Undetermined,
            Possible::Is(value) => self.decide(id, value.into()),
            Possible::MayBe(values) => {
                let absent = self.decide(id, FieldValue::Absent);
                if values.iter().all(|value| self.decide(id, (*value).into()) == absent) {
                    absent
                } else {
                    Truth::Undetermined
                }
            }
            Possible::Failed => {
                let mut truths = failures().map(|value| self.decide(id, value));
                let first = truths.next().unwrap_or(Truth::Undetermined);
                if truths.all(|truth| truth == first) { first } else { Truth::Undetermined }
            }
        }
    }

    fn decide(&mut self, id: PredicateId, value: FieldValue<'_>) -> Truth {
        decide(id, self.predicates, &OneValue(&value), &mut None, &mut self.buffers)
    }
}

/// The error numbers that there are, those of the kernel's own use included (`include/linux/errno.h` ends with 531), as
/// `Result` tells them.
fn failures() -> impl Iterator<Item = FieldValue<'static>> {
    (1..=531).map(|errno| result(SyscallResult(-errno)))
}

/// Whether one part is the negation of another.
fn oppose(parts: &[Expression]) -> bool {
    let mut seen = HashMap::new();
    parts.iter().any(|part| {
        let (id, wanted) = match part {
            Expression::Test(id) => (*id, true),
            Expression::NotTest(id) => (*id, false),
            _ => return false,
        };
        *seen.entry(id).or_insert(wanted) != wanted
    })
}

//! What can be told of a rule before any record is there.

use std::collections::HashMap;

use crate::compile::{Expression, PredicateId, Predicates, Subject};
use crate::evaluate::{Buffers, decide};
use crate::record::{FieldValue, Record};
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

/// How an expression comes out on records that never have certain fields, whatever the others hold:
/// [`Truth::Undetermined`] where that depends on them.
pub(crate) fn outlook(
    expression: &Expression,
    predicates: &Predicates,
    is_absent: &dyn Fn(FieldId) -> bool,
) -> Truth {
    Outlook { predicates, is_absent, buffers: Buffers::default() }.of(expression)
}

struct Outlook<'a> {
    predicates: &'a Predicates,
    is_absent: &'a dyn Fn(FieldId) -> bool,
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

    fn test(&mut self, id: PredicateId) -> Truth {
        match self.predicates.get(id).subject {
            Subject::Field(field) if (self.is_absent)(field) => {
                decide(id, self.predicates, &Nothing, &mut None, &mut self.buffers)
            }
            _ => Truth::Undetermined,
        }
    }
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

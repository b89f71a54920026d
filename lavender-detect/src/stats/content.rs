//! Whether two rules of different sets say the same.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::compile::{Expression, Predicates, Subject, Test};
use crate::ruleset::Rule;
use crate::schema::{FieldId, Fields};

/// A digest of what a rule matches: its log source and its condition, with its fields by name, since their numbers
/// are those of one set. It means something within one process only.
pub(crate) fn digest(rule: &Rule, fields: &Fields, predicates: &Predicates) -> u64 {
    let mut digest = Digest { fields, predicates, hasher: DefaultHasher::new() };
    rule.logsource().hash(&mut digest.hasher);
    digest.expression(&rule.expression);
    digest.hasher.finish()
}

struct Digest<'a> {
    fields: &'a Fields,
    predicates: &'a Predicates,
    hasher: DefaultHasher,
}

impl Digest<'_> {
    fn expression(&mut self, expression: &Expression) {
        std::mem::discriminant(expression).hash(&mut self.hasher);
        match expression {
            Expression::Constant(value) => value.hash(&mut self.hasher),
            Expression::Test(id) | Expression::NotTest(id) => {
                let predicate = self.predicates.get(*id);
                match predicate.subject {
                    Subject::AnyValue => 0_u8.hash(&mut self.hasher),
                    Subject::Field(field) => self.field(field),
                }
                self.test(&predicate.test);
            }
            Expression::All(parts) | Expression::Any(parts) => {
                parts.len().hash(&mut self.hasher);
                parts.iter().for_each(|part| self.expression(part));
            }
        }
    }

    fn test(&mut self, test: &Test) {
        match test {
            Test::FieldRef { other, relation, cased } => {
                self.field(*other);
                (relation, cased).hash(&mut self.hasher);
            }
            other => other.hash(&mut self.hasher),
        }
    }

    fn field(&mut self, field: FieldId) {
        self.fields.name(field).hash(&mut self.hasher);
    }
}

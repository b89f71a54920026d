//! From documents to predicates and expressions over them.

mod expression;
mod item;
mod placeholders;
mod predicate;
mod template;

pub(crate) use self::expression::{Expression, lower_detection};
pub use self::placeholders::Placeholders;
pub(crate) use self::predicate::{Predicate, PredicateId, Predicates, Relation, Subject, Test};

use crate::schema::Fields;

/// What lowering a rule needs and adds to.
pub(crate) struct Lowering<'a> {
    pub(crate) fields: &'a mut Fields,
    pub(crate) predicates: &'a mut Predicates,
    pub(crate) placeholders: &'a Placeholders,
    /// Field names of rules and the names that stand for them in the records.
    pub(crate) mapping: &'a std::collections::HashMap<String, String>,
    /// Faults, with their lines.
    pub(crate) faults: Vec<(u32, String)>,
}

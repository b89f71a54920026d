//! Predicates: tests on one field, shared by every rule that makes the same test.

use std::collections::HashMap;
use std::sync::Arc;

use crate::matcher::cidr::Network;
use crate::matcher::number::{Comparison, Number};
use crate::matcher::pattern::Pattern;
use crate::matcher::regex::{CompiledRegex, RegexSource};
use crate::matcher::time::TimePart;
use crate::schema::FieldId;

/// What a predicate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Field(FieldId),
    /// Every value of the record: keywords.
    AnyValue,
}

/// A test on a field. Of several values in it, any will do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Predicate {
    pub(crate) subject: Subject,
    pub(crate) test: Test,
}

/// What is tested.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Test {
    Patterns(Box<[Pattern]>),
    Regex(Box<RegexSource>),
    Networks(Box<[Network]>),
    Compare(Comparison, Number),
    TimePart(TimePart, Comparison, i64),
    /// Absent or null.
    Null,
    /// There, be it empty or null.
    Present,
    /// Stands in a relation to another field.
    FieldRef {
        other: FieldId,
        relation: Relation,
        cased: bool,
    },
}

/// How one field's text stands to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    Equals,
    Contains,
    StartsWith,
    EndsWith,
}

impl Relation {
    pub(crate) fn holds(self, text: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Equals => text == other,
            Self::Contains => memchr::memmem::find(text, other).is_some(),
            Self::StartsWith => text.starts_with(other),
            Self::EndsWith => text.ends_with(other),
        }
    }
}

/// The number of a predicate in a rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PredicateId(pub(crate) u32);

/// Every predicate of a rule set, each once.
#[derive(Debug, Default)]
pub(crate) struct Predicates {
    all: Vec<Arc<Predicate>>,
    ids: HashMap<Arc<Predicate>, PredicateId>,
    /// In the order of the predicates.
    regexes: Vec<(PredicateId, CompiledRegex)>,
    /// What they take.
    regex_bytes: usize,
}

/// Bound on what the regular expressions of one set may take compiled, in bytes: fifty that take as much as one may.
const MAX_REGEX_BYTES: usize = 500 << 20;

impl Predicates {
    /// The number of a predicate, given out when it is new.
    ///
    /// # Errors
    ///
    /// Why a regular expression cannot be compiled.
    pub(crate) fn intern(&mut self, predicate: Predicate) -> Result<PredicateId, String> {
        if let Some(id) = self.ids.get(&predicate) {
            return Ok(*id);
        }
        let id = PredicateId(self.all.len() as u32);
        if let Test::Regex(source) = &predicate.test {
            let regex = source.compile()?;
            let bytes = self.regex_bytes + regex.heap_bytes();
            if bytes > MAX_REGEX_BYTES {
                return Err(format!(
                    "those of the whole set take more than {MAX_REGEX_BYTES} bytes compiled"
                ));
            }
            self.regex_bytes = bytes;
            self.regexes.push((id, regex));
        }
        let predicate = Arc::new(predicate);
        self.all.push(Arc::clone(&predicate));
        self.ids.insert(predicate, id);
        Ok(id)
    }

    /// Drops what only interning needs.
    pub(crate) fn freeze(&mut self) {
        self.ids = HashMap::new();
        self.all.shrink_to_fit();
    }

    pub(crate) fn get(&self, id: PredicateId) -> &Predicate {
        &self.all[id.0 as usize]
    }

    pub(crate) fn regex(&self, id: PredicateId) -> Option<&CompiledRegex> {
        let at = self.regexes.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        Some(&self.regexes[at].1)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expressions_of_a_set_are_bounded_together() {
        let predicate = |pattern: &str| Predicate {
            subject: Subject::AnyValue,
            test: Test::Regex(Box::new(RegexSource {
                pattern: pattern.into(),
                ignore_case: false,
                multi_line: false,
                dot_matches_new_line: false,
            })),
        };
        let mut predicates = Predicates::default();
        let first = predicates.intern(predicate("a+b")).unwrap();
        assert!(predicates.regex_bytes > 0);
        // As if others had taken all the room.
        predicates.regex_bytes = MAX_REGEX_BYTES;
        let error = predicates.intern(predicate("a+c")).unwrap_err();
        assert_eq!(error, "those of the whole set take more than 524288000 bytes compiled");
        assert_eq!(predicates.intern(predicate("a+b")), Ok(first), "what is there takes no more");
    }
}

//! A record of names and texts.

use std::ops::ControlFlow;

use super::{FieldValue, Record, Texts};
use crate::schema::{FieldId, Fields};

/// A record made of names and values: for tests, logs of key and value, and first steps.
///
/// ```
/// use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSet};
///
/// # fn main() -> Result<(), lavender_detect::RuleErrors> {
/// let rules = RuleSet::from_yaml(
///     "title: Whoami
/// logsource: {category: process_creation, product: linux}
/// detection:
///   selection: {Image|endswith: /whoami}
///   condition: selection
/// ",
/// )?;
/// let record = FlatRecord::new(rules.fields(), [("Image", FieldValue::from("/usr/bin/whoami"))]);
/// let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
/// assert_eq!(evaluator.matches(&record).count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct FlatRecord<'a> {
    known: Vec<(FieldId, FieldValue<'a>)>,
    /// Values of fields that no rule names: only keywords see them.
    other: Vec<FieldValue<'a>>,
}

impl<'a> FlatRecord<'a> {
    /// A record for a rule set with these fields.
    pub fn new<'n>(
        fields: &Fields,
        values: impl IntoIterator<Item = (&'n str, FieldValue<'a>)>,
    ) -> Self {
        let mut record = Self::default();
        for (name, value) in values {
            match fields.id(name) {
                Some(id) => record.known.push((id, value)),
                None => record.other.push(value),
            }
        }
        record
    }
}

impl Record for FlatRecord<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        self.known
            .iter()
            .find(|(known, _)| *known == field)
            .map_or(FieldValue::Absent, |(_, value)| *value)
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.known.iter().map(|(_, value)| value).chain(&self.other).try_for_each(|v| visit(*v))
    }

    fn texts<'t>(&'t self, texts: &mut Texts<'t>) -> bool {
        let mut add = |field: Option<FieldId>, value: &FieldValue<'t>| match value {
            FieldValue::Text(text) => texts.add(field, text),
            value => !value.is_incomplete() && !matches!(value, FieldValue::List),
        };
        // A field may be given more than once, and only the first is its value.
        let is_first = |at: usize| {
            let (field, _) = self.known[at];
            self.known[..at].iter().all(|(before, _)| *before != field)
        };
        let mut known = self.known.iter().enumerate();
        known.all(|(at, (field, value))| add(is_first(at).then_some(*field), value))
            && self.other.iter().all(|value| add(None, value))
    }
}

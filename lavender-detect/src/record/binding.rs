//! Any struct of an embedder's own as a record, without a derive.

use std::fmt;
use std::ops::ControlFlow;

use super::{FieldValue, Record};
use crate::schema::{FieldId, Fields};

type Accessor<T> = for<'a> fn(&'a T) -> FieldValue<'a>;

/// Says which field of a struct is which Sigma field.
///
/// ```
/// use lavender_detect::{Binding, FieldValue, LogSource, RuleSet};
///
/// struct Started { path: String, line: String, pid: u32 }
///
/// # fn main() -> Result<(), lavender_detect::RuleErrors> {
/// let rules = RuleSet::from_yaml(
///     "title: Netcat
/// logsource: {category: process_creation, product: linux}
/// detection:
///   selection: {Image|endswith: /nc, CommandLine|contains: ' -e'}
///   condition: selection
/// ",
/// )?;
/// let binding = Binding::<Started>::new()
///     .with_field("Image", |s| FieldValue::from(&s.path))
///     .with_field("CommandLine", |s| FieldValue::from(&s.line))
///     .with_field("ProcessId", |s| FieldValue::from(s.pid))
///     .bind(rules.fields());
///
/// let event = Started { path: "/bin/nc".into(), line: "nc -e /bin/sh".into(), pid: 7 };
/// let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
/// assert_eq!(evaluator.matches(&binding.record(&event)).count(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Binding<T> {
    fields: Vec<(&'static str, Accessor<T>)>,
}

impl<T> Binding<T> {
    /// A binding of no field.
    pub const fn new() -> Self {
        Self { fields: Vec::new() }
    }

    /// Adds a field by its Sigma name.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, accessor: Accessor<T>) -> Self {
        self.fields.push((name, accessor));
        self
    }

    /// Resolves the names for a rule set. Done once; a record then costs one table look-up per field.
    pub fn bind(&self, fields: &Fields) -> Bound<T> {
        let mut table: Vec<Option<Accessor<T>>> = vec![None; fields.len()];
        for (name, accessor) in &self.fields {
            if let Some(id) = fields.id(name) {
                table[id.index()] = Some(*accessor);
            }
        }
        Bound { table, all: self.fields.iter().map(|(_, accessor)| *accessor).collect() }
    }
}

impl<T> Default for Binding<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Binding<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

/// A [`Binding`] resolved for one rule set.
pub struct Bound<T> {
    table: Vec<Option<Accessor<T>>>,
    all: Vec<Accessor<T>>,
}

impl<T> Bound<T> {
    /// This value as a record.
    pub const fn record<'a>(&'a self, value: &'a T) -> impl Record + 'a {
        BoundRecord { bound: self, value }
    }
}

impl<T> fmt::Debug for Bound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("fields", &self.all.len()).finish_non_exhaustive()
    }
}

struct BoundRecord<'a, T> {
    bound: &'a Bound<T>,
    value: &'a T,
}

impl<T> Record for BoundRecord<'_, T> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        match self.bound.table.get(field.index()) {
            Some(Some(accessor)) => accessor(self.value),
            _ => FieldValue::Absent,
        }
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.bound.all.iter().try_for_each(|accessor| visit(accessor(self.value)))
    }
}

//! Parsed JSON values as records, and where the fields of a rule set are in JSON.

use std::ops::ControlFlow;

use serde_json::Value;

use super::number;
use crate::record::{FieldValue, Record};
use crate::schema::{FieldId, Fields};

/// How the fields of a rule set are found in JSON objects: each by its own name at the top, else as a path
/// whose steps are separated by dots.
///
/// ```
/// use lavender_detect::{JsonFields, LogSource, RuleSet};
/// use serde_json::json;
///
/// # fn main() -> Result<(), lavender_detect::RuleErrors> {
/// let rules = RuleSet::from_yaml(
///     "title: Root login
/// logsource: {product: acme}
/// detection:
///   selection: {user.name: root}
///   condition: selection
/// ",
/// )?;
/// let fields = JsonFields::new(rules.fields());
/// let event = json!({"user": {"name": "root"}});
/// let mut evaluator = rules.evaluator(&LogSource::product("acme"));
/// assert_eq!(evaluator.matches(&fields.record(&event)).count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct JsonFields {
    /// By field number.
    paths: Vec<JsonPath>,
}

/// Where one field is.
#[derive(Clone, Debug)]
pub(super) struct JsonPath {
    whole: Box<str>,
    /// Empty where the name has no dot.
    steps: Box<[Box<str>]>,
}

impl JsonPath {
    pub(super) fn new(name: &str) -> Self {
        let steps =
            if name.contains('.') { name.split('.').map(Into::into).collect() } else { [].into() };
        Self { whole: name.into(), steps }
    }

    /// Its name at the top.
    pub(super) const fn whole(&self) -> &str {
        &self.whole
    }

    /// The steps of its path; none where the name has no dot.
    pub(super) const fn steps(&self) -> &[Box<str>] {
        &self.steps
    }

    fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        if let Some(value) = object.get(&*self.whole) {
            return Some(value);
        }
        if self.steps.is_empty() {
            return None;
        }
        self.steps.iter().try_fold(object, |value, step| value.get(&**step))
    }
}

impl JsonFields {
    /// Every field under its own name.
    pub fn new(fields: &Fields) -> Self {
        Self { paths: fields.iter().map(|(_, name)| JsonPath::new(name)).collect() }
    }

    /// With some fields under other names: pairs of the Sigma name and the path in the event.
    #[must_use]
    pub fn with_mapping<'n>(
        mut self,
        fields: &Fields,
        mapping: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Self {
        for (sigma, path) in mapping {
            if let Some(id) = fields.id(sigma) {
                self.paths[id.index()] = JsonPath::new(path);
            }
        }
        self
    }

    /// By field number.
    pub(super) fn paths(&self) -> &[JsonPath] {
        &self.paths
    }

    /// This object as a record. Lines that are not parsed yet are read much faster by
    /// [`JsonLines`](crate::JsonLines).
    pub const fn record<'a>(&'a self, object: &'a Value) -> JsonRecord<'a> {
        JsonRecord { fields: self, object }
    }
}

/// A JSON object as a record; see [`JsonFields`].
#[derive(Clone, Copy, Debug)]
pub struct JsonRecord<'a> {
    fields: &'a JsonFields,
    object: &'a Value,
}

fn scalar(value: &Value) -> FieldValue<'_> {
    match value {
        Value::Null => FieldValue::Null,
        Value::Bool(value) => FieldValue::Bool(*value),
        Value::Number(number) => number::of(number),
        Value::String(text) => FieldValue::Text(text.as_bytes()),
        // An object is there, but has no value of its own.
        Value::Array(_) | Value::Object(_) => FieldValue::List,
    }
}

fn visit_all(
    value: &Value,
    visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| visit_all(item, visit)),
        Value::Object(entries) => entries.values().try_for_each(|item| visit_all(item, visit)),
        scalar_value => visit(scalar(scalar_value)),
    }
}

impl Record for JsonRecord<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        let path = self.fields.paths.get(field.index());
        path.and_then(|path| path.find(self.object)).map_or(FieldValue::Absent, scalar)
    }

    fn elements(
        &self,
        field: FieldId,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let path = self.fields.paths.get(field.index());
        match path.and_then(|path| path.find(self.object)) {
            Some(Value::Array(items)) => {
                items.iter().filter(|item| !item.is_object()).try_for_each(|item| match item {
                    Value::Array(_) => visit_all(item, visit),
                    other => visit(scalar(other)),
                })
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        visit_all(self.object, visit)
    }
}

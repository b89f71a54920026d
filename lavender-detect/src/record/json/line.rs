//! Lines of JSON as records.

use std::cell::Cell;
use std::fmt;
use std::ops::ControlFlow;

use super::cursor::{Cursor, Kind};
use super::error::JsonLineError;
use super::found::Found;
use super::give_back;
use super::scan::scan;
use super::slots::Slots;
use super::tree::{KeyId, KeyTree};
use super::value::{JsonFields, JsonPath};
use super::values::{Values, each_element, scalar};
use crate::record::{FieldValue, Record};
use crate::schema::FieldId;

/// Reads lines of JSON, one object each, as records: one pass over a line checks it and finds the fields that rules
/// ask for, and nothing is built of the rest.
///
/// Fields are found as [`JsonFields`] says, and have the values that they have for `serde_json`: of members of the
/// same name the last counts. It accepts the objects that `serde_json` accepts, up to the depth of 127, but knows
/// nothing of the keys that `serde_json` keeps for itself. One per thread: it holds what a line is read into.
///
/// # Cost
///
/// About a quarter of what building a [`serde_json::Value`] costs, and no allocation once its buffers have grown; a
/// buffer that one huge line made larger than 256 KiB is given back with the next line. Strings are borrowed from
/// the line; those with escapes are decoded once, and only if they are asked for. Time is linear in the line,
/// whatever stands in it.
///
/// ```
/// use lavender_detect::{JsonFields, JsonLines, LogSource, RuleSet};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = RuleSet::from_yaml(
///     "title: Netcat
/// logsource: {category: process_creation, product: linux}
/// detection:
///   selection: {Image|endswith: /nc, user.name: root}
///   condition: selection
/// ",
/// )?;
/// let mut lines = JsonLines::new(&JsonFields::new(rules.fields()));
/// let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
/// let log = r#"
///     {"Image": "\/bin\/nc", "user": {"name": "root", "id": 0}}
///     {"Image": "/bin/nc", "user": {"name": "www-data"}}
/// "#;
/// let mut matched = 0;
/// for line in log.lines().filter(|line| !line.trim().is_empty()) {
///     let record = lines.parse(line.as_bytes())?;
///     matched += evaluator.matches(&record).count();
/// }
/// assert_eq!(matched, 1);
/// # Ok(())
/// # }
/// ```
pub struct JsonLines {
    tree: KeyTree,
    fields: usize,
    slots: Slots,
    /// Taken while a record's values are visited; a visit inside of a visit works in one of its own.
    values: Cell<Values>,
    /// As `values`, for the elements of lists.
    text: Cell<Vec<u8>>,
}

impl JsonLines {
    /// A reader of these fields.
    pub fn new(fields: &JsonFields) -> Self {
        Self::with_paths(fields, [])
    }

    /// A reader that finds more than the fields that rules ask for, such as a time or an id: names, or paths with
    /// dots. [`JsonLine::path`] has their values.
    ///
    /// ```
    /// use lavender_detect::{FieldValue, JsonFields, JsonLines, RuleSet};
    ///
    /// # fn main() -> Result<(), lavender_detect::JsonLineError> {
    /// let fields = JsonFields::new(RuleSet::empty().fields());
    /// let mut lines = JsonLines::with_paths(&fields, ["@timestamp", "event.id"]);
    /// let line = lines.parse(br#"{"@timestamp": 1700000000, "event": {"id": "a7"}}"#)?;
    /// assert_eq!(line.path(0), FieldValue::Int(1_700_000_000));
    /// assert_eq!(line.path(1), FieldValue::from("a7"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_paths<'p>(fields: &JsonFields, paths: impl IntoIterator<Item = &'p str>) -> Self {
        let more: Vec<JsonPath> = paths.into_iter().map(JsonPath::new).collect();
        let tree = KeyTree::new(fields.paths().iter().chain(&more));
        let slots = Slots::new(tree.len());
        let (values, text) = (Cell::default(), Cell::default());
        Self { tree, fields: fields.paths().len(), slots, values, text }
    }

    /// Reads a line. White space around the object, and so the line's end, does not matter.
    ///
    /// # Errors
    ///
    /// Where and why it is no JSON object.
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<JsonLine<'a>, JsonLineError> {
        self.values.get_mut().begin();
        give_back(self.text.get_mut());
        scan(line, &self.tree, &mut self.slots)?;
        Ok(JsonLine { lines: self, line })
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").field("keys", &self.tree.len()).finish_non_exhaustive()
    }
}

/// A line of JSON as a record; see [`JsonLines`].
#[derive(Clone, Copy)]
pub struct JsonLine<'a> {
    lines: &'a JsonLines,
    line: &'a [u8],
}

impl<'a> JsonLine<'a> {
    /// The value at the path of this number, from 0, of those given to [`JsonLines::with_paths`].
    pub fn path(&self, number: usize) -> FieldValue<'a> {
        self.at(self.lines.fields.saturating_add(number))
    }

    fn at(&self, place: usize) -> FieldValue<'a> {
        let found = self.find(place);
        found.map_or(FieldValue::Absent, |found| self.lines.slots.value(self.line, found))
    }

    #[inline]
    fn find(&self, place: usize) -> Option<(KeyId, Found)> {
        self.lines.slots.find(self.lines.tree.place(place)?, &self.lines.tree)
    }

    /// Visits the scalars of the value at this place of the line.
    fn visit_all(
        &self,
        at: usize,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut values = self.lines.values.take();
        let flow = values.visit(self.line, self.lines.slots.stamp(), at, visit);
        self.lines.values.set(values);
        flow
    }

    /// Visits the elements of the list at this place of the line. Lists among them are visited with all that is in
    /// them; objects are left out.
    fn visit_elements(
        &self,
        at: usize,
        text: &mut Vec<u8>,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let visited = each_element(&mut Cursor::new(self.line, at), |cursor, first| {
            Ok(match first {
                b'{' => {
                    cursor.pass()?;
                    ControlFlow::Continue(())
                }
                b'[' => {
                    let inner = cursor.at;
                    cursor.pass()?;
                    self.visit_all(inner, visit)
                }
                _ => visit(scalar(cursor)?.value_with(self.line, text)),
            })
        });
        // It fails on what is no JSON only, and the line was found to be JSON.
        visited.unwrap_or(ControlFlow::Continue(()))
    }
}

impl fmt::Debug for JsonLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLine").field("bytes", &self.line.len()).finish_non_exhaustive()
    }
}

impl Record for JsonLine<'_> {
    #[inline]
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        if field.index() < self.lines.fields { self.at(field.index()) } else { FieldValue::Absent }
    }

    fn elements(
        &self,
        field: FieldId,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if field.index() >= self.lines.fields {
            return ControlFlow::Continue(());
        }
        match self.find(field.index()) {
            Some((_, Found { kind: Kind::Array, start, .. })) => {
                let mut text = self.lines.text.take();
                let flow = self.visit_elements(start, &mut text, visit);
                self.lines.text.set(text);
                flow
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.visit_all(0, visit)
    }
}

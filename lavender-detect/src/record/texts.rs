//! Texts of a record, gathered without a call for each.

use crate::index::is_all_plain;
use crate::schema::{FieldId, FieldSet};

/// More texts than this are asked for one by one.
const ROOM: usize = 16;

/// The texts of a record that have to be searched for keywords, up to 16 of them.
///
/// ```
/// use std::ops::ControlFlow;
/// use lavender_detect::{FieldId, FieldValue, Record, Texts};
///
/// /// Values in a row, each with the field that rules know it by.
/// struct Row<'a> { values: Vec<(Option<FieldId>, &'a str)> }
///
/// impl Record for Row<'_> {
///     fn value(&self, field: FieldId) -> FieldValue<'_> {
///         let found = self.values.iter().find(|(known, _)| *known == Some(field));
///         found.map_or(FieldValue::Absent, |(_, value)| FieldValue::from(*value))
///     }
///
///     fn each_value(
///         &self,
///         visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
///     ) -> ControlFlow<()> {
///         self.values.iter().try_for_each(|(_, value)| visit(FieldValue::from(*value)))
///     }
///
///     fn texts<'a>(&'a self, texts: &mut Texts<'a>) -> bool {
///         self.values.iter().all(|(field, value)| texts.add(*field, value.as_bytes()))
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    texts: [&'a [u8]; ROOM],
    count: usize,
    least: usize,
    least_plain: usize,
    searched: &'a FieldSet,
}

impl<'a> Texts<'a> {
    /// None yet. No keyword is in a text of fewer than `least` bytes, nor in a plain one of fewer than `least_plain`;
    /// those of the fields in `searched` are searched anyway.
    pub(crate) const fn new(least: usize, least_plain: usize, searched: &'a FieldSet) -> Self {
        Self { texts: [&[]; ROOM], count: 0, least, least_plain, searched }
    }

    /// Adds a text if keywords could be in it, and says whether there was room. With `field` it has to be that field's
    /// [`value`](crate::Record::value), and is left out if that is searched anyway.
    #[inline]
    pub fn add(&mut self, field: Option<FieldId>, text: &'a [u8]) -> bool {
        if text.len() < self.least
            || field.is_some_and(|field| self.searched.contains(field))
            || text.len() < self.least_plain && is_all_plain(text)
        {
            return true;
        }
        let Some(place) = self.texts.get_mut(self.count) else { return false };
        *place = text;
        self.count += 1;
        true
    }

    /// The texts, in the order that they were added in.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[&'a [u8]] {
        &self.texts[..self.count]
    }
}

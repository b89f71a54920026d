//! What rules are evaluated on: anything that can say the value of a field.

mod binding;
mod flat;
mod json;
mod texts;
pub(crate) mod value;

use std::ops::ControlFlow;

pub use self::binding::{Binding, Bound};
pub use self::flat::FlatRecord;
pub use self::json::{JsonFault, JsonFields, JsonLine, JsonLineError, JsonLines, JsonRecord};
pub use self::texts::Texts;
pub use self::value::{FieldValue, Kept, ShortText};
use crate::schema::FieldId;

/// One thing that happened, with typed access to its fields.
///
/// Fields are asked for by the number that the rule set gave to their names
/// ([`RuleSet::fields`](crate::RuleSet::fields)); an adapter resolves names once per rule set and never per
/// event. Values are borrowed, so that reading a field costs no allocation.
///
/// ```
/// use lavender_detect::{FieldId, FieldValue, Record};
///
/// #[derive(Debug)]
/// struct Login<'a> { user: &'a str, port: u16 }
///
/// // A record whose fields 0 and 1 are the user and the port. `Binding` does this by name.
/// impl Record for Login<'_> {
///     fn value(&self, field: FieldId) -> FieldValue<'_> {
///         match field.index() {
///             0 => FieldValue::from(self.user),
///             1 => FieldValue::from(self.port),
///             _ => FieldValue::Absent,
///         }
///     }
/// }
/// ```
pub trait Record {
    /// The value of a field; [`FieldValue::Absent`] where the record has none.
    fn value(&self, field: FieldId) -> FieldValue<'_>;

    /// Gives `visit` each element of a field for which [`value`](Self::value) said
    /// [`FieldValue::List`], until it breaks. A test on a list is true when it is true of any element.
    fn elements(
        &self,
        field: FieldId,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (_, _) = (field, visit);
        ControlFlow::Continue(())
    }

    /// Gives `visit` every value of the record until it breaks: what keywords are searched in. A record
    /// without this matches no keyword.
    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let _ = visit;
        ControlFlow::Continue(())
    }

    /// Adds every value of [`each_value`](Self::each_value) that is a text to `texts`, in a loop of the record's own: it
    /// spares a call per value, where rules of keywords are evaluated on records that have their values in a row.
    ///
    /// Says whether there was room for all, and no value is a list or not known in full. If not, as without this
    /// method, each value is asked for.
    #[inline]
    fn texts<'a>(&'a self, texts: &mut Texts<'a>) -> bool {
        let _ = texts;
        false
    }
}

impl<R: Record + ?Sized> Record for &R {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        (**self).value(field)
    }

    fn elements(
        &self,
        field: FieldId,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        (**self).elements(field, visit)
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        (**self).each_value(visit)
    }

    fn texts<'a>(&'a self, texts: &mut Texts<'a>) -> bool {
        (**self).texts(texts)
    }
}

/// One value as a record in which every field has it.
pub(crate) struct OneValue<'a, 'b>(pub(crate) &'a FieldValue<'b>);

impl Record for OneValue<'_, '_> {
    fn value(&self, _: FieldId) -> FieldValue<'_> {
        *self.0
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        visit(*self.0)
    }
}

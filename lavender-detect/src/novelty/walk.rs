//! From a record to the digests of the values that are looked at.

use std::hash::Hasher as _;
use std::ops::ControlFlow;

use siphasher::sip::SipHasher13;

use crate::record::value::TextBuffer;
use crate::record::{FieldValue, Record};
use crate::schema::FieldId;

/// The most values that an event is looked at for: lists have an element each, and several lists each combination.
pub(crate) const VALUES_MAX: u32 = 128;

/// The values of some columns, the last first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) value: FieldValue<'a>,
    pub(crate) before: Option<&'a Chosen<'a>>,
}

/// What is done with the digest of values, and with the values themselves.
pub(crate) type Visit<'a> = dyn FnMut(u64, Option<&Chosen<'_>>) + 'a;

/// Gives `visit` every combination of the values of the columns, and says whether there was any. A value that is not
/// there or is not known in full is in none. Allocates nothing.
pub(crate) fn walk<R: Record + ?Sized>(
    record: &R,
    columns: &[FieldId],
    key: [u64; 2],
    visit: &mut Visit<'_>,
) -> bool {
    let mut room = VALUES_MAX;
    let hasher = SipHasher13::new_with_keys(key[0], key[1]);
    Walk { record, visit, room: &mut room }.columns(columns, &hasher, None);
    room < VALUES_MAX
}

struct Walk<'a, 'v, R: ?Sized> {
    record: &'a R,
    visit: &'a mut Visit<'v>,
    room: &'a mut u32,
}

impl<R: Record + ?Sized> Walk<'_, '_, R> {
    fn columns(&mut self, columns: &[FieldId], hasher: &SipHasher13, before: Option<&Chosen<'_>>) {
        let Some((field, rest)) = columns.split_first() else {
            *self.room -= 1;
            (self.visit)(hasher.finish(), before);
            return;
        };
        let record = self.record;
        match record.value(*field) {
            FieldValue::List => {
                let _ = record.elements(*field, &mut |value| {
                    self.value(&value, rest, hasher, before);
                    if *self.room == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
            value => self.value(&value, rest, hasher, before),
        }
    }

    fn value(
        &mut self,
        value: &FieldValue<'_>,
        rest: &[FieldId],
        hasher: &SipHasher13,
        before: Option<&Chosen<'_>>,
    ) {
        let mut buffer = TextBuffer::new();
        if *self.room == 0 || value.is_incomplete() {
            return;
        }
        let Some(text) = value.text(&mut buffer) else { return };
        let mut hasher = *hasher;
        hasher.write(text);
        // What ends a text, and no text holds as its last bytes with this meaning: its length.
        hasher.write(&(text.len() as u64).to_le_bytes());
        self.columns(rest, &hasher, Some(&Chosen { value: *value, before }));
    }
}

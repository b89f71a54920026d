//! A value where it stands in a line.

use super::cursor::Kind;
use super::{number, text};
use crate::record::FieldValue;

/// Where a value is: of a string, its inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Found {
    /// From where a value begins and ends, quotes included.
    #[inline]
    pub(super) const fn new(kind: Kind, start: usize, end: usize) -> Self {
        let quote = matches!(kind, Kind::Text | Kind::Escaped) as usize;
        Self { kind, start: start + quote, end: end - quote }
    }

    /// The bytes of it.
    pub(super) fn bytes<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        &line[self.start..self.end]
    }

    /// Its value; of a string with escapes, what they stand for is in `decoded`.
    #[inline]
    pub(super) fn value<'a>(&self, line: &'a [u8], decoded: &'a [u8]) -> FieldValue<'a> {
        match self.kind {
            Kind::Null => FieldValue::Null,
            Kind::True => FieldValue::Bool(true),
            Kind::False => FieldValue::Bool(false),
            Kind::Number => number::value(self.bytes(line)),
            Kind::Text => FieldValue::Text(self.bytes(line)),
            Kind::Escaped => FieldValue::Text(decoded),
            // An object is there, but has no value of its own.
            Kind::Array | Kind::Object => FieldValue::List,
        }
    }

    /// Its value; a string with escapes is decoded into `buffer`.
    pub(super) fn value_with<'a>(&self, line: &'a [u8], buffer: &'a mut Vec<u8>) -> FieldValue<'a> {
        if self.kind == Kind::Escaped {
            buffer.clear();
            text::decode(self.bytes(line), buffer);
        }
        self.value(line, buffer)
    }
}

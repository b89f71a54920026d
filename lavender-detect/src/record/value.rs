//! The value of a field.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use lavender_core::{ByteString, Captured, Provenance, Timestamp};

/// The value of a field of a [`Record`](crate::Record).
///
/// Texts are bytes: Linux promises no UTF-8 for paths and arguments. Every value but a list has a text form,
/// and text tests work on it: `DestinationPort: 4444` matches the number and the text alike.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// The record has no such field.
    Absent,
    /// The field is there, and null.
    Null,
    /// Text, whole.
    Text(&'a [u8]),
    /// Text of which only one end was captured.
    Truncated(&'a [u8], Kept),
    /// There was a value, and it could not be read.
    Unreadable,
    /// A computed text of at most [`ShortText::CAPACITY`] bytes.
    Short(ShortText),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// A boolean: `true` or `false` as text.
    Bool(bool),
    /// An IP address.
    Ip(IpAddr),
    /// A moment: `2026-01-31 23:59:59.123` in UTC as text (Sysmon's `UtcTime`).
    Time(Timestamp),
    /// Several values: ask [`Record::elements`](crate::Record::elements).
    List,
}

/// Which end of a truncated text was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// Its beginning.
    Start,
    /// Its end, as for a path that the kernel walks from the file up to the root.
    End,
}

impl<'a> FieldValue<'a> {
    /// A captured kernel string, of which the beginning is kept when it is cut.
    pub fn captured(text: &'a Captured<ByteString>) -> Self {
        Self::with_provenance(&text.value, text.provenance, Kept::Start)
    }

    /// A captured path, of which the end is kept when it is cut.
    pub fn captured_path(path: &'a Captured<ByteString>) -> Self {
        Self::with_provenance(&path.value, path.provenance, Kept::End)
    }

    /// A text and how completely it was captured.
    pub const fn with_provenance(text: &'a [u8], provenance: Provenance, kept: Kept) -> Self {
        match provenance {
            Provenance::Truncated { .. } => Self::Truncated(text, kept),
            Provenance::Unreadable => Self::Unreadable,
            _ => Self::Text(text),
        }
    }

    /// Whether it is not known in full.
    pub const fn is_incomplete(&self) -> bool {
        matches!(self, Self::Truncated(..) | Self::Unreadable)
    }

    /// Whether the field is there, be it empty or null: what Sigma's `exists` asks.
    pub const fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Whether there is neither a field nor a value: what Sigma's `null` asks.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }

    /// The text form, written to `buffer` when it is not borrowed. `None` where there is none: absent, null,
    /// unreadable, a list. Of a truncated text, what there is.
    pub(crate) fn text<'b>(&'b self, buffer: &'b mut TextBuffer) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        buffer.length = 0;
        let written = match self {
            Self::Text(text) | Self::Truncated(text, _) => return Some(text),
            Self::Short(text) => return Some(text.as_bytes()),
            Self::Absent | Self::Null | Self::Unreadable | Self::List => return None,
            Self::Int(value) => write!(buffer, "{value}"),
            Self::Uint(value) => write!(buffer, "{value}"),
            Self::Float(value) => write!(buffer, "{value}"),
            Self::Bool(value) => return Some(if *value { b"true" } else { b"false" }),
            Self::Ip(address) => write!(buffer, "{address}"),
            Self::Time(time) => crate::matcher::time::write(buffer, *time),
        };
        // A number longer than the buffer is a float of some 300 digits: cut, it equals no pattern.
        let _ = written;
        Some(&buffer.bytes[..buffer.length])
    }
}

impl<'a> From<&'a str> for FieldValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for FieldValue<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for FieldValue<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text.as_bytes())
    }
}

impl From<bool> for FieldValue<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for FieldValue<'_> {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<IpAddr> for FieldValue<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<Timestamp> for FieldValue<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl From<i64> for FieldValue<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for FieldValue<'_> {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<u64> for FieldValue<'_> {
    fn from(value: u64) -> Self {
        Self::Uint(value)
    }
}

impl From<u32> for FieldValue<'_> {
    fn from(value: u32) -> Self {
        Self::Uint(u64::from(value))
    }
}

impl From<u16> for FieldValue<'_> {
    fn from(value: u16) -> Self {
        Self::Uint(u64::from(value))
    }
}

impl<'a, T> From<Option<T>> for FieldValue<'a>
where
    Self: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::from)
    }
}

/// A short text made on the spot, without allocation: an id, flags in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortText {
    length: u8,
    bytes: [u8; Self::CAPACITY],
}

impl ShortText {
    /// How many bytes it holds: a UUID in braces.
    pub const CAPACITY: usize = 38;

    /// What `text` shows as, cut to the capacity.
    pub fn new(text: impl fmt::Display) -> Self {
        let mut short = Self { length: 0, bytes: [0; Self::CAPACITY] };
        // The only error is that it is full, and cutting is what is documented.
        let _ = write!(short, "{text}");
        short
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.length);
        let taken = text.len().min(Self::CAPACITY - start);
        self.bytes[start..start + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken as u8;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Where the text form of a number, address or time is written.
pub(crate) struct TextBuffer {
    length: usize,
    bytes: [u8; 48],
}

impl TextBuffer {
    pub(crate) const fn new() -> Self {
        Self { length: 0, bytes: [0; 48] }
    }
}

impl fmt::Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let taken = text.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

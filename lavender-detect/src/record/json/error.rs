//! Why a line is no record.

/// Why a line cannot be read as a JSON object. Positions count bytes from the start of the line, from 0.
///
/// ```
/// use lavender_detect::{JsonFault, JsonFields, JsonLineError, JsonLines, RuleSet};
///
/// let mut lines = JsonLines::new(&JsonFields::new(RuleSet::empty().fields()));
/// let error = lines.parse(br#"{"pid": 007}"#).unwrap_err();
/// assert_eq!(error, JsonLineError::NotJson { at: 9, reason: JsonFault::InvalidNumber });
/// assert_eq!(error.to_string(), "not JSON: this is no number of JSON's, at byte 9");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonLineError {
    /// It is no UTF-8, which JSON must be.
    #[error("not UTF-8: no character begins at byte {at}")]
    NotUtf8 {
        /// Where it ceases to be.
        at: usize,
    },
    /// It is no JSON.
    #[error("not JSON: {reason}, at byte {at}")]
    NotJson {
        /// Where it ceases to be.
        at: usize,
        /// What is wrong there.
        reason: JsonFault,
    },
    /// It is JSON, but a list or a single value.
    #[error("not a JSON object")]
    NotAnObject {
        /// Where the value begins.
        at: usize,
    },
}

/// What is wrong with a line that is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// It was cut.
    #[error("the line ends too early")]
    UnexpectedEnd,
    /// Something stands where a value must.
    #[error("a value is missing")]
    ExpectedValue,
    /// Something stands where a key must: keys are in double quotes, and no comma stands before a brace.
    #[error("a key in double quotes is missing")]
    ExpectedKey,
    /// A key is not followed by a colon.
    #[error("a colon is missing")]
    ExpectedColon,
    /// A member of an object is followed neither by a comma nor by the end of the object.
    #[error("a comma or a closing brace is missing")]
    ExpectedCommaOrBrace,
    /// An element of a list is followed neither by a comma nor by the end of the list.
    #[error("a comma or a closing bracket is missing")]
    ExpectedCommaOrBracket,
    /// A string holds a control character, which must be escaped.
    #[error("a control character stands in a string")]
    ControlCharacter,
    /// A backslash in a string is followed by what is no escape.
    #[error("this is no escape of JSON's")]
    InvalidEscape,
    /// An escaped half of a surrogate pair stands without the other.
    #[error("half of a surrogate pair stands alone")]
    LoneSurrogate,
    /// A number with a leading zero, without a digit where one must be, …
    #[error("this is no number of JSON's")]
    InvalidNumber,
    /// A number that is too large for a 64-bit float.
    #[error("the number is out of range")]
    NumberOutOfRange,
    /// More than 127 lists and objects stand in one another.
    #[error("lists and objects are nested too deep")]
    TooDeep,
    /// Something follows the value.
    #[error("something follows the end")]
    TrailingCharacters,
}

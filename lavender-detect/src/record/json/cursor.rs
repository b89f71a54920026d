//! A place in a line, and the tokens that are read from there.

use super::error::JsonFault;
use super::number;
use super::text::{self, KeyHash};

/// What stands at a place of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    /// A string as it stands.
    Text,
    /// A string with escapes.
    Escaped,
    Array,
    Object,
}

/// The key of a member: where its inside stands, and whether it has escapes.
#[derive(Clone, Copy)]
pub(super) struct KeyToken {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) escaped: bool,
    /// Of a key without escapes.
    pub(super) hash: u32,
}

/// Reads tokens of a line. After a fault, `at` is where it is.
///
/// What every member of every line goes through is inlined by force, which makes a scan a tenth faster (see the
/// benchmark `json_line`).
pub(super) struct Cursor<'l> {
    pub(super) line: &'l [u8],
    pub(super) at: usize,
    /// The bytes of all strings, one over the other: whether any is not ASCII.
    seen: u64,
}

impl<'l> Cursor<'l> {
    pub(super) const fn new(line: &'l [u8], at: usize) -> Self {
        Self { line, at, seen: 0 }
    }

    /// Whether a string that was read may hold more than ASCII.
    pub(super) const fn has_non_ascii(&self) -> bool {
        text::has_non_ascii(self.seen)
    }

    /// Moves past white space, and says what stands behind it.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.line.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// As [`peek`](Self::peek), where something must stand.
    #[inline]
    pub(super) fn expect(&mut self) -> Result<u8, JsonFault> {
        self.peek().ok_or(JsonFault::UnexpectedEnd)
    }

    /// Moves past a string, from its opening quote.
    #[inline(always)]
    fn string(&mut self) -> Result<Kind, JsonFault> {
        self.at += 1;
        self.plain();
        if self.line.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Kind::Text);
        }
        self.rest_of_string()?;
        Ok(Kind::Escaped)
    }

    /// Moves past a key, from its opening quote.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<KeyToken, JsonFault> {
        self.at += 1;
        let start = self.at;
        let mut hash = KeyHash::START;
        loop {
            let word = text::word(self.line, self.at);
            self.seen |= word;
            let Some(plain) = text::plain_bytes(word) else {
                hash = hash.mix(word);
                self.at += 8;
                continue;
            };
            self.at += plain as usize;
            let end = self.at;
            if self.line.get(end) == Some(&b'"') {
                self.at += 1;
                let hash = hash.finish(text::first_bytes(word, plain), end - start);
                return Ok(KeyToken { start, end, escaped: false, hash });
            }
            self.rest_of_string()?;
            return Ok(KeyToken { start, end: self.at - 1, escaped: true, hash: 0 });
        }
    }

    /// Moves past plain characters.
    #[inline]
    fn plain(&mut self) {
        loop {
            let word = text::word(self.line, self.at);
            self.seen |= word;
            match text::plain_bytes(word) {
                Some(plain) => {
                    self.at += plain as usize;
                    return;
                }
                None => self.at += 8,
            }
        }
    }

    /// Moves past the rest of a string from what is no plain character of it.
    fn rest_of_string(&mut self) -> Result<(), JsonFault> {
        loop {
            match self.line.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(JsonFault::ControlCharacter),
                None => return Err(JsonFault::UnexpectedEnd),
            }
            self.plain();
        }
    }

    fn escape(&mut self) -> Result<(), JsonFault> {
        match self.line.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let code = self.code()?;
                if text::is_trailing(code) {
                    return Err(JsonFault::LoneSurrogate);
                }
                self.at += 6;
                if !text::is_leading(code) {
                    return Ok(());
                }
                let follows = self.line.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
                if !follows || !text::is_trailing(self.code()?) {
                    return Err(JsonFault::LoneSurrogate);
                }
                self.at += 6;
                Ok(())
            }
            _ => Err(JsonFault::InvalidEscape),
        }
    }

    /// The code of a `\uXXXX` that begins here.
    fn code(&self) -> Result<u32, JsonFault> {
        self.line.get(self.at + 2..).and_then(text::hex).ok_or(JsonFault::InvalidEscape)
    }

    /// Moves past the scalar that begins here.
    #[inline(always)]
    pub(super) fn scalar(&mut self) -> Result<Kind, JsonFault> {
        match self.line.get(self.at) {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true", Kind::True),
            Some(b'f') => self.literal(b"false", Kind::False),
            Some(b'n') => self.literal(b"null", Kind::Null),
            Some(_) => Err(JsonFault::ExpectedValue),
            None => Err(JsonFault::UnexpectedEnd),
        }
    }

    /// Moves past a value of JSON that was checked before.
    pub(super) fn pass(&mut self) -> Result<(), JsonFault> {
        let mut depth = 0_u32;
        loop {
            match self.expect()? {
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    self.scalar()?;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    #[inline]
    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<Kind, JsonFault> {
        if !self.line.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(JsonFault::ExpectedValue);
        }
        self.at += word.len();
        Ok(kind)
    }

    /// Moves past a number, from its sign or first digit.
    fn number(&mut self) -> Result<Kind, JsonFault> {
        let start = self.at;
        self.skip(|byte| byte == b'-');
        if self.skip(|byte| byte == b'0') {
            if self.digit().is_some() {
                return Err(JsonFault::InvalidNumber);
            }
        } else {
            self.digits()?;
        }
        if self.skip(|byte| byte == b'.') {
            self.digits()?;
        }
        let has_exponent = self.skip(|byte| matches!(byte, b'e' | b'E'));
        if has_exponent {
            self.skip(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        if !number::in_range(&self.line[start..self.at], has_exponent) {
            self.at = start;
            return Err(JsonFault::NumberOutOfRange);
        }
        Ok(Kind::Number)
    }

    #[inline]
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let is_there = self.line.get(self.at).is_some_and(|byte| wanted(*byte));
        self.at += usize::from(is_there);
        is_there
    }

    #[inline]
    fn digit(&self) -> Option<&u8> {
        self.line.get(self.at).filter(|byte| byte.is_ascii_digit())
    }

    /// Moves past digits, of which there must be one.
    #[inline]
    fn digits(&mut self) -> Result<(), JsonFault> {
        self.digit().ok_or(JsonFault::InvalidNumber)?;
        while self.digit().is_some() {
            self.at += 1;
        }
        Ok(())
    }
}

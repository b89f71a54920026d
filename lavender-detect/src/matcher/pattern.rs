//! Text patterns: literals anchored or not, and wildcards.

use memchr::{memchr, memmem};

use super::fold::fold;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Piece {
    Literal(Box<[u8]>),
    /// `?`: one character; of what is not UTF-8, one byte.
    AnyChar,
    /// `*`: anything, nothing included.
    AnyRun,
    /// `windash`: any of `-`, `/`, en dash, em dash, horizontal bar.
    Dash,
}

/// The characters that `windash` holds to be the same.
pub(super) const DASHES: [&[u8]; 5] =
    [b"-", b"/", "\u{2013}".as_bytes(), "\u{2014}".as_bytes(), "\u{2015}".as_bytes()];

/// A pattern for a whole value. Literals of an uncased pattern are folded, and it is given folded values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    pub(crate) cased: bool,
    pub(crate) shape: Shape,
}

/// What a pattern comes down to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Needle),
    /// Anything else. Never empty.
    Glob(Box<[Piece]>),
}

/// A text to be found, and its rarest byte to look for first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Needle {
    pub(crate) bytes: Box<[u8]>,
    rarest: u16,
}

impl Needle {
    fn new(bytes: Box<[u8]>) -> Self {
        let searched = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        let rarest = (0..searched.len()).min_by_key(|at| commonness(searched[*at])).unwrap_or(0);
        Self { rarest: rarest as u16, bytes }
    }

    /// Longer texts are searched by an algorithm that takes linear time whatever they hold.
    const SHORT_TEXT: usize = 1_024;

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        let needle = &*self.bytes;
        let Some(room) = text.len().checked_sub(needle.len()) else { return false };
        if text.len() > Self::SHORT_TEXT {
            return memmem::find(text, needle).is_some();
        }
        let Some(rare) = needle.get(usize::from(self.rarest)) else { return true };
        let offset = usize::from(self.rarest);
        let mut start = 0;
        while let Some(found) = memchr(*rare, &text[start + offset..=room + offset]) {
            start += found;
            if text[start..start + needle.len()] == *needle {
                return true;
            }
            start += 1;
            if start > room {
                return false;
            }
        }
        false
    }
}

/// How common a byte is in paths and command lines, by rough classes: what to look for first.
pub(crate) const fn commonness(byte: u8) -> u8 {
    match byte {
        b'/' | b' ' | b'e' | b's' | b'a' | b'i' | b't' | b'n' | b'r' | b'o' => 9,
        b'b' | b'c' | b'd' | b'l' | b'm' | b'p' | b'u' | b'-' | b'.' | b'h' => 7,
        b'a'..=b'z' => 5,
        b'0'..=b'9' | b'_' | b'=' | b'"' | b'\\' => 4,
        b'A'..=b'Z' => 3,
        _ => 1,
    }
}

impl Pattern {
    /// The pattern of these pieces.
    pub(crate) fn new(pieces: Vec<Piece>, cased: bool) -> Self {
        let mut pieces = normalize(pieces, cased);
        let shape = match pieces.as_mut_slice() {
            [] => Shape::Exact([].into()),
            [Piece::AnyRun] => Shape::Contains(Needle::new([].into())),
            [Piece::Literal(text)] => Shape::Exact(std::mem::take(text)),
            [Piece::Literal(text), Piece::AnyRun] => Shape::Prefix(std::mem::take(text)),
            [Piece::AnyRun, Piece::Literal(text)] => Shape::Suffix(std::mem::take(text)),
            [Piece::AnyRun, Piece::Literal(text), Piece::AnyRun] => {
                Shape::Contains(Needle::new(std::mem::take(text)))
            }
            _ => Shape::Glob(pieces.into()),
        };
        Self { cased, shape }
    }

    /// Whether the whole `text`, folded unless the pattern is cased, fits.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match &self.shape {
            Shape::Exact(literal) => text == &**literal,
            Shape::Prefix(literal) => text.starts_with(literal),
            Shape::Suffix(literal) => text.ends_with(literal),
            Shape::Contains(needle) => needle.is_in(text),
            Shape::Glob(pieces) => glob(pieces, text),
        }
    }

    /// The pattern as a rule writes it, for messages.
    pub(crate) fn show(&self) -> String {
        let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match &self.shape {
            Shape::Exact(text) => lossy(text),
            Shape::Prefix(text) => format!("{}*", lossy(text)),
            Shape::Suffix(text) => format!("*{}", lossy(text)),
            Shape::Contains(needle) if needle.bytes.is_empty() => "*".to_owned(),
            Shape::Contains(needle) => format!("*{}*", lossy(&needle.bytes)),
            Shape::Glob(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(text) => lossy(text),
                    Piece::AnyChar => "?".to_owned(),
                    Piece::AnyRun => "*".to_owned(),
                    Piece::Dash => "-".to_owned(),
                })
                .collect(),
        }
    }
}

/// Joins neighbouring literals, folds them, and drops empty ones and repeated `*`.
fn normalize(pieces: Vec<Piece>, cased: bool) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (piece, joined.last_mut()) {
            (Piece::Literal(text), _) if text.is_empty() => {}
            (Piece::Literal(text), Some(Piece::Literal(before))) => {
                *before = [&**before, &*text].concat().into();
            }
            (Piece::AnyRun, Some(Piece::AnyRun)) => {}
            (piece, _) => joined.push(piece),
        }
    }
    if !cased {
        for piece in &mut joined {
            if let Piece::Literal(text) = piece {
                *text = fold(text).into();
            }
        }
    }
    joined
}

/// The length of the character at the start of `text`; 1 for a byte that is part of none.
pub(super) fn char_length(text: &[u8]) -> usize {
    let length = match text.first() {
        None => return 0,
        Some(0..0x80) => return 1,
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        Some(_) => return 1,
    };
    match text.get(..length) {
        Some(character) if std::str::from_utf8(character).is_ok() => length,
        _ => 1,
    }
}

/// Where a run of pieces without `*` ends when it begins at `start`.
fn segment_end(segment: &[Piece], text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    for piece in segment {
        let rest = text.get(at..)?;
        at += match piece {
            Piece::Literal(literal) => rest.starts_with(literal).then_some(literal.len())?,
            Piece::AnyChar => Some(char_length(rest)).filter(|length| *length > 0)?,
            Piece::Dash => DASHES.iter().find(|dash| rest.starts_with(dash))?.len(),
            Piece::AnyRun => 0,
        };
    }
    Some(at)
}

/// Matches a whole text. Every segment between two `*` is taken at its leftmost place, which is enough: a
/// segment covers the same number of characters wherever it stands. Time is at most the product of the lengths.
pub(super) fn glob(pieces: &[Piece], text: &[u8]) -> bool {
    let mut segments = pieces.split(|piece| *piece == Piece::AnyRun);
    let first = segments.next().unwrap_or_default();
    let Some(mut at) = segment_end(first, text, 0) else { return false };
    let mut open_end = false;
    let mut segments = segments.peekable();
    if segments.peek().is_none() {
        return at == text.len();
    }
    while let Some(segment) = segments.next() {
        open_end = segment.is_empty();
        let last = segments.peek().is_none();
        if last && !open_end {
            return find_segment(segment, text, at, true).is_some();
        }
        match find_segment(segment, text, at, false) {
            Some(end) => at = end,
            None => return false,
        }
    }
    open_end
}

fn find_segment(segment: &[Piece], text: &[u8], from: usize, to_the_end: bool) -> Option<usize> {
    let mut start = from;
    loop {
        if let Some(Piece::Literal(literal)) = segment.first() {
            start += memmem::find(text.get(start..)?, literal)?;
        }
        match segment_end(segment, text, start) {
            Some(end) if !to_the_end || end == text.len() => return Some(end),
            _ if start >= text.len() => return None,
            _ => start += char_length(&text[start..]),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An uncased one, of a text with `*`, `?` and, for a dash, `~`.
    pub(in crate::matcher) fn pattern(text: &str) -> Pattern {
        let mut pieces = Vec::new();
        for character in text.chars() {
            pieces.push(match character {
                '*' => Piece::AnyRun,
                '?' => Piece::AnyChar,
                '~' => Piece::Dash,
                other => Piece::Literal(other.to_string().into_bytes().into()),
            });
        }
        Pattern::new(pieces, false)
    }

    #[test]
    fn wildcards_match_the_whole_value() {
        for (text, value, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("*??", "€", false),
            ("*??", "€a", true),
            ("*a*b*c", "xaybzc", true),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("?", "\n", true),
            ("", "", true),
            ("*", "", true),
            ("*~enc*", "x —enc", true),
            ("*~enc*", "x /enc", true),
            ("*~enc*", "x+enc", false),
            ("a*a", "a", false),
        ] {
            let folded = fold(value.as_bytes());
            assert_eq!(pattern(text).matches(&folded), expected, "{text} {value}");
        }
    }
}

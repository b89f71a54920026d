//! What patterns say of a text of which only one end is known.

use super::pattern::{DASHES, Pattern, Piece, Shape, char_length, glob};
use crate::record::Kept;
use crate::truth::Truth;

impl Pattern {
    /// Whether every whole text that this can be the kept end of fits, or none, or some. The whole is longer than what is
    /// kept by at least a character.
    pub(crate) fn matches_truncated(&self, text: &[u8], kept: Kept) -> Truth {
        match (&self.shape, kept) {
            (Shape::Exact(literal), _) => match literal_fit(literal, text, kept) {
                Fit::Cut => Truth::Undetermined,
                Fit::Never | Fit::Leaves(_) => Truth::False,
            },
            (Shape::Prefix(literal), Kept::Start) | (Shape::Suffix(literal), Kept::End) => {
                match literal_fit(literal, text, kept) {
                    Fit::Never => Truth::False,
                    Fit::Cut => Truth::Undetermined,
                    Fit::Leaves(_) => Truth::True,
                }
            }
            (Shape::Prefix(_) | Shape::Suffix(_), _) => Truth::Undetermined,
            (Shape::Contains(needle), _) if needle.is_in(text) => Truth::True,
            (Shape::Contains(_), _) => Truth::Undetermined,
            (Shape::Glob(pieces), _) => glob_truncated(pieces, text, kept),
        }
    }
}

/// How pieces that have to stand at the kept end go with it.
enum Fit<'a> {
    /// Not, whatever was cut.
    Never,
    /// As far as it goes: they reach into what was cut.
    Cut,
    /// They do, and leave this of it.
    Leaves(&'a [u8]),
}

fn literal_fit<'a>(literal: &[u8], text: &'a [u8], kept: Kept) -> Fit<'a> {
    let both = literal.len().min(text.len());
    let (agrees, rest) = match kept {
        Kept::Start => (text[..both] == literal[..both], &text[both..]),
        Kept::End => {
            let (rest, end) = text.split_at(text.len() - both);
            (*end == literal[literal.len() - both..], rest)
        }
    };
    match agrees {
        false => Fit::Never,
        true if both < literal.len() => Fit::Cut,
        true => Fit::Leaves(rest),
    }
}

/// Of pieces without `*`.
fn segment_fit<'a>(segment: &[Piece], text: &'a [u8], kept: Kept) -> Fit<'a> {
    let mut rest = text;
    for number in 0..segment.len() {
        let (piece, length) = match kept {
            Kept::Start => (&segment[number], char_length(rest)),
            Kept::End => (&segment[segment.len() - 1 - number], last_char_length(rest)),
        };
        // Every piece is at least a character.
        if rest.is_empty() {
            return Fit::Cut;
        }
        let (character, behind) = match kept {
            Kept::Start => rest.split_at(length),
            Kept::End => {
                let (behind, character) = rest.split_at(rest.len() - length);
                (character, behind)
            }
        };
        rest = match piece {
            Piece::Literal(literal) => match literal_fit(literal, rest, kept) {
                Fit::Leaves(rest) => rest,
                other => return other,
            },
            Piece::Dash if !DASHES.contains(&character) => return Fit::Never,
            Piece::AnyChar | Piece::Dash => behind,
            Piece::AnyRun => rest,
        };
    }
    Fit::Leaves(rest)
}

fn glob_truncated(pieces: &[Piece], text: &[u8], kept: Kept) -> Truth {
    let mut segments = pieces.split(|piece| *piece == Piece::AnyRun);
    let (anchored, open_to_the_cut) = match kept {
        Kept::Start => (segments.next(), pieces.last() == Some(&Piece::AnyRun)),
        Kept::End => (segments.next_back(), pieces.first() == Some(&Piece::AnyRun)),
    };
    let has_run = segments.next().is_some();
    match segment_fit(anchored.unwrap_or_default(), text, kept) {
        Fit::Never => Truth::False,
        // More is there than the pieces have room for.
        Fit::Leaves(_) if !has_run => Truth::False,
        Fit::Leaves(_) if open_to_the_cut && glob(pieces, text) => Truth::True,
        Fit::Cut | Fit::Leaves(_) => Truth::Undetermined,
    }
}

/// The length of the character at the end of `text`; 1 for a byte that is part of none.
fn last_char_length(text: &[u8]) -> usize {
    let whole = |length: &usize| {
        let start = text.len().checked_sub(*length);
        start.is_some_and(|start| char_length(&text[start..]) == *length)
    };
    (2..=4).find(whole).unwrap_or_else(|| text.len().min(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::pattern::tests::pattern;

    #[test]
    fn says_only_what_a_truncated_value_allows() {
        use Kept::{End, Start};
        use Truth::{False, True, Undetermined};
        for (text, known, kept, expected) in [
            ("abc", "ab", Start, Undetermined),
            ("abc", "abc", Start, False),
            ("abc", "x", Start, False),
            ("ab*", "abc", Start, True),
            ("ab*", "a", Start, Undetermined),
            ("ab*", "b", Start, False),
            ("*ab", "ab", Start, Undetermined),
            ("*ab", "xab", End, True),
            ("*ab", "x", End, False),
            ("*b*", "abc", Start, True),
            ("*z*", "abc", End, Undetermined),
            ("?/cron.d", "/etc", End, False),
            ("?/cron.d", "n.d", End, Undetermined),
            ("?/cron.d", "/cron.d", End, Undetermined),
            ("?/cron.d", "é/cron.d", End, False),
            ("a?c", "aé", Start, Undetermined),
            ("a?c", "aéc", Start, False),
            ("a?c", "b", Start, False),
            ("a?c*", "aécd", Start, True),
            ("a*b*", "a--", Start, Undetermined),
            ("a*b*", "a-b-", Start, True),
            ("*a?c", "-aéc", End, True),
            ("*a?c", "éc", End, Undetermined),
            ("*a?c", "-béc", End, False),
            ("a*c", "xc", End, Undetermined),
            ("a*c", "x", End, False),
            ("a*c", "ax", Start, Undetermined),
            ("*~enc", "\u{2014}enc", End, True),
            ("*~enc", "+enc", End, False),
            ("~enc*", "/enc", Start, True),
            ("~enc*", "", Start, Undetermined),
        ] {
            assert_eq!(
                pattern(text).matches_truncated(known.as_bytes(), kept),
                expected,
                "{text} {known}"
            );
        }
    }
}

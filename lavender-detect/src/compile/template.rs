//! Text values under construction: what modifiers turn them into before they become patterns.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsigma_parser::{SigmaString, SpecialChar, StringPart};

use super::placeholders::Placeholders;
use crate::matcher::pattern::{Pattern, Piece};

/// A text with wildcards.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

/// How UTF-16 is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Utf16 {
    Little,
    Big,
    /// Little, after a byte order mark.
    Marked,
}

/// A bound on what the placeholders of one value may expand to.
pub(super) const MAX_EXPANSIONS: usize = 10_000;

fn literal(bytes: impl Into<Box<[u8]>>) -> Piece {
    Piece::Literal(bytes.into())
}

impl Template {
    /// Reads `*`, `?` and the backslashes before them.
    pub(super) fn parse(text: &str) -> Self {
        let pieces = SigmaString::new(text).parts.into_iter().map(|part| match part {
            StringPart::Plain(text) => literal(text.into_bytes()),
            StringPart::Special(SpecialChar::WildcardMulti) => Piece::AnyRun,
            StringPart::Special(SpecialChar::WildcardSingle) => Piece::AnyChar,
        });
        Self { pieces: pieces.collect() }
    }

    pub(super) fn into_pattern(self, cased: bool) -> Pattern {
        Pattern::new(self.pieces, cased)
    }

    pub(super) fn open_start(&mut self) {
        self.pieces.insert(0, Piece::AnyRun);
    }

    pub(super) fn open_end(&mut self) {
        self.pieces.push(Piece::AnyRun);
    }

    /// The text, when there is no wildcard in it.
    fn plain(&self) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => all.extend_from_slice(text),
                _ => return None,
            }
        }
        Some(all)
    }

    pub(super) fn utf16(mut self, layout: Utf16) -> Result<Self, &'static str> {
        for piece in &mut self.pieces {
            if let Piece::Literal(text) = piece {
                let text_utf8 = std::str::from_utf8(text).map_err(
                    |_| "an encoding to UTF-16 needs a text, not the result of another encoding",
                )?;
                *text = text_utf8
                    .encode_utf16()
                    .flat_map(|unit| match layout {
                        Utf16::Big => unit.to_be_bytes(),
                        Utf16::Little | Utf16::Marked => unit.to_le_bytes(),
                    })
                    .collect();
            }
        }
        if matches!(layout, Utf16::Marked) {
            self.pieces.insert(0, literal([0xff, 0xfe]));
        }
        Ok(self)
    }

    pub(super) fn base64(&self) -> Result<Self, &'static str> {
        let plain = self.plain().ok_or("`base64` takes no wildcards")?;
        Ok(Self { pieces: vec![literal(STANDARD.encode(plain).into_bytes())] })
    }

    /// The text as it looks inside a longer base64 text, at each of the three offsets.
    pub(super) fn base64_offsets(&self) -> Result<Vec<Self>, &'static str> {
        let plain = self.plain().ok_or("`base64offset` takes no wildcards")?;
        if plain.is_empty() {
            return Err("`base64offset` of an empty text matches anything");
        }
        let variant = |offset: usize| {
            let padded = [vec![b' '; offset], plain.clone()].concat();
            let encoded = STANDARD.encode(&padded).into_bytes();
            // What depends on the bytes before and after is cut.
            let start = [0, 2, 3][offset];
            let end = encoded.len() - [0, 3, 2][padded.len() % 3];
            Self { pieces: vec![literal(encoded.get(start..end).unwrap_or_default())] }
        };
        Ok((0..3).map(variant).collect())
    }

    /// Makes every dash or slash that begins a flag stand for any of the dashes: one that no word comes before
    /// and a word follows.
    pub(super) fn windash(self) -> Self {
        let is_word = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80)
        };
        let mut pieces = Vec::new();
        for piece in self.pieces {
            let Piece::Literal(text) = piece else {
                pieces.push(piece);
                continue;
            };
            let mut start = 0;
            for (at, byte) in text.iter().enumerate() {
                let before = at.checked_sub(1).and_then(|before| text.get(before));
                let flag =
                    matches!(byte, b'-' | b'/') && !is_word(before) && is_word(text.get(at + 1));
                if flag {
                    pieces.extend([literal(&text[start..at]), Piece::Dash]);
                    start = at + 1;
                }
            }
            pieces.push(literal(&text[start..]));
        }
        Self { pieces }
    }

    /// Puts every value of a placeholder in its place. `\%` is a percent sign.
    pub(super) fn expand(&self, placeholders: &Placeholders) -> Result<Vec<Self>, String> {
        let mut done: Vec<Vec<Piece>> = vec![Vec::new()];
        for piece in &self.pieces {
            let Piece::Literal(text) = piece else {
                done.iter_mut().for_each(|pieces| pieces.push(piece.clone()));
                continue;
            };
            for part in split_placeholders(&String::from_utf8_lossy(text)) {
                match part {
                    Part::Text(text) => {
                        let text = literal(text.into_bytes());
                        done.iter_mut().for_each(|pieces| pieces.push(text.clone()));
                    }
                    Part::Placeholder(name) => {
                        let values = placeholders.get(&name).ok_or_else(|| {
                            format!("the placeholder `%{name}%` has no value configured")
                        })?;
                        if done.len() * values.len() > MAX_EXPANSIONS {
                            return Err(format!("it expands to more than {MAX_EXPANSIONS} values"));
                        }
                        done = values
                            .iter()
                            .map(|value| Self::parse(value).pieces)
                            .flat_map(|value| {
                                done.iter().map(move |before| [before.as_slice(), &value].concat())
                            })
                            .collect();
                    }
                }
            }
        }
        Ok(done.into_iter().map(|pieces| Self { pieces }).collect())
    }
}

enum Part {
    Text(String),
    Placeholder(String),
}

/// Splits `a%name%b` at its placeholders.
fn split_placeholders(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['%', '\\']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\%") {
            plain.push('%');
            rest = after;
            continue;
        }
        let is_name = |name: &&str| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
        };
        let name =
            rest.strip_prefix('%').and_then(|rest| rest.split_once('%')).map(|(name, _)| name);
        if let Some(name) = name.filter(is_name) {
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Placeholder(name.to_owned()));
            rest = &rest[name.len() + 2..];
        } else {
            plain.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    parts.push(Part::Text(plain));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(template: Template) -> String {
        template.into_pattern(true).show()
    }

    #[test]
    fn backslashes_escape_wildcards_and_themselves_only() {
        for (written, plain) in [
            (r"\*", "*"),
            (r"\?", "?"),
            (r"\\", r"\"),
            (r"\", r"\"),
            (r"\\\\", r"\\"),
            (r"\\\*", r"\*"),
            (r"C:\Windows\", r"C:\Windows\"),
            (r"\d", r"\d"),
        ] {
            let found = Template::parse(written).plain();
            assert_eq!(found.as_deref(), Some(plain.as_bytes()), "{written}");
        }
        assert!(Template::parse(r"\\*").plain().is_none());
    }

    #[test]
    fn base64_offsets_are_found_in_any_longer_text() {
        let template = Template::parse("http://");
        let found: Vec<_> = template.base64_offsets().unwrap().into_iter().map(show).collect();
        assert_eq!(found, ["aHR0cDovL", "h0dHA6Ly", "odHRwOi8v"]);
    }

    #[test]
    fn windash_is_for_flags_only() {
        let dashes = |text: &str| {
            Template::parse(text).windash().pieces.iter().filter(|p| **p == Piece::Dash).count()
        };
        assert_eq!(dashes(" -enc"), 1);
        assert_eq!(dashes("/a -b c-d e/f"), 2);
        assert_eq!(dashes("- x"), 0);
    }

    #[test]
    fn placeholders_expand_to_every_combination() {
        let placeholders =
            Placeholders::new().with_values("a", ["1", "2"]).with_values("b", ["x*"]);
        let expanded = Template::parse(r"%a%-%b%\%").expand(&placeholders).unwrap();
        let found: Vec<_> = expanded.into_iter().map(show).collect();
        assert_eq!(found, ["1-x*%", "2-x*%"]);
        assert!(Template::parse("%c%").expand(&placeholders).is_err());
    }
}

//! Case folding: Sigma compares texts without regard to case unless `cased` is said.
//!
//! ASCII is folded byte by byte. A text with any other byte is folded character by character, by Unicode's
//! one-to-one mappings, so that `É` and `é` (and the Kelvin sign and `k`) are the same to a rule: folding only
//! ASCII would be an evasion. Bytes that are not UTF-8 stay as they are.

/// Appends the folded form of `text` to `out`.
pub(crate) fn fold_into(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text);
    // Folds and looks for other bytes in one go: almost every text is ASCII.
    let mut seen = 0;
    for byte in &mut out[start..] {
        seen |= *byte;
        *byte = byte.to_ascii_lowercase();
    }
    if !seen.is_ascii() {
        out.truncate(start);
        fold_unicode(text, out);
    }
}

/// The folded form of `text`.
pub(crate) fn fold(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

fn fold_unicode(text: &[u8], out: &mut Vec<u8>) {
    let mut utf8 = [0; 4];
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            out.extend_from_slice(fold_char(character).encode_utf8(&mut utf8).as_bytes());
        }
        out.extend_from_slice(chunk.invalid());
    }
}

/// A character as all that differ from it by case alone fold: up and down again, where each step is one
/// character. The dotless `ı` keeps apart from `i`, as in Unicode's own folding.
pub(crate) fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    if character == 'ı' {
        return character;
    }
    let upper = single(character.to_uppercase()).unwrap_or(character);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_what_differs_by_case_alone() {
        for (a, b) in
            [("BASH", "bash"), ("ÉTÉ", "été"), ("\u{212a}", "k"), ("ſ", "S"), ("Σς", "σΣ")]
        {
            assert_eq!(fold(a.as_bytes()), fold(b.as_bytes()), "{a} {b}");
        }
        assert_ne!(fold("ı".as_bytes()), fold(b"i"));
        assert_eq!(fold(b"A\xffB"), b"a\xffb");
    }

    #[test]
    fn folding_twice_is_folding_once() {
        for character in '\0'..=char::MAX {
            let once = fold_char(character);
            assert_eq!(once, fold_char(once), "{character:?}");
        }
    }
}

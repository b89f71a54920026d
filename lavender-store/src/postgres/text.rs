//! Text that may hold a NUL, which PostgreSQL's text may not.

use std::borrow::Cow;

/// The text as it is stored: `\0` for a NUL, `\\` for a backslash.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['\0', '\\']) {
        Cow::Owned(text.replace('\\', r"\\").replace('\0', r"\0"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text that was stored.
pub(super) fn unescaped(stored: String) -> String {
    if !stored.contains('\\') {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_none_holds_a_nul() {
        for text in ["", "web-1", "a\0b", r"\0", "\\", r"CORP\ana", "\\\0\\\\0\0", "größe\0"] {
            let stored = escaped(text);
            assert!(!stored.contains('\0'), "{stored:?}");
            assert_eq!(unescaped(stored.into_owned()), text);
        }
        assert!(matches!(escaped("plain"), Cow::Borrowed(_)));
    }
}

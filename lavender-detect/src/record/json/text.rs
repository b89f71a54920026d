//! Strings: where they end, what their escapes stand for, and the hash of a key.

use memchr::memchr;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = LOW << 7;

/// Eight bytes from `at` on, the first in the lowest bits. Zeros stand for what lies behind the end: a byte that no
/// string may hold.
#[inline]
pub(super) fn word(line: &[u8], at: usize) -> u64 {
    let rest = line.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => short_word(rest),
    }
}

#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// How many bytes of a word stand before the first that ends a run of plain characters (a quote, a backslash, a
/// control character); `None` where all are plain.
///
/// Eight bytes at a time: strings of events are short, and a call into a vectorised search costs more than it saves.
#[inline]
pub(super) const fn plain_bytes(word: u64) -> Option<u32> {
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    let is_quote = quote.wrapping_sub(LOW) & !quote;
    let is_backslash = backslash.wrapping_sub(LOW) & !backslash;
    let is_control = word.wrapping_sub(LOW * 0x20) & !word;
    // A borrow can mark a byte wrongly, but only one behind a byte that is marked rightly.
    let marks = (is_quote | is_backslash | is_control) & HIGH;
    if marks == 0 { None } else { Some(marks.trailing_zeros() / 8) }
}

/// Whether a byte of the word is not ASCII.
#[inline]
pub(super) const fn has_non_ascii(word: u64) -> bool {
    word & HIGH != 0
}

/// The first `count` bytes of a word, of at most seven.
#[inline]
pub(super) const fn first_bytes(word: u64, count: u32) -> u64 {
    word & !(u64::MAX << (8 * count))
}

/// The hash of a key, word by word. It need not withstand anyone: the table that it leads into holds the rules'
/// names only, and a line's key that collides with one is compared and not stored.
#[derive(Clone, Copy)]
pub(super) struct KeyHash(u64);

impl KeyHash {
    pub(super) const START: Self = Self(0x243f_6a88_85a3_08d3);

    /// Mixes in eight bytes.
    #[inline]
    pub(super) const fn mix(self, word: u64) -> Self {
        let product = (self.0 ^ word) as u128 * 0x9e37_79b9_7f4a_7c15;
        Self(product as u64 ^ (product >> 64) as u64)
    }

    /// Mixes in what is left, at most seven bytes, and the length of the whole.
    #[inline]
    pub(super) const fn finish(self, rest: u64, length: usize) -> u32 {
        Self(self.0 ^ length as u64).mix(rest).0 as u32
    }

    /// Of a key that is at hand.
    pub(super) fn of(key: &[u8]) -> u32 {
        let (words, rest) = key.as_chunks::<8>();
        words
            .iter()
            .fold(Self::START, |hash, eight| hash.mix(u64::from_le_bytes(*eight)))
            .finish(short_word(rest), key.len())
    }
}

/// The value of four hexadecimal digits.
pub(super) fn hex(digits: &[u8]) -> Option<u32> {
    let digits = digits.first_chunk::<4>()?;
    digits
        .iter()
        .try_fold(0, |value, digit| char::from(*digit).to_digit(16).map(|digit| value << 4 | digit))
}

/// Whether this code begins a surrogate pair.
pub(super) const fn is_leading(code: u32) -> bool {
    matches!(code, 0xd800..=0xdbff)
}

/// Whether this code ends a surrogate pair.
pub(super) const fn is_trailing(code: u32) -> bool {
    matches!(code, 0xdc00..=0xdfff)
}

/// Writes out what the inside of a string stands for. Its escapes were checked before.
pub(super) fn decode(mut inside: &[u8], out: &mut Vec<u8>) {
    while let Some(backslash) = memchr(b'\\', inside) {
        out.extend_from_slice(&inside[..backslash]);
        let escape = &inside[backslash..];
        let (character, length) = character(escape);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        inside = &escape[length..];
    }
    out.extend_from_slice(inside);
}

/// What an escape stands for, and how many bytes it has.
fn character(escape: &[u8]) -> (char, usize) {
    let code_at = |at: usize| escape.get(at..).and_then(hex).unwrap_or_default();
    let plain = match escape.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let code = code_at(2);
            let (code, length) = if is_leading(code) {
                (0x1_0000 + ((code - 0xd800) << 10) + (code_at(8) & 0x3ff), 12)
            } else {
                (code, 6)
            };
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            return (character, length.min(escape.len()));
        }
        other => other.copied().map_or(char::REPLACEMENT_CHARACTER, char::from),
    };
    (plain, escape.len().min(2))
}

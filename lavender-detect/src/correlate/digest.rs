//! The digest of one text, as SipHash-1-3 makes it, without a copy of the text: most groups and values are of one field.
//!
//! It is that of the text with its length behind it, in four bytes: what `siphasher` makes of both in one piece.

/// In 128 bits.
#[inline]
pub(crate) fn wide(keys: [u64; 2], text: &[u8]) -> u128 {
    let mut state = State::new(keys);
    state.v1 ^= 0xee;
    state.take(text);
    state.v2 ^= 0xee;
    let low = state.finish();
    state.v1 ^= 0xdd;
    u128::from(state.finish()) << 64 | u128::from(low)
}

/// In 64 bits.
#[inline]
pub(crate) fn narrow(keys: [u64; 2], text: &[u8]) -> u64 {
    let mut state = State::new(keys);
    state.take(text);
    state.v2 ^= 0xff;
    state.finish()
}

/// The last bytes of a text, fewer than eight, as the lower ones of a word.
#[inline]
fn tail_of(text: &[u8], rest: &[u8]) -> u64 {
    match text.last_chunk::<8>() {
        // At once, and not byte by byte: how many there are is no branch then.
        Some(last) => {
            let others = 64 - 8 * rest.len() as u32;
            u64::from_le_bytes(*last).checked_shr(others).unwrap_or_default()
        }
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline]
    const fn new([first, second]: [u64; 2]) -> Self {
        Self {
            v0: first ^ 0x736f_6d65_7073_6575,
            v1: second ^ 0x646f_7261_6e64_6f6d,
            v2: first ^ 0x6c79_6765_6e65_7261,
            v3: second ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline]
    fn take(&mut self, text: &[u8]) {
        let (words, rest) = text.as_chunks::<8>();
        for word in words {
            self.absorb(u64::from_le_bytes(*word));
        }
        // What is left of the text, and the length: up to eleven bytes, which may be a word and more.
        let tail =
            u128::from(tail_of(text, rest)) | u128::from(text.len() as u32) << (8 * rest.len());
        let mut last = tail as u64;
        if rest.len() + size_of::<u32>() >= 8 {
            self.absorb(last);
            last = (tail >> 64) as u64;
        }
        self.absorb(last | ((text.len() + size_of::<u32>()) as u64) << 56);
    }

    #[inline]
    const fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    #[inline]
    const fn finish(&mut self) -> u64 {
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline]
    const fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32).wrapping_add(self.v3);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use siphasher::{sip, sip128};

    proptest! {
        #[test]
        fn they_are_those_of_the_text_with_its_length_behind_it(
            keys in any::<[u64; 2]>(),
            text in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut whole = text.clone();
            whole.extend_from_slice(&(text.len() as u32).to_le_bytes());
            let [first, second] = keys;
            let wide = sip128::SipHasher13::new_with_keys(first, second).hash(&whole).as_u128();
            prop_assert_eq!(super::wide(keys, &text), wide);
            let narrow = sip::SipHasher13::new_with_keys(first, second).hash(&whole);
            prop_assert_eq!(super::narrow(keys, &text), narrow);
        }
    }
}

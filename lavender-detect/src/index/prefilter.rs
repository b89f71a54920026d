//! Whether a value could hold any of some literals at all, told from the value as it is: neither folded nor copied.
//!
//! Keywords are searched in every value of a record, and nearly all values are ids, times, names and paths. Most
//! keywords are words with blanks between them, which such values have not: one look at whether a value has a blank and
//! a letter rules all of them out, and what stands at the blanks rules out most of what is left. The other literals are long enough to cover a group of four bytes at a multiple of
//! four, wherever they stand, and few enough that a bit per group rules out nearly everything.

use crate::matcher::pattern::commonness;

/// The bytes that are hashed together, and how far apart groups begin.
const GROUP: usize = 4;
/// A literal of so many bytes covers a group at every alignment.
const LEAST_SAMPLED: usize = 2 * GROUP - 1;
/// 8 KiB of places for groups: they stay in the nearest cache, and those of a hundred groups are rarely hit by chance.
/// Each is a byte, since to pick a bit of one takes as long as all the rest.
const PLACES_LOG2: u32 = 13;
const PLACES: usize = 1 << PLACES_LOG2;

const SAMPLED: u8 = 1;
const AT_BLANK: u8 = 2;

const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
/// The bit in which small letters differ from capitals. With it set, a text and its folded form are alike.
const CASE: u64 = EACH_BYTE * 0x20;
/// The bit that every letter has, and no digit, blank or control.
const LETTER: u64 = EACH_BYTE * 0x40;
const NOT_ASCII: u64 = EACH_BYTE * 0x80;

/// Says of values whether they could hold one of its literals.
pub(crate) struct Prefilter {
    /// Whether a value with a blank and a letter could.
    blanks: bool,
    /// By hash of a group: [`SAMPLED`] where a literal has it that is looked for in steps, and [`AT_BLANK`] where it is
    /// what a literal has at a blank.
    places: Box<[u8; PLACES]>,
}

impl std::fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefilter").field("blanks", &self.blanks).finish_non_exhaustive()
    }
}

impl Prefilter {
    /// A filter for these folded literals; `None` when one of them is too short and has no blank.
    pub(crate) fn new<'l>(literals: impl IntoIterator<Item = &'l [u8]>) -> Option<Self> {
        let mut filter = Self { blanks: false, places: Box::new([0; PLACES]) };
        for literal in literals {
            if let Some(group) = rarest_at_blank(literal) {
                filter.blanks = true;
                filter.places[place_of(group | CASE as u32)] |= AT_BLANK;
            } else {
                let window = rarest_window(literal)?;
                for group in literal[window..window + LEAST_SAMPLED].windows(GROUP) {
                    let &[a, b, c, d] = group else { continue };
                    filter.places[place_of(u32::from_le_bytes([a, b, c, d]) | CASE as u32)] |=
                        SAMPLED;
                }
            }
        }
        Some(filter)
    }

    /// Whether a value could hold a literal, or is not ASCII, or so short that a look at it is not worth while.
    /// Not inlined: who calls it for every value is then small enough to be inlined itself.
    #[inline(never)]
    pub(crate) fn may_hold(&self, value: &[u8]) -> bool {
        let mut seen = Seen::default();
        let (blocks, rest) = value.as_chunks::<32>();
        for block in blocks {
            block.as_chunks().0.iter().for_each(|word| self.look(&mut seen, *word));
        }
        // The rest is looked at in whole words too, some bytes of it twice: a loop over what is left would be
        // mispredicted for almost every value. A literal across both ends of two words covers a group of one of them.
        match rest.len() {
            0 => {}
            1..=8 => self.look_at_end(&mut seen, value),
            9..=16 => {
                [rest.first_chunk(), rest.last_chunk()]
                    .into_iter()
                    .flatten()
                    .for_each(|word| self.look(&mut seen, *word));
            }
            17..=24 => {
                if let Some(half) = rest.first_chunk::<16>() {
                    half.as_chunks().0.iter().for_each(|word| self.look(&mut seen, *word));
                }
                rest.last_chunk().into_iter().for_each(|word| self.look(&mut seen, *word));
            }
            _ => {
                [rest.first_chunk::<16>(), rest.last_chunk()]
                    .into_iter()
                    .flatten()
                    .flat_map(|half| half.as_chunks().0)
                    .for_each(|word| self.look(&mut seen, *word));
            }
        }
        let blank = self.blanks && seen.below_printable & NOT_ASCII != 0 && seen.any & LETTER != 0;
        seen.hits & SAMPLED != 0
            || seen.any & NOT_ASCII != 0
            || blank && self.may_hold_at_blank(value)
    }

    /// Looks at what stands before and behind every blank.
    fn may_hold_at_blank(&self, value: &[u8]) -> bool {
        let is_there = |group: Option<&[u8; GROUP]>| {
            let group = group.map(|group| u32::from_le_bytes(*group) | CASE as u32);
            group.is_some_and(|group| self.places[place_of(group)] & AT_BLANK != 0)
        };
        memchr::memchr_iter(b' ', value)
            .any(|at| is_there(value[..=at].last_chunk()) || is_there(value[at..].first_chunk()))
    }

    /// Looks at the last eight bytes, or at both ends of what is shorter.
    #[inline]
    fn look_at_end(&self, seen: &mut Seen, value: &[u8]) {
        if let Some(word) = value.last_chunk() {
            self.look(seen, *word);
        } else if let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            self.look(seen, (u64::from(last) << 32 | u64::from(first)).to_le_bytes());
        } else {
            seen.hits = 1;
        }
    }

    #[inline]
    fn look(&self, seen: &mut Seen, word: [u8; 8]) {
        let word = u64::from_le_bytes(word);
        seen.any |= word;
        // A byte below 0x21 borrows from its highest bit, and no other byte of an ASCII text begins to.
        seen.below_printable |= word.wrapping_sub(EACH_BYTE * 0x21);
        let folded = word | CASE;
        seen.hits |= self.places[place_of(folded as u32)];
        seen.hits |= self.places[place_of((folded >> 32) as u32)];
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.places)
    }
}

/// What words of a value had.
#[derive(Default)]
struct Seen {
    any: u64,
    below_printable: u64,
    hits: u8,
}

/// Fibonacci hashing: 2³² divided by the golden ratio, made odd.
#[inline]
const fn place_of(group: u32) -> usize {
    (group.wrapping_mul(0x9e37_79b1) >> (32 - PLACES_LOG2)) as usize
}

/// How good a literal is to look for in every value: the longest, but one that the filter can rule out before all.
pub(super) fn worth(literal: &[u8]) -> usize {
    let ruled_out = literal.len() >= LEAST_SAMPLED || rarest_at_blank(literal).is_some();
    literal.len() + if ruled_out { LEAST_SAMPLED } else { 0 }
}

/// The least common group that a literal has before or behind one of its blanks, the blank included, if it also has a
/// byte with the bit of letters.
fn rarest_at_blank(literal: &[u8]) -> Option<u32> {
    if !literal.iter().any(|byte| byte & 0x40 != 0) {
        return None;
    }
    let blanks = memchr::memchr_iter(b' ', literal);
    let groups = blanks.flat_map(|at| [literal[..=at].last_chunk(), literal[at..].first_chunk()]);
    let weight =
        |group: &&[u8; GROUP]| group.iter().map(|byte| u32::from(commonness(*byte))).sum::<u32>();
    groups.flatten().min_by_key(weight).map(|group: &[u8; GROUP]| u32::from_le_bytes(*group))
}

/// Where the least common bytes of a literal begin that cover a group at every alignment.
fn rarest_window(literal: &[u8]) -> Option<usize> {
    let weight =
        |window: &[u8]| window.iter().map(|byte| u32::from(commonness(*byte))).sum::<u32>();
    // Of equals the last: many literals begin alike.
    let windows = literal.windows(LEAST_SAMPLED).enumerate().rev();
    windows.min_by_key(|(_, window)| weight(window)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_literal_too_short_to_be_sampled_needs_a_blank() {
        let filter = |literal: &[u8]| Prefilter::new([literal]);
        assert!(filter(b"scp ").is_some());
        assert!(filter(b"(){:;};").is_some());
        assert!(filter(b"ghost_").is_none());
        assert!(filter(b"a () {").is_some());
        assert!(filter(b"() {").is_none(), "no four bytes begin or end at the blank");
        assert!(filter(b"1 2 3").is_none());
    }

    #[test]
    fn ids_and_times_are_ruled_out() {
        let literals: [&[u8]; 4] = [b"scp ", b" | bash", b"/etc/ld.so.preload", b"(){:;};"];
        let filter = Prefilter::new(literals).unwrap();
        for value in
            ["2026-11-25 12:00:00.123", "{8b2f3a5c-1d2e-8000-8000-00000000abcd}", "/usr/bin/cat"]
        {
            assert!(!filter.may_hold(value.as_bytes()), "{value}");
        }
        for value in ["SCP a b", "x | BASH", "cat /ETC/LD.SO.PRELOAD", "a=(){:;};b", "naïve"] {
            assert!(filter.may_hold(value.as_bytes()), "{value}");
        }
    }

    proptest! {
        #[test]
        fn lets_every_value_pass_that_holds_a_literal(
            literals in prop::collection::vec("[a-c/(;]{7,12}|[a-c/ ]{0,5} [a-c]{3}", 1..10),
            before in "[A-Ca-c/(; ]{0,70}",
            after in "[A-Ca-c/(; ]{0,70}",
            planted in any::<prop::sample::Index>(),
            capitals in any::<bool>(),
        ) {
            let mut planted = planted.get::<String>(&literals).clone();
            if capitals {
                planted.make_ascii_uppercase();
            }
            let filter = Prefilter::new(literals.iter().map(String::as_bytes)).unwrap();
            let value = before + &planted + &after;
            prop_assert!(filter.may_hold(value.as_bytes()), "{value:?}");
        }

        #[test]
        fn lets_everything_pass_that_is_not_ascii(value in "[a-z]{0,40}[à-ÿ][a-z]{0,40}") {
            let literal: &[u8] = b"something else";
            prop_assert!(Prefilter::new([literal]).unwrap().may_hold(value.as_bytes()));
        }
    }
}

//! Whether a value holds any of some literals at all, told from the value as it is: neither folded nor copied.
//!
//! Keywords are searched in every value of a record, and nearly all values are ids, times, names and paths. Most
//! keywords are words with blanks between them, which such values have not: one look at whether a value has a blank and
//! a letter rules all of them out, and what stands at the blanks rules out most of what is left. The other literals are
//! long enough to cover a group of four bytes at a multiple of four, wherever they stand, and few enough that a mark
//! per group rules out nearly everything. Only where a marked group stands is the literal itself compared.

use super::sampled::{ORDINARY_WEIGHT, Step, rarest_window, weight};

/// The bytes that are hashed together, and how far apart groups begin.
const GROUP: usize = 4;
/// 16 KiB of places for groups: they stay in the nearest cache, and those of a hundred groups are rarely hit by chance.
/// Each is a byte, since to pick a bit of one takes as long as all the rest.
const PLACES_LOG2: u32 = 14;
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
    /// A value of fewer bytes, of which every one [is plain](is_plain), holds none.
    pub(crate) least_plain: usize,
    /// Whether a value with a blank and a letter could.
    blanks: bool,
    /// By hash of a group: [`SAMPLED`] where a literal has it that is looked for in steps, and [`AT_BLANK`] where it is
    /// what a literal has at a blank.
    places: Box<[u8; PLACES]>,
    literals: Box<[Box<[u8]>]>,
    /// Sorted by group.
    spots: Box<[Spot]>,
}

/// Where a literal has a group.
#[derive(Clone, Copy)]
struct Spot {
    group: u32,
    literal: u32,
    offset: u32,
}

impl std::fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefilter").field("literals", &self.literals.len()).finish_non_exhaustive()
    }
}

impl Prefilter {
    /// A filter for these folded literals; `None` when one of them is too short and has no blank.
    pub(crate) fn new<'l>(literals: impl IntoIterator<Item = &'l [u8]>) -> Option<Self> {
        let literals: Box<[Box<[u8]>]> = literals.into_iter().map(Box::from).collect();
        let (mut places, mut spots) = (Box::new([0; PLACES]), Vec::new());
        let mut blanks = false;
        for (number, literal) in literals.iter().enumerate() {
            let mut mark = |offset: usize, kind: u8| {
                let Some(group) = group_at(literal, offset) else { return };
                places[place_of(group)] |= kind;
                spots.push(Spot { group, literal: number as u32, offset: offset as u32 });
            };
            match Looked::for_literal(literal)? {
                Looked::AtBlank(offset) => {
                    blanks = true;
                    mark(offset, AT_BLANK);
                }
                Looked::InSteps(window) => {
                    (window..window + GROUP).for_each(|offset| mark(offset, SAMPLED));
                }
            }
        }
        spots.sort_unstable_by_key(|spot| spot.group);
        let plain = literals.iter().filter(|literal| literal.iter().all(|byte| is_plain(*byte)));
        let least_plain = plain.map(|literal| literal.len()).min().unwrap_or(usize::MAX);
        Some(Self { least_plain, blanks, places, literals, spots: spots.into() })
    }

    /// Whether a value holds a literal, as good as surely, or is not ASCII.
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
        seen.any & NOT_ASCII != 0
            || seen.hits & SAMPLED != 0 && self.may_hold_sampled(value)
            || blank && self.may_hold_at_blank(value)
    }

    /// Looks closely at every group that a step begins with.
    #[cold]
    fn may_hold_sampled(&self, value: &[u8]) -> bool {
        let mut checks = checks_of(value);
        let (groups, _) = value.as_chunks::<GROUP>();
        groups.iter().enumerate().any(|(number, group)| {
            let group = u32::from_le_bytes(*group) | CASE as u32;
            self.places[place_of(group)] & SAMPLED != 0
                && self.may_hold_at(value, number * GROUP, group, &mut checks)
        })
    }

    /// Looks at what stands before and behind every blank.
    fn may_hold_at_blank(&self, value: &[u8]) -> bool {
        let mut checks = checks_of(value);
        let mut holds_with = |at: usize| {
            let group = group_at(value, at);
            group.is_some_and(|group| {
                self.places[place_of(group)] & AT_BLANK != 0
                    && self.may_hold_at(value, at, group, &mut checks)
            })
        };
        any_blank(value, |at| {
            (at + 1).checked_sub(GROUP).is_some_and(&mut holds_with) || holds_with(at)
        })
    }

    /// Whether a literal with this group stands there in an ASCII value, as far as it can be told with so many checks.
    #[inline(never)]
    fn may_hold_at(&self, value: &[u8], at: usize, group: u32, checks: &mut usize) -> bool {
        let first = self.spots.partition_point(|spot| spot.group < group);
        self.spots[first..].iter().take_while(|spot| spot.group == group).any(|spot| {
            let Some(left) = checks.checked_sub(1) else { return true };
            *checks = left;
            let literal = &self.literals[spot.literal as usize];
            let from = at.checked_sub(spot.offset as usize);
            let there = from.and_then(|from| value.get(from..from + literal.len()));
            there.is_some_and(|there| there.eq_ignore_ascii_case(literal))
        })
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
            // No literal is so short, and folding makes none of ASCII.
            seen.any = if value.is_ascii() { 0 } else { NOT_ASCII };
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
            + size_of_val(&*self.spots)
            + self
                .literals
                .iter()
                .map(|literal| size_of_val(literal) + literal.len())
                .sum::<usize>()
    }
}

/// Whether a byte is one that numbers, ids, addresses and times are made of: digits, the letters of hexadecimals and of
/// `T`, `Z` and `UTC`, and most punctuation; no blank, and nothing beyond ASCII.
#[inline]
const fn is_plain(byte: u8) -> bool {
    (byte >= b'-') & ((byte | 0x20).wrapping_sub(b'g') > b's' - b'g') & byte.is_ascii()
}

/// Whether every byte is plain; of values of fewer than eight it is not told.
#[inline]
pub(crate) fn is_all_plain(value: &[u8]) -> bool {
    // The last bytes may be looked at twice.
    match (value.last_chunk::<16>(), value.first_chunk::<8>(), value.last_chunk::<8>()) {
        (Some(last), ..) => {
            value.as_chunks::<16>().0.iter().all(is_plain_block) && is_plain_block(last)
        }
        (None, Some(first), Some(last)) => is_plain_block(first) & is_plain_block(last),
        _ => false,
    }
}

/// Without a branch for each byte, so that one instruction looks at all of them.
#[inline]
fn is_plain_block<const N: usize>(block: &[u8; N]) -> bool {
    block.iter().fold(true, |all, byte| all & is_plain(*byte))
}

/// What words of a value had.
#[derive(Default)]
struct Seen {
    any: u64,
    below_printable: u64,
    hits: u8,
}

/// Gives `holds` where each blank is, until it says so of one. Blanks are too near to each other in commands for a
/// search that begins anew behind each.
#[inline]
fn any_blank(value: &[u8], mut holds: impl FnMut(usize) -> bool) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let mut blanks = blanks_in(u64::from_le_bytes(*word));
        while blanks != 0 {
            if holds(number * 8 + blanks.trailing_zeros() as usize / 8) {
                return true;
            }
            blanks &= blanks - 1;
        }
    }
    let start = value.len() - rest.len();
    rest.iter().enumerate().any(|(at, byte)| *byte == b' ' && holds(start + at))
}

/// The highest bit of each byte that is a blank.
#[inline]
const fn blanks_in(word: u64) -> u64 {
    let other = word ^ (EACH_BYTE * b' ' as u64);
    // Only a byte of zero has neither its highest bit nor carries into it.
    !(((other & !NOT_ASCII) + !NOT_ASCII) | other) & NOT_ASCII
}

/// How many literals are compared in a value. One made to need more is searched: that has a bound of its own.
const fn checks_of(value: &[u8]) -> usize {
    64 + value.len() / 32
}

/// Fibonacci hashing: 2³² divided by the golden ratio, made odd.
#[inline]
const fn place_of(group: u32) -> usize {
    (group.wrapping_mul(0x9e37_79b1) >> (32 - PLACES_LOG2)) as usize
}

/// How a literal is looked for: where in it the group begins, or the first of the groups.
enum Looked {
    AtBlank(usize),
    InSteps(usize),
}

impl Looked {
    /// The way to look for a literal; `None` when it is too short and has no blank.
    fn for_literal(literal: &[u8]) -> Option<Self> {
        // Blanks are only looked at in values with the bit of letters.
        let has_letter = literal.iter().any(|byte| byte & 0x40 != 0);
        let blanks = memchr::memchr_iter(b' ', literal).filter(|_| has_letter);
        let groups = blanks.flat_map(|at| [(at + 1).checked_sub(GROUP), Some(at)]).flatten();
        let whole = groups.filter(|at| at + GROUP <= literal.len());
        let at_blank = whole.min_by_key(|at| weight(literal, *at));
        let in_steps = rarest_window(literal, Step::Four);
        // At a blank costs less, but not where ordinary values have the same.
        let is_rare = |window: &usize| {
            (*window..*window + GROUP).all(|at| weight(literal, at) < ORDINARY_WEIGHT)
        };
        let in_steps = match at_blank {
            Some(at) if weight(literal, at) < ORDINARY_WEIGHT => None,
            Some(_) => in_steps.filter(is_rare),
            None => in_steps,
        };
        in_steps.map(Self::InSteps).or(at_blank.map(Self::AtBlank))
    }
}

/// How good a literal is to look for in every value: the longest, but one that the filter can rule out before all.
pub(super) fn worth(literal: &[u8]) -> usize {
    let ruled_out = Looked::for_literal(literal).is_some();
    literal.len() + if ruled_out { Step::Four.least_length() } else { 0 }
}

/// Four bytes as a number, alike for small letters and capitals.
#[inline]
fn group_at(text: &[u8], at: usize) -> Option<u32> {
    let group = text.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*group) | CASE as u32)
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

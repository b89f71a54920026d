//! Literals anywhere in a value, all in one pass.

use aho_corasick::packed;
use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder, MatchKind};

use super::sampled::{Crowded, Sampled, Step};

/// Up to so many literals go through the vector instructions of one packed searcher (Teddy), which rejects most
/// values in a few cycles per 16 bytes: as many as it takes. More of them, if they are long, are better sampled.
const MAX_PACKED: usize = 64;
/// It looks at so many bytes of each literal, or at as many as the shortest has, and then mistakes much for it. So
/// shorter ones have a searcher of their own.
const MASK_BYTES: usize = 4;
/// Up to so many it has a bucket for every four.
const MAX_PACKED_WELL: usize = 32;
/// After so many finds in one value the packed searcher gives way to the automaton, whose cost does not depend
/// on how much is found.
const MAX_PACKED_FINDS: usize = 24;

/// A searcher for many literals: the long ones are sampled, the short ones searched for by vector instructions, and
/// an automaton of all is there for values that are too much for those.
pub(crate) struct Inner {
    sampled: Option<Sampled>,
    packed: Box<[Packed]>,
    /// Whether those leave nothing out.
    split: bool,
    automaton: DoubleArrayAhoCorasick<u32>,
}

struct Packed {
    searcher: packed::Searcher,
    /// What each literal is called.
    names: Box<[u32]>,
    /// Per literal, the shorter ones that it begins with: they are found wherever it is.
    prefixes: Box<[Box<[u32]>]>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("split", &self.split).finish_non_exhaustive()
    }
}

impl Inner {
    /// A searcher for these distinct, non-empty literals, each known by its place in the list. `None` when there
    /// are more than an automaton can hold.
    pub(crate) fn new(literals: &[&[u8]]) -> Option<Self> {
        let named = literals.iter().enumerate().map(|(number, literal)| (*literal, number as u32));
        let automaton = DoubleArrayAhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .build_with_values(named.clone())
            .ok()?;
        let shorter = |step: Step| move |literal: &&&[u8]| literal.len() < step.least_length();
        let left_by_eight = literals.iter().filter(shorter(Step::Eight)).count();
        let left_by_four = literals.iter().filter(shorter(Step::Four)).count();
        // Whoever needs the second searcher anyway gives it what the larger step leaves.
        let step = match left_by_eight {
            1..=MAX_PACKED_WELL if left_by_four == 0 => Step::Four,
            0..=MAX_PACKED_WELL => Step::Eight,
            _ => Step::Four,
        };
        let (long, short): (Vec<_>, Vec<_>) =
            named.partition(|(literal, _)| literal.len() >= step.least_length());
        let (short, tiny): (Vec<_>, Vec<_>) =
            short.into_iter().partition(|(literal, _)| literal.len() >= MASK_BYTES);
        let groups = [short, tiny].into_iter().filter(|group| !group.is_empty());
        let packed: Option<Box<[_]>> = groups
            .map(|group| (group.len() <= MAX_PACKED).then(|| Packed::new(&group)).flatten())
            .collect();
        let split = packed.is_some();
        let sampled = if split { Sampled::new(&long, step) } else { None };
        Some(Self { sampled, packed: packed.unwrap_or_default(), split, automaton })
    }

    /// Gives `visit` every literal in the value, some more than once.
    #[inline]
    pub(crate) fn find(&self, value: &[u8], mut visit: impl FnMut(u32)) {
        let searched = self.split
            && self.sampled.as_ref().is_none_or(|sampled| sampled.find(value, &mut visit).is_ok())
            && self.packed.iter().all(|packed| packed.find(value, &mut visit).is_ok());
        if !searched {
            self.automaton.find_overlapping_iter(value).for_each(|found| visit(found.value()));
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.automaton.heap_bytes()
            + self.packed.iter().map(|packed| packed.searcher.memory_usage()).sum::<usize>()
            + self.sampled.as_ref().map_or(0, Sampled::heap_bytes)
    }
}

impl Packed {
    /// A searcher for these literals, each with what it is called; `None` where the processor has not the
    /// instructions for it, or there is nothing to search for.
    fn new(literals: &[(&[u8], u32)]) -> Option<Self> {
        let searcher = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostLongest)
            .builder()
            .extend(literals.iter().map(|(literal, _)| literal))
            .build()?;
        let prefixes = literals
            .iter()
            .map(|(literal, _)| {
                let shorter = |(other, _): &&(&[u8], u32)| {
                    other.len() < literal.len() && literal.starts_with(other)
                };
                literals.iter().filter(shorter).map(|(_, name)| *name).collect()
            })
            .collect();
        Some(Self { searcher, names: literals.iter().map(|(_, name)| *name).collect(), prefixes })
    }

    /// Finds literals until there are too many. The searcher tells of the longest at each place; those that it begins
    /// with are known, and the search goes on one byte further.
    fn find(&self, value: &[u8], visit: &mut impl FnMut(u32)) -> Result<(), Crowded> {
        let mut start = 0;
        for _ in 0..MAX_PACKED_FINDS {
            let Some(found) = self.searcher.find_in(value, (start..value.len()).into()) else {
                return Ok(());
            };
            let literal = found.pattern().as_usize();
            visit(self.names[literal]);
            self.prefixes[literal].iter().for_each(|shorter| visit(*shorter));
            start = found.start() + 1;
        }
        Err(Crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_literal_however_they_overlap() {
        let few: Vec<&[u8]> = vec![b"abc", b"bc", b"abcd", b"b", b"zz", b"cab"];
        let numbers: Vec<String> = (100..400).map(|n| n.to_string()).collect();
        let many: Vec<&[u8]> =
            few.iter().copied().chain(numbers.iter().map(|n| n.as_bytes())).collect();
        let long = "abcab".repeat(50) + "zz123";
        for literals in [few, many] {
            let searcher = Inner::new(&literals).unwrap();
            for value in ["", "b", "xabcdx", "abcabzz", "zzz", "bcabcabcd", &long] {
                let mut found = Vec::new();
                searcher.find(value.as_bytes(), |literal| found.push(literal as usize));
                found.sort_unstable();
                found.dedup();
                let expected: Vec<_> = (0..literals.len())
                    .filter(|at| memchr::memmem::find(value.as_bytes(), literals[*at]).is_some())
                    .collect();
                assert_eq!(found, expected, "{value}");
            }
        }
    }
}

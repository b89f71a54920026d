//! Literals anywhere in a value, all in one pass.

use aho_corasick::packed;
use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder, MatchKind};

/// Up to so many literals go through the vector instructions of one packed searcher (Teddy), which rejects most
/// values in a few cycles per 16 bytes; more go through an automaton. Measured on the public Linux rules: about there the two cost the same.
const MAX_PACKED: usize = 64;
/// After so many finds in one value the packed searcher gives way to the automaton, whose cost does not depend
/// on how much is found.
const MAX_PACKED_FINDS: usize = 24;

/// A searcher for many literals.
pub(crate) struct Inner {
    packed: Option<Packed>,
    automaton: DoubleArrayAhoCorasick<u32>,
}

struct Packed {
    searcher: packed::Searcher,
    /// Per literal, the shorter ones that it begins with: they are found wherever it is.
    prefixes: Box<[Box<[u32]>]>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("packed", &self.packed.is_some()).finish_non_exhaustive()
    }
}

impl Inner {
    /// A searcher for these distinct, non-empty literals, each known by its place in the list. `None` when there
    /// are more than an automaton can hold.
    pub(crate) fn new(literals: &[&[u8]]) -> Option<Self> {
        let values = literals.iter().enumerate().map(|(number, literal)| (*literal, number as u32));
        let automaton = DoubleArrayAhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .build_with_values(values)
            .ok()?;
        let packed = (literals.len() <= MAX_PACKED).then(|| Packed::new(literals)).flatten();
        Some(Self { packed, automaton })
    }

    /// Gives `visit` every literal in the value, some more than once.
    #[inline]
    pub(crate) fn find(&self, value: &[u8], mut visit: impl FnMut(u32)) {
        match &self.packed {
            Some(packed) => {
                if let Some(rest) = packed.find(value, &mut visit) {
                    self.find_automaton(rest, &mut visit);
                }
            }
            None => self.find_automaton(value, &mut visit),
        }
    }

    fn find_automaton(&self, value: &[u8], visit: &mut impl FnMut(u32)) {
        for found in self.automaton.find_overlapping_iter(value) {
            visit(found.value());
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.automaton.heap_bytes() + self.packed.as_ref().map_or(0, |p| p.searcher.memory_usage())
    }
}

impl Packed {
    fn new(literals: &[&[u8]]) -> Option<Self> {
        let searcher = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostLongest)
            .builder()
            .extend(literals)
            .build()?;
        let prefixes = literals
            .iter()
            .map(|literal| {
                let shorter = |(_, other): &(usize, &&[u8])| {
                    other.len() < literal.len() && literal.starts_with(other)
                };
                literals
                    .iter()
                    .enumerate()
                    .filter(shorter)
                    .map(|(number, _)| number as u32)
                    .collect()
            })
            .collect();
        Some(Self { searcher, prefixes })
    }

    /// Finds literals until there are too many; what is left of the value is then returned. The searcher tells
    /// of the longest at each place; those that it begins with are known, and the search goes on one byte further.
    fn find<'v>(&self, value: &'v [u8], visit: &mut impl FnMut(u32)) -> Option<&'v [u8]> {
        let mut start = 0;
        for _ in 0..MAX_PACKED_FINDS {
            let found = self.searcher.find_in(value, (start..value.len()).into())?;
            let literal = found.pattern().as_usize();
            visit(literal as u32);
            self.prefixes[literal].iter().for_each(|shorter| visit(*shorter));
            start = found.start() + 1;
        }
        value.get(start..)
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

//! Many long literals anywhere in a text, by looking at every fourth or eighth byte only.
//!
//! A literal of seven bytes or more covers, wherever it stands, a whole group of four bytes that begins at a multiple
//! of four; one of eleven, a group that begins at a multiple of eight. So a text is looked at in such steps: four bytes
//! are hashed and one bit is tested, and almost every step ends there. What a bit says is checked against the literal
//! itself.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::witness::ORDINARY;
use crate::matcher::pattern::commonness;

/// The bytes that are hashed together.
const GROUP: usize = 4;

/// How far apart the groups are that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Four = 4,
    Eight = 8,
}

impl Step {
    /// Literals must be so long that a whole group lies in them at every alignment.
    pub(crate) const fn least_length(self) -> usize {
        self as usize + GROUP - 1
    }
}
/// So many bits per group: about one in eight looks at a text that holds nothing has to look twice when every bit
/// were drawn at random; texts are not, and it is fewer.
const BITS_PER_GROUP: usize = 16;
/// So many checks are made in a text without regard to its length, and then one for every so many bytes. Beyond,
/// an automaton is cheaper, and its cost does not depend on what the text holds.
const FREE_CHECKS: usize = 64;
const BYTES_PER_CHECK: usize = 32;

/// A searcher for literals that are long enough for its [`Step`].
#[derive(Debug)]
pub(crate) struct Sampled {
    step: Step,
    bits: Box<[u64]>,
    shift: u32,
    /// Open addressing by group; a power of two.
    slots: Box<[Slot]>,
    places: Box<[Place]>,
    texts: Box<[u8]>,
    ends: Box<[u32]>,
    /// What each literal is called.
    names: Box<[u32]>,
}

/// Where the places of a group stand. Free when there are none.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    group: u32,
    first: u32,
    count: u32,
}

/// A group in a literal.
#[derive(Clone, Copy, Debug)]
struct Place {
    literal: u32,
    offset: u32,
}

/// The text has too much in it that looks like literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

impl Sampled {
    /// A searcher for these literals, each with what it is called. `None` without any.
    pub(crate) fn new(literals: &[(&[u8], u32)], step: Step) -> Option<Self> {
        if literals.is_empty() {
            return None;
        }
        let mut places: HashMap<u32, Vec<Place>> = HashMap::new();
        let (mut texts, mut ends) = (Vec::new(), Vec::new());
        for (number, (literal, _)) in literals.iter().enumerate() {
            texts.extend_from_slice(literal);
            ends.push(texts.len() as u32);
            let window = rarest_window(literal, step);
            for offset in window.into_iter().flat_map(|window| window..window + step as usize) {
                let place = Place { literal: number as u32, offset: offset as u32 };
                places.entry(group_at(literal, offset)).or_default().push(place);
            }
        }
        let bits = (places.len() * BITS_PER_GROUP).next_power_of_two().max(64);
        let mut sampled = Self {
            step,
            bits: vec![0; bits / 64].into(),
            shift: 32 - bits.ilog2().min(32),
            slots: vec![Slot::default(); (places.len() * 2).next_power_of_two()].into(),
            places: [].into(),
            texts: texts.into(),
            ends: ends.into(),
            names: literals.iter().map(|(_, name)| *name).collect(),
        };
        let mut all = Vec::new();
        let mut places: Vec<_> = places.into_iter().collect();
        places.sort_unstable_by_key(|(group, _)| *group);
        for (group, here) in places {
            let bit = sampled.bit_of(group);
            sampled.bits[bit / 64] |= 1 << (bit % 64);
            let slot = sampled.free_slot(group);
            sampled.slots[slot] = Slot { group, first: all.len() as u32, count: here.len() as u32 };
            all.extend(here);
        }
        sampled.places = all.into();
        Some(sampled)
    }

    fn bit_of(&self, group: u32) -> usize {
        (hash(group) >> self.shift) as usize
    }

    fn slot_of(&self, group: u32) -> usize {
        // Other bits of the hash than those that chose the bit.
        (hash(group.rotate_left(15)) as usize) & (self.slots.len() - 1)
    }

    fn free_slot(&self, group: u32) -> usize {
        let mut at = self.slot_of(group);
        while self.slots[at].count != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }

    fn places_of(&self, group: u32) -> &[Place] {
        let mut at = self.slot_of(group);
        loop {
            let slot = self.slots[at];
            if slot.count == 0 || slot.group == group {
                return &self.places[slot.first as usize..(slot.first + slot.count) as usize];
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    fn may_hold(&self, group: u32) -> bool {
        let bit = self.bit_of(group);
        // The bits are a power of two, and the hash is cut to fit.
        self.bits[(bit / 64) & (self.bits.len() - 1)] >> (bit % 64) & 1 == 1
    }

    /// Gives `visit` every literal in the text, some more than once.
    ///
    /// # Errors
    ///
    /// [`Crowded`] when finding the rest would take too long.
    #[inline]
    pub(crate) fn find(&self, text: &[u8], mut visit: impl FnMut(u32)) -> Result<(), Crowded> {
        let mut checks = FREE_CHECKS + text.len() / BYTES_PER_CHECK;
        let mut check =
            |at: usize, group: u32| self.check(text, at, group, &mut checks, &mut visit);
        match self.step {
            Step::Four => self.scan::<4>(text, &mut check),
            Step::Eight => self.scan::<8>(text, &mut check),
        }
    }

    #[inline]
    fn scan<const STEP: usize>(
        &self,
        text: &[u8],
        check: &mut impl FnMut(usize, u32) -> Result<(), Crowded>,
    ) -> Result<(), Crowded> {
        // Four steps at a time, so that the processor need not wait for one to begin the next.
        let mut start = 0;
        while let Some(block) = text.get(start..start + 4 * STEP) {
            let groups: [u32; 4] = std::array::from_fn(|step| group_at(block, step * STEP));
            if groups.iter().fold(false, |any, group| any | self.may_hold(*group)) {
                for (step, group) in groups.into_iter().enumerate() {
                    if self.may_hold(group) {
                        check(start + step * STEP, group)?;
                    }
                }
            }
            start += 4 * STEP;
        }
        while let Some(group) = text.get(start..start + GROUP) {
            let group = group_at(group, 0);
            if self.may_hold(group) {
                check(start, group)?;
            }
            start += STEP;
        }
        Ok(())
    }

    #[cold]
    fn check(
        &self,
        text: &[u8],
        at: usize,
        group: u32,
        checks: &mut usize,
        visit: &mut impl FnMut(u32),
    ) -> Result<(), Crowded> {
        for place in self.places_of(group) {
            *checks = checks.checked_sub(1).ok_or(Crowded)?;
            let literal = place.literal as usize;
            let begin = literal.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
            let literal_text = &self.texts[begin..self.ends[literal] as usize];
            let from = at.checked_sub(place.offset as usize);
            if from.and_then(|from| text.get(from..)).is_some_and(|t| t.starts_with(literal_text)) {
                visit(self.names[literal]);
            }
        }
        Ok(())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.bits)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.places)
            + self.texts.len()
            + (self.ends.len() + self.names.len()) * 4
    }
}

/// Fibonacci hashing: 2³² divided by the golden ratio, made odd.
#[inline]
const fn hash(group: u32) -> u32 {
    group.wrapping_mul(0x9e37_79b1)
}

#[inline]
fn group_at(text: &[u8], at: usize) -> u32 {
    match text.get(at..at + GROUP) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Groups that ordinary values are full of.
static ORDINARY_GROUPS: LazyLock<HashSet<u32>> = LazyLock::new(|| {
    let groups =
        |value: &'static [u8]| (0..value.len().saturating_sub(3)).map(|at| group_at(value, at));
    ORDINARY.iter().flat_map(|value| groups(value)).collect()
});

/// How often the group of a literal is seen in ordinary texts, by rough classes: above [`ORDINARY_WEIGHT`] if they are
/// full of it.
pub(super) fn weight(literal: &[u8], at: usize) -> u32 {
    let ordinary = ORDINARY_GROUPS.contains(&group_at(literal, at));
    let bytes = literal[at..at + GROUP].iter().map(|byte| u32::from(commonness(*byte)));
    bytes.sum::<u32>() + if ordinary { ORDINARY_WEIGHT } else { 0 }
}

pub(super) const ORDINARY_WEIGHT: u32 = 1_000;

/// Where in a literal the groups begin that are seen least in ordinary texts, as many as there are bytes in a step.
/// `None` when it has fewer.
pub(super) fn rarest_window(literal: &[u8], step: Step) -> Option<usize> {
    // The common start of many literals (a path) is no place to tell them apart: of equals, the last.
    (0..(literal.len() + 1).saturating_sub(step.least_length())).rev().min_by_key(|window| {
        (*window..window + step as usize).map(|at| weight(literal, at)).sum::<u32>()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gives_up_on_a_text_full_of_near_misses() {
        let literals: Vec<Vec<u8>> =
            (0..500).map(|n| format!("aaaaaaaaaaaaaaaa{n}").into_bytes()).collect();
        let named: Vec<(&[u8], u32)> = literals.iter().map(|l| (l.as_slice(), 0)).collect();
        let sampled = Sampled::new(&named, Step::Four).unwrap();
        assert_eq!(sampled.find(&[b'a'; 4_096], |_| {}), Err(Crowded));
        assert_eq!(sampled.find(&[b'b'; 4_096], |_| {}), Ok(()));
    }

    proptest! {
        #[test]
        fn finds_every_literal_at_every_alignment(
            eight in any::<bool>(),
            literals in prop::collection::hash_set("[ab/]{11,15}|[ab/]{7,15}", 1..20),
            text in "[ab/c]{0,60}",
            planted in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
        ) {
            let step = if eight { Step::Eight } else { Step::Four };
            let literals: Vec<String> =
                literals.into_iter().filter(|l| l.len() >= step.least_length()).collect();
            prop_assume!(!literals.is_empty());
            let mut text = text;
            text.insert_str(at.index(text.len() + 1), planted.get::<String>(&literals));
            let named: Vec<_> =
                literals.iter().enumerate().map(|(n, l)| (l.as_bytes(), n as u32)).collect();
            let mut found = Vec::new();
            let outcome = Sampled::new(&named, step).unwrap().find(text.as_bytes(), |n| found.push(n as usize));
            if outcome.is_ok() {
                found.sort_unstable();
                found.dedup();
                let expected: Vec<_> =
                    (0..literals.len()).filter(|n| text.contains(&literals[*n])).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

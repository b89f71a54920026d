//! What a line holds under the keys of the tree.

use super::cursor::Kind;
use super::found::Found;
use super::tree::{KeyId, KeyTree, NO_KEY, Place};
use super::{give_back, text};
use crate::record::FieldValue;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The number of the line that this was found in.
    stamp: u32,
    found: Found,
    /// Of a string with escapes, where it stands decoded.
    decoded: (usize, usize),
}

/// One slot per key. None is cleared between lines: each is stamped with the number of its line.
#[derive(Debug)]
pub(super) struct Slots {
    stamp: u32,
    slots: Box<[Slot]>,
    /// The keys of strings with escapes.
    escaped: Vec<KeyId>,
    decoded: Vec<u8>,
}

impl Slots {
    pub(super) fn new(keys: usize) -> Self {
        let found = Found { kind: Kind::Null, start: 0, end: 0 };
        Self {
            stamp: 0,
            slots: vec![Slot { stamp: 0, found, decoded: (0, 0) }; keys].into(),
            escaped: Vec::with_capacity(keys.min(64)),
            decoded: Vec::with_capacity(4 << 10),
        }
    }

    /// Forgets the line before.
    pub(super) fn begin(&mut self) {
        if self.stamp == u32::MAX {
            self.stamp = 0;
            self.slots.iter_mut().for_each(|slot| slot.stamp = 0);
        }
        self.stamp += 1;
        give_back(&mut self.escaped);
        give_back(&mut self.decoded);
    }

    /// The number of the line.
    pub(super) const fn stamp(&self) -> u32 {
        self.stamp
    }

    /// Decodes a key with escapes for as long as it is looked up.
    pub(super) fn with_decoded_key<T>(&mut self, inside: &[u8], look: impl Fn(&[u8]) -> T) -> T {
        self.decoded.clear();
        text::decode(inside, &mut self.decoded);
        look(&self.decoded)
    }

    /// What stands under a key. What stood there before in this line is forgotten.
    #[inline(always)]
    pub(super) fn put(&mut self, key: KeyId, kind: Kind, start: usize, end: usize) {
        let slot = &mut self.slots[key as usize];
        let is_listed = slot.stamp == self.stamp && slot.found.kind == Kind::Escaped;
        if kind == Kind::Escaped && !is_listed {
            self.escaped.push(key);
        }
        slot.stamp = self.stamp;
        slot.found = Found::new(kind, start, end);
    }

    /// Decodes the strings with escapes that are still there.
    pub(super) fn decode(&mut self, line: &[u8]) {
        self.decoded.clear();
        for key in self.escaped.drain(..) {
            let slot = &mut self.slots[key as usize];
            if slot.found.kind == Kind::Escaped {
                let start = self.decoded.len();
                text::decode(slot.found.bytes(line), &mut self.decoded);
                slot.decoded = (start, self.decoded.len());
            }
        }
    }

    /// What the line holds at a place.
    #[inline]
    pub(super) fn find(&self, place: Place, tree: &KeyTree) -> Option<(KeyId, Found)> {
        self.at(place.whole)
            .map(|slot| (place.whole, slot.found))
            .or_else(|| self.on_path(place.path, tree).map(|found| (place.path, found)))
    }

    #[inline]
    fn at(&self, key: KeyId) -> Option<&Slot> {
        self.slots.get(key as usize).filter(|slot| slot.stamp == self.stamp)
    }

    /// What stands under a key, if each object around it is the last of its name: what stands in one that another
    /// replaced stands outside of that other one.
    fn on_path(&self, key: KeyId, tree: &KeyTree) -> Option<Found> {
        let end = self.at(key)?.found;
        let (mut inner, mut key) = (end, tree.parent(key));
        while key != NO_KEY {
            let outer = self.at(key)?.found;
            if !(outer.start..outer.end).contains(&inner.start) {
                return None;
            }
            (inner, key) = (outer, tree.parent(key));
        }
        Some(end)
    }

    /// The value of what was found under a key.
    pub(super) fn value<'a>(
        &'a self,
        line: &'a [u8],
        (key, found): (KeyId, Found),
    ) -> FieldValue<'a> {
        let (start, end) = match found.kind {
            Kind::Escaped => self.slots[key as usize].decoded,
            _ => (0, 0),
        };
        found.value(line, &self.decoded[start..end])
    }
}

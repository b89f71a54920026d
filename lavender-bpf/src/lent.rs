//! What others still have, until they let go of it.

use std::collections::VecDeque;

/// How many that are still in use are looked at behind the first, before the rest is left for the next time.
const IN_USE_MAX: usize = 64;

/// How many of those that are kept for long are looked at each time, beside one for each that was lent since.
const KEPT_MIN: usize = 16;

/// How often one of those is found in use before nobody waits for it any more: whoever has it last frees it.
const LOOKS_MAX: u8 = 32;

/// For how many times the first may be in use before it counts as kept for long.
const WAITED_MAX: u32 = 256;

/// What was lent, and is looked for now and then. It mostly comes back in the order in which it went: whatever later ones
/// have overtaken is kept for long, and looked at seldom, so that it does not stand in front of the others.
#[derive(Debug)]
pub(crate) struct Lent<T> {
    items: VecDeque<T>,
    /// Each with how often it was in use.
    kept: VecDeque<(u8, T)>,
    /// How many times in a row the first was in use.
    waited: u32,
    /// How many were lent since the last time.
    lent: usize,
}

impl<T> Default for Lent<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), kept: VecDeque::new(), waited: 0, lent: 0 }
    }
}

impl<T> Lent<T> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len() + self.kept.len()
    }

    pub(crate) fn push(&mut self, item: T) {
        self.lent += 1;
        self.items.push_back(item);
    }

    /// Waits no longer for so many: those that are kept for long first, then those that went first.
    pub(crate) fn forget(&mut self, count: usize) {
        let of_kept = count.min(self.kept.len());
        self.kept.drain(..of_kept);
        let rest = (count - of_kept).min(self.items.len());
        self.items.drain(..rest);
    }

    /// Gives `back` what is not in use any more.
    pub(crate) fn take_back(
        &mut self,
        mut is_free: impl FnMut(&mut T) -> bool,
        mut back: impl FnMut(T),
    ) {
        let looks = KEPT_MIN + std::mem::take(&mut self.lent);
        for _ in 0..self.kept.len().min(looks) {
            let Some((looks, mut item)) = self.kept.pop_front() else { break };
            if is_free(&mut item) {
                back(item);
            } else if looks < LOOKS_MAX {
                self.kept.push_back((looks + 1, item));
            }
        }
        let mut in_use = 0;
        while let Some(item) = self.items.get_mut(in_use) {
            if is_free(item) {
                // Those before it were overtaken.
                self.kept.extend(self.items.drain(..in_use).map(|item| (0, item)));
                if let Some(item) = self.items.pop_front() {
                    back(item);
                }
                (in_use, self.waited) = (0, 0);
                continue;
            }
            in_use += 1;
            if in_use > IN_USE_MAX {
                break;
            }
        }
        if in_use > 0 {
            self.waited += 1;
        }
        if self.waited > WAITED_MAX
            && let Some(first) = self.items.pop_front()
        {
            self.kept.push_back((0, first));
        }
    }
}

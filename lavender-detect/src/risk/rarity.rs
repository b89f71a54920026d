//! How often rules match on this host, by days.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

const DAY_NS: i64 = 86_400_000_000_000;
/// Of how many days it is known whether a rule matched.
const DAYS: i64 = 30;
/// How many days must have passed since the first match before anything is rare.
const LEARNING_DAYS: i64 = 7;
/// Of how many rules it is known.
const RULES_MAX: usize = 16_384;

/// The days on which a rule matched. Whatever the order in which they are added, and however often, it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Days {
    /// The last of them.
    last: i64,
    /// Bit N: the Nth day before that.
    before: u64,
}

impl Days {
    /// Adds a day; whether that was anything new.
    fn add(&mut self, day: i64) -> bool {
        let old = *self;
        if day > self.last {
            let by = u32::try_from(day - self.last).unwrap_or(u32::MAX);
            self.before = self.before.checked_shl(by).unwrap_or(0);
            self.last = day;
        }
        let back = u32::try_from(self.last - day).unwrap_or(u32::MAX);
        self.before |= 1_u64.checked_shl(back).unwrap_or(0);
        *self != old
    }

    /// On how many of the days from one to before another.
    fn between(self, from: i64, to: i64) -> i64 {
        let of = |day: &i64| {
            let back = u32::try_from(self.last - day).unwrap_or(u32::MAX);
            self.before.checked_shr(back).unwrap_or(0) & 1 == 1
        };
        (from..to.min(self.last + 1)).filter(of).count() as i64
    }
}

/// How often rules match.
#[derive(Debug, Default)]
pub(super) struct Rarity {
    pub(super) rules: HashMap<Arc<str>, Days>,
    /// The first day on which any rule matched.
    pub(super) first: Option<i64>,
    /// The rules whose days have changed since they were saved.
    pub(super) unsaved: Vec<Arc<str>>,
    pub(super) first_unsaved: bool,
}

impl Rarity {
    /// The share of `points` for a rule that matched at a moment. Only days count that were over so long before that
    /// nothing of them can come any more: so it is the same in every order.
    pub(super) fn points(&self, rule: &str, time: i64, lateness: i64, points: u32) -> u32 {
        let Some(first) = self.first else { return 0 };
        let to = time.saturating_sub(lateness).div_euclid(DAY_NS);
        let known = to.saturating_sub(first).min(DAYS);
        if known < LEARNING_DAYS {
            return 0;
        }
        let seen = self.rules.get(rule).map_or(0, |days| days.between(to - known, to));
        let share = i64::from(points) * (known - seen).max(0) / known;
        u32::try_from(share).unwrap_or(0)
    }

    /// Notes a match.
    pub(super) fn note(&mut self, rule: &Arc<str>, time: i64) {
        let day = time.div_euclid(DAY_NS);
        if self.first.is_none_or(|first| day < first) {
            self.first = Some(day);
            self.first_unsaved = true;
        }
        let full = self.rules.len() >= RULES_MAX;
        let changed = match self.rules.get_mut(rule) {
            Some(days) => days.add(day),
            None if full => false,
            None => {
                self.rules.insert(Arc::clone(rule), Days { last: day, before: 1 });
                true
            }
        };
        if changed && !self.unsaved.contains(rule) {
            self.unsaved.push(Arc::clone(rule));
        }
    }
}

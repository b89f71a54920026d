//! What the matches of a tree come to, taken one after the other.

use std::sync::Arc;

use lavender_core::{EventId, RuleMeta};
use serde::{Deserialize, Serialize};

use crate::attack;

/// A match, as far as scores go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) time: i64,
    pub(super) event: EventId,
    pub(super) rule: Arc<RuleMeta>,
    pub(super) base: u32,
    pub(super) depth: u32,
    pub(super) rarity: u32,
}

impl Item {
    /// Matches are taken in this order, and are the same where it is the same.
    pub(super) fn order(&self) -> (i64, EventId, &str) {
        (self.time, self.event, &self.rule.id)
    }

    pub(super) const fn points(&self) -> u32 {
        self.base.saturating_add(self.depth).saturating_add(self.rarity)
    }

    /// What it still adds at a moment.
    pub(super) fn points_at(&self, time: i64, half_life: i64) -> u32 {
        fade(f64::from(self.points()), self.time, time, half_life).round() as u32
    }

    /// The tactics of its rule, by their place in the matrix.
    fn tactics(&self) -> u16 {
        let names = self.rule.tags.iter().filter_map(|tag| tag.strip_prefix("attack."));
        let current = names.flat_map(attack::current_tactics);
        let places = current.filter_map(|name| attack::TACTICS.iter().position(|t| t == name));
        places.fold(0, |set, place| set | 1 << place)
    }
}

/// The longest line of tactics that ends with one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Link {
    time: i64,
    /// How many there are, the earlier ones as far as they had not faded.
    length: f64,
    /// Which.
    tactics: u16,
}

/// What has faded below this is no more.
const FADED: f64 = 0.5;

fn fade(value: f64, from: i64, to: i64, half_life: i64) -> f64 {
    let age = to.saturating_sub(from).max(0);
    let now = value * (-(age as f64) / half_life as f64).exp2();
    if now < FADED { 0.0 } else { now }
}

/// Of two things that fade, whether the later one is worth as much from then on. They fade alike, so it stays so.
fn outweighs(new: (f64, i64), old: (f64, i64), half_life: i64) -> bool {
    let age = new.1.saturating_sub(old.1) as f64;
    new.0 >= old.0 * (-age / half_life as f64).exp2()
}

/// The most rules of a tree that are told apart.
const RULES_MAX: usize = 64;

/// What the matches of a tree come to: of each rule the match that counts, of each tactic the longest line to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Folded {
    pub(super) marks: Vec<Item>,
    links: Vec<Option<Link>>,
}

impl Folded {
    /// Takes the next match in order. `false` when another rule had to be forgotten for it.
    pub(super) fn take(&mut self, item: &Item, half_life: i64) -> bool {
        self.link(item, half_life);
        if let Some(mark) = self.marks.iter_mut().find(|mark| mark.rule.id == item.rule.id) {
            let (new, old) = (f64::from(item.points()), f64::from(mark.points()));
            if outweighs((new, item.time), (old, mark.time), half_life) {
                *mark = item.clone();
            }
            return true;
        }
        let at = self.marks.partition_point(|mark| mark.rule.id < item.rule.id);
        self.marks.insert(at, item.clone());
        if self.marks.len() <= RULES_MAX {
            return true;
        }
        let time = item.time;
        let weakest = (0..self.marks.len())
            .min_by_key(|mark| self.marks[*mark].points_at(time, half_life))
            .unwrap_or(0);
        self.marks.remove(weakest);
        false
    }

    fn link(&mut self, item: &Item, half_life: i64) {
        let tactics = item.tactics();
        if tactics == 0 {
            return;
        }
        self.links.resize(attack::TACTICS.len(), None);
        let lines: Vec<(f64, u16)> = self
            .links
            .iter()
            .map(|link| link.unwrap_or_default())
            .map(|link| (fade(link.length, link.time, item.time, half_life), link.tactics))
            .collect();
        // The longest line to any tactic before; a match is no line by itself, whatever its tactics.
        let mut longest = (0.0, 0);
        for (place, line) in lines.into_iter().enumerate() {
            if tactics & 1 << place != 0 {
                let (length, before) = longest;
                let new =
                    Link { time: item.time, length: 1.0 + length, tactics: before | 1 << place };
                let link = &mut self.links[place];
                if link.is_none_or(|old| {
                    outweighs((new.length, new.time), (old.length, old.time), half_life)
                }) {
                    *link = Some(new);
                }
            }
            if line.0 > longest.0 {
                longest = line;
            }
        }
    }

    /// What the longest line of tactics adds at a moment, and which they are.
    pub(super) fn sequence_at(&self, time: i64, each: u32, half_life: i64) -> (u32, u16) {
        let mut longest = (0.0, 0);
        for link in self.links.iter().flatten() {
            let length = fade(link.length, link.time, time, half_life);
            if length > longest.0 {
                longest = (length, link.tactics);
            }
        }
        let beyond = (longest.0 - 1.0).max(0.0);
        ((beyond * f64::from(each)).round() as u32, longest.1)
    }

    /// The score at a moment, and how many rules add to it.
    pub(super) fn score_at(&self, time: i64, sequence: u32, half_life: i64) -> (u32, usize) {
        let mut score = self.sequence_at(time, sequence, half_life).0;
        let mut rules = 0;
        for mark in &self.marks {
            let points = mark.points_at(time, half_life);
            score = score.saturating_add(points);
            rules += usize::from(points > 0);
        }
        (score, rules)
    }

    /// Whether nothing of it counts at this moment or any later one.
    pub(super) fn is_over(&self, time: i64, half_life: i64) -> bool {
        self.marks.iter().all(|mark| mark.points_at(time, half_life) == 0)
            && self
                .links
                .iter()
                .flatten()
                .all(|link| fade(link.length, link.time, time, half_life) == 0.0)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.marks.capacity() * size_of::<Item>()
            + self.links.capacity() * size_of::<Option<Link>>()
    }
}

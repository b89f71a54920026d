//! What one thread works in: made once, written over by every record.

use regex_automata::meta::Cache;

use super::decide::Buffers;
use super::memo::Memo;
use crate::index::Plan;
use crate::stats::Counts;
use crate::truth::Truth;

/// What is known of a test for the current record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// The gate saw a text without which it is false.
    Possible,
    Decided(Truth),
}

/// What the slot of a field holds for the current record.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotText {
    stamp: u32,
    start: u32,
    end: u32,
}

/// What is kept of a rule: together, so that counting touches no memory that is not at hand.
#[derive(Clone, Copy, Debug)]
struct RuleCell {
    /// The record that it last was a candidate for.
    stamp: u32,
    counts: Counts,
    /// For one in how many of its candidates it is evaluated; 0 for none.
    one_in: u32,
    /// How many candidates to pass over before the next evaluation.
    skips: u32,
}

impl RuleCell {
    const NEW: Self = Self {
        stamp: 0,
        counts: Counts { evaluated: 0, matched: 0, undetermined: 0, skipped: 0 },
        one_in: 1,
        skips: 0,
    };

    /// Whether this candidate of a rule that is not evaluated for all of them is evaluated.
    #[cold]
    fn is_sampled(&mut self) -> bool {
        if self.one_in == 0 || self.skips > 0 {
            self.skips = self.skips.saturating_sub(1);
            return false;
        }
        self.skips = self.one_in - 1;
        true
    }
}

/// Working memory for one plan. Nothing is cleared between records: every entry is stamped with the number of the
/// record that it was written for.
#[derive(Debug)]
pub(super) struct Scratch {
    stamp: u32,
    tests: Box<[u32]>,
    rules: Box<[RuleCell]>,
    /// The rules that something was counted of since the counts were last taken.
    counted: Vec<u32>,
    texts: Box<[SlotText]>,
    /// By slot.
    pub(super) memos: Box<[Memo]>,
    pub(super) candidates: Vec<u32>,
    /// The folded texts of the current record's fields.
    pub(super) folded: Vec<u8>,
    /// Where in `folded` the values of the record stand that keywords may be in.
    pub(super) values: Vec<(usize, usize)>,
    /// Whether what is not among `values` holds no keyword that rules wait on.
    pub(super) values_whole: bool,
    pub(super) hits: Vec<(u32, Truth)>,
    pub(super) regexes: Box<[Option<Cache>]>,
    pub(super) buffers: Buffers,
}

/// A buffer that one huge value made larger than this is given back after the record.
const KEPT_BYTES: usize = 256 << 10;
/// The same for a record of very many values: a list of arguments has no end.
const KEPT_VALUES: usize = 4 << 10;
/// Stamps are shifted by three bits beside the state of a test: what is known, and whether the gate said so.
const LAST_STAMP: u32 = (1 << 29) - 1;
const CONFIRMED: u32 = 4;

impl Scratch {
    pub(super) fn new(plan: &Plan) -> Self {
        let empty = SlotText { stamp: 0, start: 0, end: 0 };
        Self {
            stamp: 0,
            tests: vec![0; plan.tests.len()].into(),
            rules: vec![RuleCell::NEW; plan.rules.len()].into(),
            counted: Vec::with_capacity(plan.rules.len()),
            texts: vec![empty; plan.slots.len()].into(),
            memos: plan.slots.iter().map(|_| Memo::default()).collect(),
            candidates: Vec::with_capacity(plan.rules.len()),
            folded: Vec::with_capacity(16 << 10),
            values: Vec::with_capacity(64),
            values_whole: false,
            hits: Vec::with_capacity(plan.rules.len().min(1_024)),
            regexes: std::iter::repeat_with(|| None).take(plan.regexes).collect(),
            buffers: Buffers::default(),
        }
    }

    /// Forgets the record before.
    pub(super) fn begin(&mut self) {
        if self.stamp == LAST_STAMP {
            self.stamp = 0;
            self.tests.fill(0);
            self.rules.iter_mut().for_each(|rule| rule.stamp = 0);
            self.texts.iter_mut().for_each(|text| text.stamp = 0);
        }
        self.stamp += 1;
        self.candidates.clear();
        self.hits.clear();
        self.values.clear();
        if self.values.capacity() > KEPT_VALUES {
            self.values = Vec::with_capacity(64);
        }
        self.values_whole = true;
        if self.folded.capacity() > KEPT_BYTES {
            self.folded = Vec::with_capacity(KEPT_BYTES);
            self.buffers.shrink(KEPT_BYTES);
        }
        self.folded.clear();
    }

    #[inline]
    pub(super) fn known(&self, test: usize) -> Known {
        let state = self.tests[test];
        if state >> 3 != self.stamp {
            return Known::Nothing;
        }
        match state & 3 {
            0 => Known::Decided(Truth::False),
            1 => Known::Decided(Truth::True),
            2 => Known::Decided(Truth::Undetermined),
            _ => Known::Possible,
        }
    }

    /// What the gate said of a test: all that is known to a rule that is evaluated by itself.
    pub(super) fn known_by_gate(&self, test: usize) -> Known {
        match self.known(test) {
            Known::Decided(_) if self.tests[test] & CONFIRMED != 0 => Known::Possible,
            known => known,
        }
    }

    /// Keeps what the gate says.
    #[inline]
    pub(super) fn set(&mut self, test: usize, known: Known) {
        let state = match known {
            Known::Decided(truth) => Self::state_of(truth),
            Known::Possible => 3,
            Known::Nothing => return,
        };
        self.tests[test] = self.stamp << 3 | state;
    }

    /// Keeps how a test came out.
    #[inline]
    pub(super) fn confirm(&mut self, test: usize, truth: Truth) {
        self.tests[test] = self.stamp << 3 | CONFIRMED | Self::state_of(truth);
    }

    const fn state_of(truth: Truth) -> u32 {
        match truth {
            Truth::False => 0,
            Truth::True => 1,
            Truth::Undetermined => 2,
        }
    }

    /// Makes a rule a candidate, once.
    #[inline]
    pub(super) fn add_candidate(&mut self, rule: u32) {
        let seen = &mut self.rules[rule as usize].stamp;
        if *seen != self.stamp {
            *seen = self.stamp;
            self.candidates.push(rule);
        }
    }

    /// Counts a candidate, and says whether it is evaluated.
    #[inline]
    pub(super) fn admit(&mut self, rule: u32) -> bool {
        let cell = &mut self.rules[rule as usize];
        if cell.counts.evaluated | cell.counts.skipped == 0 {
            self.counted.push(rule);
        }
        let admitted = cell.one_in == 1 || cell.is_sampled();
        let count = if admitted { &mut cell.counts.evaluated } else { &mut cell.counts.skipped };
        // An evaluator that nobody takes the counts of just stops counting.
        *count = count.saturating_add(1);
        admitted
    }

    /// Keeps and counts what an evaluated rule came to.
    #[inline]
    pub(super) fn hit(&mut self, rule: u32, truth: Truth) {
        self.hits.push((rule, truth));
        let counts = &mut self.rules[rule as usize].counts;
        let count = match truth {
            Truth::True => &mut counts.matched,
            _ => &mut counts.undetermined,
        };
        *count = count.saturating_add(1);
    }

    /// Everything that was counted since this was last called.
    pub(super) fn take_counts(&mut self) -> impl Iterator<Item = (u32, Counts)> {
        let Self { rules, counted, .. } = self;
        counted.drain(..).map(|rule| (rule, std::mem::take(&mut rules[rule as usize].counts)))
    }

    /// Whether a rule is evaluated at all.
    pub(super) fn is_enabled(&self, rule: u32) -> bool {
        self.rules[rule as usize].one_in != 0
    }

    /// Sets for one in how many of its candidates each rule is evaluated.
    pub(super) fn set_states(&mut self, one_in: impl Fn(usize) -> u32) {
        for (rule, cell) in self.rules.iter_mut().enumerate() {
            cell.one_in = one_in(rule);
            cell.skips = cell.skips.min(cell.one_in.saturating_sub(1));
        }
    }

    #[inline]
    pub(super) fn text(&self, slot: usize) -> Option<&[u8]> {
        let text = &self.texts[slot];
        (text.stamp == self.stamp).then(|| &self.folded[text.start as usize..text.end as usize])
    }

    /// Folds a value of the record and keeps it.
    pub(super) fn keep_value(&mut self, text: &[u8]) -> (usize, usize) {
        let start = self.folded.len();
        crate::matcher::fold::fold_into(text, &mut self.folded);
        let value = (start, self.folded.len());
        self.values.push(value);
        value
    }

    /// Drops the value that was kept last.
    pub(super) fn drop_value(&mut self) {
        if let Some((start, _)) = self.values.pop() {
            self.folded.truncate(start);
        }
    }

    /// Keeps a value of the record as it is, with a NUL behind it.
    #[inline]
    pub(super) fn add_value(&mut self, text: &[u8]) {
        let start = self.folded.len();
        self.folded.extend_from_slice(text);
        self.values.push((start, self.folded.len()));
        self.folded.push(0);
    }

    /// Folds the values that stand in `folded` from `start` on, and says whether all of it is ASCII.
    pub(super) fn fold_values(&mut self, start: usize) -> bool {
        if self.folded[start..].is_ascii() {
            self.folded[start..].make_ascii_lowercase();
            return true;
        }
        for value in &mut self.values {
            let text = value.0..value.1;
            value.0 = self.folded.len();
            self.buffers.fold_within(&mut self.folded, text);
            value.1 = self.folded.len();
        }
        false
    }

    /// Folds a text and keeps it for the slot.
    #[inline]
    pub(super) fn fold(&mut self, slot: usize, text: &[u8]) -> (usize, usize) {
        let start = self.folded.len();
        crate::matcher::fold::fold_into(text, &mut self.folded);
        let end = self.folded.len();
        if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) {
            self.texts[slot] = SlotText { stamp: self.stamp, start, end };
        }
        (start, end)
    }
}

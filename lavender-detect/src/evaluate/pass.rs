//! One record through one plan: gate, then confirm.

use std::ops::ControlFlow;

use super::decide::decide;
use super::memo::{Kept, Recall};
use super::scratch::{Known, Scratch};
use crate::compile::{Predicates, Test};
use crate::index::{
    ANY_VALUE, FAIL, FieldGate, Gated, Instruction, KeywordGate, MATCH, Plan, Posting,
};
use crate::record::value::TextBuffer;
use crate::record::{FieldValue, Record, Texts};
use crate::truth::Truth;

pub(super) struct Pass<'a, R: ?Sized> {
    plan: &'a Plan,
    predicates: &'a Predicates,
    scratch: &'a mut Scratch,
    record: &'a R,
    /// Whether a rule is evaluated by itself; see [`evaluate_alone`](Self::evaluate_alone).
    alone: bool,
}

impl<'a, R: Record + ?Sized> Pass<'a, R> {
    pub(super) const fn new(
        plan: &'a Plan,
        predicates: &'a Predicates,
        scratch: &'a mut Scratch,
        record: &'a R,
    ) -> Self {
        Self { plan, predicates, scratch, record, alone: false }
    }

    /// Leaves what matched, or could not be decided, in the scratch's hits.
    pub(super) fn run(&mut self) {
        self.gate_all();
        for at in 0..self.scratch.candidates.len() {
            let rule = self.scratch.candidates[at];
            if !self.scratch.admit(rule) {
                continue;
            }
            let truth = self.confirm(self.plan.rules[rule as usize].entry);
            if truth != Truth::False {
                self.scratch.hit(rule, truth);
            }
        }
    }

    /// Leaves the rules that could match in the scratch's candidates.
    #[inline]
    pub(super) fn gate_all(&mut self) {
        self.scratch.begin();
        let plan = self.plan;
        for Gated { slot, field, gate } in &plan.gated {
            self.gate(*slot as usize, *field, gate);
        }
        if let Some(gate) = &plan.keywords {
            self.gate_keywords(gate);
        }
        for rule in &plan.always {
            self.scratch.add_candidate(*rule);
        }
    }

    /// Evaluates a rule on the record of the last run once more, by what the gate said and nothing else: as if no
    /// other rule shared its tests. Changes nothing.
    #[cold]
    pub(super) fn evaluate_alone(&mut self, rule: u32) {
        self.alone = true;
        std::hint::black_box(self.confirm(self.plan.rules[rule as usize].entry));
    }

    #[inline]
    fn gate(&mut self, slot: usize, field: crate::FieldId, gate: &FieldGate) {
        let record = self.record;
        let value = record.value(field);
        match value {
            FieldValue::Absent => {}
            FieldValue::List => {
                self.post_all(&gate.present);
                let _ = record.elements(field, &mut |value| {
                    self.gate_value(gate, &value);
                    ControlFlow::Continue(())
                });
            }
            _ if !gate.has_texts() => self.post_all(&gate.present),
            FieldValue::Text(text) => {
                self.post_all(&gate.present);
                self.search(slot, gate, text);
            }
            FieldValue::Null | FieldValue::Truncated(..) | FieldValue::Unreadable => {
                self.gate_value(gate, &value);
            }
            FieldValue::Int(number)
                if gate.search_number(number, |posting| self.post(posting)).is_ok() =>
            {
                self.post_all(&gate.present);
            }
            FieldValue::Uint(number)
                if i64::try_from(number).is_ok_and(|number| {
                    gate.search_number(number, |posting| self.post(posting)).is_ok()
                }) =>
            {
                self.post_all(&gate.present);
            }
            _ => {
                self.post_all(&gate.present);
                let mut buffer = TextBuffer::new();
                if let Some(text) = value.text(&mut buffer) {
                    self.search(slot, gate, text);
                }
            }
        }
    }

    /// Searches the values of the record, and keeps folded what the tests on keywords need: those in which something
    /// was found, or all of them when there is no telling.
    fn gate_keywords(&mut self, keywords: &KeywordGate) {
        let KeywordGate { gate, prefilter, .. } = keywords;
        self.scratch.values_whole = true;
        match prefilter {
            Some(prefilter) => {
                let search = |pass: &mut Self, text: &[u8]| {
                    if prefilter.may_hold(text) {
                        pass.search_value(gate, text);
                    }
                };
                let (record, mut texts) = (self.record, Texts::new());
                let only_texts = !(keywords.in_integers || keywords.in_numbers);
                if only_texts && record.texts(keywords.least, &mut texts) {
                    texts.as_slice().iter().for_each(|text| search(self, text));
                } else {
                    self.each_keyword_value(keywords, search);
                }
            }
            None => {
                let start = self.scratch.folded.len();
                self.each_keyword_value(keywords, |pass, text| pass.scratch.add_value(text));
                self.search_values(gate, start);
            }
        }
    }

    /// Gives `visit` the text of every value in which a keyword could be.
    #[inline]
    fn each_keyword_value(
        &mut self,
        keywords: &KeywordGate,
        mut visit: impl FnMut(&mut Self, &[u8]),
    ) {
        let record = self.record;
        let mut any = false;
        let _ = record.each_value(&mut |value| {
            any |= self.keyword_value(keywords, value, &mut visit);
            ControlFlow::Continue(())
        });
        if any {
            self.post_all(&keywords.gate.present);
        }
    }

    /// Gives `visit` the text of this value if a keyword could be in it. Says whether there is a value.
    #[inline]
    fn keyword_value(
        &mut self,
        keywords: &KeywordGate,
        value: FieldValue<'_>,
        visit: &mut impl FnMut(&mut Self, &[u8]),
    ) -> bool {
        // Folding makes only other texts than ASCII longer.
        let long_enough = |text: &[u8]| text.len() >= keywords.least || !text.is_ascii();
        match value {
            FieldValue::Absent => return false,
            FieldValue::Text(text) => {
                if long_enough(text) {
                    visit(self, text);
                }
            }
            FieldValue::Null | FieldValue::List => {}
            FieldValue::Truncated(..) | FieldValue::Unreadable => {
                self.scratch.values_whole = false;
                self.gate_value(&keywords.gate, &value);
            }
            FieldValue::Int(_) | FieldValue::Uint(_) if !keywords.in_integers => {}
            FieldValue::Float(_)
            | FieldValue::Bool(_)
            | FieldValue::Ip(_)
            | FieldValue::Time(_)
                if !keywords.in_numbers => {}
            _ => written_out(&value, &mut |text| {
                if long_enough(text) {
                    visit(self, text);
                }
            }),
        }
        true
    }

    /// Searches a value that may hold a keyword, unless it is known from a record before.
    #[inline(never)]
    fn search_value(&mut self, gate: &FieldGate, text: &[u8]) {
        match self.scratch.keyword_memo.recall(text) {
            Recall::Known(entry) => {
                let mut number = 0;
                while let Some(posting) = self.scratch.keyword_memo.posting(entry, number) {
                    self.post(posting);
                    number += 1;
                }
                if number > 0 {
                    self.scratch.keep_value(text);
                }
            }
            Recall::Pass => {
                self.search_value_anew(gate, text, |_| {});
            }
            Recall::Vacant(entry) => {
                let mut kept = Kept::new();
                self.search_value_anew(gate, text, |posting| kept.push(posting));
                self.scratch.keyword_memo.keep(entry, text, kept);
            }
        }
    }

    fn search_value_anew(&mut self, gate: &FieldGate, text: &[u8], mut tell: impl FnMut(Posting)) {
        let (start, end) = self.scratch.keep_value(text);
        let folded = std::mem::take(&mut self.scratch.folded);
        let mut found = false;
        gate.search_inner(&folded[start..end], |posting| {
            found = true;
            tell(posting);
            self.post(posting);
        });
        self.scratch.folded = folded;
        if !found {
            self.scratch.drop_value();
        }
    }

    /// Searches the values that stand in `folded` from `start` on.
    fn search_values(&mut self, gate: &FieldGate, start: usize) {
        let all_ascii = self.scratch.fold_values(start);
        let folded = std::mem::take(&mut self.scratch.folded);
        if all_ascii && gate.fits_between_nuls() {
            // All in one go: values are short, and to begin a search costs as much as a short one.
            gate.search_inner(&folded[start..], |posting| self.post(posting));
        } else {
            for at in 0..self.scratch.values.len() {
                let (start, end) = self.scratch.values[at];
                gate.search(&folded[start..end], |posting| self.post(posting));
            }
        }
        self.scratch.folded = folded;
    }

    /// Searches a text, unless it is known from a record before.
    #[inline]
    fn search(&mut self, slot: usize, gate: &FieldGate, text: &[u8]) {
        // A look at the ends costs less than remembering.
        if !gate.has_inner() {
            return self.search_anew(slot, gate, text, |_| {});
        }
        match self.scratch.memos[slot].recall(text) {
            Recall::Known(entry) => {
                let mut number = 0;
                while let Some(posting) = self.scratch.memos[slot].posting(entry, number) {
                    self.post(posting);
                    number += 1;
                }
            }
            Recall::Pass => self.search_anew(slot, gate, text, |_| {}),
            Recall::Vacant(entry) => {
                let mut kept = Kept::new();
                self.search_anew(slot, gate, text, |posting| kept.push(posting));
                self.scratch.memos[slot].keep(entry, text, kept);
            }
        }
    }

    /// Searches a text, and folds it into its slot when that takes more than a look at its ends.
    #[inline]
    fn search_anew(
        &mut self,
        slot: usize,
        gate: &FieldGate,
        text: &[u8],
        mut tell: impl FnMut(Posting),
    ) {
        let mut post = |pass: &mut Self, posting: Posting| {
            tell(posting);
            pass.post(posting);
        };
        let ends = gate.search_ends(text, |posting| post(self, posting));
        if ends.is_ok() && !gate.has_inner() {
            return;
        }
        let (start, end) = self.scratch.fold(slot, text);
        let folded = std::mem::take(&mut self.scratch.folded);
        match ends {
            Ok(()) => gate.search_inner(&folded[start..end], |posting| post(self, posting)),
            Err(_) => gate.search(&folded[start..end], |posting| post(self, posting)),
        }
        self.scratch.folded = folded;
    }

    /// One of several values, or one that is not known in full.
    #[inline(never)]
    fn gate_value(&mut self, gate: &FieldGate, value: &FieldValue<'_>) {
        self.post_all(&gate.present);
        if value.is_incomplete() {
            for test in &gate.all {
                self.post(Posting::possible(*test));
            }
            return;
        }
        let mut buffer = TextBuffer::new();
        let Some(text) = value.text(&mut buffer) else { return };
        let mut folded = std::mem::take(&mut self.scratch.folded);
        let start = folded.len();
        crate::matcher::fold::fold_into(text, &mut folded);
        gate.search(&folded[start..], |posting| self.post(posting));
        folded.truncate(start);
        self.scratch.folded = folded;
    }

    fn post_all(&mut self, postings: &[Posting]) {
        for posting in postings {
            self.post(*posting);
        }
    }

    #[inline]
    fn post(&mut self, posting: Posting) {
        let test = posting.test();
        let known = match (self.scratch.known(test), posting.is_certain()) {
            (Known::Nothing, false) => Known::Possible,
            (Known::Nothing | Known::Possible, true) => Known::Decided(Truth::True),
            _ => return,
        };
        let first = self.scratch.known(test) == Known::Nothing;
        self.scratch.set(test, known);
        if first {
            for rule in self.plan.waiting_on(test) {
                self.scratch.add_candidate(*rule);
            }
        }
    }

    /// Runs a rule's program. What could not be decided counts as false at first; if the rule then does not match
    /// but would if it counted as true, the rule is undetermined.
    fn confirm(&mut self, entry: u32) -> Truth {
        let (matched, open) = self.execute(entry, false);
        if matched {
            return Truth::True;
        }
        if open && self.execute(entry, true).0 {
            return Truth::Undetermined;
        }
        Truth::False
    }

    /// Whether the program ends in a match, and whether anything on its way could not be decided.
    fn execute(&mut self, entry: u32, undetermined_as: bool) -> (bool, bool) {
        let (mut at, mut open) = (entry, false);
        while at < FAIL {
            let Instruction { test, on_true, on_false, negated } = self.plan.program[at as usize];
            let holds = match self.test(test as usize) {
                Truth::True => !negated,
                Truth::False => negated,
                Truth::Undetermined => {
                    open = true;
                    undetermined_as
                }
            };
            at = if holds { on_true } else { on_false };
        }
        (at == MATCH, open)
    }

    #[inline]
    fn test(&mut self, number: usize) -> Truth {
        let test = &self.plan.tests[number];
        let known = match self.alone {
            false => self.scratch.known(number),
            true => self.scratch.known_by_gate(number),
        };
        match known {
            Known::Decided(truth) => return truth,
            // The gate looked, and saw nothing.
            Known::Nothing if test.gated => return Truth::False,
            Known::Nothing | Known::Possible => {}
        }
        let truth = match self.folded_patterns(number) {
            Some(truth) => truth,
            None => {
                let regex = self.scratch.regexes.get_mut(test.regex as usize);
                let mut none = None;
                decide(
                    test.predicate,
                    self.predicates,
                    self.record,
                    regex.unwrap_or(&mut none),
                    &mut self.scratch.buffers,
                )
            }
        };
        if !self.alone {
            self.scratch.confirm(number, truth);
        }
        truth
    }

    /// Decides patterns on the text that the slot holds, or that can be put there.
    #[inline]
    fn folded_patterns(&mut self, number: usize) -> Option<Truth> {
        let test = &self.plan.tests[number];
        if !test.folded {
            return None;
        }
        let Test::Patterns(patterns) = &self.predicates.get(test.predicate).test else {
            return None;
        };
        if test.slot == ANY_VALUE {
            // Of a test that nothing waits on, values are not kept.
            if !test.gated {
                return None;
            }
            let Scratch { values, values_whole, folded, .. } = &*self.scratch;
            let fits = |(start, end): &(usize, usize)| {
                let text = &folded[*start..*end];
                patterns.iter().any(|pattern| pattern.matches(text))
            };
            return values_whole.then(|| values.iter().any(fits).into());
        }
        let slot = test.slot as usize;
        if self.scratch.text(slot).is_none() {
            let FieldValue::Text(text) = self.record.value(self.plan.slots[slot]) else {
                return None;
            };
            self.scratch.fold(slot, text);
        }
        let text = self.scratch.text(slot)?;
        Some(patterns.iter().any(|pattern| pattern.matches(text)).into())
    }
}

/// Gives `visit` the text that a value is written as, if it has one.
#[inline(never)]
fn written_out(value: &FieldValue<'_>, visit: &mut dyn FnMut(&[u8])) {
    let mut buffer = TextBuffer::new();
    value.text(&mut buffer).into_iter().for_each(visit);
}

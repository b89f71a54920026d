//! Keywords: what is looked for in every value of a record.

use std::ops::ControlFlow;

use super::Pass;
use crate::index::{FieldGate, KeywordGate};
use crate::record::value::TextBuffer;
use crate::record::{FieldValue, Record, Texts};

impl<R: Record + ?Sized> Pass<'_, R> {
    /// Searches fields and values, and keeps folded what the tests on keywords need: the values in which something was
    /// found, or all of them when there is no telling.
    pub(super) fn gate_fields_and_keywords(&mut self, keywords: &KeywordGate) {
        let Some(prefilter) = keywords.of_texts() else {
            self.gate_fields();
            return self.gate_each_value(keywords);
        };
        let (record, least) = (self.record, keywords.least);
        let mut texts = Texts::new(least, prefilter.least_plain, &keywords.searched);
        self.together = record.texts(&mut texts);
        self.gate_fields();
        if !self.together {
            return self.gate_each_value(keywords);
        }
        for text in texts.as_slice() {
            if prefilter.may_hold(text) {
                self.search_value(&keywords.gate, text);
            }
        }
    }

    /// Searches what the record says that its values are.
    fn gate_each_value(&mut self, keywords: &KeywordGate) {
        match &keywords.prefilter {
            Some(prefilter) => self.each_keyword_value(keywords, |pass, text| {
                if prefilter.may_hold(text) {
                    pass.search_value(&keywords.gate, text);
                }
            }),
            None => {
                let start = self.scratch.folded.len();
                self.each_keyword_value(keywords, |pass, text| pass.scratch.add_value(text));
                self.search_values(&keywords.gate, start);
            }
        }
    }

    /// Looks for keywords in a field's text, where they are looked for together with what else is. Says whether they
    /// have to be looked for when the text comes again.
    #[inline]
    pub(super) fn look_for_keywords(&mut self, text: &[u8]) -> bool {
        let Some(keywords) = &self.plan.keywords else { return false };
        let Some(prefilter) = keywords.of_texts() else { return false };
        prefilter.may_hold(text) && (!self.together || self.search_value(&keywords.gate, text))
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
        let long_enough = |text: &[u8]| text.len() >= keywords.least;
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

    /// Searches a value that may hold a keyword, and keeps it folded if it does.
    #[inline(never)]
    fn search_value(&mut self, gate: &FieldGate, text: &[u8]) -> bool {
        let (start, end) = self.scratch.keep_value(text);
        let folded = std::mem::take(&mut self.scratch.folded);
        let mut found = false;
        gate.search_inner(&folded[start..end], |posting| {
            found = true;
            self.post(posting);
        });
        self.scratch.folded = folded;
        if !found {
            self.scratch.drop_value();
        }
        found
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
}

/// Gives `visit` the text that a value is written as, if it has one.
#[inline(never)]
fn written_out(value: &FieldValue<'_>, visit: &mut dyn FnMut(&[u8])) {
    let mut buffer = TextBuffer::new();
    value.text(&mut buffer).into_iter().for_each(visit);
}

//! One predicate on one record, from the record alone.

use std::ops::ControlFlow;

use regex_automata::meta::Cache;

use crate::compile::{Predicate, PredicateId, Predicates, Relation, Subject, Test};
use crate::matcher::number::Number;
use crate::matcher::pattern::Pattern;
use crate::matcher::{cidr, fold, time};
use crate::record::value::TextBuffer;
use crate::record::{FieldValue, Kept, Record};
use crate::schema::FieldId;
use crate::truth::Truth;

/// Room to work in, reused from test to test.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    folded: Vec<u8>,
    other: Vec<u8>,
}

impl Buffers {
    /// Appends the folded form of a part of `texts` to it.
    pub(super) fn fold_within(&mut self, texts: &mut Vec<u8>, part: std::ops::Range<usize>) {
        let text = folded(&texts[part], &mut self.folded);
        texts.extend_from_slice(text);
    }

    /// Gives back what one huge value took.
    pub(crate) fn shrink(&mut self, most: usize) {
        for buffer in [&mut self.folded, &mut self.other] {
            buffer.clear();
            buffer.shrink_to(most);
        }
    }
}

/// Decides a predicate.
pub(crate) fn decide<R: Record + ?Sized>(
    id: PredicateId,
    predicates: &Predicates,
    record: &R,
    cache: &mut Option<Cache>,
    buffers: &mut Buffers,
) -> Truth {
    let predicate = predicates.get(id);
    let mut tester = Tester { id, predicate, predicates, record, cache, buffers };
    match predicate.subject {
        Subject::Field(field) => tester.field(field),
        Subject::AnyValue => {
            let mut truth = Truth::False;
            let _ = record.each_value(&mut |value| tester.or(&mut truth, &value));
            truth
        }
    }
}

struct Tester<'a, R: ?Sized> {
    id: PredicateId,
    predicate: &'a Predicate,
    predicates: &'a Predicates,
    record: &'a R,
    cache: &'a mut Option<Cache>,
    buffers: &'a mut Buffers,
}

impl<R: Record + ?Sized> Tester<'_, R> {
    fn field(&mut self, field: FieldId) -> Truth {
        let record = self.record;
        match record.value(field) {
            FieldValue::List => match self.predicate.test {
                Test::Present => Truth::True,
                Test::Null => Truth::False,
                _ => {
                    let mut truth = Truth::False;
                    let _ = record.elements(field, &mut |value| self.or(&mut truth, &value));
                    truth
                }
            },
            value => self.value(&value),
        }
    }

    /// Joins the truth of one more value.
    fn or(&mut self, truth: &mut Truth, value: &FieldValue<'_>) -> ControlFlow<()> {
        *truth = truth.or(self.value(value));
        if *truth == Truth::True { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn value(&mut self, value: &FieldValue<'_>) -> Truth {
        match &self.predicate.test {
            Test::Present => return value.is_present().into(),
            Test::Null => return value.is_null().into(),
            _ if value.is_null() => return Truth::False,
            _ => {}
        }
        if let FieldValue::Unreadable = value {
            return Truth::Undetermined;
        }
        match &self.predicate.test {
            Test::Patterns(patterns) => self.patterns(patterns, value),
            Test::FieldRef { other, relation, cased } => {
                self.field_ref(value, *other, *relation, *cased)
            }
            // What is cut may be any longer text.
            _ if value.is_incomplete() => Truth::Undetermined,
            Test::Regex(_) => {
                let mut buffer = TextBuffer::new();
                let regex = self.predicates.regex(self.id);
                let text = value.text(&mut buffer);
                let (Some(regex), Some(text)) = (regex, text) else { return Truth::False };
                regex.is_match(self.cache, text).into()
            }
            Test::Networks(networks) => cidr::address_of(value)
                .is_some_and(|address| networks.iter().any(|network| network.contains(address)))
                .into(),
            Test::Compare(comparison, number) => Number::of(value)
                .and_then(|value| value.compare(*number))
                .is_some_and(|ordering| comparison.holds(ordering))
                .into(),
            Test::TimePart(part, comparison, number) => time::seconds_of(value)
                .is_some_and(|seconds| comparison.holds(part.of(seconds).cmp(number)))
                .into(),
            Test::Present | Test::Null => Truth::False,
        }
    }

    fn patterns(&mut self, patterns: &[Pattern], value: &FieldValue<'_>) -> Truth {
        let mut buffer = TextBuffer::new();
        let Some(text) = value.text(&mut buffer) else { return Truth::False };
        if let FieldValue::Truncated(_, kept) = value {
            let text = whole_characters(text, *kept);
            let folded = folded(text, &mut self.buffers.folded);
            let one = |pattern: &Pattern| {
                pattern.matches_truncated(if pattern.cased { text } else { folded }, *kept)
            };
            return patterns.iter().map(one).fold(Truth::False, Truth::or);
        }
        let folded = folded(text, &mut self.buffers.folded);
        let one = |pattern: &Pattern| pattern.matches(if pattern.cased { text } else { folded });
        patterns.iter().any(one).into()
    }

    fn field_ref(
        &mut self,
        value: &FieldValue<'_>,
        other: FieldId,
        relation: Relation,
        cased: bool,
    ) -> Truth {
        let other = self.record.value(other);
        if other.is_null() {
            return Truth::False;
        }
        if value.is_incomplete() || other.is_incomplete() {
            return Truth::Undetermined;
        }
        let (mut buffer, mut other_buffer) = (TextBuffer::new(), TextBuffer::new());
        let (Some(text), Some(other)) = (value.text(&mut buffer), other.text(&mut other_buffer))
        else {
            return Truth::False;
        };
        if cased {
            return relation.holds(text, other).into();
        }
        let text = folded(text, &mut self.buffers.folded);
        relation.holds(text, folded(other, &mut self.buffers.other)).into()
    }
}

fn folded<'b>(text: &[u8], buffer: &'b mut Vec<u8>) -> &'b [u8] {
    buffer.clear();
    fold::fold_into(text, buffer);
    buffer
}

/// A truncated text without the part of a character at the place where it was cut: half a character folds to
/// something else than the whole.
fn whole_characters(text: &[u8], kept: Kept) -> &[u8] {
    let is_inner = |byte: u8| byte & 0xc0 == 0x80;
    match kept {
        Kept::End => {
            let inner = text.iter().take(3).take_while(|byte| is_inner(**byte)).count();
            &text[inner..]
        }
        Kept::Start => {
            let inner = text.iter().rev().take(3).take_while(|byte| is_inner(**byte)).count();
            let lead = text.len() - inner;
            match text[..lead].last() {
                Some(byte) if *byte >= 0xc0 && std::str::from_utf8(&text[lead - 1..]).is_err() => {
                    &text[..lead - 1]
                }
                _ => text,
            }
        }
    }
}

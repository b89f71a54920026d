//! What is looked for in every value of a record.

use super::gate::{FieldGate, GateBuilder};
use super::plan::Gated;
use super::prefilter::Prefilter;
use crate::schema::FieldSet;

/// The gate of keywords, and which values need not be searched.
#[derive(Debug)]
pub(crate) struct KeywordGate {
    pub(crate) gate: FieldGate,
    /// Rules out nearly every value, where the literals are such that it can.
    pub(crate) prefilter: Option<Prefilter>,
    /// The fields whose texts are searched anyway: what is remembered of them tells of keywords too.
    pub(crate) searched: FieldSet,
    /// Whether a literal could be in what a whole number is written as.
    pub(crate) in_integers: bool,
    /// Whether a literal could be in what any number, an address, a time or a truth is written as.
    pub(crate) in_numbers: bool,
    /// No text of fewer bytes holds a literal, before it is folded.
    pub(crate) least: usize,
}

impl KeywordGate {
    /// The gate that was built, beside those of fields; `None` when nothing is waited for.
    pub(crate) fn new(builder: GateBuilder, fields: &[Gated]) -> Option<Self> {
        let literals: Option<Vec<Vec<u8>>> =
            builder.literals().map(|literals| literals.map(<[u8]>::to_vec).collect());
        // What waits on no literal waits on every value.
        let any = |such: fn(&[u8]) -> bool| {
            literals.as_ref().is_none_or(|literals| literals.iter().any(|literal| such(literal)))
        };
        let (in_integers, in_numbers) = (any(may_be_in_an_integer), any(may_be_in_a_number));
        // Folding makes two bytes three at most, as of `Ⱥ`, and never more of those that fold to ASCII.
        let needed = |literal: &Vec<u8>| match literal.is_ascii() {
            true => literal.len(),
            false => (literal.len() * 2).div_ceil(3),
        };
        let least = literals.iter().flatten().map(needed).min().unwrap_or(0);
        let prefilter = literals
            .as_ref()
            .filter(|_| builder.is_plain_inner())
            .and_then(|literals| Prefilter::new(literals.iter().map(Vec::as_slice)));
        let gate = builder.build();
        let searched = fields.iter().filter(|field| field.gate.has_texts());
        let searched = searched.map(|field| field.field).collect();
        let used = !gate.all.is_empty();
        used.then_some(Self { gate, prefilter, searched, in_integers, in_numbers, least })
    }

    /// What rules out texts, where only texts could hold a keyword.
    #[inline]
    pub(crate) fn of_texts(&self) -> Option<&Prefilter> {
        self.prefilter.as_ref().filter(|_| !(self.in_integers || self.in_numbers))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.gate.heap_bytes()
            + self.searched.heap_bytes()
            + self.prefilter.as_ref().map_or(0, Prefilter::heap_bytes)
    }
}

fn may_be_in_an_integer(literal: &[u8]) -> bool {
    // The longest have twenty characters.
    literal.len() <= 20 && literal.iter().all(|byte| b"-0123456789".contains(byte))
}

/// Whether a folded literal could be in what any number, an address, a time or a truth is written as.
fn may_be_in_a_number(literal: &[u8]) -> bool {
    // No address, time or number is written in more than some forty characters.
    let fits = literal.len() <= 64;
    let is_part = |word: &&[u8]| memchr::memmem::find(word, literal).is_some();
    fits && literal.iter().all(|byte| b"0123456789abcdef.:+- ".contains(byte))
        || [&b"true"[..], b"false", b"-inf", b"nan"].iter().any(is_part)
}

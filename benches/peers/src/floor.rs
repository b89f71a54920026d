//! What no engine can be faster than.

use std::collections::BTreeSet;

use daachorse::DoubleArrayAhoCorasick;
use rsigma_parser::{Detection, SigmaRule, SigmaValue, StringPart};

use crate::observed::{Observed, Scalar};

/// Reads every byte of every text in the event.
pub fn read_fields(event: &Observed) -> u64 {
    let texts = event.values.iter().filter_map(|scalar| match scalar {
        Scalar::Text(text) => Some(text.as_bytes()),
        _ => None,
    });
    texts.flatten().map(|byte| u64::from(*byte)).sum()
}

/// One automaton over every literal of the rules, run over the event's texts: it says which literals are there,
/// and nothing of rules, anchors or conditions.
#[allow(missing_debug_implementations, reason = "the automaton has none worth reading")]
pub struct OneAutomaton {
    automaton: DoubleArrayAhoCorasick<u32>,
    text: Vec<u8>,
    /// How many literals it holds.
    pub literals: usize,
}

impl OneAutomaton {
    /// The automaton of these rules; `None` when they hold no text.
    pub fn new(rules: &[&SigmaRule]) -> Option<Self> {
        let mut literals = BTreeSet::new();
        for rule in rules {
            rule.detection.named.values().for_each(|detection| collect(detection, &mut literals));
        }
        let automaton = DoubleArrayAhoCorasick::new(&literals).ok()?;
        Some(Self { automaton, text: Vec::with_capacity(4_096), literals: literals.len() })
    }

    /// How many literals are in the event.
    pub fn count(&mut self, event: &Observed) -> usize {
        self.text.clear();
        for scalar in &event.values {
            if let Scalar::Text(text) = scalar {
                self.text.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
                self.text.push(0);
            }
        }
        self.automaton.find_overlapping_iter(&self.text).count()
    }
}

fn collect(detection: &Detection, literals: &mut BTreeSet<Vec<u8>>) {
    let mut add = |value: &SigmaValue| {
        let SigmaValue::String(text) = value else { return };
        for part in &text.parts {
            if let StringPart::Plain(plain) = part
                && !plain.is_empty()
            {
                literals.insert(plain.to_lowercase().into_bytes());
            }
        }
    };
    match detection {
        Detection::AllOf(items) => items.iter().flat_map(|item| &item.values).for_each(add),
        Detection::Keywords(values) => values.iter().for_each(&mut add),
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter().for_each(|part| collect(part, literals));
        }
        _ => {}
    }
}

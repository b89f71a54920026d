//! What is raised about a new value.

use std::sync::Arc;

use lavender_core::{AlertId, ByteString, Correlated, Detection, Evidence};

use super::cells::{Cells, Tick, nanos};
use super::walk::Chosen;
use crate::record::value::TextBuffer;

/// How much of a value stands in evidence.
const SHOWN_BYTES: usize = 1_024;

/// A value that was not seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewValue {
    /// The id of the alert: of the rule, the value and the time for which it is remembered.
    pub id: AlertId,
    /// The fields of `per` and `fields`, and their values.
    pub values: Vec<Evidence>,
    /// Whether the value may have been seen before: values had to be forgotten for lack of room, or events were lost
    /// since the rule was first in use or for as long as values are remembered.
    pub incomplete: bool,
}

impl NewValue {
    pub(crate) fn new(
        rule: &str,
        names: &[Arc<str>],
        chosen: Option<&Chosen<'_>>,
        (time, cells): (Tick, Cells),
        incomplete: bool,
    ) -> Self {
        let mut texts: Vec<Vec<u8>> = Vec::with_capacity(names.len());
        let mut next = chosen;
        while let Some(Chosen { value, before }) = next {
            let mut buffer = TextBuffer::new();
            texts.push(value.text(&mut buffer).unwrap_or_default().to_vec());
            next = *before;
        }
        texts.reverse();
        let mut group = Vec::new();
        for text in &texts {
            group.extend_from_slice(&(text.len() as u32).to_le_bytes());
            group.extend_from_slice(text);
        }
        let values = names.iter().zip(&texts).map(|(name, text)| Evidence {
            field: Arc::clone(name),
            value: ByteString::from(&text[..text.len().min(SHOWN_BYTES)]),
        });
        Self {
            id: AlertId::of_correlation(rule, &group, nanos(cells.start(time))),
            values: values.collect(),
            incomplete,
        }
    }

    /// The evidence of the match with the new values in it.
    pub fn evidence(&self, mut found: Vec<Evidence>) -> Vec<Evidence> {
        // The condition may have looked at another element of a list.
        found.retain(|evidence| self.values.iter().all(|value| value.field != evidence.field));
        found.extend_from_slice(&self.values);
        found
    }

    /// What was found, as what is new about it.
    pub(crate) fn detection(self, found: &Detection) -> Detection {
        let mut detection = found.clone();
        detection.evidence = self.evidence(detection.evidence);
        detection.correlated = Some(Box::new(Correlated {
            id: self.id,
            observed_at: found.event.observed_at,
            events: vec![found.event.id],
            incomplete: self.incomplete,
        }));
        detection
    }
}

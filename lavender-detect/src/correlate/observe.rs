//! From a detection, or what a correlation found, to the elements that go into the states of groups.

use super::alert::EventStamp;
use super::correlation::{Correlation, Feed};
use super::digest;
use super::element::Element;
use super::plan::{Engine, SettledTest};
use super::row::{self, Row};
use super::settled::Held;
use crate::record::{FieldValue, Record};
use crate::rule::CorrelationKind;
use crate::schema::FieldId;

/// What could not be correlated, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// A field that is grouped by is not there.
    Ungrouped,
    /// The field that is looked at is not there, or holds no number where one is asked for.
    Valueless,
}

/// What goes into the state of one group.
#[derive(Debug)]
pub(crate) struct Observation<'a> {
    pub(crate) held: Held,
    /// The values of the group, as they are kept.
    pub(crate) values: &'a [u8],
    row: &'a Row,
    content: [u64; 2],
    chosen: &'a [u32],
}

impl Observation<'_> {
    /// The key of the group.
    pub(crate) fn key(&self) -> u128 {
        self.row.key(self.content, self.chosen)
    }
}

/// Working memory.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) row: Row,
    chosen: Vec<u32>,
    values: Vec<u8>,
}

impl Columns {
    /// Gives `each` what a feed makes of the fields in the row: one observation for each group.
    pub(crate) fn observe<C>(
        &mut self,
        correlation: &Correlation,
        feed: &Feed<C>,
        at: EventStamp,
        mut each: impl FnMut(Observation<'_>),
    ) -> Result<(), Left> {
        let Self { row, chosen, values: kept } = self;
        let (group, values) = (feed.group, feed.group + feed.values);
        let value = match looked_at(correlation, feed.slot) {
            LookedAt::Known(value) => Some(value),
            LookedAt::Digest => row.digest(correlation.content, group..values),
            LookedAt::Number => row.number(group).map(f64::to_bits),
        };
        let element = element(correlation, feed.slot, at, value.ok_or(Left::Valueless)?);
        let carries = !correlation.parents.is_empty();
        let mut grouped = false;
        row.groups(group, chosen, |chosen| {
            grouped = true;
            let carried = carries.then(|| row.carry(values..feed.columns.len()));
            row.group(chosen, kept);
            each(Observation {
                held: Held { element, carried },
                values: kept,
                row,
                content: correlation.content,
                chosen,
            });
        });
        if grouped { Ok(()) } else { Err(Left::Ungrouped) }
    }
}

/// What a feed makes of a record where that is one group of one text, with the value that [`row::text`] gives it; `None`
/// where it is something else, or where it takes a [`Row`] to tell. Most detections are such, and their texts are read
/// where they are: a copy would be waited for.
#[inline]
pub(crate) fn single<'r, R: Record + ?Sized>(
    record: &'r R,
    correlation: &Correlation,
    feed: &Feed<FieldId>,
    at: EventStamp,
) -> Option<(FieldValue<'r>, Element)> {
    if feed.group != 1 || !correlation.parents.is_empty() {
        return None;
    }
    let value = match looked_at(correlation, feed.slot) {
        LookedAt::Known(value) => value,
        LookedAt::Digest if feed.values == 1 => {
            digest::narrow(correlation.content, row::text(&record.value(feed.columns[1]))?)
        }
        _ => return None,
    };
    let group = record.value(feed.columns[0]);
    Some((group, element(correlation, feed.slot, at, value)))
}

/// Whether a slot clears or undoes, so that no value is asked of it.
fn ends(correlation: &Correlation, slot: u16) -> bool {
    matches!(&correlation.plan.engine, Engine::Settled(settling) if slot >= settling.until)
}

/// What of a detection is looked at, beside when it was and which rule matched.
enum LookedAt {
    /// Nothing else: this stands for it.
    Known(u64),
    /// Which texts there are.
    Digest,
    /// A number.
    Number,
}

#[inline]
fn looked_at(correlation: &Correlation, slot: u16) -> LookedAt {
    match correlation.kind {
        CorrelationKind::EventCount => LookedAt::Known(0),
        _ if ends(correlation, slot) => LookedAt::Known(0),
        CorrelationKind::ValueCount => LookedAt::Digest,
        kind if kind.is_aggregate() => LookedAt::Number,
        _ => match &correlation.plan.engine {
            Engine::Sequence(_) => LookedAt::Known(0),
            Engine::Settled(settling) if matches!(settling.test, SettledTest::Sequence(_)) => {
                LookedAt::Known(0)
            }
            // In a window, rules are what is told apart.
            _ => LookedAt::Known(u64::from(slot)),
        },
    }
}

#[inline]
fn element(correlation: &Correlation, slot: u16, at: EventStamp, value: u64) -> Element {
    // An event that several rules of a count match counts once, so there they are all slot 0.
    let keeps_slots = correlation.kind.is_temporal() || ends(correlation, slot);
    let slot = if keeps_slots { slot } else { 0 };
    Element { time: at.time.as_nanos(), id: at.id, slot, value }
}

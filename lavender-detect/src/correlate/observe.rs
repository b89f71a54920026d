//! From a detection, or what a correlation found, to the elements that go into the states of groups.

use super::alert::EventStamp;
use super::correlation::{Correlation, Feed};
use super::element::Element;
use super::plan::{Engine, SettledTest};
use super::row::Row;
use super::settled::Held;
use crate::rule::CorrelationKind;

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
    pub(crate) key: u128,
    pub(crate) held: Held,
    row: &'a Row,
    chosen: &'a [u32],
}

impl Observation<'_> {
    /// The values of the group, as they are kept.
    pub(crate) fn group(&self) -> Box<[u8]> {
        self.row.group(self.chosen)
    }
}

/// Working memory.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) row: Row,
    chosen: Vec<u32>,
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
        let Self { row, chosen } = self;
        let (group, values) = (feed.group, feed.group + feed.values);
        let value = value(correlation, feed, row).ok_or(Left::Valueless)?;
        let carries = !correlation.parents.is_empty();
        let slot = if keeps_slots(correlation, feed.slot) { feed.slot } else { 0 };
        let element = Element { time: at.time.as_nanos(), id: at.id, slot, value };
        let mut grouped = false;
        row.groups(group, chosen, |chosen| {
            grouped = true;
            let carried = carries.then(|| row.carry(values..feed.columns.len()));
            each(Observation {
                key: row.key(correlation.content, chosen),
                held: Held { element, carried },
                row,
                chosen,
            });
        });
        if grouped { Ok(()) } else { Err(Left::Ungrouped) }
    }
}

/// Whether a slot clears or undoes, so that no value is asked of it.
fn ends(correlation: &Correlation, slot: u16) -> bool {
    matches!(&correlation.plan.engine, Engine::Settled(settling) if slot >= settling.until)
}

/// An event that several rules of a count match counts once, so there they are all slot 0.
fn keeps_slots(correlation: &Correlation, slot: u16) -> bool {
    correlation.kind.is_temporal() || ends(correlation, slot)
}

fn value<C>(correlation: &Correlation, feed: &Feed<C>, row: &Row) -> Option<u64> {
    let cells = feed.group..feed.group + feed.values;
    match correlation.kind {
        _ if ends(correlation, feed.slot) => Some(0),
        CorrelationKind::EventCount => Some(0),
        CorrelationKind::ValueCount => row.digest(correlation.content, cells),
        kind if kind.is_aggregate() => row.number(cells.start).map(f64::to_bits),
        // In a window, rules are what is told apart.
        _ if matches!(&correlation.plan.engine, Engine::Sequence(_)) => Some(0),
        _ => match &correlation.plan.engine {
            Engine::Settled(settling) if matches!(settling.test, SettledTest::Sequence(_)) => {
                Some(0)
            }
            _ => Some(u64::from(feed.slot)),
        },
    }
}

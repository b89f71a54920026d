//! What correlations raise.

use std::collections::VecDeque;
use std::sync::Arc;

use lavender_core::{AlertId, ByteString, EventId, Evidence, RuleMeta, Timestamp};
use serde::Serialize;

use super::correlation::Correlation;
use super::element::Firing;
use super::row::parts;

/// When an event happened, and which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventStamp {
    /// The event.
    pub id: EventId,
    /// When it happened.
    pub time: Timestamp,
}

impl EventStamp {
    /// Of one of Lavender's events.
    pub const fn of(event: &lavender_core::event::Event) -> Self {
        Self { id: event.id, time: event.observed_at }
    }

    /// Whether the time is one that sums with timespans can be made of: in the years 1823 to 2116.
    pub(crate) fn is_sound(self) -> bool {
        (i64::MIN / 2..=i64::MAX / 2).contains(&self.time.as_nanos())
    }
}

/// An alert of a correlation.
///
/// Two alerts with the same id are the same alert, whoever raised them; of their other parts `events` and `measured`
/// may differ, since they say what was known when each was raised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorrelationAlert {
    /// Derived from the rule, the group and the anchor: see the [module](crate::correlate).
    pub id: AlertId,
    /// The correlation.
    #[serde(skip)]
    pub rule: Arc<RuleMeta>,
    /// What it groups by, and the values of this group.
    pub group: Vec<Evidence>,
    /// When it was complete: the time of the last event, or of the end of a window that had to end.
    #[serde(serialize_with = "as_text")]
    pub observed_at: Timestamp,
    /// From when on events were looked at.
    #[serde(serialize_with = "as_text")]
    pub window_start: Timestamp,
    /// The event that completed it; for what had to stay low, the one that the window began with.
    pub event: EventId,
    /// The events that it rests on, the oldest first; of many, the newest 64.
    pub events: Vec<EventId>,
    /// The count, sum or other number for which the condition held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// Whether events were lost in its window, so that there may have been more than it rests on.
    pub incomplete: bool,
}

fn as_text<S: serde::Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

impl CorrelationAlert {
    pub(crate) fn new(
        correlation: &Correlation,
        group: &[u8],
        firing: Firing,
        losses: &Losses,
    ) -> Self {
        let values = correlation.group_by.iter().zip(parts(group));
        Self {
            id: AlertId::of_correlation(&correlation.meta.id, group, firing.anchor),
            rule: Arc::clone(&correlation.meta),
            group: values
                .map(|(name, value)| Evidence {
                    field: Arc::clone(name),
                    value: ByteString::from(value),
                })
                .collect(),
            observed_at: Timestamp::from_nanos(firing.time),
            window_start: Timestamp::from_nanos(firing.from),
            event: firing.id,
            incomplete: losses.between(firing.id, firing.from, firing.time),
            events: firing.events,
            measured: firing.measured,
        }
    }
}

/// When events were lost, as far as windows may reach back to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    recent: VecDeque<Loss>,
    /// What there was no room for, of whatever host.
    older: Option<Loss>,
    /// Whether there are some that nobody has asked for yet.
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Loss {
    origin: u128,
    from: i64,
    to: i64,
}

impl Losses {
    /// The most losses that are told apart. Of those before them only the whole span is remembered, as a loss of
    /// every host: an alert may then say that something was lost where nothing was, and never the other way round.
    const MAX: usize = 1_024;

    pub(crate) fn add(&mut self, id: EventId, from: i64, to: i64) {
        if self.recent.len() == Self::MAX
            && let Some(first) = self.recent.pop_front()
        {
            let older = self.older.get_or_insert(first);
            older.from = older.from.min(first.from);
            older.to = older.to.max(first.to);
        }
        self.recent.push_back(Loss { origin: origin(id), from, to });
        self.changed = true;
    }

    /// What there is, if it has changed since this was last called.
    pub(crate) fn changed(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        // That of every host comes first; `u128::MAX` is no origin.
        let older = self.older.map(|older| Loss { origin: u128::MAX, ..older });
        let mut bytes = Vec::new();
        for loss in older.iter().chain(&self.recent) {
            bytes.extend_from_slice(&loss.origin.to_le_bytes());
            bytes.extend_from_slice(&loss.from.to_le_bytes());
            bytes.extend_from_slice(&loss.to.to_le_bytes());
        }
        Some(bytes)
    }

    /// What [`changed`](Self::changed) gave.
    pub(crate) fn restored(bytes: &[u8]) -> Option<Self> {
        let (losses, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || losses.len() > Self::MAX + 1 {
            return None;
        }
        let mut restored = Self::default();
        for loss in losses {
            let (origin, times) = loss.split_first_chunk()?;
            let (from, to) = times.split_first_chunk()?;
            let origin = u128::from_le_bytes(*origin);
            let from = i64::from_le_bytes(*from);
            let loss = Loss { origin, from, to: i64::from_le_bytes(to.try_into().ok()?) };
            match origin {
                u128::MAX => restored.older = Some(loss),
                _ => restored.recent.push_back(loss),
            }
        }
        Some(restored)
    }

    fn between(&self, id: EventId, from: i64, to: i64) -> bool {
        let origin = origin(id);
        let touches = |loss: &Loss| loss.from <= to && loss.to >= from;
        self.older.as_ref().is_some_and(touches)
            || self.recent.iter().any(|loss| loss.origin == origin && touches(loss))
    }
}

/// Whose event it is: all of its id but the sequence number.
const fn origin(id: EventId) -> u128 {
    id.as_u128() >> 48
}

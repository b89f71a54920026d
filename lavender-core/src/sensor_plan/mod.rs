//! Which events are needed: what rules say to the sensor, without knowing each other.

mod key;
mod selection;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::key::{EventKey, KeyText};
pub use self::selection::{Case, Cases, Selection};
use crate::event::{Event, EventKind};

/// Which events are needed, kind by kind. A sensor with a plan delivers all of these, and may leave out others: in the
/// kernel, before they cost anything, and counted.
///
/// A plan never takes away process life (`exec`, `fork`, `exit`), on which the process table rests, nor what an agent says of
/// itself. It is coarser than the rules that it is made of and never finer: whatever a sensor cannot decide, it delivers.
///
/// ```
/// use lavender_core::event::EventKind;
/// use lavender_core::{Case, Cases, EventKey, SensorPlan};
///
/// let mut plan = SensorPlan::default();
/// assert!(!plan.wants(EventKind::NetConnect) && plan.wants(EventKind::Exec));
/// let to_attackers = EventKey::DestinationPort(4444);
/// plan.select(EventKind::NetConnect, Cases::of(|case| case.succeeded), [to_attackers]);
/// assert!(plan.wants(EventKind::NetConnect));
/// assert!(!plan.selection(EventKind::NetConnect).unwrap().is_all());
/// plan.select_all(EventKind::NetConnect);
/// assert!(plan.selection(EventKind::NetConnect).unwrap().is_all());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SensorPlan {
    /// None of them empty.
    selections: BTreeMap<EventKind, Selection>,
}

impl SensorPlan {
    /// The plan that leaves out nothing.
    pub fn everything() -> Self {
        let mut plan = Self::default();
        EventKind::ALL.into_iter().for_each(|kind| plan.select_all(kind));
        plan
    }

    /// Takes in every event of a kind.
    pub fn select_all(&mut self, kind: EventKind) {
        self.select_cases(kind, Cases::ALL);
    }

    /// Takes in the events of a kind of which one of these cases is true.
    pub fn select_cases(&mut self, kind: EventKind, cases: Cases) {
        if !is_always_there(kind) && !cases.is_empty() {
            let selection = self.selections.entry(kind).or_insert_with(|| Selection::new(kind));
            selection.add_cases(cases);
        }
    }

    /// Takes in the events of a kind of which one of these cases is true, and that have one of these keys. Where that is
    /// more than sensors can tell of the kind, it takes in more.
    pub fn select(
        &mut self,
        kind: EventKind,
        cases: Cases,
        keys: impl IntoIterator<Item = EventKey>,
    ) {
        if is_always_there(kind) || cases.is_empty() {
            return;
        }
        for key in keys {
            let selection = self.selections.entry(kind).or_insert_with(|| Selection::new(kind));
            selection.add_key(cases, key);
        }
    }

    /// Takes in all that another plan has.
    pub fn merge(&mut self, other: &Self) {
        for (kind, theirs) in &other.selections {
            self.select_cases(*kind, theirs.cases());
            theirs.keys().for_each(|(key, cases)| self.select(*kind, cases, [key.clone()]));
        }
    }

    /// Which events of a kind are needed; `None` where none is, and for the kinds that are always there.
    pub fn selection(&self, kind: EventKind) -> Option<&Selection> {
        self.selections.get(&kind)
    }

    /// Whether any event of a kind is needed.
    pub fn wants(&self, kind: EventKind) -> bool {
        is_always_there(kind) || self.selections.contains_key(&kind)
    }

    /// Whether an event is needed. What this says yes to, every sensor that has the plan delivers.
    pub fn passes(&self, event: &Event) -> bool {
        let kind = event.kind();
        let selected = || self.selection(kind).is_some_and(|selection| selection.passes(event));
        is_always_there(kind) || selected()
    }
}

/// What no plan decides about: process life, and what the agent itself has to say.
const fn is_always_there(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(
        kind,
        K::Exec
            | K::Fork
            | K::Exit
            | K::Heartbeat
            | K::Lost
            | K::AgentStart
            | K::AgentStop
            | K::Response
            | K::Unknown
    )
}

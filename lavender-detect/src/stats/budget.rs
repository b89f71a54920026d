//! What a rule may cost, and what is said when it costs more.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use lavender_core::Timestamp;
use serde::Serialize;

/// What a rule may cost per event, and what becomes of it beyond.
///
/// A rule is judged whenever it has been offered another [`window_events`](Self::with_window_events) events, by
/// what it took of them: the evaluations, times their mean cost, by the events. Nothing undoes a verdict but a
/// reload of the rule, changed, or [`RuleHandle::reactivate`](crate::RuleHandle::reactivate): a rule that went in
/// and out by itself would be blind at moments that nobody knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub(super) ns_per_event: NonZeroU64,
    pub(super) over: OverBudget,
    pub(super) window_events: NonZeroU64,
}

impl Budget {
    /// Some 64 timed records, by which the mean of four costs each is known well enough.
    const WINDOW_EVENTS: NonZeroU64 = NonZeroU64::MIN.saturating_add((1 << 16) - 1);
    /// A rule is not sampled more thinly than this, whatever it costs.
    pub const MAX_ONE_IN: u32 = 1_024;

    /// A budget of so many ns per event of the rule's log source, judged every 65,536 of them.
    pub const fn new(ns_per_event: NonZeroU64, over: OverBudget) -> Self {
        Self { ns_per_event, over, window_events: Self::WINDOW_EVENTS }
    }

    /// Judges every so many events.
    #[must_use]
    pub const fn with_window_events(mut self, window_events: NonZeroU64) -> Self {
        self.window_events = window_events;
        self
    }

    /// What becomes of a rule that takes `ns_per_event`, more than it may, in `state`.
    pub(super) fn verdict(&self, ns_per_event: u64, state: RuleState) -> RuleState {
        let one_in_now = match state {
            RuleState::Active => 1,
            RuleState::Sampled { one_in } => one_in.get(),
            RuleState::Disabled => return state,
        };
        if self.over == OverBudget::Disable {
            return RuleState::Disabled;
        }
        // So much more thinly that it just keeps to its budget from now on.
        let times = u32::try_from(ns_per_event.div_ceil(self.ns_per_event.get()));
        let one_in = times.unwrap_or(u32::MAX).saturating_mul(one_in_now).min(Self::MAX_ONE_IN);
        NonZeroU32::new(one_in).map_or(state, |one_in| RuleState::Sampled { one_in })
    }
}

/// What becomes of a rule that is over its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverBudget {
    /// It is evaluated for some of its candidates only, so few that it keeps to its budget; at least 1 in
    /// [`Budget::MAX_ONE_IN`].
    #[default]
    Sample,
    /// It is not evaluated any more.
    Disable,
}

/// Whether a rule is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// Whenever its witness is seen.
    #[default]
    Active,
    /// Only once in so many times, because it was over its budget.
    Sampled {
        /// In how many times.
        one_in: NonZeroU32,
    },
    /// Never, because it was over its budget.
    Disabled,
}

impl RuleState {
    /// As evaluators keep it: 0 for never.
    pub(crate) const fn one_in(self) -> u32 {
        match self {
            Self::Active => 1,
            Self::Sampled { one_in } => one_in.get(),
            Self::Disabled => 0,
        }
    }
}

/// By how much a rule was over its budget, and when that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Excess {
    /// When.
    pub at: Timestamp,
    /// What it took per event, in ns.
    pub ns_per_event: u64,
    /// What it might have taken, in ns.
    pub budget_ns: u64,
}

/// That a rule is not evaluated any more as it was, and why. Shows as a line for a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BudgetNotice {
    /// The rule's id.
    pub id: Arc<str>,
    /// Its title.
    pub title: Arc<str>,
    /// Whether it is evaluated from now on.
    pub state: RuleState,
    /// Why.
    pub excess: Excess,
}

impl fmt::Display for BudgetNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, title, state, excess } = self;
        let Excess { ns_per_event, budget_ns, .. } = excess;
        write!(
            f,
            "the rule `{title}` ({id}) takes {ns_per_event} ns per event, its budget is {budget_ns}: "
        )?;
        match state {
            RuleState::Active => f.write_str("it is evaluated"),
            RuleState::Sampled { one_in } => {
                write!(f, "it is evaluated for 1 in {one_in} of its candidates")
            }
            RuleState::Disabled => f.write_str("it is not evaluated any more"),
        }
    }
}

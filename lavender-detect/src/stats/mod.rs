//! What each rule has done and what it costs, and what becomes of a rule that costs too much.

mod budget;
mod content;
mod entry;
mod ledger;

use std::num::NonZeroU32;
use std::sync::Arc;

use lavender_core::{Clock, SystemClock};
use serde::Serialize;

pub use self::budget::{Budget, BudgetNotice, Excess, OverBudget, RuleState};
pub(crate) use self::content::digest;
pub(crate) use self::entry::{Counts, Entry};
pub(crate) use self::ledger::{Account, Ledger};

/// What a rule has done since it was first loaded as it is now.
///
/// A rule that is loaded again unchanged (the same id, the same log source, the same condition after filters and
/// placeholders) goes on counting; one that changed begins anew.
///
/// An evaluator counts for itself and adds to the shared counters every
/// [`cost_sampled_one_in`](StatsOptions::cost_sampled_one_in) records (half as many to half as many more), and when
/// it is dropped; a [`SigmaDetector`](crate::SigmaDetector) also with the first event that is a second younger than
/// the last one it added. What is younger than that is not yet seen here, and not lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleStats {
    /// The rule's id.
    pub id: Arc<str>,
    /// Its title.
    pub title: Arc<str>,
    /// Records of its log source: those that it could have matched.
    pub offered: u64,
    /// Of them, those on which its condition was run, because its witness was seen.
    pub evaluated: u64,
    /// Of those evaluated, those that it matched.
    pub matched: u64,
    /// Of those evaluated, those on which it could not be decided.
    pub undetermined: u64,
    /// Records on which its witness was seen, and which were not evaluated because the rule is over its budget.
    pub skipped: u64,
    /// How many evaluations were timed.
    pub timed: u64,
    /// What an evaluation takes by itself, in ns: the mean of those that were timed. Tests that other rules share
    /// are not free here, as they mostly are when rules are evaluated together; the search for witnesses, which is
    /// one pass for all rules, is no rule's cost.
    pub mean_cost_ns: Option<u64>,
    /// Whether it is evaluated.
    pub state: RuleState,
    /// Why it is not [`RuleState::Active`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess: Option<Excess>,
}

impl RuleStats {
    /// What the rule costs by itself per record of its log source, in ns.
    pub fn ns_per_event(&self) -> Option<u64> {
        let total = u128::from(self.mean_cost_ns?) * u128::from(self.evaluated);
        let share = total.checked_div(u128::from(self.offered))?;
        Some(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// How rules are counted and timed, and what they may cost.
///
/// ```
/// use std::num::NonZeroU64;
/// use lavender_detect::{Budget, OverBudget, RuleHandle, RuleSet, StatsOptions};
///
/// let budget = Budget::new(NonZeroU64::new(2_000).unwrap(), OverBudget::Sample);
/// let options = StatsOptions { budget: Some(budget), ..StatsOptions::default() };
/// let handle = RuleHandle::with_stats(RuleSet::empty(), options);
/// assert!(handle.rule_stats().is_empty());
/// assert!(handle.take_budget_notices().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct StatsOptions {
    /// What evaluations are timed by, and budgets dated.
    pub clock: Arc<dyn Clock>,
    /// One record in about so many has up to four of its evaluations timed: each is run once more, by itself. The
    /// distance varies, so that a stream with a period is not always timed at the same place. By default 1,024:
    /// then timing costs less than 1 % of what evaluation does, since none of the four can take longer than the
    /// evaluation of the whole record did.
    pub cost_sampled_one_in: NonZeroU32,
    /// What a rule may cost; by default anything.
    pub budget: Option<Budget>,
}

impl StatsOptions {
    const COST_SAMPLED_ONE_IN: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_023);
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            cost_sampled_one_in: Self::COST_SAMPLED_ONE_IN,
            budget: None,
        }
    }
}

//! One rule's totals.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lavender_core::{RuleMeta, Timestamp};

use super::{Budget, Excess, RuleState, RuleStats};

/// What an evaluator counted of one rule.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) evaluated: u32,
    pub(crate) matched: u32,
    pub(crate) undetermined: u32,
    pub(crate) skipped: u32,
}

/// One rule's totals, shared by every set that holds the rule unchanged.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What the rule says; see [`digest`](super::digest).
    pub(super) content: u64,
    offered: AtomicU64,
    evaluated: AtomicU64,
    matched: AtomicU64,
    undetermined: AtomicU64,
    skipped: AtomicU64,
    timed: AtomicU64,
    cost_ns: AtomicU64,
    /// The state, as evaluators keep it.
    one_in: AtomicU32,
    /// Whether its state changed and nobody has taken the notice.
    untold: AtomicBool,
    judged: Mutex<Judged>,
}

/// Where the rule stood when it was last judged.
#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    offered: u64,
    evaluated: u64,
    timed: u64,
    cost_ns: u64,
    excess: Option<Excess>,
}

impl Entry {
    pub(super) const fn new(content: u64) -> Self {
        const fn zero() -> AtomicU64 {
            AtomicU64::new(0)
        }
        let judged = Judged { offered: 0, evaluated: 0, timed: 0, cost_ns: 0, excess: None };
        Self {
            content,
            offered: zero(),
            evaluated: zero(),
            matched: zero(),
            undetermined: zero(),
            skipped: zero(),
            timed: zero(),
            cost_ns: zero(),
            one_in: AtomicU32::new(1),
            untold: AtomicBool::new(false),
            judged: Mutex::new(judged),
        }
    }

    pub(super) fn offer(&self, records: u64) {
        self.offered.fetch_add(records, Relaxed);
    }

    pub(super) fn add(&self, counts: Counts) {
        self.evaluated.fetch_add(counts.evaluated.into(), Relaxed);
        for (total, count) in [
            (&self.matched, counts.matched),
            (&self.undetermined, counts.undetermined),
            (&self.skipped, counts.skipped),
        ] {
            if count > 0 {
                total.fetch_add(count.into(), Relaxed);
            }
        }
    }

    /// Adds an evaluation that was timed.
    pub(crate) fn time(&self, cost_ns: u64) {
        self.cost_ns.fetch_add(cost_ns, Relaxed);
        self.timed.fetch_add(1, Relaxed);
    }

    pub(crate) fn one_in(&self) -> u32 {
        self.one_in.load(Relaxed)
    }

    fn state(&self) -> RuleState {
        match NonZeroU32::new(self.one_in()) {
            None => RuleState::Disabled,
            Some(one_in) if one_in.get() == 1 => RuleState::Active,
            Some(one_in) => RuleState::Sampled { one_in },
        }
    }

    fn judged(&self) -> MutexGuard<'_, Judged> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn totals(&self, excess: Option<Excess>) -> Judged {
        Judged {
            offered: self.offered.load(Relaxed),
            evaluated: self.evaluated.load(Relaxed),
            timed: self.timed.load(Relaxed),
            cost_ns: self.cost_ns.load(Relaxed),
            excess,
        }
    }

    /// Judges the rule if it has been offered enough since it last was; says whether its state is another now.
    pub(super) fn judge(&self, budget: &Budget, now: Timestamp) -> bool {
        let mut before = self.judged();
        let totals = self.totals(before.excess);
        let offered = totals.offered.saturating_sub(before.offered);
        if offered < budget.window_events.get() {
            return false;
        }
        let evaluated = totals.evaluated.saturating_sub(before.evaluated);
        let timed = totals.timed.saturating_sub(before.timed);
        // Where none was timed meanwhile, what is known from before has to do.
        let (cost_ns, timed) = match timed {
            0 => (totals.cost_ns, totals.timed),
            timed => (totals.cost_ns.saturating_sub(before.cost_ns), timed),
        };
        *before = totals;
        let cost_ns = u128::from(cost_ns) * u128::from(evaluated);
        let share = cost_ns / (u128::from(timed.max(1)) * u128::from(offered));
        let ns_per_event = u64::try_from(share).unwrap_or(u64::MAX);
        let budget_ns = budget.ns_per_event.get();
        let state = self.state();
        if ns_per_event <= budget_ns || budget.verdict(ns_per_event, state) == state {
            return false;
        }
        before.excess = Some(Excess { at: now, ns_per_event, budget_ns });
        self.one_in.store(budget.verdict(ns_per_event, state).one_in(), Relaxed);
        self.untold.store(true, Relaxed);
        true
    }

    /// Lets the rule be evaluated again, and judged by what it costs from now on.
    pub(super) fn reactivate(&self) {
        let mut judged = self.judged();
        *judged = self.totals(None);
        self.one_in.store(1, Relaxed);
        self.untold.store(false, Relaxed);
    }

    /// The state and its reason, once after it changed.
    pub(super) fn take_change(&self) -> Option<(RuleState, Excess)> {
        let judged = self.judged();
        if !self.untold.swap(false, Relaxed) {
            return None;
        }
        judged.excess.map(|excess| (self.state(), excess))
    }

    pub(super) fn stats(&self, meta: &RuleMeta) -> RuleStats {
        let judged = self.judged();
        let timed = self.timed.load(Relaxed);
        RuleStats {
            id: meta.id.clone(),
            title: meta.title.clone(),
            offered: self.offered.load(Relaxed),
            evaluated: self.evaluated.load(Relaxed),
            matched: self.matched.load(Relaxed),
            undetermined: self.undetermined.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            timed,
            mean_cost_ns: self.cost_ns.load(Relaxed).checked_div(timed),
            state: self.state(),
            excess: judged.excess,
        }
    }
}

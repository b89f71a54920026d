//! What an evaluator counts and times of its rules.

use std::sync::Arc;

use super::scratch::Scratch;
use crate::index::Plan;
use crate::stats::{Account, Entry, Ledger};

/// At most so many rules are timed on one record, so that timing is bounded by a multiple of evaluating the record.
const TIMED_PER_RECORD: usize = 4;

/// When to time and when to add up, for one evaluator.
#[derive(Debug)]
pub(super) struct Meter {
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    /// Records since it last added up.
    offered: u32,
    /// The record of them that is timed, and after which it adds up.
    due: u32,
    /// The ledger's changes of state that the scratch knows.
    changes: u64,
    /// State of the generator that varies the distance: xorshift, never zero.
    random: u32,
    /// How many candidates were timed so far: where to go on among them.
    turn: usize,
}

impl Meter {
    pub(super) fn new(
        ledger: Arc<Ledger>,
        plan: &Plan,
        entries: &[Arc<Entry>],
        scratch: &mut Scratch,
    ) -> Self {
        let mine = plan.rules.iter().map(|rule| Arc::clone(&entries[rule.rule as usize]));
        let account = ledger.open(mine.collect());
        let changes = ledger.changes();
        let mut meter =
            Self { ledger, account, offered: 0, due: 0, changes, random: 0x9e37_79b9, turn: 0 };
        meter.due = meter.distance();
        meter.take_states(scratch);
        meter
    }

    /// Counts a record; says whether it is the one to time.
    #[inline]
    pub(super) const fn count(&mut self) -> bool {
        self.offered += 1;
        self.offered >= self.due
    }

    /// Half of the mean distance to half as much more.
    fn distance(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let mean = self.ledger.options.cost_sampled_one_in.get();
        let varied = (u64::from(self.random) * u64::from(mean)) >> 32;
        (mean - mean / 2).saturating_add(varied as u32).max(1)
    }

    /// Times some of the candidates of the record that was just evaluated; `evaluate` evaluates one by itself.
    pub(super) fn time(
        &mut self,
        scratch: &mut Scratch,
        mut evaluate: impl FnMut(&mut Scratch, u32),
    ) {
        let clock = &*self.ledger.options.clock;
        let candidates = scratch.candidates.len();
        let started = clock.boot_time();
        let mut before = clock.boot_time();
        let reading = before.since(started);
        for _ in 0..candidates.min(TIMED_PER_RECORD) {
            let rule = scratch.candidates[self.turn % candidates];
            self.turn = self.turn.wrapping_add(1);
            if !scratch.is_enabled(rule) {
                continue;
            }
            evaluate(scratch, rule);
            let now = clock.boot_time();
            let cost = now.since(before).saturating_sub(reading);
            self.account.entry(rule as usize).time(cost.as_nanos() as u64);
            before = now;
        }
    }

    /// Adds what was counted to the totals of the rules, and takes up their states.
    pub(super) fn add_up(&mut self, scratch: &mut Scratch) {
        let counted = scratch.take_counts();
        self.ledger.add(&self.account, self.offered, counted);
        self.offered = 0;
        self.due = self.distance();
        let changes = self.ledger.changes();
        if changes != self.changes {
            self.changes = changes;
            self.take_states(scratch);
        }
    }

    fn take_states(&self, scratch: &mut Scratch) {
        scratch.set_states(|rule| self.account.entry(rule).one_in());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.ledger.close(&self.account);
    }
}

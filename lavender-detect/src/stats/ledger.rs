//! The totals of all rules, where evaluators add what they counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lavender_core::RuleMeta;

use super::{BudgetNotice, Counts, Entry, RuleStats, StatsOptions, digest};
use crate::ruleset::RuleSet;

/// The totals of the rules of one handle, whatever sets they are in.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) options: StatsOptions,
    /// Those of the rules in use.
    current: Mutex<Entries>,
    /// Of every evaluator.
    accounts: Mutex<Vec<Arc<Account>>>,
    /// Records since rules were last judged.
    unjudged: AtomicU64,
    /// How often the state of a rule changed.
    changes: AtomicU64,
    untold: AtomicBool,
}

/// The rules of a set, each with its totals.
type Entries = Arc<[(Arc<RuleMeta>, Arc<Entry>)]>;

/// What one evaluator counts for.
#[derive(Debug)]
pub(crate) struct Account {
    /// By the numbers of the evaluator's plan.
    entries: Box<[Arc<Entry>]>,
    /// Records that are counted here and not yet with each of the rules.
    offered: AtomicU64,
}

impl Account {
    pub(crate) fn entry(&self, rule: usize) -> &Entry {
        &self.entries[rule]
    }

    /// Counts the records with each of the rules.
    fn settle(&self) {
        let offered = self.offered.swap(0, Relaxed);
        if offered > 0 {
            self.entries.iter().for_each(|entry| entry.offer(offered));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// A ledger without rules.
    pub(crate) fn new(options: StatsOptions) -> Self {
        Self {
            options,
            current: Mutex::new(Arc::new([])),
            accounts: Mutex::new(Vec::new()),
            unjudged: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            untold: AtomicBool::new(false),
        }
    }

    /// Takes these rules for those in use and returns their totals by their numbers: those of before, where a rule
    /// was there before and says the same. `publish` puts the rules themselves in use.
    pub(crate) fn enter(&self, rules: &RuleSet, publish: impl FnOnce(Box<[Arc<Entry>]>)) {
        let inner = rules.inner();
        let digests: Vec<u64> =
            rules.iter().map(|rule| digest(rule, &inner.fields, &inner.predicates)).collect();
        let mut current = lock(&self.current);
        let before: HashMap<&str, &Arc<Entry>> =
            current.iter().map(|(meta, entry)| (&*meta.id, entry)).collect();
        let entries: Entries = rules
            .iter()
            .zip(digests)
            .map(|(rule, content)| {
                let before = before.get(&*rule.meta().id).filter(|old| old.content == content);
                let entry =
                    before.map_or_else(|| Arc::new(Entry::new(content)), |old| Arc::clone(old));
                (Arc::clone(rule.meta()), entry)
            })
            .collect();
        publish(entries.iter().map(|(_, entry)| Arc::clone(entry)).collect());
        *current = entries;
    }

    /// An account for an evaluator of these rules.
    pub(crate) fn open(&self, entries: Box<[Arc<Entry>]>) -> Arc<Account> {
        let account = Arc::new(Account { entries, offered: AtomicU64::new(0) });
        lock(&self.accounts).push(Arc::clone(&account));
        account
    }

    /// Settles an account whose evaluator is gone.
    pub(crate) fn close(&self, account: &Arc<Account>) {
        let mut accounts = lock(&self.accounts);
        account.settle();
        accounts.retain(|other| !Arc::ptr_eq(other, account));
    }

    /// Adds what an evaluator counted, and judges the rules when that is due.
    pub(crate) fn add(
        &self,
        account: &Account,
        offered: u32,
        counts: impl IntoIterator<Item = (u32, Counts)>,
    ) {
        account.offered.fetch_add(offered.into(), Relaxed);
        for (rule, counts) in counts {
            account.entry(rule as usize).add(counts);
        }
        if let Some(budget) = &self.options.budget {
            let unjudged = self.unjudged.fetch_add(offered.into(), Relaxed) + u64::from(offered);
            if unjudged >= budget.window_events.get() {
                self.judge();
            }
        }
    }

    fn judge(&self) {
        let Some(budget) = &self.options.budget else { return };
        // Whoever holds it judges already, or puts other rules in use; the next to add anything judges then.
        let Ok(current) = self.current.try_lock() else { return };
        self.unjudged.store(0, Relaxed);
        self.settle();
        let now = self.options.clock.now();
        let changed = current.iter().filter(|(_, entry)| entry.judge(budget, now)).count();
        if changed > 0 {
            self.untold.store(true, Relaxed);
            self.changes.fetch_add(1, Relaxed);
        }
    }

    fn settle(&self) {
        lock(&self.accounts).iter().for_each(|account| account.settle());
    }

    /// How often the state of a rule changed: while this stays, evaluators need not ask each.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    pub(crate) fn stats(&self) -> Vec<RuleStats> {
        let current = Arc::clone(&lock(&self.current));
        self.settle();
        current.iter().map(|(meta, entry)| entry.stats(meta)).collect()
    }

    pub(crate) fn take_notices(&self) -> Vec<BudgetNotice> {
        if !self.untold.swap(false, Relaxed) {
            return Vec::new();
        }
        let current = Arc::clone(&lock(&self.current));
        let notice = |(meta, entry): &(Arc<RuleMeta>, Arc<Entry>)| {
            let (state, excess) = entry.take_change()?;
            let (id, title) = (Arc::clone(&meta.id), Arc::clone(&meta.title));
            Some(BudgetNotice { id, title, state, excess })
        };
        current.iter().filter_map(notice).collect()
    }

    /// Lets the rule with this id be evaluated again; says whether there is one.
    pub(crate) fn reactivate(&self, id: &str) -> bool {
        let current = Arc::clone(&lock(&self.current));
        let Some((_, entry)) = current.iter().find(|(meta, _)| &*meta.id == id) else {
            return false;
        };
        self.settle();
        entry.reactivate();
        self.changes.fetch_add(1, Relaxed);
        true
    }
}

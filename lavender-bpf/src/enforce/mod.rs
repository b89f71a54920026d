//! Acting on exactly the process or the file that an alert or a command is about, or on the host.

mod breaker;
mod held;
mod isolate;
mod lineage;
mod options;
#[cfg(feature = "load")]
mod prevention;
mod protect;
mod quarantine;
mod recent;
mod shared;
mod tree;

use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::Event;
use lavender_core::{
    Clock, FileTarget, Outcome, ProcessId, ResponseAction, ResponseCause, ResponseOrder,
    ResponseOutcome, ResponseTarget,
};
use rustix::process::Signal;

pub use self::breaker::BreakerOptions;
use self::breaker::CircuitBreaker;
use self::held::{HeldProcess, failed};
pub(crate) use self::held::{id_to_the_tick, this_boot};
pub use self::isolate::{
    Isolation, IsolationConfig, IsolationCounts, IsolationError, IsolationState, Isolator,
    PEERS_MAX,
};
use self::lineage::{Birth, Lineage};
pub use self::options::EnforcerOptions;
#[cfg(feature = "load")]
pub(crate) use self::prevention::try_hooks;
#[cfg(feature = "load")]
pub use self::prevention::{Prevention, PreventionError, PreventionOptions};
pub(crate) use self::protect::status_field;
use self::protect::{Protected, Protection};
use self::quarantine::HeldFile;
pub(crate) use self::quarantine::{MAX_COPIED_BYTES, hash, reopen};
pub use self::quarantine::{Quarantine, QuarantineError, QuarantineManifest};
use self::recent::Recent;
pub use self::shared::SharedEnforcer;
use self::tree::Mode;
use crate::limit::RateLimit;

/// How many orders are remembered, so that one that comes again is not carried out again.
const REMEMBERED_ORDERS: usize = 16_384;

/// How many processes of killed trees are remembered, so that what they made in their last moment is killed too.
const REMEMBERED_PROCESSES: usize = 16_384;

/// Carries out what was decided about an alert, on exactly what the alert is about, or says why not.
///
/// A process is held by a pidfd, and its start time is compared with that of the [`ProcessId`] (to the 10 ms that
/// `/proc` shows), so that a reused pid is never hit. A file is checked to be the one that the event saw. Never
/// acted upon are pid 1, the agent itself and its ancestors, threads of the kernel, and what the options protect.
/// An order that comes again does nothing. The host is [isolated](Isolator) where the options say how.
///
/// A tree is the process and its descendants: those that the kernel has, and those that the events told of, which
/// a parent that has ended doesn't hide ([`observe`](Self::observe)). All are stopped before any is killed. What a
/// protected process in it started is left alone with it. What slipped away while the tree was stopped is killed
/// when its fork is observed.
///
/// ```
/// use std::sync::Arc;
/// use lavender_bpf::{Enforcer, EnforcerOptions};
/// use lavender_core::{
///     AlertId, BootId, Outcome, ProcessId, ResponseAction, ResponseCause, ResponseOrder, ResponseTarget,
///     SystemClock,
/// };
///
/// let mut enforcer = Enforcer::new(EnforcerOptions::default(), Arc::new(SystemClock));
/// // No process started at that time with this pid: it is gone.
/// let gone = ProcessId::new(BootId::from_u128(7), 1, std::process::id());
/// let order = ResponseOrder {
///     cause: ResponseCause::Alert(AlertId::new("a rule", &[])),
///     action: ResponseAction::Kill,
///     target: ResponseTarget::Process(gone),
///     decided_by: "severity critical".into(),
/// };
/// let mut outcomes = Vec::new();
/// enforcer.enforce(order, &mut outcomes);
/// assert_eq!(outcomes[0].outcome, Outcome::Gone);
/// ```
#[derive(Debug)]
pub struct Enforcer {
    options: EnforcerOptions,
    protection: Protection,
    limit: RateLimit,
    breaker: CircuitBreaker,
    lineage: Lineage,
    orders: Recent<(ResponseCause, ResponseAction, ResponseTarget), ()>,
    /// Processes of killed trees, by pid and start in ticks.
    trees: Recent<(u32, u64), Fate>,
    quarantine: Option<Quarantine>,
    clock: Arc<dyn Clock>,
}

/// What became of a process of a tree that was killed.
#[derive(Clone, Debug)]
enum Fate {
    Killed(Arc<ResponseOrder>),
    Spared,
}

impl Enforcer {
    /// Acts within these bounds; rates are measured on `clock`.
    pub fn new(options: EnforcerOptions, clock: Arc<dyn Clock>) -> Self {
        let mut protected_paths = options.protected_paths.clone();
        // A file that is in quarantine is left there.
        protected_paths.push(options.quarantine.clone());
        Self {
            protection: Protection::new(&options.protected_executables, &protected_paths),
            limit: RateLimit::new(options.max_per_minute, Arc::clone(&clock)),
            breaker: CircuitBreaker::new(options.breaker, Arc::clone(&clock)),
            lineage: Lineage::default(),
            orders: Recent::new(REMEMBERED_ORDERS),
            trees: Recent::new(REMEMBERED_PROCESSES),
            quarantine: None,
            options,
            clock,
        }
    }

    /// Carries out an order, unless it was carried out before, and adds what came of it to `out`: one outcome,
    /// for a tree one for each of its processes.
    ///
    /// Takes some tenths of a millisecond; a tree as long as its processes take to stop, at most 0.1 s each
    /// time that it is looked through; a file as long as it takes to read up to 256 MiB.
    pub fn enforce(&mut self, order: ResponseOrder, out: &mut Vec<ResponseOutcome>) {
        if !self.orders.insert((order.cause.clone(), order.action, order.target.clone()), ()) {
            return;
        }
        match (order.action, order.target.clone()) {
            (ResponseAction::Stop, ResponseTarget::Process(id)) => {
                let outcome = self.signal(id, Signal::STOP);
                out.push(ResponseOutcome::new(order, outcome));
            }
            (ResponseAction::Kill, ResponseTarget::Process(id)) => {
                let outcome = self.signal(id, Signal::KILL);
                out.push(ResponseOutcome::new(order, outcome));
            }
            (ResponseAction::KillTree, ResponseTarget::Process(id)) => {
                self.kill_tree(&order, id, out);
            }
            (ResponseAction::Quarantine, ResponseTarget::File(file)) => {
                let (outcome, entry) = match self.quarantine(&file, &order.cause) {
                    Ok(entry) => (Outcome::Done, Some(entry.into())),
                    Err(outcome) => (outcome, None),
                };
                let outcome = ResponseOutcome::new(order, outcome);
                out.push(ResponseOutcome { quarantine_entry: entry, ..outcome });
            }
            (ResponseAction::Isolate, ResponseTarget::Host) => {
                let outcome = self.isolate();
                out.push(ResponseOutcome::new(order, outcome));
            }
            (ResponseAction::Release, ResponseTarget::Host) => {
                let outcome = self.release();
                out.push(ResponseOutcome::new(order, outcome));
            }
            (ResponseAction::Restore, ResponseTarget::QuarantineEntry(entry)) => {
                let outcome = self.restore(&entry);
                let outcome = ResponseOutcome::new(order, outcome);
                out.push(ResponseOutcome { quarantine_entry: Some(entry), ..outcome });
            }
            (action, target) => {
                let reason = unsupported(action, &target).into();
                out.push(ResponseOutcome::new(order, Outcome::Unsupported { reason }));
            }
        }
    }

    /// Takes note of who made whom. Kills what a killed tree made in its last moment, and adds that to `out`.
    ///
    /// Costs a comparison for an event that is no fork, exec or exit.
    pub fn observe(&mut self, event: &Event, out: &mut Vec<ResponseOutcome>) {
        let Some(Birth { parent, child }) = self.lineage.observe(event) else { return };
        let Some(Fate::Killed(order)) = self.fate_of_line(parent) else { return };
        if self.trees.get(&held::key(child)).is_some() {
            return;
        }
        let ResponseTarget::Process(root) = order.target else { return };
        let protected = self.protection.now();
        let outcomes = match HeldProcess::open(child) {
            Ok(held) => match protected.process(held.pid()) {
                Some(by) => vec![(child, Outcome::Protected { by })],
                None => tree::kill(Ok(held), &self.lineage, &protected, Mode::Kill),
            },
            Err(Outcome::Gone) => Vec::new(),
            Err(outcome) => vec![(child, outcome)],
        };
        self.remember(&order, &outcomes);
        Self::report(&order, root, outcomes, out);
    }

    /// Lets a process go on that was [stopped](ResponseAction::Stop). Not bound by dry-run or by any rate, for
    /// it undoes what was done.
    pub fn continue_process(&self, id: ProcessId) -> Outcome {
        match HeldProcess::open(id) {
            Ok(held) => held.signal(Signal::CONT),
            Err(outcome) => outcome,
        }
    }

    /// Lifts isolation, and tells whether that was [`Done`](Outcome::Done) or there was none
    /// ([`Gone`](Outcome::Gone)). Not bound by dry-run or by any rate, for it undoes what was done.
    pub fn release(&self) -> Outcome {
        let Some(isolator) = &self.options.isolator else {
            return Outcome::Unsupported { reason: NO_ISOLATOR.into() };
        };
        match isolator.release() {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Gone,
            Err(error) => from_isolation(error),
        }
    }

    /// For how much longer the circuit breaker is open; `None` when it is closed.
    pub fn circuit_open_for(&self) -> Option<Duration> {
        self.breaker.open_for()
    }

    /// What became of a process of a tree that was killed, or of the nearest of its ancestors that was in one.
    fn fate_of_line(&self, id: ProcessId) -> Option<Fate> {
        if self.trees.is_empty() {
            return None;
        }
        self.lineage.line(id).find_map(|id| self.trees.get(&held::key(id)).cloned())
    }

    fn signal(&mut self, id: ProcessId, signal: Signal) -> Outcome {
        let held = match HeldProcess::open(id) {
            Ok(held) => held,
            Err(outcome) => return outcome,
        };
        if let Some(by) = self.protection.now().process(held.pid()) {
            return Outcome::Protected { by };
        }
        match self.admit() {
            Ok(()) => held.signal(signal),
            Err(outcome) => outcome,
        }
    }

    fn kill_tree(
        &mut self,
        order: &ResponseOrder,
        root: ProcessId,
        out: &mut Vec<ResponseOutcome>,
    ) {
        let protected = self.protection.now();
        let held = match HeldProcess::open(root) {
            Ok(held) => Ok(held),
            Err(Outcome::Gone) => Err(root),
            Err(outcome) => return out.push(ResponseOutcome::new(order.clone(), outcome)),
        };
        let mode = match self.may_kill_tree(&held, &protected) {
            Ok(()) => Mode::Kill,
            Err(Outcome::DryRun) => Mode::Rehearse,
            Err(outcome) => return out.push(ResponseOutcome::new(order.clone(), outcome)),
        };
        let outcomes = tree::kill(held, &self.lineage, &protected, mode);
        if mode == Mode::Kill {
            let order = Arc::new(order.clone());
            self.remember(&order, &outcomes);
        }
        Self::report(order, root, outcomes, out);
    }

    fn may_kill_tree(
        &mut self,
        root: &Result<HeldProcess, ProcessId>,
        protected: &Protected,
    ) -> Result<(), Outcome> {
        match root {
            Ok(held) => {
                if let Some(by) = protected.process(held.pid()) {
                    return Err(Outcome::Protected { by });
                }
            }
            // Nothing is left of it: that is no use of the rate.
            Err(ended) if self.lineage.descendants([*ended], |_| false).is_empty() => {
                return Err(Outcome::Gone);
            }
            Err(_) => {}
        }
        self.admit()
    }

    fn remember(&mut self, order: &Arc<ResponseOrder>, outcomes: &tree::Outcomes) {
        for (id, outcome) in outcomes {
            let fate = match outcome {
                Outcome::Protected { .. } => Fate::Spared,
                _ => Fate::Killed(Arc::clone(order)),
            };
            self.trees.insert(held::key(*id), fate);
        }
    }

    fn report(
        order: &ResponseOrder,
        root: ProcessId,
        outcomes: tree::Outcomes,
        out: &mut Vec<ResponseOutcome>,
    ) {
        out.extend(outcomes.into_iter().map(|(id, outcome)| ResponseOutcome {
            tree_of: (id != root).then_some(root),
            ..ResponseOutcome::new(
                ResponseOrder { target: ResponseTarget::Process(id), ..order.clone() },
                outcome,
            )
        }));
    }

    fn isolate(&mut self) -> Outcome {
        let Some(isolator) = self.options.isolator.clone() else {
            return Outcome::Unsupported { reason: NO_ISOLATOR.into() };
        };
        if !self.options.dry_run {
            match isolator.state() {
                // That is no use of the rate.
                Ok(IsolationState::Isolated(_)) => return isolate(&isolator),
                Ok(IsolationState::Open) => {}
                Err(error) => return from_isolation(error),
            }
        }
        match self.admit() {
            Ok(()) => isolate(&isolator),
            Err(outcome) => outcome,
        }
    }

    fn quarantine(&mut self, file: &FileTarget, cause: &ResponseCause) -> Result<String, Outcome> {
        // A command may name the file that has the path now.
        if file.identity.is_none() && cause.alert().is_some() {
            let reason = "the event does not say which file it was, and its path may be another's";
            return Err(Outcome::Unsupported { reason: reason.into() });
        }
        let held = HeldFile::open(file).map_err(from_quarantine)?;
        let protected = self.protection.now().file(held.path(), held.device_and_inode());
        if let Some(by) = protected {
            return Err(Outcome::Protected { by });
        }
        self.admit()?;
        self.open_quarantine()?.take_held(&held, cause).map_err(from_quarantine)
    }

    /// Puts a file back. Dry-run holds, as for all that changes files; the rate is for what is done to others.
    fn restore(&mut self, entry: &str) -> Outcome {
        if self.options.dry_run {
            return Outcome::DryRun;
        }
        let quarantine = match self.open_quarantine() {
            Ok(quarantine) => quarantine,
            Err(outcome) => return outcome,
        };
        match quarantine.restore(entry) {
            Ok(_) => Outcome::Done,
            Err(error) => failed("it is in quarantine still", error),
        }
    }

    /// The quarantine, opened when there is something to put into it.
    fn open_quarantine(&mut self) -> Result<&Quarantine, Outcome> {
        let opened = match self.quarantine.take() {
            Some(opened) => opened,
            None => Quarantine::open(&self.options.quarantine, Arc::clone(&self.clock))
                .map_err(from_quarantine)?,
        };
        Ok(self.quarantine.insert(opened))
    }

    /// Whether one more may be done now.
    fn admit(&mut self) -> Result<(), Outcome> {
        if self.options.dry_run {
            return Err(Outcome::DryRun);
        }
        if let Some(left) = self.breaker.ask() {
            return Err(Outcome::CircuitOpen { closes_in_secs: left.as_secs() });
        }
        if !self.limit.take() {
            return Err(Outcome::RateLimited);
        }
        Ok(())
    }
}

fn unsupported(action: ResponseAction, target: &ResponseTarget) -> String {
    match (action, target) {
        (ResponseAction::Isolate | ResponseAction::Release, _) => {
            format!("{action} is for the host")
        }
        (ResponseAction::Restore, _) => "restore is for what is in quarantine".to_owned(),
        (ResponseAction::Quarantine, _) => {
            "there is no file to take away: the program lies in memory only".to_owned()
        }
        _ => format!("{action} is for processes"),
    }
}

/// Why nothing is isolated where the options have no isolator.
const NO_ISOLATOR: &str = "this agent is not told what to isolate";

fn isolate(isolator: &Isolator) -> Outcome {
    isolator.isolate().map_or_else(from_isolation, |()| Outcome::Done)
}

fn from_isolation(error: IsolationError) -> Outcome {
    match error {
        IsolationError::Unavailable { .. } => {
            Outcome::Unsupported { reason: error.to_string().into() }
        }
        error => Outcome::Failed { reason: error.to_string().into() },
    }
}

fn from_quarantine(error: QuarantineError) -> Outcome {
    match error {
        QuarantineError::Gone { .. } => Outcome::Gone,
        error => failed("it is where it was", error),
    }
}

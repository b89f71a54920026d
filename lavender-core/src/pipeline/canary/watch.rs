//! What is known of the canary's acts: what was done, and what of it was seen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::CanaryOptions;
use crate::event::{CanaryHealth, CanaryMissing, Event, EventKind, Process};
use crate::id::ExecId;
use crate::time::Timestamp;

/// Of how long a fault the beginning is told.
const FAULT_CHARS: usize = 300;

/// Watches for the acts of a canary. Whoever does them says so here; the [pipeline](super::super::Pipeline::with_canary)
/// looks for them among what its detectors have seen, tells in heartbeats how they fare, and raises an alert when one is
/// missing: one, for as long as it is. Clones are the same one.
///
/// An act is of a process whose last argument is a token that nobody can guess. It is known by that and not kept from
/// any rule, so that nobody can hide behind it.
///
/// Deadlines are of time that the host is awake: one that slept is not blind.
///
/// ```
/// use std::time::Duration;
///
/// use lavender_core::Timestamp;
/// use lavender_core::event::EventKind;
/// use lavender_core::pipeline::{CanaryOptions, CanaryWatch};
///
/// let watch = CanaryWatch::new(CanaryOptions {
///     kinds: vec![EventKind::Exec],
///     interval: Duration::from_secs(60),
///     deadline: Duration::from_secs(10),
/// });
/// watch.begin("51a4c2", Timestamp::from_millis(1_000));
/// assert_eq!((watch.health().seen, watch.health().missing), (0, None));
/// ```
#[derive(Clone, Debug)]
pub struct CanaryWatch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: CanaryOptions,
    /// Whether anything of the act is still to be seen: what every event is asked first.
    is_waited_for: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    health: CanaryHealth,
    act: Option<Act>,
    /// By when the next act must have begun.
    next_by: Instant,
    /// Whether something was overdue at the last look. What is at the next one too is missing: in between, the pipeline had
    /// time for events that were waiting.
    was_overdue: bool,
    /// Whether it was told that something is missing.
    told: bool,
}

#[derive(Debug)]
struct Act {
    token: Box<[u8]>,
    began_at: Timestamp,
    began: Instant,
    unseen: Vec<EventKind>,
    process: Option<ExecId>,
    fault: Option<Arc<str>>,
    is_missed: bool,
}

/// What has changed about a canary.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Sight {
    /// It is not seen.
    Lost(CanaryMissing),
    /// It is seen again.
    Regained,
}

impl CanaryWatch {
    /// Watches for acts from now on: without a first one within interval and deadline, that is missing.
    pub fn new(options: CanaryOptions) -> Self {
        let state = State {
            health: CanaryHealth::default(),
            act: None,
            next_by: Instant::now() + options.interval + options.deadline,
            was_overdue: false,
            told: false,
        };
        let is_waited_for = AtomicBool::new(false);
        Self(Arc::new(Shared { options, is_waited_for, state: Mutex::new(state) }))
    }

    /// What is expected of each act.
    pub fn options(&self) -> &CanaryOptions {
        &self.0.options
    }

    /// Says that an act begins at this moment, by the token that is the last argument of the process that does it. Before
    /// the process is started.
    pub fn begin(&self, token: &str, at: Timestamp) {
        let CanaryOptions { kinds, interval, deadline } = &self.0.options;
        let mut state = self.state();
        let began = Instant::now();
        state.next_by = began + *interval + *deadline;
        state.act = Some(Act {
            token: token.as_bytes().into(),
            began_at: at,
            began,
            unseen: kinds.clone(),
            process: None,
            fault: None,
            is_missed: false,
        });
        self.0.is_waited_for.store(!kinds.is_empty(), Ordering::Release);
    }

    /// Says why the act that began last was not done, or not whole. Told where it is not seen.
    pub fn fail(&self, why: &str) {
        if let Some(act) = &mut self.state().act {
            act.fault = Some(why.chars().take(FAULT_CHARS).collect::<String>().into());
        }
    }

    /// How it fares.
    pub fn health(&self) -> CanaryHealth {
        self.state().health.clone()
    }

    /// Takes note of an event that has been looked at, if it is of the act.
    pub(in crate::pipeline) fn observe(&self, event: &Event) {
        if !self.0.is_waited_for.load(Ordering::Acquire) {
            return;
        }
        let Some(process) = &event.process else { return };
        let mut state = self.state();
        let Some(act) = &mut state.act else { return };
        if !act.is_of(process) {
            return;
        }
        act.unseen.retain(|kind| *kind != event.kind());
        if act.unseen.is_empty() {
            self.0.is_waited_for.store(false, Ordering::Release);
            state.see();
        }
    }

    /// What has changed since the last look.
    pub(in crate::pipeline) fn look(&self, at: Timestamp) -> Option<Sight> {
        let mut state = self.state();
        let is_overdue = state.is_overdue(self.0.options.deadline);
        if std::mem::replace(&mut state.was_overdue, is_overdue) && is_overdue {
            state.miss(&self.0.options.kinds, at);
        }
        let missing = state.health.missing.clone();
        match (std::mem::replace(&mut state.told, missing.is_some()), missing) {
            (false, Some(missing)) => Some(Sight::Lost(missing)),
            (true, None) => Some(Sight::Regained),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Act {
    /// Whether it is this process that does it: the first that has the token.
    fn is_of(&mut self, process: &Process) -> bool {
        if let Some(known) = self.process {
            return known == process.exec_id;
        }
        let has_token = process.arguments.value.iter().last() == Some(&*self.token);
        if has_token {
            self.process = Some(process.exec_id);
        }
        has_token
    }
}

impl State {
    /// The last act was seen whole.
    fn see(&mut self) {
        let Some(act) = &self.act else { return };
        self.health.seen += 1;
        self.health.last_seen_at = Some(act.began_at);
        let took = act.began.elapsed().as_millis();
        self.health.latency_ms = Some(u64::try_from(took).unwrap_or(u64::MAX));
        self.health.missing = None;
    }

    fn is_overdue(&self, deadline: Duration) -> bool {
        let now = Instant::now();
        let unseen = self.act.as_ref().filter(|act| !act.unseen.is_empty());
        unseen.is_some_and(|act| now >= act.began + deadline) || now >= self.next_by
    }

    /// The last act was not seen in time, or there was none.
    fn miss(&mut self, all: &[EventKind], at: Timestamp) {
        let since = |since| CanaryMissing { since, ..CanaryMissing::default() };
        match &mut self.act {
            Some(act) if !act.unseen.is_empty() => {
                let missing = self.health.missing.get_or_insert_with(|| since(act.began_at));
                missing.kinds.clone_from(&act.unseen);
                missing.fault.clone_from(&act.fault);
                self.health.missed += u64::from(!std::mem::replace(&mut act.is_missed, true));
            }
            _ => {
                let missing = self.health.missing.get_or_insert_with(|| since(at));
                missing.kinds = all.to_vec();
                missing.fault = Some("it was not done when it was due".into());
            }
        }
    }
}

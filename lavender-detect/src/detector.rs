//! Rules on Lavender's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};
use lavender_core::event::Event;
use lavender_core::{Certainty, Detection, Detector};

use crate::evaluate::Evaluator;
use crate::event::{EventRecord, Route};
use crate::ruleset::{Rule, RuleSet};
use crate::truth::Truth;

/// Where detectors take their rules from. Cloning gives another handle on the same rules.
///
/// Rules are swapped atomically while events flow: an event is evaluated by the set before or by the set after,
/// never by half of each.
///
/// ```
/// use lavender_detect::{RuleHandle, RuleSet};
///
/// let handle = RuleHandle::new(RuleSet::empty());
/// let detector = handle.detector();
/// handle.swap(RuleSet::empty());
/// # let _ = detector;
/// ```
#[derive(Clone, Debug)]
pub struct RuleHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: ArcSwap<RuleSet>,
    undetermined: AtomicU64,
}

/// What a detector does with a rule that could not be decided, because a field was truncated or unreadable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UndeterminedPolicy {
    /// Counts it ([`RuleHandle::undetermined`]) and raises nothing.
    #[default]
    Count,
    /// Counts it and raises it as a detection with [`Certainty::Undetermined`].
    Report,
}

impl RuleHandle {
    /// A handle on these rules.
    pub fn new(rules: RuleSet) -> Self {
        let rules = ArcSwap::from_pointee(rules);
        Self { shared: Arc::new(Shared { rules, undetermined: AtomicU64::new(0) }) }
    }

    /// The rules as they are now.
    pub fn rules(&self) -> RuleSet {
        RuleSet::clone(&self.shared.rules.load())
    }

    /// Puts other rules in their place. Each detector takes them with its next event.
    pub fn swap(&self, rules: RuleSet) {
        self.shared.rules.store(Arc::new(rules));
    }

    /// How often a rule could not be decided.
    pub fn undetermined(&self) -> u64 {
        self.shared.undetermined.load(Ordering::Relaxed)
    }

    /// A detector for one thread, which does not raise what could not be decided.
    pub fn detector(&self) -> SigmaDetector {
        SigmaDetector::new(self, UndeterminedPolicy::default())
    }
}

/// Evaluates Sigma rules on Lavender's events. One per thread; see [`RuleHandle`].
///
/// ```
/// use std::sync::Arc;
/// use lavender_core::event::{Arguments, Event, EventData, Exec, Executable, Process};
/// use lavender_core::{
///     BootId, BootTime, ByteString, Captured, Detector, ExecId, EventId, Origin, ProcessId, Timestamp,
/// };
/// # use lavender_core::event::{Credentials, Namespaces};
/// # use lavender_core::{AgentId, Sequencer, TenantId};
/// use lavender_detect::{RuleHandle, RuleSet};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = RuleSet::from_yaml("
/// title: Netcat with a program
/// logsource: {category: process_creation, product: linux}
/// detection:
///   selection: {Image|endswith: /nc, CommandLine|contains: ' -e '}
///   condition: selection
/// level: high
/// ")?;
/// let mut detector = RuleHandle::new(rules).detector();
/// # let boot = BootId::from_u128(7);
/// # let ids = Sequencer::new(Origin::new(&TenantId::new("acme")?, &AgentId::new("web-1")?, boot));
/// let process = Process {
///     exec_id: ExecId { process: ProcessId::new(boot, 5_000, 42), generation: 1 },
///     executable: Executable {
///         path: Captured::complete(ByteString::from("/usr/bin/nc")),
///         ..Executable::default()
///     },
///     arguments: Captured::complete(Arguments::new(b"nc\0-e\0/bin/sh\0192.0.2.1\0")),
///     // and so on
/// #   pid: 42, namespace_pid: 42, name: ByteString::from("nc"),
/// #   working_directory: Captured::complete(ByteString::from("/")),
/// #   credentials: Credentials::default(), user: None, group: None, terminal: None, cgroup_id: 1,
/// #   container: None, namespaces: Namespaces::default(), parent_id: None, parent: None,
/// };
/// let exec = Exec { filename: Captured::complete(ByteString::from("nc")), previous_executable: None };
/// let event = Arc::new(Event {
///     id: ids.next(),
///     observed_at: Timestamp::from_millis(1_700_000_000_000),
///     boot_time: BootTime::from_nanos(5_000),
///     tid: 42,
///     process: Some(Arc::new(process)),
///     data: EventData::Exec(exec),
/// });
/// let mut detections = Vec::new();
/// detector.detect(&event, &mut detections);
/// assert_eq!(&*detections[0].rule.title, "Netcat with a program");
/// assert_eq!(&*detections[0].evidence[0].field, "Image");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SigmaDetector {
    shared: Arc<Shared>,
    rules: Cache<ArcSwapOf, Arc<RuleSet>>,
    /// The set that the evaluators were made from.
    current: Arc<RuleSet>,
    evaluators: [Evaluator; Route::ALL.len()],
    policy: UndeterminedPolicy,
}

/// The shared rules, as what a cache can hold.
#[derive(Clone, Debug)]
struct ArcSwapOf(Arc<Shared>);

impl std::ops::Deref for ArcSwapOf {
    type Target = ArcSwap<RuleSet>;

    fn deref(&self) -> &ArcSwap<RuleSet> {
        &self.0.rules
    }
}

fn evaluators(rules: &RuleSet) -> [Evaluator; Route::ALL.len()] {
    Route::ALL.map(|route| rules.structured_evaluator(&route.logsource()))
}

impl SigmaDetector {
    /// A detector that takes its rules from this handle.
    pub fn new(handle: &RuleHandle, policy: UndeterminedPolicy) -> Self {
        let shared = Arc::clone(&handle.shared);
        let mut rules = Cache::new(ArcSwapOf(Arc::clone(&shared)));
        let current = Arc::clone(rules.load());
        let evaluators = evaluators(&current);
        Self { shared, rules, current, evaluators, policy }
    }
}

impl SigmaDetector {
    /// Evaluates an event, and gives `each` every rule that matches it for certain, with the record, before what is to
    /// be raised goes to `out`. Rules that are [silent](RuleSet::is_silent) are among the former only: what correlates
    /// detections ([`Correlator::observe`](crate::correlate::Correlator::observe)) sees them here.
    pub fn detect_each(
        &mut self,
        event: &Arc<Event>,
        each: &mut dyn FnMut(&Rule, &EventRecord<'_>),
        out: &mut Vec<Detection>,
    ) {
        self.refresh();
        self.evaluate(event, each, out);
    }

    /// Takes the newest rules.
    pub(crate) fn refresh(&mut self) {
        let rules = self.rules.load();
        if !Arc::ptr_eq(rules, &self.current) {
            self.current = Arc::clone(rules);
            self.evaluators = evaluators(&self.current);
        }
    }

    pub(crate) fn evaluate(
        &mut self,
        event: &Arc<Event>,
        each: &mut dyn FnMut(&Rule, &EventRecord<'_>),
        out: &mut Vec<Detection>,
    ) {
        let record = EventRecord::new(event);
        for route in Route::of(event) {
            for found in self.evaluators[route as usize].matches(&record) {
                let undetermined = found.truth() == Truth::Undetermined;
                if !undetermined {
                    each(found.rule(), &record);
                }
                if self.current.is_silent(found.rule()) {
                    continue;
                }
                if undetermined {
                    self.shared.undetermined.fetch_add(1, Ordering::Relaxed);
                    if self.policy == UndeterminedPolicy::Count {
                        continue;
                    }
                }
                let explanation = self.current.explain(found.rule(), &record);
                let certainty = if undetermined {
                    Certainty::Undetermined { fields: explanation.undetermined() }
                } else {
                    Certainty::Certain
                };
                out.push(Detection {
                    rule: Arc::clone(found.meta()),
                    event: Arc::clone(event),
                    evidence: explanation.evidence(),
                    certainty,
                    correlated: None,
                });
            }
        }
    }

    /// The rules that the last event was evaluated by.
    pub fn rules(&self) -> &RuleSet {
        &self.current
    }
}

/// Raises what rules find on single events. Rules that are there for correlations only raise nothing.
impl Detector for SigmaDetector {
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        self.detect_each(event, &mut |_, _| {}, out);
    }
}

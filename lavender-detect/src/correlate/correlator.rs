//! Correlation in one process, with state in memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use lavender_core::{EventId, Timestamp};
use serde::Serialize;

use super::alert::{CorrelationAlert, EventStamp, Losses};
use super::changes::Changes;
use super::element::Firing;
use super::observe::{Columns, Left};
use super::settled::Held;
use super::state::{Outcome, State};
use super::window::Scratch;
use crate::record::Record;
use crate::ruleset::{Rule, RuleSet};

/// How detections are correlated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorrelatorOptions {
    /// How much later than the newest event another may come and still count. 2 s unless said.
    pub lateness: Duration,
    /// The most bytes of state, its keys and timers included. 64 MiB unless said.
    pub state_bytes_max: usize,
}

impl Default for CorrelatorOptions {
    fn default() -> Self {
        Self { lateness: Duration::from_secs(2), state_bytes_max: 64 << 20 }
    }
}

/// What became of detections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CorrelationCounters {
    /// Detections of rules that are correlated.
    pub detections: u64,
    /// Of these, those that came later than allowed, or at a time before 1823 or after 2116, and count in no
    /// correlation.
    pub late: u64,
    /// How often a detection could not be put into a group, because a field that is grouped by was not there.
    pub ungrouped: u64,
    /// How often the field that is looked at was not there, or held no number where one is asked for.
    pub valueless: u64,
    /// How often a group had more elements than are kept, so that what it decides may be inexact.
    pub overflowed: u64,
    /// Stored states that were begun anew because they could not be read.
    pub unreadable: u64,
    /// Groups that were forgotten before their time, because there was no more room.
    pub evicted: u64,
    /// Alerts raised.
    pub alerts: u64,
}

impl CorrelationCounters {
    pub(crate) fn left(&mut self, left: Left) {
        match left {
            Left::Ungrouped => self.ungrouped += 1,
            Left::Valueless => self.valueless += 1,
        }
    }

    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Taken => {}
            Outcome::Overflowed => self.overflowed += 1,
            Outcome::Late => self.late += 1,
        }
    }
}

/// Correlates what rules find, in one process: the fast way, with state in memory.
///
/// Give it every detection ([`observe`](Self::observe)) with the record at hand, and the time of every event
/// ([`advance`](Self::advance)); both may raise alerts. State is bounded in bytes: when it is full, the groups that
/// would be forgotten the soonest make room, and are counted.
///
/// ```
/// use lavender_core::{AgentId, BootId, Origin, Sequencer, TenantId, Timestamp};
/// use lavender_detect::correlate::{Correlator, CorrelatorOptions, EventStamp};
/// use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSet};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = RuleSet::from_yaml(
///     "title: Failed login
/// name: failed_login
/// logsource: {product: acme}
/// detection: {selection: {outcome: failure}, condition: selection}
/// ---
/// title: Passwords tried on one account
/// correlation:
///     type: event_count
///     rules: [failed_login]
///     group-by: [user]
///     timespan: 1m
///     condition: {gte: 3}
/// level: high
/// ",
/// )?;
/// let mut evaluator = rules.evaluator(&LogSource::product("acme"));
/// let mut correlator = Correlator::new(rules.clone(), CorrelatorOptions::default());
/// # let ids = Sequencer::new(Origin::new(&TenantId::new("acme")?, &AgentId::new("web-1")?, BootId::from_u128(7)));
/// let mut alerts = Vec::new();
/// for second in [0, 10, 20] {
///     let event = EventStamp { id: ids.next(), time: Timestamp::from_millis(second * 1_000) };
///     let fields = [("outcome", FieldValue::from("failure")), ("user", FieldValue::from("alice"))];
///     let record = FlatRecord::new(rules.fields(), fields);
///     for found in evaluator.matches(&record) {
///         correlator.observe(found.rule(), event, &record, &mut alerts);
///     }
/// }
/// assert_eq!(&*alerts[0].rule.title, "Passwords tried on one account");
/// assert_eq!(alerts[0].events.len(), 3);
/// # Ok(())
/// # }
/// ```
pub struct Correlator {
    pub(super) rules: RuleSet,
    pub(super) lateness: i64,
    bytes_max: usize,
    pub(super) groups: HashMap<u128, Box<Group>, BuildHasherDefault<KeyHasher>>,
    /// When groups have something to decide or to forget. An entry is void when its group is queued for another time.
    pub(super) timers: BinaryHeap<Reverse<Timer>>,
    pub(super) watermark: i64,
    pub(super) losses: Losses,
    bytes: usize,
    counters: CorrelationCounters,
    columns: Columns,
    scratch: Scratch,
    found: Vec<Found>,
    /// Up to when groups that were forgotten before their time may have had something.
    pub(super) evicted_to: i64,
    pub(super) changes: Changes,
    pub(super) saved_time: Option<(i64, i64)>,
}

pub(super) struct Group {
    pub(super) correlation: u32,
    /// For which watermark its timer is set.
    pub(super) queued: i64,
    pub(super) heap_bytes: u32,
    /// Whether it is among the [`Changes`].
    pub(super) changed: bool,
    /// Up to when something of it may have been forgotten before it was begun.
    pub(super) gap: i64,
    pub(super) values: Box<[u8]>,
    pub(super) state: State,
}

/// A group's watermark, and its key.
type Timer = (i64, u128);

/// What a correlation found, on its way to alerts and to the correlations that rest on it.
pub(crate) struct Found {
    pub(crate) correlation: u32,
    pub(crate) group: Box<[u8]>,
    pub(crate) firing: Firing,
    pub(crate) carried: Option<Box<[u8]>>,
    /// Whether a part of its window was forgotten for want of room.
    pub(crate) forgotten: bool,
}

/// Keys are digests already.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// What a group takes beside its heap: its place in a table that is half full when it has grown, and stood there once more
/// while it grew; its timer in a heap that may be half full; and what the allocator adds to three allocations, of which
/// it rounds each up. Held against what is resident by `make bench-peers ARGS="correlations"`.
const GROUP_BYTES: usize =
    5 * size_of::<(u128, Box<Group>)>() + size_of::<Group>() + 2 * size_of::<Timer>() + 96;

impl Correlator {
    /// A correlator without state.
    pub fn new(rules: RuleSet, options: CorrelatorOptions) -> Self {
        Self {
            rules,
            lateness: i64::try_from(options.lateness.as_nanos()).unwrap_or(i64::MAX / 64),
            bytes_max: options.state_bytes_max,
            groups: HashMap::default(),
            timers: BinaryHeap::new(),
            watermark: i64::MIN,
            losses: Losses::default(),
            bytes: 0,
            counters: CorrelationCounters::default(),
            columns: Columns::default(),
            scratch: Scratch::default(),
            found: Vec::new(),
            evicted_to: i64::MIN,
            changes: Changes::default(),
            saved_time: None,
        }
    }

    /// Correlates the detection of a rule of this set. Alerts go to `out`.
    ///
    /// Costs some 100 ns for each correlation of the rule, however long its window is.
    pub fn observe<R: Record + ?Sized>(
        &mut self,
        rule: &Rule,
        at: EventStamp,
        record: &R,
        out: &mut Vec<CorrelationAlert>,
    ) {
        let rules = self.rules.clone();
        let correlations = rules.inner_correlations();
        let feeds = correlations.feeds.get(rule.number as usize).map_or(&[][..], |feeds| feeds);
        if feeds.is_empty() {
            return;
        }
        self.counters.detections += 1;
        if at.time.as_nanos() < self.watermark || !at.is_sound() {
            self.counters.late += 1;
            return;
        }
        self.advance(at.time, out);
        for feed in feeds {
            self.columns.row.fill(record, &feed.columns);
            self.take(feed, at, self.watermark);
            self.pass_on(self.watermark, out);
        }
        self.make_room();
    }

    /// Says that an event happened at this time, so that windows that ended long enough before it are decided. An
    /// event with a detection need not be announced.
    pub fn advance(&mut self, time: Timestamp, out: &mut Vec<CorrelationAlert>) {
        let watermark = time.as_nanos().min(i64::MAX / 2).saturating_sub(self.lateness);
        if watermark > self.watermark {
            self.watermark = watermark;
            self.run_timers(watermark, out);
        }
    }

    /// The time of an event, or what [`advance`](Self::advance) is told, with which the next group has something to decide
    /// or to forget; `None` when there is no group.
    pub fn due(&self) -> Option<Timestamp> {
        let Reverse((watermark, _)) = self.timers.peek()?;
        Some(Timestamp::from_nanos(watermark.saturating_add(self.lateness)))
    }

    /// Whether any correlation is over the detections of a rule of this set.
    pub fn takes(&self, rule: &Rule) -> bool {
        let feeds = self.rules.inner_correlations().feeds.get(rule.number as usize);
        feeds.is_some_and(|feeds| !feeds.is_empty())
    }

    /// Says that no more events come: every window is decided.
    pub fn finish(&mut self, out: &mut Vec<CorrelationAlert>) {
        self.watermark = i64::MAX;
        self.run_timers(i64::MAX, out);
    }

    /// Says that events were lost between two moments; `lost` is the event that says so.
    pub fn lost(&mut self, lost: EventId, from: Timestamp, to: Timestamp) {
        self.losses.add(lost, from.as_nanos(), to.as_nanos());
    }

    /// Goes on with other rules. Correlations that are the same in both keep their state.
    pub fn replace_rules(&mut self, rules: RuleSet) {
        let place = |old: u32| {
            let old = self.rules.correlations().get(old as usize)?;
            rules.correlations().iter().position(|new| new.content == old.content)
        };
        let bytes = &mut self.bytes;
        let changes = &mut self.changes;
        self.groups.retain(|key, group| match place(group.correlation) {
            Some(new) => {
                group.correlation = new as u32;
                true
            }
            None => {
                *bytes -= GROUP_BYTES + group.heap_bytes as usize;
                changes.note(*key, &mut group.changed);
                false
            }
        });
        self.rules = rules;
    }

    /// The rules that it goes by.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// What became of the detections so far.
    pub const fn counters(&self) -> CorrelationCounters {
        self.counters
    }

    /// How many groups have state.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// What state takes, in bytes.
    pub const fn state_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what is in the row into the groups that it belongs to.
    fn take<C>(&mut self, feed: &super::correlation::Feed<C>, at: EventStamp, watermark: i64) {
        let correlation = &self.rules.correlations()[feed.correlation as usize];
        let lag = self.lateness.saturating_mul(i64::from(correlation.level));
        let Self { groups, timers, bytes, counters, columns, scratch, found, changes, .. } = self;
        let evicted_to = self.evicted_to;
        let observed = columns.observe(correlation, feed, at, |observation| {
            let Held { element, .. } = observation.held;
            let group = groups.entry(observation.key).or_insert_with(|| {
                *bytes += GROUP_BYTES;
                Box::new(Group {
                    correlation: feed.correlation,
                    queued: i64::MAX,
                    heap_bytes: 0,
                    changed: false,
                    gap: evicted_to,
                    values: observation.group(),
                    state: State::new(&correlation.plan),
                })
            });
            changes.note(observation.key, &mut group.changed);
            let Group { values, state, gap, .. } = &mut **group;
            let mut fire = |firing: Firing, carried| {
                let (group, forgotten) = (values.clone(), *gap >= firing.from);
                found.push(Found {
                    correlation: feed.correlation,
                    group,
                    firing,
                    carried,
                    forgotten,
                });
            };
            let local = watermark.saturating_sub(lag);
            // What was found earlier in time than this group has come to is not late: its own watermark lags behind.
            let outcome = state.step(
                &correlation.plan,
                observation.held,
                local.min(element.time),
                scratch,
                &mut fire,
            );
            counters.outcome(outcome);
            group.account(bytes);
            let due = group.state.due(&correlation.plan).saturating_add(lag);
            if due < group.queued {
                group.queued = due;
                timers.push(Reverse((due, observation.key)));
            }
        });
        if let Err(left) = observed {
            self.counters.left(left);
        }
    }

    /// Raises what was found, and gives it to the correlations that rest on it.
    fn pass_on(&mut self, watermark: i64, out: &mut Vec<CorrelationAlert>) {
        while let Some(Found { correlation, group, firing, carried, forgotten }) = self.found.pop()
        {
            let rules = self.rules.clone();
            let correlation = &rules.correlations()[correlation as usize];
            let at = EventStamp { id: firing.id, time: Timestamp::from_nanos(firing.time) };
            if correlation.raises && !firing.repeated {
                self.counters.alerts += 1;
                let mut alert = CorrelationAlert::new(correlation, &group, firing, &self.losses);
                alert.incomplete |= forgotten;
                out.push(alert);
            }
            for feed in &correlation.parents {
                self.columns
                    .row
                    .fill_carried(carried.as_deref().unwrap_or_default(), &feed.columns);
                self.take(feed, at, watermark);
            }
        }
    }

    /// Decides and forgets what is due, in the order in which it is.
    fn run_timers(&mut self, watermark: i64, out: &mut Vec<CorrelationAlert>) {
        while let Some(Reverse((due, key))) = self.timers.peek().copied() {
            if due > watermark {
                return;
            }
            self.timers.pop();
            let Some(group) = self.groups.get_mut(&key).filter(|group| group.queued == due) else {
                continue;
            };
            let correlation = &self.rules.correlations()[group.correlation as usize];
            let lag = self.lateness.saturating_mul(i64::from(correlation.level));
            self.changes.note(key, &mut group.changed);
            let Group { correlation: number, values, state, gap, .. } = &mut **group;
            let (number, found) = (*number, &mut self.found);
            let mut fire = |firing: Firing, carried| {
                let (group, forgotten) = (values.clone(), *gap >= firing.from);
                found.push(Found { correlation: number, group, firing, carried, forgotten });
            };
            let local = due.saturating_sub(lag);
            if !state.settle(&correlation.plan, local, &mut self.scratch, &mut fire) {
                self.counters.overflowed += 1;
            }
            if group.state.is_over(&correlation.plan) {
                self.bytes -= GROUP_BYTES + group.heap_bytes as usize;
                self.groups.remove(&key);
            } else {
                group.account(&mut self.bytes);
                let next = group.state.due(&correlation.plan).saturating_add(lag);
                group.queued = next.max(due.saturating_add(1));
                self.timers.push(Reverse((group.queued, key)));
            }
            self.pass_on(due, out);
        }
    }

    /// Puts in a group that was somewhere else so far.
    pub(super) fn insert(&mut self, key: u128, mut group: Group) {
        self.bytes += GROUP_BYTES;
        group.account(&mut self.bytes);
        if let Some(before) = self.groups.insert(key, Box::new(group)) {
            self.bytes -= GROUP_BYTES + before.heap_bytes as usize;
        }
    }

    /// Forgets the groups that would be forgotten the soonest, until the rest has room.
    pub(super) fn make_room(&mut self) {
        while self.bytes > self.bytes_max {
            let Some(Reverse((due, key))) = self.timers.pop() else { return };
            let Some(group) = self.groups.get_mut(&key).filter(|group| group.queued == due) else {
                continue;
            };
            let correlation = &self.rules.correlations()[group.correlation as usize];
            let lag = self.lateness.saturating_mul(i64::from(correlation.level));
            // A timer is set when its group comes up, and not moved with every detection.
            let now = group.state.due(&correlation.plan).saturating_add(lag);
            if now > due {
                group.queued = now;
                self.timers.push(Reverse((now, key)));
                continue;
            }
            self.changes.note(key, &mut group.changed);
            self.bytes -= GROUP_BYTES + group.heap_bytes as usize;
            self.groups.remove(&key);
            self.counters.evicted += 1;
            // What it had was not later than the newest event.
            self.evicted_to = self.watermark.saturating_add(self.lateness);
        }
    }
}

impl Group {
    /// Keeps the sum of bytes up to date.
    fn account(&mut self, bytes: &mut usize) {
        let now = self.values.len() + self.state.heap_bytes();
        *bytes = *bytes + now - self.heap_bytes as usize;
        self.heap_bytes = u32::try_from(now).unwrap_or(u32::MAX);
    }
}

impl std::fmt::Debug for Correlator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator")
            .field("rules", &self.rules)
            .field("groups", &self.groups.len())
            .field("bytes", &self.bytes)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

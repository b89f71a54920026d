//! The stage: rules with novelty, what each has learned, and what is said of a match.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use lavender_core::{RuleMeta, Timestamp};
use serde::Serialize;
use std::sync::Arc;

use super::alert::NewValue;
use super::cells::{Tick, nanos, tick, ticks_of};
use super::learner::{Learner, Sight};
use super::recent::Recent;
use super::values::Values;
use super::walk::walk;
use crate::correlate::EventStamp;
use crate::record::Record;
use crate::ruleset::{Rule, RuleSet};

/// How novelty is learned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoveltyOptions {
    /// How much later than the newest event another may come and still come out as if it had come in order. 2 s unless
    /// said.
    pub lateness: Duration,
    /// The most bytes that the values of a rule take, unless it says so itself (`bytes_max`). 1 MiB unless said: some
    /// 64,000 values.
    pub rule_bytes_max: usize,
    /// The most bytes that the values of all rules take; bounds of rules that come to more are cut in proportion.
    /// 64 MiB unless said.
    pub state_bytes_max: usize,
    /// How long every rule learns, instead of what each says: for hosts that do not live that long.
    pub baseline: Option<Duration>,
}

impl Default for NoveltyOptions {
    fn default() -> Self {
        Self {
            lateness: Duration::from_secs(2),
            rule_bytes_max: 1 << 20,
            state_bytes_max: 64 << 20,
            baseline: None,
        }
    }
}

/// What became of the matches of rules with novelty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NoveltyCounters {
    /// Values looked at, known or not.
    pub sightings: u64,
    /// Of these, new ones that were learned during a baseline.
    pub learned: u64,
    /// Of these, new ones for which an alert was raised.
    pub raised: u64,
    /// Matches without a value that is there and known in full: they are never new.
    pub valueless: u64,
    /// Matches at a time before 1970 or after 2116, which count as known.
    pub untimed: u64,
    /// Values that still counted and were forgotten for lack of room.
    pub forgotten: u64,
}

/// What one rule has learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NoveltyStats {
    /// The rule.
    #[serde(skip)]
    pub rule: Arc<RuleMeta>,
    /// How many values it knows.
    pub values: usize,
    /// What they take, in bytes, and what they may take.
    pub bytes: usize,
    /// The bound.
    pub bytes_max: usize,
    /// When its baseline is over; `None` when it has seen no event yet.
    #[serde(skip)]
    pub baseline_until: Option<Timestamp>,
    /// Values that still counted and were forgotten for lack of room.
    pub forgotten: u64,
}

/// What is said of the match of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The rule asks for no novelty: its match stands.
    Plain,
    /// Nothing about it is new, or it is being learned: the match is dropped.
    Known,
    /// What is new about it was raised for another event already. Which of the two was first is not known for certain
    /// yet, so what correlates detections sees both.
    Again,
    /// Values are new: each is an alert.
    New(Vec<NewValue>),
}

impl Sighting {
    /// Whether the match counts for correlations.
    pub const fn passes(&self) -> bool {
        !matches!(self, Self::Known)
    }
}

/// Learns which values rules with novelty have seen, and says of each match whether it is of a new one: see the
/// [module](crate::novelty).
///
/// Give it the time of every event ([`advance`](Self::advance)) and every match ([`sight`](Self::sight)). One per host,
/// since what is new is new to a host. Its state outlives the process by [`Stateful`](lavender_core::Stateful).
///
/// ```
/// use lavender_core::{AgentId, BootId, Origin, TenantId, Timestamp};
/// use lavender_detect::correlate::EventStamp;
/// use lavender_detect::novelty::{Novelty, NoveltyOptions, Sighting};
/// use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSet};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = RuleSet::from_yaml(
///     "title: First login of a user from an address
/// logsource: {product: acme}
/// detection: {selection: {outcome: success}, condition: selection}
/// lavender:
///     novelty: {fields: [address], per: [user], baseline: 1h}
/// ",
/// )?;
/// let mut novelty = Novelty::new(rules.clone(), NoveltyOptions::default());
/// let mut evaluator = rules.evaluator(&LogSource::product("acme"));
/// # let origin = Origin::new(&TenantId::new("acme")?, &AgentId::new("web-1")?, BootId::from_u128(7));
/// let mut login = |minute: i64, address: &str| {
///     let time = Timestamp::from_millis(minute * 60_000);
///     let at = EventStamp { id: origin.event(minute as u64), time };
///     let fields = [("outcome", "success"), ("user", "alice"), ("address", address)];
///     let record = FlatRecord::new(rules.fields(), fields.map(|(n, v)| (n, FieldValue::from(v))));
///     novelty.advance(time);
///     let found = evaluator.matches(&record).next().map(|found| novelty.sight(found.rule(), at, &record));
///     matches!(found, Some(Sighting::New(_)))
/// };
/// assert!(!login(0, "192.0.2.1")); // learned
/// assert!(!login(90, "192.0.2.1")); // known
/// assert!(login(91, "192.0.2.99")); // new
/// assert!(!login(95, "192.0.2.99")); // not any more
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Novelty {
    pub(super) rules: RuleSet,
    options: NoveltyOptions,
    lateness: Tick,
    /// What digests are made with: unknown to whoever chooses values.
    pub(super) key: [u64; 2],
    pub(super) learners: Vec<Learner>,
    /// By rule number: which learner is its, if any.
    by_rule: Box<[Option<u32>]>,
    /// The newest time at which any rule was first in use; `None` while one of them is not yet.
    started: Option<Tick>,
    /// The first and the last moment at which events were lost.
    pub(super) lost: Option<(Tick, Tick)>,
    pub(super) lost_changed: bool,
    /// Keys of saved state that is no more.
    pub(super) stale: Vec<String>,
    recent: Recent,
    counters: NoveltyCounters,
    /// Whether something was learned that is new if a rule's baseline began earlier than is known so far.
    uncertain: bool,
    /// Whether a baseline turned out to have begun earlier.
    moved: bool,
}

impl Novelty {
    /// One that has learned nothing yet.
    pub fn new(rules: RuleSet, options: NoveltyOptions) -> Self {
        // What the standard library protects its maps by.
        let random = RandomState::new();
        let lateness = ticks_of(i64::try_from(options.lateness.as_nanos()).unwrap_or(i64::MAX / 2));
        let mut novelty = Self {
            rules: RuleSet::empty(),
            options,
            lateness,
            key: [random.hash_one(0), random.hash_one(1)],
            learners: Vec::new(),
            by_rule: Box::default(),
            started: None,
            lost: None,
            lost_changed: false,
            stale: Vec::new(),
            recent: Recent::default(),
            counters: NoveltyCounters::default(),
            uncertain: false,
            moved: false,
        };
        novelty.replace_rules(rules);
        novelty
    }

    /// Goes on with other rules. Those whose id, `fields`, `per` and `forget` are as before keep what they learned; what
    /// those learned that are no more is forgotten.
    pub fn replace_rules(&mut self, rules: RuleSet) {
        let mut before = std::mem::take(&mut self.learners);
        let mut by_rule = vec![None; rules.len()];
        for (place, rule) in by_rule.iter_mut().zip(rules.iter()) {
            let Some(clause) = rule.novelty() else { continue };
            let id = &rule.meta().id;
            let kept = before.iter().position(|learner| learner.is_of(id, clause));
            let mut learner = match kept {
                Some(at) => before.swap_remove(at),
                None => Learner::new(id, clause, self.lateness),
            };
            learner.baseline = match self.options.baseline {
                Some(baseline) => {
                    ticks_of(i64::try_from(baseline.as_nanos()).unwrap_or(i64::MAX / 2))
                }
                None => clause.baseline_ticks(),
            };
            learner.values.set_bytes_max(clause.bytes_max().unwrap_or(self.options.rule_bytes_max));
            *place = Some(self.learners.len() as u32);
            self.learners.push(learner);
        }
        for gone in before {
            self.stale.extend(gone.saved.iter().map(|part| super::state::key_of(&gone.id, part)));
        }
        self.rules = rules;
        self.by_rule = by_rule.into();
        self.recent.clear();
        self.share_out();
        self.find_started();
    }

    /// Cuts the bounds of the rules so that together they keep to that of all.
    fn share_out(&mut self) {
        let all: usize = self.learners.iter().map(|learner| learner.values.bytes_max()).sum();
        let most = self.options.state_bytes_max;
        for learner in &mut self.learners {
            let wanted = learner.values.bytes_max();
            let share = if all > most {
                (wanted as f64 * most as f64 / all as f64) as usize
            } else {
                wanted
            };
            learner.values.set_bytes_max(share.max(Values::BYTES_MIN));
        }
    }

    pub(super) fn find_started(&mut self) {
        let since = self.learners.iter().map(|learner| learner.since);
        self.started = since.reduce(|newest, since| Some(newest?.max(since?))).flatten();
    }

    /// Says that an event happened at this time. A rule is in use from the first event that it could have matched:
    /// that is when its baseline begins.
    pub fn advance(&mut self, time: Timestamp) {
        if self.learners.is_empty() {
            return;
        }
        let Some(time) = tick(time) else { return };
        if self.started.is_none_or(|started| time < started) {
            self.start(time);
        }
    }

    #[cold]
    fn start(&mut self, time: Tick) {
        let lateness = self.lateness;
        for learner in &mut self.learners {
            // What comes late moves the beginning; what is long before it is of another clock.
            if learner.since.is_none_or(|since| since - time.min(since) <= lateness) {
                self.moved |= learner.since.is_some_and(|since| time < since);
                learner.start(time);
            }
        }
        self.find_started();
    }

    /// Whether the last sightings were of values that are learned now, and are new if a baseline began earlier than is
    /// known: to be [seen](Self::sight) again when [it did](Self::take_moved).
    pub(crate) const fn take_uncertain(&mut self) -> bool {
        std::mem::replace(&mut self.uncertain, false)
    }

    /// Whether a baseline turned out to have begun earlier since this was asked last.
    pub(crate) const fn take_moved(&mut self) -> bool {
        std::mem::replace(&mut self.moved, false)
    }

    /// Whether all baselines began before anything that may still come, now that it is this late.
    pub(crate) fn is_settled(&self, newest: Timestamp) -> bool {
        let newest = tick(newest).unwrap_or_default();
        self.learners.iter().all(|learner| learner.began_before(newest))
    }

    /// Says that events were lost between two moments.
    pub fn lost(&mut self, from: Timestamp, to: Timestamp) {
        let (from, to) = (tick(from).unwrap_or_default(), tick(to).unwrap_or_default());
        let before = self.lost;
        let (first, last) = before.unwrap_or((from, to));
        self.lost = Some((first.min(from), last.max(to)));
        self.lost_changed |= self.lost != before;
    }

    /// Takes in the match of a rule of this set, and says what becomes of it.
    ///
    /// Of values that are known it allocates nothing.
    pub fn sight<R: Record + ?Sized>(
        &mut self,
        rule: &Rule,
        at: EventStamp,
        record: &R,
    ) -> Sighting {
        let number = self.by_rule.get(rule.number as usize).copied().flatten();
        let (Some(number), Some(clause)) = (number, rule.novelty()) else { return Sighting::Plain };
        let Some(time) = tick(at.time) else {
            self.counters.untimed += 1;
            return Sighting::Known;
        };
        self.advance(at.time);
        let Self { learners, recent, counters, lost, key, uncertain, .. } = self;
        let learner = &mut learners[number as usize];
        let forgotten_before = learner.forgotten;
        let (mut new, mut again) = (Vec::new(), false);
        let any = walk(record, &clause.columns, *key, &mut |digest, chosen| {
            counters.sightings += 1;
            match learner.see(digest, time) {
                Sight::Known => {}
                Sight::Learned => {
                    counters.learned += 1;
                    *uncertain |= learner.may_be_new(time);
                }
                Sight::New => {
                    let cell = learner.cells.start(time);
                    if !recent.raises(number, digest, cell, at.id) {
                        again = true;
                        return;
                    }
                    let horizon = learner.horizon(time);
                    let forgot = learner.forgotten > 0 && learner.forgot_at >= horizon;
                    let lost = lost.is_some_and(|(from, to)| from <= time && to >= horizon);
                    let about = (time, learner.cells);
                    counters.raised += 1;
                    new.push(NewValue::new(
                        &learner.id,
                        clause.names(),
                        chosen,
                        about,
                        forgot || lost,
                    ));
                }
            }
        });
        counters.valueless += u64::from(!any);
        counters.forgotten += learner.forgotten - forgotten_before;
        match (new.is_empty(), again) {
            (false, _) => Sighting::New(new),
            (true, true) => Sighting::Again,
            (true, false) => Sighting::Known,
        }
    }

    /// The rules that it goes by.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// What became of the matches so far.
    pub const fn counters(&self) -> NoveltyCounters {
        self.counters
    }

    /// What each rule has learned.
    pub fn stats(&self) -> Vec<NoveltyStats> {
        let learners = self.rules.iter().zip(&self.by_rule).filter_map(|(rule, number)| {
            let learner = self.learners.get((*number)? as usize)?;
            Some(NoveltyStats {
                rule: Arc::clone(rule.meta()),
                values: learner.values.len(),
                bytes: learner.values.bytes(),
                bytes_max: learner.values.bytes_max(),
                baseline_until: learner.since.map(|since| {
                    Timestamp::from_nanos(nanos(since.saturating_add(learner.baseline)))
                }),
                forgotten: learner.forgotten,
            })
        });
        learners.collect()
    }

    /// What the values of all rules take, in bytes.
    pub fn state_bytes(&self) -> usize {
        self.learners.iter().map(|learner| learner.values.bytes()).sum()
    }
}

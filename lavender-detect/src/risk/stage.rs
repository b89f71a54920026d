//! The stage that alerts pass.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use lavender_core::{
    Alert, AlertId, AlertStage, AlertStatus, ByteString, Bytes, Certainty, EventId, Evidence, Gaps,
    ProcessId, RISK_RULE, Result, Risk, RiskContribution, RiskSequence, RuleMeta, Severity,
    Stateful, Timestamp,
};
use serde::Serialize;

use super::encode::{self, Part};
use super::folded::{Folded, Item};
use super::options::{RiskOptions, RiskOptionsError};
use super::rarity::Rarity;
use super::tree::{Reached, Taken, Terms, Tree};
use crate::attack;

/// What became of matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RiskCounters {
    /// Matches that were looked at.
    pub matches: u64,
    /// Of these, those that came later than allowed, or again after that, and add nothing.
    pub late: u64,
    /// How often more happened in one tree than is told apart, so that its score may be less than it should be.
    pub overflowed: u64,
    /// Trees that were forgotten before their time, because there was no more room.
    pub evicted: u64,
    /// Alerts raised.
    pub alerts: u64,
}

/// Keeps a score for each process tree, adds it to every alert, and raises alerts by it: see the
/// [module](crate::risk).
///
/// ```
/// use lavender_detect::risk::{RiskOptions, RiskStage};
///
/// # fn main() -> Result<(), lavender_detect::risk::RiskOptionsError> {
/// let stage = RiskStage::new(RiskOptions::default())?;
/// assert_eq!(stage.trees(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RiskStage {
    options: RiskOptions,
    terms: Terms,
    trees: HashMap<ProcessId, Tree>,
    /// All trees, those first that are forgotten first.
    ranks: BTreeSet<(i64, ProcessId)>,
    rarity: Rarity,
    /// Trees that were saved and are no more.
    gone: Vec<ProcessId>,
    newest: i64,
    bytes: usize,
    counters: RiskCounters,
}

/// What a tree takes beside its heap: its place in a table that is a little over half full, and its rank.
const TREE_BYTES: usize = 2 * size_of::<(ProcessId, Tree)>() + 2 * size_of::<(i64, ProcessId)>();

impl RiskStage {
    /// A stage without state.
    ///
    /// # Errors
    ///
    /// [`RiskOptionsError`] when the options cannot be.
    pub fn new(options: RiskOptions) -> std::result::Result<Self, RiskOptionsError> {
        options.check()?;
        Ok(Self {
            terms: Terms::new(&options),
            options,
            trees: HashMap::new(),
            ranks: BTreeSet::new(),
            rarity: Rarity::default(),
            gone: Vec::new(),
            newest: i64::MIN,
            bytes: 0,
            counters: RiskCounters::default(),
        })
    }

    /// What became of matches so far.
    pub const fn counters(&self) -> RiskCounters {
        self.counters
    }

    /// How many trees have a score.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// What state takes, in bytes: of rules, only what tells them from others is not counted.
    pub const fn state_bytes(&self) -> usize {
        self.bytes
    }

    /// The score of a tree at a moment.
    pub fn score(&self, tree: ProcessId, at: Timestamp) -> u32 {
        let Terms { sequence_points, half_life, .. } = self.terms;
        let tree = self.trees.get(&tree);
        tree.map_or(0, |tree| tree.now.score_at(at.as_nanos(), sequence_points, half_life).0)
    }

    /// Adds what an alert's match is worth to its tree.
    fn take(&mut self, alert: &Alert, tree: ProcessId, reached: &mut Vec<Reached>) {
        let base = self.options.points_of(&alert.rule);
        let time = alert.observed_at.as_nanos();
        if base == 0 || !alert.certainty.is_certain() || !is_sound(time) {
            return;
        }
        let Some(event) = alert.events.last().copied() else { return };
        self.counters.matches += 1;
        let depth = alert.process.as_ref().map_or(0, |process| process.tree_depth());
        let Terms { lateness, .. } = self.terms;
        let rule = &alert.rule.id;
        let item = Item {
            time,
            event,
            rule: Arc::clone(&alert.rule),
            base,
            depth: self.options.depth_of(depth),
            rarity: self.rarity.points(rule, time, lateness, self.options.rarity_points),
        };
        let bytes = &mut self.bytes;
        let state = self.trees.entry(tree).or_insert_with(|| {
            *bytes += TREE_BYTES;
            Tree::default()
        });
        let (rank, heap) = (state.rank(&self.terms), state.heap_bytes());
        match state.take(item, &self.terms, reached) {
            Taken::Again => return,
            Taken::Late => {
                self.counters.late += 1;
                return;
            }
            Taken::Overflowed => self.counters.overflowed += 1,
            Taken::Counted => {}
        }
        self.bytes = self.bytes + state.heap_bytes() - heap;
        self.ranks.remove(&(rank, tree));
        self.ranks.insert((state.rank(&self.terms), tree));
        self.rarity.note(rule, time);
        self.newest = self.newest.max(time);
    }

    /// Forgets what makes no difference any more, and what there is no room for.
    fn make_room(&mut self) {
        let settled = self.newest.saturating_sub(self.terms.lateness);
        while let Some((rank, id)) = self.ranks.first().copied() {
            let over = self.trees.get(&id).is_none_or(|tree| tree.is_over(settled, &self.terms));
            if !over && self.bytes <= self.options.state_bytes_max {
                return;
            }
            self.ranks.remove(&(rank, id));
            if let Some(tree) = self.trees.remove(&id) {
                self.bytes -= TREE_BYTES + tree.heap_bytes();
                self.counters.evicted += u64::from(!over);
                if tree.saved {
                    self.gone.push(id);
                }
            }
        }
    }

    /// The score at a moment, told.
    fn breakdown(&self, tree: ProcessId, folded: &Folded, time: i64) -> Risk {
        let Terms { half_life, sequence_points, .. } = self.terms;
        let mut marks: Vec<(u32, &Item)> =
            folded.marks.iter().map(|mark| (mark.points_at(time, half_life), mark)).collect();
        marks.retain(|(points, _)| *points > 0);
        marks.sort_by_key(|(points, _)| std::cmp::Reverse(*points));
        let told = marks.len().min(Risk::CONTRIBUTIONS_MAX);
        let (sequence, tactics) = folded.sequence_at(time, sequence_points, half_life);
        let contribution = |(points, mark): &(u32, &Item)| RiskContribution {
            rule: Arc::clone(&mark.rule.id),
            title: Arc::clone(&mark.rule.title),
            points: *points,
            why: why(mark, *points, time).into(),
            observed_at: Timestamp::from_nanos(mark.time),
            event: mark.event,
        };
        let named = |place: &usize| tactics & 1 << place != 0;
        Risk {
            tree,
            score: folded.score_at(time, sequence_points, half_life).0,
            contributions: marks[..told].iter().map(contribution).collect(),
            other_points: marks[told..].iter().map(|(points, _)| points).sum(),
            sequence: (sequence > 0).then(|| RiskSequence {
                points: sequence,
                tactics: (0..attack::TACTICS.len())
                    .filter(named)
                    .map(|place| attack::TACTICS[place].into())
                    .collect(),
            }),
        }
    }

    /// The alert of a threshold, with the process of the match that came last.
    fn alert(&self, tree: ProcessId, reached: &Reached, cause: &Alert) -> Alert {
        let Reached { threshold, anchor, time, folded } = reached;
        let severity = self.options.thresholds.iter().find(|known| known.score == *threshold);
        let severity = severity.map_or(Severity::Medium, |known| known.severity);
        let mut group = tree.as_u128().to_be_bytes().to_vec();
        group.extend_from_slice(&threshold.to_be_bytes());
        let risk = self.breakdown(tree, folded, *time);
        let mut tags: Vec<Arc<str>> =
            folded.marks.iter().flat_map(|mark| mark.rule.attack_tags()).map(Arc::clone).collect();
        tags.sort_unstable();
        tags.dedup();
        let mut events: Vec<(i64, EventId)> =
            folded.marks.iter().map(|mark| (mark.time, mark.event)).collect();
        events.sort_unstable();
        events.dedup();
        let rule = RuleMeta {
            id: RISK_RULE.into(),
            title: format!("Risk score of a process tree reached {threshold}").into(),
            level: severity,
            description: Some(
                "What rules found in one process tree comes to this much together.".into(),
            ),
            tags,
            unsuppressed: true,
            ..RuleMeta::default()
        };
        Alert {
            id: AlertId::of_correlation(RISK_RULE, &group, *anchor)
                .of_agent(&cause.source.tenant, &cause.source.agent),
            source: cause.source.clone(),
            rule: Arc::new(rule),
            severity,
            status: AlertStatus::Open,
            observed_at: Timestamp::from_nanos(*time),
            boot_time: cause.boot_time,
            created_at: cause.created_at,
            event_kind: cause.event_kind,
            events: events.into_iter().map(|(_, event)| event).collect(),
            process: cause.process.clone(),
            evidence: evidence(&risk, *threshold),
            certainty: Certainty::Certain,
            incomplete: cause.incomplete,
            incident: cause.incident,
            risk: Some(Arc::new(risk)),
            repeats: None,
            capture: None,
        }
    }
}

/// Whether sums with times can be made of it: in the years 1823 to 2116.
fn is_sound(time: i64) -> bool {
    (i64::MIN / 2..=i64::MAX / 2).contains(&time)
}

/// The tree that an alert counts for.
fn tree_of(alert: &Alert) -> Option<ProcessId> {
    let process = alert.process.as_ref().filter(|_| !alert.rule.is_risk())?;
    Some(process.tree_id())
}

/// What a rule's points are made of.
fn why(mark: &Item, points: u32, time: i64) -> String {
    let Item { base, depth, rarity, rule, .. } = mark;
    let mut why = match rule.risk {
        Some(_) => format!("{base} by the rule"),
        None => format!("{base} by its level, {}", rule.level),
    };
    for (more, reason) in [(*depth, "deep in the tree"), (*rarity, "rare on this host")] {
        if more > 0 {
            // Writing to a string does not fail.
            let _ = write!(why, ", {more} for being {reason}");
        }
    }
    if points < mark.points() {
        let age = time.saturating_sub(mark.time) / 1_000_000_000;
        let _ = write!(why, ", faded for {age} s");
    }
    why
}

fn evidence(risk: &Risk, threshold: u32) -> Vec<Evidence> {
    let evidence =
        |field: Arc<str>, value: String| Evidence { field, value: ByteString::from(value) };
    let score = evidence("RiskScore".into(), format!("{} (from {threshold})", risk.score));
    let rules = risk.contributions.iter().map(|contribution| {
        let RiskContribution { rule, title, points, .. } = contribution;
        evidence(Arc::clone(rule), format!("{points}: {title}"))
    });
    let sequence = risk.sequence.iter().map(|sequence| {
        let tactics = sequence.tactics.join(", ");
        evidence("RiskSequence".into(), format!("{}: {tactics}", sequence.points))
    });
    std::iter::once(score).chain(rules).chain(sequence).collect()
}

impl AlertStage for RiskStage {
    fn pass(&mut self, raised: &mut Vec<Alert>, _repeated: &mut Vec<Alert>) {
        let mut trees: Vec<(ProcessId, Arc<Risk>)> = Vec::new();
        let mut alerts = Vec::new();
        let mut reached = Vec::new();
        for alert in raised.iter() {
            let Some(tree) = tree_of(alert) else { continue };
            self.take(alert, tree, &mut reached);
            for reached in reached.drain(..) {
                self.counters.alerts += 1;
                alerts.push(self.alert(tree, &reached, alert));
            }
        }
        // Once all of them have counted.
        for alert in raised.iter_mut() {
            let Some(tree) = tree_of(alert) else { continue };
            let known = trees.iter().find(|(known, _)| *known == tree);
            let risk = match known {
                Some((_, risk)) => Arc::clone(risk),
                None => {
                    let nothing = Tree::default();
                    let state = self.trees.get(&tree).unwrap_or(&nothing);
                    let risk = Arc::new(self.breakdown(tree, &state.now, state.newest()));
                    trees.push((tree, Arc::clone(&risk)));
                    risk
                }
            };
            alert.risk = Some(risk);
        }
        raised.append(&mut alerts);
        self.make_room();
    }

    fn state(&mut self) -> Option<&mut dyn Stateful> {
        Some(self)
    }
}

impl Stateful for RiskStage {
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        for tree in self.gone.drain(..) {
            if !self.trees.contains_key(&tree) {
                each(&encode::tree_key(tree), None);
            }
        }
        for (id, tree) in self.trees.iter_mut().filter(|(_, tree)| tree.unsaved) {
            (tree.unsaved, tree.saved) = (false, true);
            each(&encode::tree_key(*id), Some(encode::write_tree(tree)));
        }
        for rule in self.rarity.unsaved.drain(..) {
            if let Some(days) = self.rarity.rules.get(&rule) {
                each(&encode::rule_key(&rule), Some(encode::write_days(*days)));
            }
        }
        if let Some(first) = self.rarity.first.filter(|_| self.rarity.first_unsaved) {
            self.rarity.first_unsaved = false;
            each(encode::FIRST_KEY, Some(encode::write_first(first)));
        }
    }

    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match encode::part(key).ok_or_else(|| encode::unknown(key))? {
            Part::Tree(id) => {
                let tree = encode::read_tree(key, value, &self.terms)?;
                self.newest = self.newest.max(tree.newest());
                self.bytes += TREE_BYTES + tree.heap_bytes();
                self.ranks.insert((tree.rank(&self.terms), id));
                if let Some(old) = self.trees.insert(id, tree) {
                    self.bytes -= TREE_BYTES + old.heap_bytes();
                    self.ranks.remove(&(old.rank(&self.terms), id));
                    // Where both have the same rank, the new one has just lost it.
                    if let Some(tree) = self.trees.get(&id) {
                        self.ranks.insert((tree.rank(&self.terms), id));
                    }
                }
                self.make_room();
            }
            Part::Rule(rule) => {
                let days = encode::read_days(key, value)?;
                self.rarity.rules.insert(rule.into(), days);
            }
            Part::First => self.rarity.first = Some(encode::read_first(key, value)?),
        }
        Ok(())
    }

    fn gaps(&self) -> Gaps {
        let RiskCounters { evicted, late, .. } = self.counters();
        Gaps { forgotten: evicted, late }
    }
}

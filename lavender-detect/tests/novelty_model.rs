//! For any rule and any stream, novelty is what it is by its definition: in any order within the lateness, with any
//! duplicates, and after a restart with what was saved at any earlier point.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "novelty/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};

use lavender_core::{AgentId, AlertId, BootId, Bytes, Origin, Stateful as _, TenantId, Timestamp};
use lavender_detect::correlate::EventStamp;
use lavender_detect::novelty::{Novelty, NoveltyOptions, Sighting};
use lavender_detect::{FieldValue, FlatRecord, RuleSet};
use model::{LATENESS_NS, Match, Rule, evaluate};
use proptest::prelude::*;

const SECOND_NS: i64 = 1_000_000_000;

fn rules(rule: Rule) -> RuleSet {
    let mut novelty = "fields: [value]".to_owned();
    if rule.keyed {
        novelty += ", per: [key]";
    }
    if rule.baseline_ns > 0 {
        novelty += &format!(", baseline: {}s", rule.baseline_ns / SECOND_NS);
    }
    if let Some(forget) = rule.forget_ns {
        novelty += &format!(", forget: {}s", forget / SECOND_NS);
    }
    RuleSet::from_yaml(&format!(
        "title: N\nid: n\nlogsource: {{product: test}}\n\
         detection: {{s: {{x: 1}}, condition: s}}\nlavender: {{novelty: {{{novelty}}}}}\n"
    ))
    .unwrap()
}

/// What came of it: the alerts with the event that each was raised for first, and the events that passed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    alerts: BTreeMap<AlertId, u64>,
    passed: BTreeSet<u64>,
}

struct Run<'a> {
    rules: &'a RuleSet,
    novelty: Novelty,
    origin: Origin,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn new(rules: &'a RuleSet) -> Self {
        let tenant = TenantId::new("acme").unwrap();
        let origin = Origin::new(&tenant, &AgentId::new("web-1").unwrap(), BootId::from_u128(7));
        let novelty = Novelty::new(rules.clone(), NoveltyOptions::default());
        Self { rules, novelty, origin, outcome: Outcome::default() }
    }

    fn give(&mut self, one: &Match) -> Sighting {
        let time = Timestamp::from_nanos(one.time);
        self.novelty.advance(time);
        if !one.matches {
            return Sighting::Known;
        }
        let (value, key) = (u64::from(one.value), u64::from(one.key));
        let fields = [("value", FieldValue::from(value)), ("key", FieldValue::from(key))];
        let record = FlatRecord::new(self.rules.fields(), fields);
        let at = EventStamp { id: self.origin.event(one.sequence), time };
        let sighting = self.novelty.sight(self.rules.rule("n").unwrap(), at, &record);
        if sighting.passes() {
            self.outcome.passed.insert(one.sequence);
        }
        if let Sighting::New(values) = &sighting {
            assert_eq!(values.len(), 1);
            self.outcome.alerts.entry(values[0].id).or_insert(one.sequence);
        }
        sighting
    }

    fn give_all(&mut self, stream: &[Match]) {
        stream.iter().for_each(|one| drop(self.give(one)));
    }

    /// Adds what has changed to what is saved.
    fn save(&mut self, saved: &mut BTreeMap<String, Bytes>) {
        let mut keys = BTreeSet::new();
        self.novelty.changed(&mut |key, value| {
            assert!(key.starts_with("novelty/") && keys.insert(key.to_owned()), "{key}");
            match value {
                Some(value) => drop(saved.insert(key.to_owned(), value)),
                None => assert!(saved.remove(key).is_some(), "{key} was not saved"),
            }
        });
    }

    fn restore(&mut self, saved: &BTreeMap<String, Bytes>) {
        for (key, value) in saved {
            self.novelty.restore(key, value).unwrap();
        }
    }
}

fn arb_rule() -> impl Strategy<Value = Rule> {
    let baseline = prop_oneof![Just(0), Just(60 * SECOND_NS), Just(100 * SECOND_NS)];
    let forget = prop_oneof![Just(None), Just(Some(100 * SECOND_NS)), Just(Some(300 * SECOND_NS))];
    (any::<bool>(), baseline, forget).prop_map(|(keyed, baseline_ns, forget_ns)| Rule {
        keyed,
        baseline_ns,
        forget_ns,
    })
}

const START_NS: i64 = 1_700_000_000 * SECOND_NS;

/// A rule, and a stream in order of time: steps from none to long ones, and much close together.
fn arb_stepping() -> impl Strategy<Value = (Rule, Vec<Match>)> {
    let step = prop_oneof![
        4 => 0..3 * SECOND_NS,
        1 => 3 * SECOND_NS..40 * SECOND_NS,
        1 => 40 * SECOND_NS..400 * SECOND_NS,
    ];
    let one = (step, prop::bool::weighted(0.9), 0..5_u8, 0..2_u8);
    (arb_rule(), prop::collection::vec(one, 1..60)).prop_map(|(rule, steps)| {
        let mut time = START_NS;
        let times = steps.into_iter().map(|(step, matches, value, key)| {
            time += step;
            (time, matches, value, key)
        });
        (rule, numbered(times.collect()))
    })
}

/// A rule that forgets, and a stream of few values around the edges of its cells.
fn arb_at_edges() -> impl Strategy<Value = (Rule, Vec<Match>)> {
    let one = (0..6_i64, -2_200..3_400_i64, 0..2_u8);
    (arb_rule(), any::<bool>(), prop::collection::vec(one, 1..60)).prop_map(|(rule, long, at)| {
        let forget_ns = if long { 300 * SECOND_NS } else { 100 * SECOND_NS };
        let cell = model::cell_ns(forget_ns);
        let edge = (START_NS / cell + 1) * cell;
        let mut times: Vec<_> = at
            .into_iter()
            .map(|(number, ms, value)| (edge + number * cell + ms * 1_000_000, true, value, 0))
            .collect();
        times.sort_unstable();
        (Rule { forget_ns: Some(forget_ns), ..rule }, numbered(times))
    })
}

fn numbered(times: Vec<(i64, bool, u8, u8)>) -> Vec<Match> {
    let number = times.into_iter().zip(1..);
    number
        .map(|((time, matches, value, key), sequence)| Match {
            sequence,
            time,
            matches,
            value,
            key,
        })
        .collect()
}

fn arb_case() -> impl Strategy<Value = (Rule, Vec<Match>)> {
    prop_oneof![arb_stepping(), arb_at_edges()]
}

/// The stream as it may come: none later than the lateness after what is newer, some twice.
fn disordered(stream: &[Match], delays: &[(u32, bool)]) -> Vec<Match> {
    let mut arrivals: Vec<(i64, &Match)> = Vec::new();
    for (one, (delay, twice)) in stream.iter().zip(delays.iter().cycle()) {
        arrivals.push((one.time + i64::from(*delay) % LATENESS_NS, one));
        if *twice {
            arrivals.push((one.time + i64::from(delay.rotate_left(9)) % LATENESS_NS, one));
        }
    }
    arrivals.sort_by_key(|(arrival, _)| *arrival);
    arrivals.into_iter().map(|(_, one)| one.clone()).collect()
}

fn ids(outcome: &Outcome) -> BTreeSet<AlertId> {
    outcome.alerts.keys().copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_and_with_duplicates_it_is_the_definition(
        (rule, stream) in arb_case(),
        delays in prop::collection::vec(any::<(u32, bool)>(), 1..60),
    ) {
        let rules = rules(rule);
        let (expected, new) = evaluate(rule, &stream);
        let mut in_order = Run::new(&rules);
        in_order.give_all(&stream);
        prop_assert_eq!(in_order.outcome.alerts.len(), expected.len());
        prop_assert_eq!(&in_order.outcome.passed, &new);
        let mut otherwise = Run::new(&rules);
        otherwise.give_all(&disordered(&stream, &delays));
        // A baseline begins with what is earliest, which nobody knows before it has come; it is short here.
        prop_assert_eq!(ids(&otherwise.outcome), ids(&in_order.outcome));
        prop_assert_eq!(&otherwise.outcome.passed, &new);
        let counters = in_order.novelty.counters();
        prop_assert_eq!(counters.raised as usize, expected.len());
        prop_assert_eq!(counters.forgotten, 0);
    }

    #[test]
    fn the_same_event_again_gives_the_same_answer((rule, stream) in arb_case()) {
        let rules = rules(rule);
        let mut run = Run::new(&rules);
        let mut raised = Vec::new();
        for one in &stream {
            let first = run.give(one);
            prop_assert_eq!(&run.give(one), &first);
            if first.passes() {
                raised.push((one.clone(), first));
            }
        }
        // And long after, as long as its values are remembered.
        if rule.forget_ns.is_none() {
            for (one, first) in raised {
                prop_assert_eq!(run.give(&one), first);
            }
        }
    }

    #[test]
    fn a_restart_with_older_state_and_the_events_since_gives_the_same_alerts(
        (rule, stream) in arb_case(),
        delays in prop::collection::vec(any::<(u32, bool)>(), 1..60),
        saves in prop::collection::vec(0..60_usize, 0..6),
        killed in 0..120_usize,
    ) {
        let rules = rules(rule);
        let stream = disordered(&stream, &delays);
        let killed = killed.min(stream.len());
        let mut whole = Run::new(&rules);
        whole.give_all(&stream);

        let mut first = Run::new(&rules);
        let mut saved = BTreeMap::new();
        let mut saved_at = 0;
        for (at, one) in stream[..killed].iter().enumerate() {
            if saves.contains(&at) {
                first.save(&mut saved);
                saved_at = at;
            }
            first.give(one);
        }
        let mut second = Run::new(&rules);
        second.restore(&saved);
        second.give_all(&stream[saved_at..]);
        let mut all = ids(&first.outcome);
        all.extend(ids(&second.outcome));
        prop_assert_eq!(all, ids(&whole.outcome));
        let passed: BTreeSet<u64> =
            first.outcome.passed.union(&second.outcome.passed).copied().collect();
        prop_assert_eq!(&passed, &whole.outcome.passed);

        // What is saved at the end is all that it knows, and restoring it is no change.
        // What is older than is remembered may still be there in one and not in the other: that is no knowledge.
        if rule.forget_ns.is_none() {
            prop_assert_eq!(second.novelty.stats()[0].values, whole.novelty.stats()[0].values);
        }
        second.save(&mut saved);
        let mut third = Run::new(&rules);
        third.restore(&saved);
        third.novelty.changed(&mut |key, _| panic!("{key} has changed"));
        let (restored, stats) = (&third.novelty.stats()[0], &second.novelty.stats()[0]);
        prop_assert_eq!(restored.values, stats.values);
        prop_assert_eq!(restored.baseline_until, stats.baseline_until);
        let again = stream.iter().map(|one| (third.give(one).passes(), second.give(one).passes()));
        prop_assert!(again.into_iter().all(|(third, second)| third == second));
    }

    #[test]
    fn whatever_is_restored_it_goes_on(
        (rule, stream) in arb_case(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        key in "novelty/(n|lost|x/y)?/?[0-9a-f]{0,3}",
    ) {
        let rules = rules(rule);
        let mut first = Run::new(&rules);
        first.give_all(&stream);
        let mut saved = BTreeMap::new();
        first.save(&mut saved);
        let mut second = Run::new(&rules);
        let _ = second.novelty.restore(&key, &bytes);
        for (key, value) in &saved {
            let mut value = value.to_vec();
            for (at, byte) in &changes {
                let at = at.index(value.len());
                value[at] = *byte;
            }
            let _ = second.novelty.restore(key, &value);
        }
        second.give_all(&stream);
        let stats = &second.novelty.stats()[0];
        prop_assert!(stats.bytes <= stats.bytes_max);
        second.novelty.changed(&mut |_, _| {});
    }
}

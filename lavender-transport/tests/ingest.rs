//! What ingest checks, and what it makes of sequence numbers, without a broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::{Envelope, EnvelopeError};
use lavender_core::event::{Event, EventKind, LossStage};
use lavender_core::transport::{Message, Payload, Topic};
use lavender_core::{EventId, Severity, Timestamp};
use lavender_transport::ingest::{Checks, Continuity, Gap, Refusal, Seen};
use proptest::prelude::*;

const WAIT: Duration = Duration::from_secs(120);
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn after(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

fn numbers(numbers: impl IntoIterator<Item = u64>) -> Seen {
    Seen::new(numbers.into_iter().map(|number| (number, None)).collect())
}

/// A message that holds nothing but word of so many numbers that the agent gave up.
fn told(number: u64, given_up: u64) -> Seen {
    Seen::new(vec![(number, Some(given_up))])
}

fn sealed(sample: &Sample, events: Vec<Arc<Event>>) -> Envelope {
    let source = sample.source().clone();
    let message = Message { source, topic: Topic::TelemetryRaw, payload: Payload::Events(events) };
    Envelope::encode(&message, 1 << 20).unwrap().remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever the order, however often: what is missing below the highest is told of, once.
    #[test]
    fn what_never_came_is_counted_exactly(
        lengths in proptest::collection::vec((1_u64..40, any::<bool>()), 1..40),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..120),
        restarts in proptest::collection::vec(any::<bool>(), 160),
    ) {
        let mut next = 1;
        let mut messages = Vec::new();
        let mut missing = BTreeSet::new();
        for (length, came) in lengths {
            let range = next..next + length;
            next += length;
            if came {
                messages.push(range);
            } else {
                missing.extend(range);
            }
        }
        let highest = messages.last().map_or(0, |range| range.end - 1);
        missing.retain(|number| *number < highest);
        // Every message at least once, and some again, in any order.
        let mut deliveries: Vec<usize> = (0..messages.len()).collect();
        for index in order {
            if !messages.is_empty() {
                let at = index.index(deliveries.len());
                deliveries.push(index.index(messages.len()));
                let last = deliveries.len() - 1;
                deliveries.swap(at, last);
            }
        }
        let mut continuity = Continuity::default();
        for (delivery, restart) in deliveries.into_iter().zip(restarts.into_iter().cycle()) {
            prop_assert_eq!(continuity.see(&numbers(messages[delivery].clone()), START), None);
            prop_assert_eq!(continuity.settle(after(1), WAIT), []);
            if restart {
                // Another worker goes on with it.
                let text = serde_json::to_string(&continuity).unwrap();
                continuity = serde_json::from_str(&text).unwrap();
            }
        }
        prop_assert_eq!(continuity.due(WAIT).is_some(), !missing.is_empty());
        let gaps = continuity.settle(after(120), WAIT);
        prop_assert_eq!(gaps.iter().map(|gap| gap.count).sum::<u64>(), missing.len() as u64);
        for gap in &gaps {
            let all = (gap.first..gap.first + gap.count).all(|number| missing.contains(&number));
            prop_assert!(all && !missing.contains(&(gap.first - 1)));
        }
        prop_assert_eq!(continuity.due(WAIT), None);
        prop_assert_eq!(continuity.settle(after(1_000), WAIT), []);
    }

    /// However hostile the numbers: bounded, and nothing panics.
    #[test]
    fn what_is_kept_is_bounded(
        messages in proptest::collection::vec(
            (
                proptest::collection::vec((prop_oneof![0_u64..(1 << 48), any::<u64>()], proptest::option::of(any::<u64>())), 1..100),
                any::<bool>(),
                0_i64..10_000,
            ),
            1..6,
        ),
    ) {
        let mut continuity = Continuity::default();
        for (events, missed, millis) in messages {
            let now = Timestamp::from_millis(millis);
            if missed {
                continuity.refuse(events[0].0, events[0].0.saturating_add(1_000), now);
            } else {
                continuity.see(&Seen::new(events), now);
            }
            continuity.settle(now, Duration::from_secs(5));
            prop_assert!(serde_json::to_string(&continuity).unwrap().len() < 20_000);
        }
        continuity.settle(after(0), Duration::ZERO);
        prop_assert_eq!(continuity.due(WAIT), None);
    }

    /// A body that was changed anywhere is refused or read; it never panics.
    #[test]
    fn damage_is_refused(seed in 1_u64.., at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut sample = Sample::new("acme", "web-1", seed);
        let events = sample.busy(20);
        let whole = sealed(&sample, events);
        let mut body = whole.body().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        body.truncate(cut.index(body.len()) + 1);
        let headers: BTreeMap<_, _> =
            whole.headers().map(|(name, value)| (name, value.into_owned())).collect();
        let header = |name: &str| headers.get(name).map(String::as_str);
        let damaged = Envelope::read(&whole.subject().to_string(), header, body.clone().into());
        let damaged = damaged.unwrap();
        match Checks::default().check(&damaged, sample.now()) {
            Ok(checked) => {
                prop_assert_eq!(checked.origin, sample.origin());
                prop_assert_eq!(checked.events, 20);
                prop_assert_eq!(damaged.decode().unwrap().source, checked.source);
            }
            Err(refusal) => prop_assert!(body != whole.body().to_vec(), "{}", refusal),
        }
    }
}

#[test]
fn what_is_late_has_its_time_and_a_long_refill_is_no_gap() {
    let mut continuity = Continuity::default();
    continuity.see(&numbers(1..=10), START);
    // Far ahead; what lies between comes bit by bit, for longer than any one hole is waited for.
    continuity.see(&numbers(1_001..=1_010), START);
    for part in 0..99 {
        let first = 11 + part * 10;
        let now = after(part * 60);
        assert_eq!(continuity.see(&numbers(first..first + 10), now), None);
        assert_eq!(continuity.settle(now, WAIT), []);
    }
    assert_eq!(continuity.due(WAIT), None);
    // A number that never was, and one that comes after it was told of.
    continuity.see(&numbers(1_012..=1_020), after(10_000));
    let gap = Gap { first: 1_011, count: 1 };
    assert_eq!(continuity.settle(after(10_119), WAIT), []);
    assert_eq!(continuity.settle(after(10_120), WAIT), [gap]);
    continuity.see(&numbers([1_011]), after(10_121));
    assert_eq!(continuity.settle(after(20_000), WAIT), []);
}

#[test]
fn a_sequence_begins_at_one() {
    let mut continuity = Continuity::default();
    continuity.see(&numbers(8..=9), START);
    assert_eq!(continuity.settle(after(120), WAIT), [Gap { first: 1, count: 7 }]);
}

#[test]
fn what_was_before_the_first_start_that_was_heard_of_is_not_missing() {
    let start = |range: std::ops::RangeInclusive<u64>| {
        let first = *range.start();
        numbers(range).with_start(first)
    };
    let mut continuity = Continuity::default();
    continuity.see(&start(501..=510), START);
    assert_eq!(continuity.due(WAIT), None);
    // It starts again, and what was between has to come.
    continuity.see(&start(521..=530), START);
    assert_eq!(continuity.settle(after(120), WAIT), [Gap { first: 511, count: 10 }]);
    // What comes first need not be the start.
    let mut continuity = Continuity::default();
    continuity.see(&numbers(511..=520), START);
    continuity.see(&start(501..=505), START);
    assert_eq!(continuity.settle(after(120), WAIT), [Gap { first: 506, count: 5 }]);
    // Of what has sent here, all has to come.
    let mut continuity = Continuity::default();
    continuity.see(&numbers(2..=3), START);
    continuity.see(&start(501..=505), START);
    let gaps = [Gap { first: 1, count: 1 }, Gap { first: 4, count: 497 }];
    assert_eq!(continuity.settle(after(120), WAIT), gaps);
}

#[test]
fn what_the_agent_gave_up_itself_is_told_once() {
    // Its queue: 11 to 20 were shed, and 21 says so.
    let mut continuity = Continuity::default();
    continuity.see(&numbers(1..=10), START);
    let events = vec![(21, Some(10)), (22, None), (23, None)];
    continuity.see(&Seen::new(events.clone()), START);
    // It comes again: that is not another ten.
    continuity.see(&Seen::new(events), START);
    continuity.see(&numbers(29..=30), START);
    assert_eq!(continuity.settle(after(120), WAIT), [Gap { first: 24, count: 5 }]);

    // Half of what is missing, and none of what is missing later.
    let mut continuity = Continuity::default();
    continuity.see(&Seen::new(vec![(11, Some(4)), (12, None)]), START);
    continuity.see(&numbers(23..=24), START);
    let gaps = continuity.settle(after(120), WAIT);
    assert_eq!(gaps, [Gap { first: 1, count: 6 }, Gap { first: 13, count: 10 }]);
}

#[test]
fn word_of_what_a_spool_gave_up_opens_no_hole() {
    // 11 to 20 were given up when number 500 was the next; the word lies where they lay.
    let mut continuity = Continuity::default();
    continuity.see(&numbers(1..=10), START);
    continuity.see(&told(500, 10), START);
    assert_eq!(continuity.due(WAIT), None);
    for first in (21..499).step_by(2) {
        continuity.see(&numbers(first..first + 2), after(first));
        continuity.settle(after(first), WAIT);
    }
    continuity.see(&numbers([499]), after(600));
    continuity.see(&numbers(501..=510), after(601));
    assert_eq!(continuity.settle(after(9_000), WAIT), []);
}

#[test]
fn too_many_holes_are_gaps_before_their_time() {
    let mut continuity = Continuity::default();
    let mut told_early = 0;
    for number in (2..=400).step_by(2) {
        told_early += continuity.see(&numbers([number]), START).map_or(0, |gap| gap.count);
    }
    assert!(told_early > 0);
    let rest = continuity.settle(after(120), WAIT);
    assert_eq!(told_early + rest.iter().map(|gap| gap.count).sum::<u64>(), 200);
    // All in one message.
    let mut continuity = Continuity::default();
    let early = continuity.see(&numbers((2..=20_000).step_by(2)), START).unwrap();
    let rest = continuity.settle(after(120), WAIT);
    assert_eq!(early.first, 1);
    assert_eq!(early.count + rest.iter().map(|gap| gap.count).sum::<u64>(), 10_000);
}

#[test]
fn what_was_not_let_pass_is_missing() {
    let mut continuity = Continuity::default();
    continuity.see(&numbers(1..=10), START);
    // 11 to 20 may still come; 24 has come.
    continuity.see(&told(24, 0), START);
    continuity.refuse(21, 30, START);
    continuity.refuse(31, 40, after(60));
    // What is refused when it comes again has passed all the same.
    continuity.refuse(5, 10, after(60));
    continuity.refuse(15, 16, after(60));
    continuity.see(&numbers(11..=14), after(60));
    let gaps = continuity.settle(after(120), WAIT);
    let gap = |first, count| Gap { first, count };
    assert_eq!(gaps, [gap(17, 4), gap(21, 3), gap(25, 16)]);
    assert_eq!(continuity.settle(after(180), WAIT), [gap(15, 2)]);
    // However many: one after the other they are one.
    for first in (41..10_041).step_by(10) {
        assert_eq!(continuity.refuse(first, first + 9, after(200)), None);
    }
    assert_eq!(continuity.settle(after(320), WAIT), [Gap { first: 41, count: 10_000 }]);
}

#[test]
fn what_passes_is_what_it_says() {
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut events = sample.busy(3);
    events.push(sample.lost(LossStage::Queue, EventKind::FileOpen, 7));
    events.push(sample.lost(LossStage::KernelRing, EventKind::FileOpen, 9));
    let checked = Checks::default().check(&sealed(&sample, events), sample.now()).unwrap();
    assert_eq!((&checked.source, checked.origin), (sample.source(), sample.origin()));
    assert_eq!(checked.events, 5);
    let of = vec![(1, None), (2, None), (3, None), (4, Some(7)), (5, Some(0))];
    assert_eq!(checked.seen, Seen::new(of));
    let started = vec![sample.agent_start("0.1.0")];
    let checked = Checks::default().check(&sealed(&sample, started), sample.now()).unwrap();
    assert_eq!(checked.seen, numbers([6]).with_start(6));
}

#[test]
fn sizes_times_and_topics_have_bounds() {
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(50);
    let (first, last) = (events[0].observed_at, events[49].observed_at);
    let envelope = sealed(&sample, events);
    let mut checks = Checks::default();
    checks.body_bytes_max = envelope.body().len();
    checks.plain_bytes_max = envelope.plain_body().unwrap().len();
    assert!(checks.check(&envelope, last).is_ok());

    let early = last.saturating_sub(checks.ahead_max);
    assert!(checks.check(&envelope, early).is_ok());
    let early = early.saturating_sub(Duration::from_nanos(1));
    assert!(matches!(checks.check(&envelope, early), Err(Refusal::Ahead { .. })));
    let late = first.saturating_add(checks.age_max);
    assert!(checks.check(&envelope, late).is_ok());
    let late = late.saturating_add(Duration::from_nanos(1));
    assert!(matches!(checks.check(&envelope, late), Err(Refusal::TooOld { .. })));

    let mut less = checks.clone();
    less.body_bytes_max -= 1;
    assert!(matches!(less.check(&envelope, last), Err(Refusal::BodyTooLarge { .. })));
    let mut less = checks.clone();
    less.plain_bytes_max -= 1;
    let refusal = less.check(&envelope, last).unwrap_err();
    assert!(matches!(refusal, Refusal::Envelope(EnvelopeError::TooLarge { .. })), "{refusal}");

    let accepted = envelope.with_topic(Topic::TelemetryAccepted);
    let refusal = checks.check(&accepted, last).unwrap_err();
    assert_eq!(refusal.to_string(), "telemetry.accepted is not what ingest reads");
    let event = sample.busy(1).remove(0);
    let alerts = Payload::Alerts(vec![sample.alert(&event, "r", Severity::High)]);
    let message =
        Message { source: sample.source().clone(), topic: Topic::Alerts, payload: alerts };
    let alerts = Envelope::encode(&message, 1 << 20).unwrap().remove(0);
    assert!(matches!(checks.check(&alerts, last), Err(Refusal::Topic { .. })));
}

#[test]
fn a_host_has_a_name_that_can_be_shown() {
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = Payload::Events(sample.busy(3));
    for (host, passes) in [
        (String::new(), true),
        ("h\u{fc}tte.example".to_owned(), true),
        ("x".repeat(255), true),
        ("x".repeat(256), false),
        ("web\0".to_owned(), false),
        ("web\n1".to_owned(), false),
        ("\u{1b}[2J".to_owned(), false),
    ] {
        let mut source = sample.source().clone();
        source.host = host.as_str().into();
        let message = Message { source, topic: Topic::TelemetryRaw, payload: events.clone() };
        let envelope = Envelope::encode(&message, 1 << 20).unwrap().remove(0);
        let checked = Checks::default().check(&envelope, sample.now());
        assert_eq!(checked.is_ok(), passes, "{host:?}: {checked:?}");
    }
}

#[test]
fn numbers_of_captures_and_replays_are_not_missing() {
    let mut continuity = Continuity::default();
    let above = EventId::MAX_RUN_SEQUENCE + 1;
    continuity.see(&numbers(1..=10), START);
    continuity.see(&numbers([above, above + 1_000, EventId::MAX_SEQUENCE]), START);
    continuity.see(&told(above + 5, 7), START);
    continuity.see(&numbers(12..=13), START);
    assert_eq!(continuity.settle(after(120), WAIT), [Gap { first: 11, count: 1 }]);
    // What was refused of them is.
    let gap = Gap { first: above, count: 10 };
    assert_eq!(continuity.refuse(above, above + 9, START), Some(gap));
    assert_eq!(continuity.due(WAIT), None);
}

//! What correlators do beside raising the right alerts: when, with what, within which bounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{
    Arguments, Container, Credentials, Event, EventData, EventKind, Exec, Executable, Loss,
    LossStage, Namespaces, Process,
};
use lavender_core::{
    AgentId, AgentIdentity, Alert, BootId, BootTime, ByteString, Captured, Detector as _, EventId,
    ExecId, Origin, ProcessId, Stateful as _, TenantId, Timestamp,
};
use lavender_detect::correlate::{
    CorrelatingDetector, CorrelationAlert, Correlator, CorrelatorOptions, EventStamp,
};
use lavender_detect::{
    EventField, EventRecord, FieldValue, FlatRecord, LogSource, RuleHandle, RuleSet, ShortText,
};

fn id(agent: &str, sequence: u64) -> EventId {
    let agent = AgentId::new(agent).unwrap();
    Origin::new(&TenantId::default(), &agent, BootId::from_u128(7)).event(sequence)
}

fn seconds(seconds: f64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + (seconds * 1e9) as i64)
}

/// Two rules, `a` and `b`, and a correlation `c` with this body.
fn rules(correlation: &str) -> RuleSet {
    let rule = |name: &str| {
        format!(
            "title: {name}\nid: {name}\nlogsource: {{product: test}}\n\
             detection: {{s: {{x: {name}}}, condition: s}}\n---\n"
        )
    };
    let text = format!("{}{}title: C\nid: c\nlevel: high\n{correlation}", rule("a"), rule("b"));
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

struct Stream {
    rules: RuleSet,
    correlator: Correlator,
    alerts: Vec<CorrelationAlert>,
    sequence: u64,
}

impl Stream {
    fn new(correlation: &str) -> Self {
        Self::with_options(correlation, CorrelatorOptions::default())
    }

    fn with_options(correlation: &str, options: CorrelatorOptions) -> Self {
        let rules = rules(correlation);
        let correlator = Correlator::new(rules.clone(), options);
        Self { rules, correlator, alerts: Vec::new(), sequence: 0 }
    }

    fn detect(&mut self, rule: &str, at: f64, fields: &[(&str, &str)]) -> &mut Self {
        self.sequence += 1;
        let fields = fields.iter().map(|(name, value)| (*name, FieldValue::from(*value)));
        let record = FlatRecord::new(self.rules.fields(), fields);
        let at = EventStamp { id: id("one", self.sequence), time: seconds(at) };
        let rule = self.rules.rule(rule).unwrap();
        self.correlator.observe(rule, at, &record, &mut self.alerts);
        self
    }
}

const THREE: &str = "correlation: {type: event_count, rules: [a], group-by: [g], timespan: 10s, condition: {gte: 3}}";

#[test]
fn what_can_only_become_true_is_raised_at_once() {
    let mut stream = Stream::new(THREE);
    for at in [1.0, 2.0] {
        stream.detect("a", at, &[("g", "x")]);
    }
    assert!(stream.alerts.is_empty());
    stream.detect("a", 3.0, &[("g", "x")]);
    let [alert] = &stream.alerts[..] else { panic!("{:?}", stream.alerts) };
    assert_eq!((&*alert.rule.id, alert.observed_at), ("c", seconds(3.0)));
    assert_eq!(alert.window_start, seconds(-7.0));
    assert_eq!(alert.events, [1, 2, 3].map(|sequence| id("one", sequence)));
    assert_eq!(alert.measured, Some(3.0));
    assert_eq!((&*alert.group[0].field, &alert.group[0].value), ("g", &ByteString::from("x")));
    assert!(!alert.incomplete);
    // What goes on is the same alert, until the next cell.
    stream.detect("a", 3.5, &[("g", "x")]);
    assert_eq!(stream.alerts.len(), 1);
}

#[test]
fn what_must_stay_low_is_decided_when_the_window_is_over() {
    let mut stream = Stream::new(
        "correlation: {type: event_count, rules: [a], timespan: 10s, condition: {lt: 3}}",
    );
    stream.detect("a", 0.0, &[]);
    stream.correlator.advance(seconds(12.0), &mut stream.alerts);
    assert!(stream.alerts.is_empty(), "a detection at 10 s may still come");
    stream.correlator.advance(seconds(12.1), &mut stream.alerts);
    assert_eq!(stream.alerts.len(), 1);
    assert_eq!(stream.alerts[0].observed_at, seconds(10.0));
    assert_eq!(stream.alerts[0].measured, Some(1.0));
}

#[test]
fn a_sequence_names_its_events() {
    let mut stream =
        Stream::new("correlation: {type: temporal_ordered, rules: [a, b, a], timespan: 10s}");
    stream.detect("a", 0.0, &[]).detect("a", 1.0, &[]).detect("b", 5.0, &[]);
    // By now the first three are behind the watermark.
    stream.detect("a", 9.0, &[]);
    let [alert] = &stream.alerts[..] else { panic!("{:?}", stream.alerts) };
    assert_eq!(alert.events, [2, 3, 4].map(|sequence| id("one", sequence)));
    assert_eq!(alert.window_start, seconds(1.0));
}

#[test]
fn what_comes_too_late_is_counted_and_not_correlated() {
    let mut stream = Stream::new(THREE);
    stream.detect("a", 10.0, &[("g", "x")]).detect("a", 10.1, &[("g", "x")]);
    stream.detect("a", 8.0, &[("g", "x")]);
    assert_eq!((stream.correlator.counters().late, stream.alerts.len()), (1, 0));
    stream.detect("a", 8.1, &[("g", "x")]);
    assert_eq!((stream.correlator.counters().late, stream.alerts.len()), (1, 1));
}

#[test]
fn times_from_nowhere_are_counted_and_move_nothing() {
    let mut stream = Stream::new(THREE);
    for nanos in [i64::MIN, i64::MAX] {
        let record = FlatRecord::new(stream.rules.fields(), [("g", FieldValue::from("x"))]);
        let at = EventStamp { id: id("one", 9), time: Timestamp::from_nanos(nanos) };
        let rule = stream.rules.rule("a").unwrap();
        stream.correlator.observe(rule, at, &record, &mut stream.alerts);
    }
    assert_eq!(stream.correlator.counters().late, 2);
    for at in [1.0, 2.0, 3.0] {
        stream.detect("a", at, &[("g", "x")]);
    }
    assert_eq!(stream.alerts.len(), 1);
}

#[test]
fn without_the_fields_that_it_asks_for_a_detection_is_counted_out() {
    let mut stream = Stream::new(
        "correlation: {type: value_sum, rules: [a], group-by: [g], timespan: 10s, \
         condition: {field: n, gte: 3}}",
    );
    stream.detect("a", 1.0, &[("n", "5")]);
    stream.detect("a", 1.0, &[("g", "x")]).detect("a", 1.0, &[("g", "x"), ("n", "many")]);
    stream.detect("a", 1.0, &[("g", "x"), ("n", "1e300")]);
    let counters = stream.correlator.counters();
    assert_eq!((counters.ungrouped, counters.valueless), (1, 3));
    stream.correlator.finish(&mut stream.alerts);
    assert!(stream.alerts.is_empty());
}

#[test]
fn an_alert_says_when_events_were_lost_in_its_window() {
    let lost = |agent: &str, from: f64, to: f64| {
        let mut stream = Stream::new(THREE);
        stream.correlator.lost(id(agent, 99), seconds(from), seconds(to));
        for at in [21.0, 22.0, 23.0] {
            stream.detect("a", at, &[("g", "x")]);
        }
        stream.alerts[0].incomplete
    };
    assert!(lost("one", 14.0, 15.0));
    assert!(lost("one", 0.0, 60.0));
    assert!(!lost("one", 1.0, 12.9), "before the window");
    assert!(!lost("one", 23.1, 24.0), "behind it");
    assert!(!lost("another", 14.0, 15.0), "on another host");
}

#[test]
fn state_is_bounded_and_what_makes_room_is_counted() {
    let mut options = CorrelatorOptions::default();
    options.state_bytes_max = 64 << 10;
    let mut stream = Stream::with_options(THREE, options);
    let names: Vec<String> = (0..5_000).map(|number| format!("group-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        stream.detect("a", number as f64 / 1e6, &[("g", name)]);
        assert!(stream.correlator.state_bytes() <= 64 << 10);
    }
    let counters = stream.correlator.counters();
    assert_eq!(counters.evicted as usize + stream.correlator.groups(), names.len());
    assert!(counters.evicted > 0);
    assert_eq!(stream.correlator.gaps().forgotten, counters.evicted, "which heartbeats tell");
    // The soonest to be forgotten made room: those that came last still count.
    for at in [0.1, 0.2] {
        stream.detect("a", at, &[("g", "group-4999")]);
    }
    assert_eq!(stream.alerts.len(), 1);
}

#[test]
fn two_hundred_thousand_groups_stay_within_the_bound_and_alerts_say_what_is_missing() {
    const GROUPS: usize = 200_000;
    const BOUND: usize = 4 << 20;
    let mut options = CorrelatorOptions::default();
    options.state_bytes_max = BOUND;
    let mut stream = Stream::with_options(THREE, options);
    // One that is there before anything is forgotten, and is forgotten: it would have raised an alert.
    stream.detect("a", 0.0, &[("g", "early")]).detect("a", 0.0, &[("g", "early")]);
    for number in 0..GROUPS {
        let group = format!("group-{number}");
        stream.detect("a", 0.1 + number as f64 / 1e6, &[("g", &group)]);
        assert!(stream.correlator.state_bytes() <= BOUND, "after {number}");
    }
    let counters = stream.correlator.counters();
    assert_eq!(counters.evicted as usize + stream.correlator.groups(), GROUPS + 1);
    assert!(counters.evicted as usize > GROUPS / 2, "{counters:?}");
    stream.detect("a", 0.5, &[("g", "early")]);
    assert_eq!(stream.alerts.len(), 0, "two of three were forgotten");
    stream.detect("a", 0.6, &[("g", "early")]).detect("a", 0.7, &[("g", "early")]);
    assert_eq!(stream.alerts.len(), 1);
    assert!(stream.alerts[0].incomplete, "there were more than it names");
    // A window that does not reach back to what was forgotten has all that there was.
    for at in [30.0, 30.1, 30.2] {
        stream.detect("a", at, &[("g", "late")]);
    }
    assert_eq!(stream.alerts.len(), 2);
    assert!(!stream.alerts[1].incomplete);
}

#[test]
fn state_is_forgotten_when_its_time_is_over() {
    let mut stream = Stream::new(THREE);
    for number in 0..100 {
        stream.detect("a", 1.0, &[("g", &number.to_string())]);
    }
    assert_eq!(stream.correlator.groups(), 100);
    stream.correlator.advance(seconds(30.0), &mut stream.alerts);
    assert_eq!((stream.correlator.groups(), stream.correlator.state_bytes()), (0, 0));
}

#[test]
fn a_hot_group_takes_no_more_room_than_its_condition_asks_for() {
    for body in [
        "type: event_count, condition: {gte: 5}",
        "type: value_count, condition: {gte: 5, field: v}",
    ] {
        let mut stream = Stream::new(&format!("correlation: {{rules: [a], timespan: 1h, {body}}}"));
        let mut most = 0;
        for number in 0..20_000 {
            let value = (number % 7_000).to_string();
            stream.detect("a", f64::from(number) / 100.0, &[("v", &value)]);
            most = most.max(stream.correlator.state_bytes());
        }
        assert!(most < 4_096, "{body}: {most} bytes");
    }
}

#[test]
fn a_correlation_that_is_the_same_keeps_its_state_when_rules_are_swapped() {
    let mut stream = Stream::new(THREE);
    stream.detect("a", 1.0, &[("g", "x")]).detect("a", 2.0, &[("g", "x")]);
    let same = rules(&format!("{THREE}\n---\ntitle: D\nid: d\n{}", THREE.replace("10s", "5s")));
    stream.correlator.replace_rules(same.clone());
    stream.rules = same;
    stream.detect("a", 3.0, &[("g", "x")]);
    let ids: Vec<_> = stream.alerts.iter().map(|alert| alert.rule.id.to_string()).collect();
    assert_eq!(ids, ["c"], "`d` has seen one only");
    let other = rules(&THREE.replace("gte: 3", "gte: 2"));
    stream.correlator.replace_rules(other.clone());
    stream.rules = other;
    stream.detect("a", 4.0, &[("g", "x")]);
    assert_eq!(stream.alerts.len(), 1, "what says something else begins anew");
}

fn process(
    (pid, start): (u32, u64),
    (session, container): (Option<u32>, Option<&str>),
    parent: Option<&Arc<Process>>,
) -> Arc<Process> {
    let id = ProcessId::new(BootId::from_u128(7), start, pid);
    Arc::new(Process {
        exec_id: ExecId { process: id, generation: 1 },
        pid,
        namespace_pid: pid,
        name: ByteString::from("test"),
        executable: Executable {
            path: Captured::complete(ByteString::from("/usr/bin/test")),
            ..Executable::default()
        },
        arguments: Captured::complete(Arguments::new(b"test\0")),
        working_directory: Captured::complete(ByteString::from("/")),
        credentials: Credentials { session_id: session, ..Credentials::default() },
        user: None,
        group: None,
        terminal: None,
        cgroup_id: 1,
        container: container.map(|id| Arc::new(Container::new(id, None))),
        namespaces: Namespaces::default(),
        tree: None,
        parent_id: parent.map(|parent| parent.exec_id),
        parent: parent.cloned(),
    })
}

fn exec(sequence: u64, process: &Arc<Process>) -> Event {
    let filename = Captured::complete(ByteString::from("test"));
    Event {
        id: id("one", sequence),
        observed_at: seconds(sequence as f64),
        boot_time: BootTime::from_nanos(sequence),
        tid: process.pid,
        process: Some(Arc::clone(process)),
        data: EventData::Exec(Exec { filename, previous_executable: None }),
    }
}

#[test]
fn a_process_tree_is_a_login_a_container_or_a_service() {
    let init = process((1, 1), (None, None), None);
    let sshd = process((100, 10), (None, None), Some(&init));
    let worker = process((101, 20), (None, None), Some(&sshd));
    let alice = process((200, 30), (Some(5), None), Some(&sshd));
    let shell = process((201, 31), (Some(5), None), Some(&alice));
    let below = process((202, 32), (Some(5), None), Some(&shell));
    let bob = process((300, 40), (Some(6), None), Some(&sshd));
    let contained = process((400, 50), (None, Some("c1")), Some(&sshd));
    let inside = process((401, 51), (None, Some("c1")), Some(&contained));
    for (process, root) in [
        (&init, &init),
        (&sshd, &sshd),
        (&worker, &sshd),
        (&alice, &alice),
        (&below, &alice),
        (&bob, &bob),
        (&inside, &contained),
    ] {
        let event = exec(1, process);
        let expected = FieldValue::Short(ShortText::new(root.id()));
        let found = EventRecord::new(&event).field(EventField::ProcessTreeGuid);
        assert_eq!(found, expected, "of {}", process.pid);
    }
}

#[test]
fn descendants_are_joined_to_the_process_that_a_rule_matched_in() {
    let rules = RuleSet::from_yaml(
        "title: Root
name: root
logsource: {category: process_creation}
detection: {s: {ProcessId: 100}, condition: s}
---
title: Leaf
name: leaf
logsource: {category: process_creation}
detection: {s: {ProcessId: [100, 200, 300]}, condition: s}
---
title: Below
id: below
correlation: {type: temporal_ordered, rules: [root, leaf], timespan: 1m}
lavender: {descendants_of: root}
",
    )
    .unwrap();
    let init = process((1, 1), (None, None), None);
    let root = process((100, 10), (None, None), Some(&init));
    let between = process((150, 20), (None, None), Some(&root));
    let leaf = process((200, 30), (None, None), Some(&between));
    let stranger = process((300, 40), (None, None), Some(&init));
    let raised = |events: &[Event]| {
        let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
        let mut correlator = Correlator::new(rules.clone(), CorrelatorOptions::default());
        let mut alerts = Vec::new();
        for event in events {
            let record = EventRecord::new(event);
            for found in evaluator.matches(&record) {
                correlator.observe(found.rule(), EventStamp::of(event), &record, &mut alerts);
            }
        }
        alerts
    };
    let alerts = raised(&[exec(1, &root), exec(2, &stranger), exec(3, &leaf)]);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].group[0].value, ByteString::from(root.id().to_string().as_str()));
    assert_eq!(alerts[0].events, [id("one", 1), id("one", 3)]);
    assert!(raised(&[exec(1, &root), exec(2, &stranger)]).is_empty(), "of another line");
    assert!(raised(&[exec(1, &leaf), exec(2, &root)]).is_empty(), "before it");
    assert_eq!(raised(&[exec(1, &root), exec(2, &root)]).len(), 1, "the process itself");
}

#[test]
fn the_lateness_is_what_it_is_said_to_be() {
    let mut options = CorrelatorOptions::default();
    options.lateness = Duration::from_millis(100);
    let mut stream = Stream::with_options(THREE, options);
    stream.detect("a", 1.0, &[("g", "x")]).detect("a", 0.9, &[("g", "x")]);
    assert_eq!(stream.correlator.counters().late, 0);
    stream.detect("a", 0.899, &[("g", "x")]);
    assert_eq!(stream.correlator.counters().late, 1);
}

#[test]
fn the_detector_raises_correlations_with_the_event_that_completed_them() {
    let text = |span: u32| {
        format!(
            "title: Exec\nid: exec\nlogsource: {{category: process_creation}}\n\
             detection: {{s: {{Image|exists: true}}, condition: s}}\n---\n\
             title: Three\nid: three\nlevel: high\ncorrelation: {{type: event_count, rules: [exec], \
             group-by: [ProcessGuid], timespan: {span}s, condition: {{gte: 3}}}}\n"
        )
    };
    let handle = RuleHandle::new(RuleSet::from_yaml(&text(10)).unwrap());
    let mut detector = CorrelatingDetector::new(handle.detector(), CorrelatorOptions::default());
    let (one, other) =
        (process((100, 10), (None, None), None), process((200, 20), (None, None), None));
    let mut found = Vec::new();
    let mut give = |detector: &mut CorrelatingDetector, events: &[Event]| {
        for event in events {
            detector.detect(&Arc::new(event.clone()), &mut found);
        }
        std::mem::take(&mut found)
    };
    let first = [exec(1, &one), exec(2, &other), exec(3, &one)];
    assert!(give(&mut detector, &first).is_empty(), "the rule itself is silent");
    let lost = Event {
        data: EventData::Lost(Loss::new(LossStage::KernelRing, EventKind::Exec, 5)),
        process: None,
        // In a replay, the time at which it is told of is not that of the events.
        observed_at: Timestamp::from_nanos(i64::MAX / 4),
        ..exec(4, &one)
    };
    let found = give(&mut detector, &[lost, exec(5, &one)]);
    let [detection] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&*detection.rule.id, detection.event.id), ("three", id("one", 5)));
    let correlated = detection.correlated.as_ref().unwrap();
    assert_eq!(correlated.events, [1, 3, 5].map(|sequence| id("one", sequence)));
    assert!(correlated.incomplete);
    let source = AgentIdentity {
        tenant: TenantId::default(),
        agent: AgentId::new("one").unwrap(),
        host: "one".into(),
    };
    let alert = Alert::from_detection(&source, detection.clone(), seconds(9.0));
    let own = correlated.id.of_agent(&source.tenant, &source.agent);
    assert_eq!((alert.id, alert.incomplete), (own, true));
    // The same group at the same time on another host.
    let other = AgentIdentity { agent: AgentId::new("two").unwrap(), ..source };
    let there = Alert::from_detection(&other, detection.clone(), seconds(9.0));
    assert_ne!(there.id, alert.id);
    assert_eq!(alert.events, correlated.events);
    assert_eq!(alert.process.as_ref().map(|process| process.id()), Some(one.id()));
    // Other rules are taken with the next event.
    handle.swap(RuleSet::from_yaml(&text(2)).unwrap());
    assert!(give(&mut detector, &[exec(6, &one), exec(7, &one)]).is_empty());
    assert_eq!(give(&mut detector, &[exec(8, &one)]).len(), 1);
}

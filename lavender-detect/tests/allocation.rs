//! Evaluating an event that nothing matches allocates nothing, and what correlations hold is bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;

use lavender_core::{AgentId, BootId, Detector, Origin, TenantId, Timestamp};
use lavender_detect::correlate::{Correlator, CorrelatorOptions, EventStamp};
use lavender_detect::{
    FieldValue, FlatRecord, JsonFields, JsonLines, LogSource, Record as _, RuleHandle, RuleSet,
    RuleSetBuilder, StatsOptions,
};
use support::{connect, exec, open, process, truncated};

#[test]
fn an_event_without_a_match_costs_no_allocation() {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    // Tests that take every path through the evaluation: regular expressions, lists, numbers, keywords, field
    // references, wildcards; each comes near to a match.
    builder.add_str(
        "paths.yml",
        "title: All paths\nlogsource: {product: linux}\ndetection:\n  \
         a: {CommandLine|re: '-c .*xyz[0-9]+'}\n  \
         b: {AncestorImages|endswith: /nobody}\n  \
         c: {ProcessId|gt: 4000000, UtcTime|hour: 25}\n  \
         d: {Image|fieldref|cased: ParentImage}\n  \
         e: {CommandLine: '*b?sh*nothing*'}\n  \
         f: {DestinationIp|cidr: 203.0.113.0/24}\n  \
         g: {CommandLine|cased|contains: ' -C '}\n  \
         condition: 1 of them\n",
    );
    // The same on the records that audit would have written.
    builder.add_str(
        "audit.yml",
        "title: All of audit\nlogsource: {product: linux, service: auditd}\ndetection:\n  \
         a: {type: EXECVE, a0|endswith: ls, a1|contains: '-', a20: nothing}\n  \
         b: {type: EXECVE}\n  \
         c: {'|all': [ls, nothing]}\n  \
         d: {type: PATH, name|startswith: /, nametype: CREATE, inode: 99}\n  \
         e: {type: SYSCALL, exe|endswith: /curl, uid: 7, tty: pts0}\n  \
         f: {type: SOCKADDR, laddr|cidr: 203.0.113.0/24}\n  \
         g: {type: CWD, cwd|re: '^/r.*[0-9]$'}\n  \
         condition: a or (b and c) or d or e or f or g\n",
    );
    // Timed and added up every few events, so that this is part of what is measured.
    let options = StatsOptions {
        cost_sampled_one_in: NonZeroU32::new(8).unwrap(),
        ..StatsOptions::default()
    };
    let rules = builder.build().unwrap_or_else(|e| panic!("{e}")).rules;
    let handle = RuleHandle::with_stats(rules, options);
    let mut detector = handle.detector();

    let init = Arc::new(process("/usr/lib/systemd/systemd", &["/sbin/init"], None));
    let shell = Arc::new(process("/usr/bin/bash", &["bash", "-c", "Straße ÉTÉ"], Some(init)));
    let of = |image: &str, arguments: &[&str]| process(image, arguments, Some(Arc::clone(&shell)));
    let events = [
        exec(of("/usr/bin/ls", &["ls", "-c", "/tmp/xyz"])),
        exec(of("/usr/bin/ls", &["ls", "ÜBER/\u{212a}"])),
        exec(truncated(of("/usr/bin/ls", &["ls", "-la", "/home"]), 5)),
        open(of("/usr/bin/cat", &["cat"]), "/home/user/notes", 0, 3),
        open(of("/usr/bin/vim", &["vim"]), "/home/user/notes", 0o101, 3),
        connect(of("/usr/bin/curl", &["curl"]), "192.0.2.1:443".parse().unwrap(), 0),
        connect(of("/usr/bin/curl", &["curl"]), "[2001:db8::1]:443".parse().unwrap(), 0),
    ];
    let mut found = Vec::new();
    let mut run = || {
        for event in &events {
            detector.detect(event, &mut found);
        }
    };
    run();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| run()));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert_eq!(found, []);
    assert!(handle.rule_stats().iter().any(|rule| rule.timed > 10), "nothing was timed");
}

#[test]
fn a_match_costs_no_allocation_either_until_evidence_is_asked_for() {
    let rules = RuleSet::from_yaml(
        "title: Hit\nlogsource: {product: linux}\ndetection:\n  \
         selection: {Image|endswith: /nc}\n  condition: selection\n",
    )
    .unwrap();
    let record = FlatRecord::new(rules.fields(), [("Image", FieldValue::from("/bin/nc"))]);
    let mut evaluator = rules.evaluator(&LogSource::product("linux"));
    assert_eq!(evaluator.matches(&record).len(), 1);
    let counted = allocation_counter::measure(|| {
        assert_eq!(evaluator.matches(&record).len(), 1);
    });
    assert_eq!(counted.count_total, 0);
}

/// A rule on which every kind of value is looked at, and keywords.
fn rules_for_lines() -> RuleSet {
    RuleSet::from_yaml(
        "title: Hit\nlogsource: {product: test}\ndetection:\n  \
         a: {Image|endswith: /nc, user.name: root, Score|gt: 0.5, Tags|contains: 'b\"', Open: true}\n  \
         b: [keyword, 'wo*rd']\n  \
         condition: a and not b\n",
    )
    .unwrap()
}

#[test]
fn reading_a_line_of_json_and_matching_costs_no_allocation() {
    let rules = rules_for_lines();
    let mut lines = JsonLines::new(&JsonFields::new(rules.fields()));
    let mut evaluator = rules.evaluator(&LogSource::product("test"));
    let texts = [
        r#"{"Image":"\/bin\/nc","user":{"name":"x","id":[1,{"a":2}]},"user":{"name":"r\u006fot"},
            "Score":7.25e-1,"Tags":["a",["\"","b\""]],"Open":true,"k\u0065y":"\ud83d\ude00","n":18446744073709551615}"#,
        r#"{"Image":"/bin/ls","Score":-3,"Tags":[],"Open":null}"#,
        r#"{"Image":"/bin/ls","Score":01}"#,
        r#"[]"#,
    ];
    let mut matched = 0;
    let mut run = || {
        for text in texts {
            if let Ok(line) = lines.parse(text.as_bytes()) {
                matched += evaluator.matches(&line).len();
            }
        }
    };
    run();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| run()));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert_eq!(matched, 101);
}

#[test]
fn what_one_huge_line_took_is_given_back() {
    let rules = rules_for_lines();
    let escaped = "\\n".repeat(1 << 20);
    let members: String = (0..50_000).map(|at| format!("\"k{at}\\n\":{at},")).collect();
    let huge = [
        format!("{{{members}\"Image\":\"{escaped}\",\"Tags\":[[{escaped:?}],{escaped:?}]}}"),
        format!("{{{}\"a\":1}}", "\"Image\":\"\\n\",\"Image\":1,".repeat(100_000)),
    ];
    let mut lines = JsonLines::new(&JsonFields::new(rules.fields()));
    let tags = rules.fields().id("Tags").unwrap();
    let mut read = |line: &str| {
        let line = lines.parse(line.as_bytes()).unwrap();
        let mut values = 0;
        let mut count = |_: FieldValue<'_>| {
            values += 1;
            ControlFlow::Continue(())
        };
        assert!(line.elements(tags, &mut count).is_continue());
        assert!(line.each_value(&mut count).is_continue());
        values
    };
    read("{}");
    for line in &huge {
        let counted = allocation_counter::measure(|| assert!(read(line) > 1));
        assert!(counted.bytes_current > 1 << 20, "{counted:?}");
        let counted_after = allocation_counter::measure(|| assert_eq!(read("{}"), 0));
        let left = counted.bytes_current + counted_after.bytes_current;
        assert!(left < 1 << 20, "{counted:?} {counted_after:?}");
    }
}

#[test]
fn what_correlations_hold_never_takes_more_than_the_bound() {
    const BOUND: usize = 4 << 20;
    for body in [
        "type: event_count, condition: {gte: 10}",
        "type: value_count, condition: {field: v, gte: 10}",
        "type: event_count, condition: {lt: 2}",
    ] {
        let text = format!(
            "title: A\nid: a\nlogsource: {{product: test}}\ndetection: {{s: {{x: a}}, condition: s}}\n---\n\
             title: C\nid: c\ncorrelation: {{rules: [a], group-by: [g], timespan: 1h, {body}}}\n"
        );
        let rules = RuleSet::from_yaml(&text).unwrap();
        let rule = rules.rule("a").unwrap();
        let agent = AgentId::new("one").unwrap();
        let origin = Origin::new(&TenantId::default(), &agent, BootId::from_u128(7));
        let mut options = CorrelatorOptions::default();
        options.state_bytes_max = BOUND;
        let mut correlator = Correlator::new(rules.clone(), options);
        let mut alerts = Vec::new();
        let held = allocation_counter::measure(|| {
            for number in 0..100_000_u64 {
                let (group, value) = (format!("group-{}", number / 3), number.to_string());
                let fields = [("g", FieldValue::from(&group)), ("v", FieldValue::from(&value))];
                let record = FlatRecord::new(rules.fields(), fields);
                let time = Timestamp::from_millis(1_700_000_000_000 + number.cast_signed());
                let at = EventStamp { id: origin.event(number), time };
                correlator.observe(rule, at, &record, &mut alerts);
            }
        });
        assert!(correlator.counters().evicted > 0, "{body}");
        assert!(held.bytes_max as usize <= BOUND, "{body}: {held:?}");
        assert!(held.bytes_max as usize >= BOUND / 2, "{body}: the bound is not used: {held:?}");
    }
}

#[test]
fn what_a_cell_with_its_alert_makes_superfluous_is_forgotten() {
    let rules = RuleSet::from_yaml(
        "title: A\nid: a\nlogsource: {product: test}\ndetection: {s: {x: a}, condition: s}\n---\n\
         title: C\nid: c\ncorrelation: {type: event_count, rules: [a], group-by: [g], timespan: 10s, condition: {gte: 100}}\n",
    )
    .unwrap();
    let rule = rules.rule("a").unwrap();
    let agent = AgentId::new("one").unwrap();
    let origin = Origin::new(&TenantId::default(), &agent, BootId::from_u128(7));
    let mut options = CorrelatorOptions::default();
    options.lateness = std::time::Duration::ZERO;
    let mut correlator = Correlator::new(rules.clone(), options);
    let mut alerts = Vec::new();
    for number in 0..5_000_u64 {
        let record = FlatRecord::new(rules.fields(), [("g", FieldValue::from("one"))]);
        let time = Timestamp::from_millis(1_700_000_000_000 + 10 * number.cast_signed());
        correlator.observe(
            rule,
            EventStamp { id: origin.event(number + 1), time },
            &record,
            &mut alerts,
        );
    }
    assert_eq!(alerts.len(), 5, "one for each timespan");
    // A hundred elements of two words, a half of that of room to move, and the group itself; never those of two cells.
    let held = correlator.state_bytes();
    assert!(held < 3_000, "{held}");
}

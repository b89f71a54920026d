//! Evaluating an event that nothing matches allocates nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::num::NonZeroU32;
use std::sync::Arc;

use lavender_core::Detector;
use lavender_detect::{
    FieldValue, FlatRecord, LogSource, RuleHandle, RuleSetBuilder, StatsOptions,
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
    let rules = lavender_detect::RuleSet::from_yaml(
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

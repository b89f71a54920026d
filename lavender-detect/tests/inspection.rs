//! Looking at rules without running them: partial loading, lint, coverage, hosts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;

use lavender_core::event::EventKind;
use lavender_detect::{
    BlockReason, Coverage, Finding, HostCapabilities, Loaded, RuleSetBuilder, Smell, attack,
    blocked_rules, lint,
};

fn rule(id: &str, detection: &str) -> String {
    format!(
        "title: Rule {id}\nid: {id}\nstatus: test\nlevel: low\ndescription: d\ntags: [attack.t1059]\n\
         falsepositives: [f]\nlogsource: {{product: linux, category: process_creation}}\n\
         detection:\n{detection}\n"
    )
}

fn partial(files: &[(&str, &str)]) -> (Loaded, Vec<String>) {
    let mut builder = RuleSetBuilder::new();
    for (name, text) in files {
        builder.add_str(name, text);
    }
    let (loaded, faults) = builder.build_partial();
    (loaded, faults.iter().map(ToString::to_string).collect())
}

fn ids(loaded: &Loaded) -> Vec<String> {
    loaded.rules.iter().map(|rule| rule.meta().id.to_string()).collect()
}

#[test]
fn what_loads_is_there_and_what_does_not_is_told() {
    let good = rule("good", "  a: {Image: /bin/a}\n  condition: a");
    let later = rule("later", "  a: {Image: /bin/b}\n  condition: a");
    let bad_value = rule("bad-value", "  a: {Image|cidr: nowhere}\n  condition: a");
    let bad_name = rule("bad-name", "  a: {Image: /bin/a}\n  condition: b");
    let (loaded, faults) = partial(&[
        ("good.yml", &good),
        ("bad-value.yml", &bad_value),
        ("bad-name.yml", &bad_name),
        ("again.yml", &good),
        ("later.yml", &later),
    ]);
    assert_eq!(ids(&loaded), ["good", "later"]);
    assert_eq!(loaded.files, 5);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults[0]
            .starts_with("again.yml:1: its id `good` is already that of the rule at good.yml:1")
    );
    assert!(faults[1].starts_with("bad-name.yml:11: "), "{faults:?}");
    assert!(faults[2].starts_with("bad-value.yml:10: "), "{faults:?}");
}

#[test]
fn a_filter_with_a_fault_changes_no_rule() {
    let good = rule("good", "  a: {Image: /bin/a}\n  condition: a");
    let filter = |value: &str| {
        format!(
            "title: Filter\nlogsource: {{product: linux, category: process_creation}}\n\
             filter:\n  rules: [good]\n  f: {{SourceIp|cidr: {value}}}\n  condition: not f\n"
        )
    };
    let fields = |filter: &str| {
        let (loaded, faults) = partial(&[("good.yml", &good), ("filter.yml", filter)]);
        let rule = loaded.rules.rule("good").unwrap();
        (loaded.rules.fields_of(rule).len(), loaded.filters, faults.len())
    };
    assert_eq!(fields(&filter("192.0.2.0/24")), (2, 1, 0));
    assert_eq!(fields(&filter("nowhere")), (1, 0, 1));
}

fn smells(detection: &str) -> Vec<(Smell, u32)> {
    let text = rule("r", detection);
    let (loaded, faults) = partial(&[("r.yml", &text)]);
    assert_eq!(faults, [""; 0]);
    let found = lint(&loaded.rules, [("r.yml", &*text)], [("r.test.yml", "rule: r")]);
    found.into_iter().map(|Finding { smell, line, .. }| (smell, line)).collect()
}

#[test]
fn searches_are_used_through_patterns_and_by_several_conditions() {
    let two = "  sel_a: {Image: /bin/a}\n  sel_b: {Image: /bin/b}\n";
    assert_eq!(smells(&format!("{two}  condition: 1 of sel_*")), []);
    assert_eq!(smells(&format!("{two}  condition: all of them")), []);
    assert_eq!(smells(&format!("{two}  condition: [sel_a, sel_b]")), []);
    assert_eq!(smells(&format!("{two}  condition: sel_b")), [(Smell::UnusedSearch, 10)]);
    let hidden = "  _a: {Image: /bin/a}\n  b: {Image: /bin/b}\n  condition: all of them";
    assert_eq!(smells(hidden), [(Smell::UnusedSearch, 10)]);
}

#[test]
fn contradictions_are_found_however_deep_and_alternatives_are_none() {
    let tests = "  a: {Image: /bin/a}\n  b: {User: root}\n";
    let never = [(Smell::NeverMatches, 1)];
    assert_eq!(smells(&format!("{tests}  condition: a and b and not a")), never);
    assert_eq!(smells(&format!("{tests}  condition: (a and b) and not (a or b)")), never);
    assert_eq!(smells(&format!("{tests}  condition: a and not b")), []);
    assert_eq!(smells(&format!("{tests}  condition: (a and not b) or (b and not a)")), []);
    let broad = [(Smell::MatchesNothingInParticular, 1)];
    assert_eq!(smells(&format!("{tests}  condition: a or not b")), broad);
    let absent = "  a: {Image: null}\n  condition: a";
    assert_eq!(smells(absent), broad);
}

#[test]
fn nested_lists_and_keywords_are_looked_into() {
    assert_eq!(smells("  a: [{Image: [/bin/a]}, {User: root}]\n  condition: a").len(), 1);
    assert_eq!(smells("  a: [word]\n  condition: a"), [(Smell::ListOfOne, 10)]);
    assert_eq!(smells("  a: {'|all': [one, two]}\n  condition: a"), []);
    assert_eq!(smells("  a: {'|all': [one]}\n  condition: a"), [(Smell::AllOfOne, 10)]);
}

#[test]
fn tags_of_attack_have_a_form() {
    for good in [
        "attack.t1059",
        "attack.t1059.004",
        "attack.stealth",
        "attack.defense-evasion",
        "attack.g0016",
        "attack.s0002",
        "attack.ds0009",
        "attack.m1040",
    ] {
        assert!(attack::is_tag(good), "{good}");
    }
    for bad in [
        "attack.",
        "attack.t105",
        "attack.t1059.04",
        "attack.t1059.0044",
        "attack.T1059",
        "attack.defense_evasion",
        "attack.tx059",
        "cve.2021-4034",
        "t1059",
    ] {
        assert!(!attack::is_tag(bad), "{bad}");
    }
}

#[test]
fn every_former_name_leads_to_a_present_one() {
    for former in ["T1562", "T1562.001", "T1562.012", "T1070.001", "T1574.002"] {
        let current = attack::current_technique(former);
        assert_ne!(current, former);
        assert_eq!(attack::current_technique(current), current);
    }
    assert_eq!(attack::current_tactics("impact"), ["impact"]);
    assert_eq!(attack::current_tactics("mischief"), [""; 0]);
}

#[test]
fn the_rules_that_come_along_can_all_fire_where_everything_is_seen() {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    let rules = builder.build().unwrap().rules;
    let probes: Vec<String> = [
        "exec",
        "exit",
        "file_open",
        "net_connect",
        "ptrace",
        "module_load",
        "bpf",
        "mount",
        "ns_change",
        "memory_protect",
    ]
    .iter()
    .map(|kind| format!(r#"{{"kind":"{kind}","status":"available"}}"#))
    .collect();
    let table = format!(r#"{{"probes":[{}]}}"#, probes.join(","));
    let host = HostCapabilities::from_json(&table).unwrap();
    assert_eq!(blocked_rules(&rules, &host), []);

    // No probe sees look-ups, and rules on them are told so.
    let look_up = rule("q", "  a: {QueryName|endswith: .onion}\n  condition: a")
        .replace("process_creation", "dns_query");
    let (loaded, _) = partial(&[("q.yml", &look_up)]);
    let blocked = blocked_rules(&loaded.rules, &host);
    assert!(
        matches!(&blocked[0].reasons[..], [BlockReason::Kind { kind: EventKind::DnsQuery, why }] if why.contains("no probe")),
        "{blocked:?}"
    );
    assert_eq!(Coverage::of(&rules).without_technique, 0);

    let none = HostCapabilities::from_json(r#"{"probes":[]}"#).unwrap();
    let all = rules.len() + rules.correlations().len();
    assert_eq!(blocked_rules(&rules, &none).len(), all, "without rules no correlation either");
    // What a correlation is for counts, and not what it only rests on.
    let shown = Coverage::of(&rules).techniques.into_iter().flat_map(|covered| covered.rules);
    let shown: BTreeSet<_> = shown.collect();
    assert!(
        shown.contains(&Arc::from("Reverse Shell")) && !shown.contains(&Arc::from("Shell Started")),
        "{shown:?}"
    );
}

#[test]
fn a_correlation_cannot_fire_without_the_rules_that_it_needs() {
    let exec = rule("exec", "  a: {Image: /bin/a}\n  condition: a");
    let never = rule("never", "  a: {Image: /bin/a}\n  condition: a and not a");
    let correlation = |name: &str, kind: &str, rules: &str, more: &str| {
        format!(
            "title: {name}\nid: {name}\nname: {name}\ncorrelation: {{type: {kind}, rules: [{rules}], timespan: 1m{more}}}\n"
        )
    };
    let count = ", condition: {gte: 2}";
    let texts = [
        exec,
        never,
        correlation("some", "event_count", "exec, never", count),
        correlation("none", "event_count", "never", count),
        correlation("few", "event_count", "never", ", condition: {lt: 2}"),
        correlation("ordered", "temporal_ordered", "exec, never", ""),
        correlation("together", "temporal", "exec, never", ""),
        correlation("either", "temporal", "exec, never", ", condition: exec or never"),
        correlation("above", "event_count", "ordered", count),
        correlation("unless", "temporal_ordered", "exec, never, some", "")
            + "lavender: {missing: [never]}\n",
    ];
    let files: Vec<(&str, &str)> = texts.iter().map(|text| ("all.yml", text.as_str())).collect();
    let (loaded, faults) = partial(&files);
    assert_eq!(loaded.rules.correlations().len(), 8, "{faults:?}");
    let table = r#"{"probes":[{"kind":"exec","status":"available"}]}"#;
    let blocked = blocked_rules(&loaded.rules, &HostCapabilities::from_json(table).unwrap());
    let ids: BTreeSet<&str> = blocked.iter().map(|rule| &*rule.title).collect();
    assert_eq!(ids, ["Rule never", "above", "few", "none", "ordered", "together"].into());
    let above = blocked.iter().find(|rule| &*rule.title == "above").unwrap();
    assert_eq!(above.reasons, [BlockReason::Members { rules: vec!["ordered".into()] }]);
}

#[test]
fn keywords_and_contradictions_have_reasons_of_their_own() {
    let keywords =
        rule("k", "  a: [some, words]\n  condition: a").replace(", category: process_creation", "");
    let never = rule("n", "  a: {Image: /bin/a}\n  condition: a and not a");
    let (loaded, _) = partial(&[("k.yml", &keywords), ("n.yml", &never)]);
    let table = r#"{"probes":[{"kind":"exec","status":"available"}]}"#;
    let host = HostCapabilities::from_json(table).unwrap();
    let blocked = blocked_rules(&loaded.rules, &host);
    assert_eq!(blocked[0].reasons, [BlockReason::Keywords]);
    assert_eq!(blocked[1].reasons, [BlockReason::Never]);
}

//! What rules have the kernel prevent: exactly what they say, or nothing, with the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lavender_core::event::{Event, EventData};
use lavender_core::{
    Detector as _, Outcome, PreventionAction, ResponseAction, ResponseCause, ResponseOrder,
    ResponseOutcome, ResponseTarget,
};
use lavender_detect::{Preventions, RuleHandle, RuleSet, RuleSetBuilder, Smell, lint};
use support::{exec, process};

fn rule(category: &str, detection: &str) -> String {
    format!(
        "title: A rule\nid: a-rule\nlogsource: {{{category}, product: linux}}\n\
         detection:\n{detection}\nlavender: {{prevent: kill}}\n"
    )
}

fn preventions(rule: &str) -> Preventions {
    RuleSet::from_yaml(rule).unwrap().preventions()
}

/// The tests that one selection comes to.
fn tests(category: &str, selection: &str) -> Vec<String> {
    let detection = format!("  one: {{{selection}}}\n  condition: one");
    let preventions = preventions(&rule(&format!("category: {category}"), &detection));
    assert_eq!(preventions.undecidable, [], "{selection}");
    let [rule] = preventions.plan.rules() else { panic!("{selection}: no rule") };
    assert_eq!((&*rule.id, rule.action), ("a-rule", PreventionAction::Kill));
    rule.tests.iter().map(ToString::to_string).collect()
}

/// Why a selection comes to none.
fn why(category: &str, detection: &str) -> String {
    let preventions = preventions(&rule(category, detection));
    assert!(preventions.plan.is_empty(), "{detection}: {:?}", preventions.plan);
    let [rule] = &preventions.undecidable[..] else { panic!("{detection}") };
    rule.why.to_string()
}

#[test]
fn what_the_kernel_compares_is_taken() {
    for (category, selection, expected) in [
        ("process_creation", "Image: /tmp/Evil", &["exec of /tmp/evil"][..]),
        ("process_creation", "Image|endswith: /evil", &["exec of */evil"]),
        ("process_creation", "Image|startswith: /dev/shm/", &["exec of /dev/shm/*"]),
        ("process_creation", "Image: [/a, /b/c]", &["exec of /a", "exec of /b/c"]),
        ("process_creation", "ScriptPath|endswith: /x.sh", &["exec as */x.sh"]),
        ("process_creation", "ScriptPath: ./x.sh", &["exec as ./x.sh"]),
        ("file_event", "TargetFilename: /etc/ld.so.preload", &["change of /etc/ld.so.preload"]),
        ("file_access", "TargetFilename|startswith: /srv/keys/", &["read of /srv/keys/*"]),
        ("network_connection", "DestinationPort: 4444", &["connect to port 4444"]),
        ("network_connection", "DestinationIp: 2001:db8::1", &["connect to 2001:db8::1"]),
        (
            "network_connection",
            "DestinationIp: 192.0.2.1, DestinationPort: [1, 2]",
            &["connect to 192.0.2.1 port 1", "connect to 192.0.2.1 port 2"],
        ),
    ] {
        assert_eq!(tests(category, selection), expected, "{selection}");
    }
}

#[test]
fn any_of_several_selections_is_taken() {
    let detection = "  one: {Image: /a}\n  two: {Image|endswith: /b}\n  condition: 1 of them";
    let preventions = preventions(&rule("category: process_creation", detection));
    let tests = preventions.plan.rules()[0].tests.iter().map(ToString::to_string);
    assert_eq!(tests.collect::<Vec<_>>(), ["exec of /a", "exec of */b"]);
}

#[test]
fn whatever_else_a_rule_says_is_refused_with_the_reason() {
    let process = "category: process_creation";
    let one = |selection: &str| format!("  one: {{{selection}}}\n  condition: one");
    for (category, detection, expected) in [
        (process, one("CommandLine: x"), "it compares `CommandLine`"),
        (process, one("Image: /a, User: root"), "it compares `User`"),
        (process, one("Image: /a, ScriptPath: /b"), "it compares several fields together"),
        (process, one("Image|contains: evil"), "`*evil*` is no path, no folder and no name"),
        (process, one("Image|endswith: evil"), "`*evil` is no path, no folder and no name"),
        (
            process,
            one("Image|endswith: /bin/evil"),
            "`*/bin/evil` is no path, no folder and no name",
        ),
        (process, one("Image|startswith: /tmp"), "`/tmp*` is no path, no folder and no name"),
        (process, one("Image|startswith: /"), "`/*` is no path, no folder and no name"),
        (process, one("Image: '/tmp/*/x'"), "`/tmp/*/x` is no path, no folder and no name"),
        (process, one("Image: evil"), "`evil`: the kernel writes no path so"),
        (process, one("Image: /tmp/../evil"), "`/tmp/../evil`: the kernel writes no path so"),
        (process, one("Image: /tmp/é"), "`/tmp/é`: it has other characters than ASCII"),
        (process, one("Image|cased: /tmp/Evil"), "it compares `Image` by case"),
        (process, one("Image|re: /tmp/.*"), "it compares `Image` other than by whole texts"),
        (process, one("Image: null"), "it compares `Image` other than by whole texts"),
        (process, one("ParentImage: /a"), "it compares `ParentImage`"),
        (process, "  one: {Image: /a}\n  condition: not one".to_owned(), "it makes an exception"),
        (
            process,
            "  one: {Image: /a}\n  two: {User: root}\n  condition: one and not two".to_owned(),
            "it makes an exception",
        ),
        (process, "  one: [evil]\n  condition: one".to_owned(), "it looks for keywords"),
        ("category: file_event", one("Image: /a"), "it compares `Image`"),
        ("category: file_delete", one("TargetFilename: /a"), "its category is `file_delete`"),
        ("service: auditd", one("type: EXECVE, a0: x"), "its log source is not one category"),
        (
            "category: network_connection",
            one("DestinationIp|cidr: 192.0.2.0/24"),
            "it compares `DestinationIp` other than by whole texts",
        ),
        (
            "category: network_connection",
            one("DestinationPort: '044'"),
            "`044` is not a port as events have it",
        ),
        (
            "category: network_connection",
            one("DestinationIp: '2001:DB8:0::1'"),
            "`2001:db8:0::1` is not an address as events have it",
        ),
        ("category: network_connection", one("Initiated: 'true'"), "it compares `Initiated`"),
    ] {
        assert_eq!(why(category, &detection), expected, "{detection}");
    }
}

#[test]
fn one_that_cannot_be_decided_as_a_whole_is_not_decided_in_part() {
    let detection = "  one: {Image: /a}\n  two: {CommandLine: b}\n  condition: one or two";
    assert_eq!(why("category: process_creation", detection), "it compares `CommandLine`");
}

#[test]
fn a_filter_makes_an_exception() {
    let filter = "title: Not here
logsource: {category: process_creation, product: linux}
filter:
  rules: [a-rule]
  selection: {User: root}
  condition: not selection
";
    let mut builder = RuleSetBuilder::new();
    let detection = "  one: {Image: /a}\n  condition: one";
    builder.add_str("rule", &rule("category: process_creation", detection));
    builder.add_str("filter", filter);
    let preventions = builder.build().unwrap().rules.preventions();
    assert!(preventions.plan.is_empty());
    assert_eq!(preventions.undecidable.len(), 1);
}

#[test]
fn whoever_writes_such_a_rule_is_told() {
    let of = |detection: &str| {
        let text = rule("category: process_creation", detection);
        let rules = RuleSet::from_yaml(&text).unwrap();
        let findings = lint(&rules, [("rules", &*text)], []).into_iter();
        let findings = findings.filter(|finding| finding.smell == Smell::Unpreventable);
        findings.map(|finding| finding.message).collect::<Vec<_>>()
    };
    assert_eq!(of("  one: {Image: /a}\n  condition: one"), [""; 0]);
    let expected = "the kernel can't decide it: it compares `User`";
    assert_eq!(of("  one: {User: a}\n  condition: one"), [expected]);
}

#[test]
fn without_the_key_nothing_is_prevented_and_a_wrong_one_is_a_fault() {
    let detection = "  one: {Image: /a}\n  condition: one";
    let text = rule("category: process_creation", detection);
    let plain = text.replace("lavender: {prevent: kill}", "");
    assert_eq!(preventions(&plain), Preventions::default());
    for (wrong, expected) in [
        ("prevent: shoot", "`shoot` is not a way to prevent: deny, kill"),
        ("prevent: [kill]", "`prevent` is one of deny, kill, not"),
    ] {
        let faults = RuleSet::from_yaml(&text.replace("prevent: kill", wrong)).unwrap_err();
        assert!(faults.to_string().contains(expected), "{faults}");
    }
}

/// What the rules find in what the kernel says that it did by this rule.
fn found(rules: &str, id: &str, action: ResponseAction, outcome: Outcome) -> Vec<String> {
    let shell = process("/bin/sh", &["sh"], None);
    let order = ResponseOrder {
        cause: ResponseCause::Rule(id.into()),
        action,
        target: ResponseTarget::Process(shell.id()),
        decided_by: "in the kernel: a test".into(),
    };
    let done = EventData::Response(ResponseOutcome::new(order, outcome));
    let event = Arc::new(Event { data: done, ..Event::clone(&exec(shell)) });
    let mut detector = RuleHandle::new(RuleSet::from_yaml(rules).unwrap()).detector();
    let mut detections = Vec::new();
    detector.detect(&event, &mut detections);
    let told = |detection: &lavender_core::Detection| {
        assert!(Arc::ptr_eq(&detection.event, &event) && detection.certainty.is_certain());
        let [evidence] = &detection.evidence[..] else { panic!("{detection:?}") };
        assert_eq!(
            (&*evidence.field, &*evidence.value),
            ("decided_by", &b"in the kernel: a test"[..])
        );
        detection.rule.id.to_string()
    };
    detections.iter().map(told).collect()
}

#[test]
fn what_is_refused_and_seen_by_nobody_else_is_found_by_its_rule() {
    let of = |category: &str, selection: &str| {
        rule(&format!("category: {category}"), &format!("  one: {{{selection}}}\n  condition: one"))
    };
    let program = of("process_creation", "Image: /tmp/evil");
    let written = of("file_event", "TargetFilename: /etc/ld.so.preload");
    let read = of("file_access", "TargetFilename: /etc/shadow");
    let peer = of("network_connection", "DestinationPort: 4444");
    let failed = || Outcome::Failed { reason: "the signal was not sent".into() };
    use ResponseAction::{Deny, Kill};
    for (rules, action, outcome, expected) in [
        (&program, Deny, Outcome::Done, true),
        // It was started, and its exec is an event.
        (&program, Kill, Outcome::Done, false),
        (&program, Deny, Outcome::DryRun, false),
        (&written, Deny, Outcome::Done, true),
        (&written, Kill, Outcome::Done, true),
        (&written, Kill, failed(), true),
        (&written, Kill, Outcome::DryRun, false),
        // A call that failed, which the rule finds as any other.
        (&read, Deny, Outcome::Done, false),
        (&peer, Deny, Outcome::Done, false),
    ] {
        let expected = if expected { vec!["a-rule"] } else { Vec::new() };
        assert_eq!(found(rules, "a-rule", action, outcome), expected, "{rules}");
        assert!(found(rules, "another-rule", action, Outcome::Done).is_empty());
    }
    // One that prevents nothing did not do this.
    let plain = program.replace("lavender: {prevent: kill}", "");
    assert!(found(&plain, "a-rule", Deny, Outcome::Done).is_empty());
}

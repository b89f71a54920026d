//! What rules need of the sensor: whatever an event that any rule could match looks like, the plan lets it through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generator;
mod support;

use std::sync::Arc;

use generator::{any_text, condition};
use lavender_core::event::{
    Event, EventData, EventKind, FileDelete, FileOpen, NetAccept, NetBind, NetConnect,
    NetworkTransport, OpenFlags, SyscallResult,
};
use lavender_core::{ByteString, Captured, Detector, Provenance};
use lavender_detect::{RuleHandle, RuleSet, RuleSetBuilder, SigmaDetector, UndeterminedPolicy};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use support::{event, process};

const PATH_PARTS: &[&str] = &[
    "/etc",
    "/Etc",
    "/shadow",
    "/SHADOW",
    "/",
    "/cron.d",
    "/var",
    "/spool",
    "/\u{212a}ey",
    "/key",
    "/été",
    "/a",
    "a",
    "/abcdefghijklmnopqrstuvwxyzabcde",
];
const PATTERN_PARTS: &[&str] = &[
    "/etc",
    "/ETC",
    "/shadow",
    "/",
    "/cron.d",
    "/var",
    "/spool",
    "/key",
    "/été",
    "/a",
    "a",
    "*",
    "?",
    "/abcdefghijklmnopqrstuvwxyzabcd",
];

fn search() -> impl Strategy<Value = Value> {
    let path = prop::sample::select(vec!["TargetFilename", "name"]);
    let modifiers = prop::sample::select(vec![
        "",
        "|startswith",
        "|endswith",
        "|contains",
        "|cased",
        "|startswith|cased",
        "|neq",
        "|re",
        "|endswith|windash",
    ]);
    let texts = prop::collection::vec(any_text(PATTERN_PARTS, 4), 1..4);
    let path = (path, modifiers, texts)
        .prop_map(|(field, modifiers, texts)| match modifiers {
            "|re" => (format!("{field}|re"), json!("shad.w$")),
            _ => (format!("{field}{modifiers}"), json!(texts)),
        })
        .boxed();
    let ports = prop::sample::select(vec![json!(53), json!("443"), json!([53, 4444]), json!("4*")]);
    let port = prop::sample::select(vec!["SourcePort", "DestinationPort", "DestinationPort|neq"]);
    let port = (port, ports).prop_map(|(field, value)| (field.to_owned(), value)).boxed();
    let results = ["success", "ENOENT", "EACCES", "E*", "115", "*"];
    let result = prop::sample::select(vec!["Result", "Result|neq"]);
    let result = (result, prop::sample::select(results.to_vec()))
        .prop_map(|(field, value)| (field.to_owned(), json!(value)))
        .boxed();
    let other = prop::sample::select(vec![
        ("Access", json!("read")),
        ("Access|neq", json!("write")),
        ("Image", json!("/usr/bin/cat")),
        ("type", json!("PATH")),
        ("Initiated", json!(true)),
        ("TargetFilename|fieldref", json!("Image")),
        ("TargetFilename", Value::Null),
    ]);
    let other = other.prop_map(|(field, value)| (field.to_owned(), value)).boxed();
    let item = prop_oneof![4 => path, 2 => port, 2 => result, 2 => other];
    let map = prop::collection::vec(item, 1..4)
        .prop_map(|items| Value::Object(items.into_iter().collect::<Map<_, _>>()))
        .boxed();
    prop_oneof![
        8 => map.clone(),
        2 => prop::collection::vec(map, 1..3).prop_map(Value::from),
        1 => prop::sample::select(vec!["shadow", "etc"]).prop_map(|word| json!([word])),
    ]
}

fn rule() -> impl Strategy<Value = Value> {
    let logsource = prop::sample::select(vec![
        json!({"product": "linux", "category": "file_event"}),
        json!({"product": "linux", "category": "file_access"}),
        json!({"product": "linux", "category": "file_delete"}),
        json!({"product": "linux", "category": "network_connection"}),
        json!({"product": "linux", "category": "net_bind"}),
        json!({"product": "linux", "category": "net_accept"}),
        json!({"product": "linux", "service": "auditd"}),
        json!({"product": "linux"}),
    ]);
    (logsource, search(), search(), search(), condition()).prop_map(
        |(of, a, b, hidden, condition)| {
            json!({
                "title": "Test",
                "logsource": of,
                "detection": {"sel_a": a, "sel_b": b, "_hidden": hidden, "condition": condition},
            })
        },
    )
}

fn path() -> impl Strategy<Value = Captured<ByteString>> {
    let whole = prop::collection::vec(prop::sample::select(PATH_PARTS), 1..5).prop_map(|parts| {
        // As the sensor makes them: absolute, without doubled slashes.
        let text = format!("/{}", parts.concat());
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        format!("/{}", parts.join("/"))
    });
    (whole, 0..10_u8, 0..6_usize).prop_map(|(path, how, cut)| match how {
        0 => Captured::unreadable(),
        1..=3 => {
            let kept = &path.as_bytes()[cut.min(path.len())..];
            Captured::new(kept.into(), Provenance::Truncated { true_length: 0 })
        }
        _ => Captured::complete(path.as_str().into()),
    })
}

fn data() -> impl Strategy<Value = EventData> {
    let result =
        || prop::sample::select(vec![0, 3, -2, -13, -115, -111, -511]).prop_map(SyscallResult);
    let flags =
        prop::sample::select(vec![0_u32, 1, 2, 0o101, 0o1000, 0o10000000, 0o100, 0o20200002]);
    let port = || prop::sample::select(vec![0_u16, 53, 443, 4444]);
    let side = move || port().prop_map(|port| ([192, 0, 2, 7], port).into());
    let transport = NetworkTransport::Tcp;
    prop_oneof![
        4 => (path(), flags, result()).prop_map(|(path, flags, result)| {
            let (flags, mode, inode, device) = (OpenFlags(flags), 0, 1, 1);
            EventData::FileOpen(FileOpen { path, flags, mode, result, inode, device })
        }),
        1 => (path(), result()).prop_map(|(path, result)| {
            EventData::FileDelete(FileDelete { path, directory: false, result })
        }),
        2 => (side(), prop::option::of(side()), result()).prop_map(move |(destination, source, result)| {
            EventData::NetConnect(NetConnect { transport, source, destination, result })
        }),
        1 => (side(), result()).prop_map(move |(local, result)| {
            EventData::NetBind(NetBind { transport, local, result })
        }),
        1 => (side(), side()).prop_map(move |(local, peer)| {
            EventData::NetAccept(NetAccept { transport, local, peer })
        }),
    ]
}

fn load(rules: &[Value]) -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    for (number, rule) in rules.iter().enumerate() {
        let mut rule = rule.clone();
        rule["id"] = format!("id-{number}").into();
        builder.add_str("generated", &rule.to_string());
    }
    builder.build().unwrap_or_else(|errors| panic!("{errors}\n{rules:#?}")).rules
}

/// Whether any rule matches, or could not be decided.
fn matters(rules: &RuleSet, event: &Arc<Event>) -> bool {
    let handle = RuleHandle::new(rules.clone());
    let mut detector = SigmaDetector::new(&handle, UndeterminedPolicy::Report);
    let mut found = Vec::new();
    detector.detect(event, &mut found);
    !found.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_event_that_a_rule_could_match_is_left_out(
        rules in prop::collection::vec(rule(), 1..4),
        events in prop::collection::vec(data(), 1..12),
    ) {
        let set = load(&rules);
        let plan = set.sensor_plan();
        let each: Vec<_> = set.iter().map(|rule| set.sensor_plan_of(rule)).collect();
        for data in events {
            let event = event(process("/usr/bin/cat", &["cat"], None), data);
            if matters(&set, &event) {
                prop_assert!(plan.passes(&event), "{:?}\n{:#?}\n{:#?}", event.data, plan, rules);
                let one = each.iter().any(|plan| plan.passes(&event));
                prop_assert!(one, "no rule's own plan has it: {:?}", event.data);
            }
        }
    }
}

/// What is kept of a path that was cut is its end, which may begin within a name.
#[test]
fn a_path_that_was_cut_is_left_out_only_where_no_rule_could_match() {
    for (kept, pattern, expected) in [
        ("/etc", "?/cron.d", false),
        ("n.d", "?/cron.d", true),
        ("/cron.d", "/etc/*/cron.d", true),
        ("on.d", "*/cron.d", true),
        ("/on.d", "*/cron.d", false),
        ("x", "*/cron.d", true),
    ] {
        let set = load(&[json!({
            "title": "Test",
            "logsource": {"product": "linux", "category": "file_event"},
            "detection": {"selection": {"TargetFilename": pattern}, "condition": "selection"},
        })]);
        let path = Captured::new(kept.into(), Provenance::Truncated { true_length: 0 });
        let (flags, mode, result) = (OpenFlags(1), 0, SyscallResult(3));
        let (inode, device) = (1, 1);
        let data = EventData::FileOpen(FileOpen { path, flags, mode, result, inode, device });
        let event = event(process("/usr/bin/cat", &["cat"], None), data);
        assert_eq!(set.sensor_plan().passes(&event), expected, "{kept} {pattern}");
        assert!(expected || !matters(&set, &event), "{kept} {pattern}");
    }
}

fn plan_of(logsource: &str, search: &str) -> lavender_core::SensorPlan {
    let text = format!(
        "title: Test\nlogsource: {{product: linux, {logsource}}}\n\
         detection:\n  selection: {search}\n  condition: selection\n"
    );
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}")).sensor_plan()
}

/// The keys for a kind; `None` where all of it is needed in some case.
fn keys(plan: &lavender_core::SensorPlan, kind: EventKind) -> Option<Vec<String>> {
    let selection = plan.selection(kind).expect("it is needed");
    let keyed = selection.cases().is_empty();
    keyed.then(|| selection.keys().map(|(key, _)| key.to_string()).collect())
}

/// A plan that takes in everything is sound and useless: these are as narrow as they can be.
#[test]
fn literal_texts_become_keys() {
    for (logsource, search, kind, expected) in [
        (
            "category: file_event",
            "{TargetFilename: [/etc/Crontab, /etc/cron.d/*]}",
            EventKind::FileOpen,
            &["*/crontab", "/etc/cron.d/*"][..],
        ),
        (
            "category: file_event",
            "{TargetFilename|endswith: /.ssh/id_rsa}",
            EventKind::FileOpen,
            &["*/id_rsa"],
        ),
        (
            "category: file_event",
            "{TargetFilename: '/home/*/.netrc'}",
            EventKind::FileOpen,
            &["*/.netrc"],
        ),
        (
            "category: file_access",
            "{TargetFilename|startswith: /proc/, Result: success}",
            EventKind::FileOpen,
            &["/proc/*"],
        ),
        (
            "service: auditd",
            "{type: PATH, nametype: NORMAL, name: /etc/passwd}",
            EventKind::FileOpen,
            &["*/passwd"],
        ),
        (
            "category: network_connection",
            "{DestinationPort: [4444, 1337], Image|endswith: /nc}",
            EventKind::NetConnect,
            &["to port 1337", "to port 4444"],
        ),
        ("category: net_listen", "{SourcePort: 4444}", EventKind::NetListen, &["from port 4444"]),
    ] {
        let plan = plan_of(logsource, search);
        let found = keys(&plan, kind);
        // An open that failed is not looked up: unless the rule asks for success, all of them are needed.
        let Some(found) = found else {
            let failed = plan.selection(kind).unwrap().cases();
            assert!(failed.iter().all(|case| !case.succeeded), "{search}: {plan:?}");
            continue;
        };
        assert_eq!(found, expected, "{search}");
    }
    assert!(
        keys(
            &plan_of("category: file_event", "{TargetFilename|contains: /.ssh/}"),
            EventKind::FileOpen
        )
        .is_none()
    );
    assert!(!plan_of("category: file_event", "{Result: EACCES}").wants(EventKind::FileOpen));
    assert!(!plan_of("category: process_creation", "{Image: /a}").wants(EventKind::FileOpen));
}

/// The kernel tells the ids of who acts; those of the parent are known by what it did last.
#[test]
fn who_asks_for_the_parents_user_needs_all_changes_of_ids() {
    let plan = plan_of("category: process_creation", "{ParentUser: www-data}");
    assert!(plan.selection(EventKind::CredChange).unwrap().is_all());
    assert!(
        !plan_of("category: process_creation", "{User: www-data}").wants(EventKind::CredChange)
    );
}

#[test]
fn the_built_in_rules_leave_most_opens_out() {
    let mut builder =
        RuleSetBuilder::new().with_placeholders(lavender_detect::builtin::placeholders());
    builder.add_builtin();
    let plan = builder.build().unwrap().rules.sensor_plan();
    assert!(keys(&plan, EventKind::FileOpen).is_some(), "{plan:?}");
    assert!(plan.wants(EventKind::Ptrace) && !plan.wants(EventKind::FileDelete));
}

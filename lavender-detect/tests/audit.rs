//! Rules for audit's records on Lavender's own events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::sync::Arc;

use lavender_core::event::{Arguments, Event, EventKind, Process, Terminal};
use lavender_core::{Captured, Certainty, Detection, Detector, Provenance};
use lavender_detect::{
    AuditField, AuditView, BlockReason, Evaluator, FieldValue, HostCapabilities, Kept, Record,
    RuleHandle, RuleSet, RuleSetBuilder, SigmaDetector, Truth, UndeterminedPolicy, blocked_rules,
};
use proptest::prelude::*;
use support::{connect, exec, open, process, truncated};

fn text(detection: &str) -> String {
    format!(
        "title: Test\nid: t\nlogsource: {{product: linux, service: auditd}}\ndetection:\n{detection}\n"
    )
}

/// A rule for audit's records.
fn rule(detection: &str) -> RuleSet {
    RuleSet::from_yaml(&text(detection)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One with a single search.
fn search(search: &str) -> RuleSet {
    rule(&format!("  selection: {search}\n  condition: selection"))
}

fn detect_with(policy: UndeterminedPolicy, rules: RuleSet, event: &Arc<Event>) -> Vec<Detection> {
    let mut detector = SigmaDetector::new(&RuleHandle::new(rules), policy);
    let mut found = Vec::new();
    detector.detect(event, &mut found);
    found
}

fn detect(rules: RuleSet, event: &Arc<Event>) -> Vec<Detection> {
    detect_with(UndeterminedPolicy::Report, rules, event)
}

fn run(arguments: &[&str]) -> Process {
    let parent = Arc::new(process("/usr/bin/bash", &["bash"], None));
    process(&format!("/usr/bin/{}", arguments[0]), arguments, Some(parent))
}

#[track_caller]
fn certain(rules: RuleSet, event: &Arc<Event>, expected: usize) {
    let found = detect(rules, event);
    assert_eq!(found.len(), expected, "{found:?}");
    assert!(found.iter().all(|one| one.certainty == Certainty::Certain), "{found:?}");
}

#[test]
fn arguments_are_fields_by_their_number() {
    let event = exec(run(&["xclip", "-sel", "clip", "-t", "image/png", "-o"]));
    for (selection, expected) in [
        ("{type: EXECVE, a0: xclip, a1: [-selection, -sel], a2: [clipboard, clip], a3: -t}", 1),
        ("{type: execve, a4|startswith: image/, a5: -o}", 1),
        ("{type: EXECVE, argc: 6, a6: null, a6|exists: false}", 1),
        ("{type: EXECVE, a0: xclip, a1: [-selection]}", 0),
        ("{type: EXECVE, a6|exists: true}", 0),
        ("{type: EXECVE, a05: -o}", 0),
        // Fields of other records are not in this one, and the other way round.
        ("{type: EXECVE, exe|exists: true}", 0),
        ("{type: SYSCALL, a0: xclip}", 0),
        ("{a5|re: '^-[opq]$'}", 1),
    ] {
        certain(search(selection), &event, expected);
    }
    let many: Vec<String> = (0..40).map(|number| format!("--n={number}")).collect();
    let mut arguments = vec!["seq"];
    arguments.extend(many.iter().map(String::as_str));
    let event = exec(run(&arguments));
    certain(search("{a1: --n=0, a15: --n=14, a16: --n=15, a40: --n=39}"), &event, 1);
    certain(search("{a41|exists: true}"), &event, 0);
    certain(search("{a4294967295|exists: true}"), &event, 0);
}

#[test]
fn an_exec_is_a_system_call_with_its_ids() {
    let mut odd = run(&["kmod", "list"]);
    odd.name = "lsmod".into();
    odd.credentials.euid = 33;
    odd.credentials.gid = 5;
    odd.terminal = Some(Terminal { major: 136, minor: 7 });
    let pids = format!("{{type: SYSCALL, pid: {}, ppid: 100}}", odd.pid);
    let event = exec(odd);
    for (selection, expected) in [
        ("{type: SYSCALL, SYSCALL: [execve, execveat], euid: 33}", 1),
        ("{type: SYSCALL, comm: lsmod, exe: /usr/bin/kmod}", 1),
        ("{type: SYSCALL, exe|endswith: /kmod, success: 'yes', exit: 0, tty: pts7}", 1),
        ("{uid: 0, auid: 1000, UID: root, GID: root, gid: 5, EUID: null, AUID: null}", 1),
        ("{key: null, a0: null, type: SYSCALL}", 1),
        (&pids, 1),
        ("{type: SYSCALL, success: 'no'}", 0),
        ("{type: SYSCALL, SYSCALL: [openat, mknod]}", 0),
        ("{type: SYSCALL, euid: 0}", 0),
        ("{type: CWD, cwd: /root}", 1),
        ("{type: CWD, cwd|startswith: /tmp}", 0),
        ("{type: PATH, name: /usr/bin/kmod, nametype: NORMAL}", 1),
        ("{type: PATH, name: /usr/bin/kmod, nametype: CREATE}", 0),
    ] {
        certain(search(selection), &event, expected);
    }
    for (major, minor, name) in [(4, 1, "tty1"), (4, 64, "ttyS0")] {
        let mut on = run(&["true"]);
        on.terminal = Some(Terminal { major, minor });
        certain(search(&format!("{{tty: {name}}}")), &exec(on), 1);
    }
}

#[test]
fn an_open_has_a_path_and_what_became_of_it() {
    const CREATE: u32 = 0o101;
    const MUST_CREATE: u32 = 0o301;
    let unit = "/etc/systemd/system/x.service";
    let preload = open(run(&["vim"]), "/etc/ld.so.preload", 0o1, 3);
    for (selection, expected) in [
        ("{type: PATH, name: [/etc/profile.d/*, /etc/ld.so.preload], nametype: NORMAL}", 1),
        ("{type: PATH, name: [/etc/profile.d/*]}", 0),
        ("{type: SYSCALL, success: 'yes', exit: 3, comm: vim, exe|endswith: /vim}", 1),
        ("{type: SYSCALL, SYSCALL: [execve, connect]}", 0),
        ("{type: SYSCALL, SYSCALL: null}", 1),
        ("{type: PATH, inode: 1}", 1),
        ("{type: EXECVE}", 0),
        ("{type: CWD}", 0),
    ] {
        certain(search(selection), &preload, expected);
    }
    let created = "{type: PATH, nametype: CREATE, name|startswith: [/etc/systemd/system/]}";
    certain(search(created), &open(run(&["cp"]), unit, MUST_CREATE, 3), 1);
    certain(search(created), &open(run(&["cp"]), unit, 0o1, 3), 0);
    certain(search(created), &open(run(&["cp"]), unit, CREATE, -13), 0);
    certain(search(created), &open(run(&["cp"]), "/tmp/x", CREATE, 3), 0);
    // Such a call makes the file or finds it there.
    let found = detect(search(created), &open(run(&["cp"]), unit, CREATE, 3));
    let fields = vec!["nametype".into()];
    assert_eq!(found[0].certainty, Certainty::Undetermined { fields });

    let denied = open(run(&["cat"]), "/etc/shadow", 0, -13);
    certain(search("{type: SYSCALL, success: 'no', exit: -13}"), &denied, 1);
    certain(search("{type: PATH, name: /etc/shadow, nametype: null}"), &denied, 1);
}

#[test]
fn a_connect_has_the_address_of_the_other_side() {
    let event = connect(run(&["nc"]), "[2001:db8::1]:4444".parse().unwrap(), -115);
    for (selection, expected) in [
        ("{type: SYSCALL, SYSCALL: connect, exe|endswith: /nc, success: 'no', exit: -115}", 1),
        ("{type: SOCKADDR, saddr_fam: inet6, laddr|cidr: '2001:db8::/32', lport|gte: 4000}", 1),
        ("{type: SOCKADDR, saddr_fam: inet}", 0),
        ("{type: SOCKADDR, lport: 443}", 0),
        ("{type: SYSCALL, SYSCALL: execve}", 0),
    ] {
        certain(search(selection), &event, expected);
    }
}

#[test]
fn keywords_are_looked_for_in_one_record_at_a_time() {
    let padded = "  execve: {type: EXECVE}\n  words: {'|all': [dd, 'if=']}\n  \
                  filter: ['of=']\n  condition: execve and words and not filter";
    certain(rule(padded), &exec(run(&["dd", "if=/dev/zero"])), 1);
    certain(rule(padded), &exec(run(&["dd", "if=/dev/zero", "of=x"])), 0);
    certain(rule(padded), &exec(run(&["cat", "if=/dev/zero"])), 0);
    // A word in the program's path and one in its arguments are in two records.
    let across = "  words: {'|all': [/usr/bin/dd, 'if=']}\n  typed: {type: '*'}\n  \
                  condition: words and typed";
    certain(rule(across), &exec(run(&["dd", "if=/dev/zero"])), 0);
    // Keywords alone are for lines of text.
    let alone = "  words: [dd]\n  condition: words";
    certain(rule(alone), &exec(run(&["dd"])), 0);
    let mut builder = RuleSetBuilder::new().with_keywords_on_structured_records();
    builder.add_str("rule.yml", &text(alone));
    certain(builder.build().unwrap().rules, &exec(run(&["dd"])), 1);
}

#[test]
fn a_rule_counts_once_for_an_event_and_shows_the_record_that_it_matched() {
    let anywhere = "  words: [vim]\n  typed: {type: '*'}\n  condition: words and typed";
    let event = exec(run(&["vim", "vim.txt"]));
    let found = detect(rule(anywhere), &event);
    assert_eq!(found.len(), 1, "{found:?}");

    let evidence = |detection: &Detection| -> Vec<(String, String)> {
        let one = |one: &lavender_core::Evidence| (one.field.to_string(), one.value.to_string());
        detection.evidence.iter().map(one).collect()
    };
    let found = detect(search("{type: EXECVE, a0: vim, a1|endswith: .txt}"), &event);
    let expected = [("type", "EXECVE"), ("a0", "vim"), ("a1", "vim.txt")];
    assert_eq!(evidence(&found[0]), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));

    // As one record it cannot be decided, as another it matches.
    let either = "  - {type: EXECVE, a1|contains: password}\n  - {type: SYSCALL, comm: grep}";
    let rules = rule(
        &format!("  selection:\n  {either}\n  condition: selection").replace("\n  -", "\n    -"),
    );
    let event = exec(truncated(run(&["grep", "pass-word"]), 8));
    certain(rules, &event, 1);

    // A rule for all of Linux is not for audit's records, and one for audit's is for nothing else.
    let plain = text("  selection: {Image|endswith: /vim}\n  condition: selection");
    let event = open(run(&["vim"]), "/etc/motd", 0o2, 3);
    let all = RuleSet::from_yaml(&plain.replace(", service: auditd", "")).unwrap();
    certain(all, &event, 1);
    certain(RuleSet::from_yaml(&plain).unwrap(), &event, 0);
    let other = text("  selection: {type: PATH}\n  condition: selection");
    for source in ["product: linux, service: sshd", "product: windows, service: auditd"] {
        let text = other.replace("product: linux, service: auditd", source);
        certain(RuleSet::from_yaml(&text).unwrap(), &event, 0);
    }
}

#[test]
fn what_was_not_captured_is_undetermined_and_not_absent() {
    // `grep -r pass`, cut inside the third.
    let event = exec(truncated(run(&["grep", "-r", "password", "/etc"]), 12));
    let certainty = |selection: &str| {
        let mut found = detect(search(selection), &event);
        found.pop().map(|detection| detection.certainty)
    };
    let open = |field: &str| Some(Certainty::Undetermined { fields: vec![field.into()] });
    assert_eq!(certainty("{type: EXECVE, a0: grep, a1: -r}"), Some(Certainty::Certain));
    assert_eq!(certainty("{type: EXECVE, a2|startswith: pas}"), Some(Certainty::Certain));
    assert_eq!(certainty("{type: EXECVE, a2: password}"), open("a2"));
    assert_eq!(certainty("{type: EXECVE, a2: secret}"), None);
    assert_eq!(certainty("{type: EXECVE, a3: /etc}"), open("a3"));
    assert_eq!(certainty("{type: EXECVE, a30: /etc}"), open("a30"));
    assert_eq!(certainty("{type: EXECVE, argc: 4}"), open("argc"));
    assert_eq!(certainty("{type: EXECVE, a0: cat, a3: /etc}"), None);
    let words = "  execve: {type: EXECVE}\n  words: {'|all': [grep, password]}\n  \
                 condition: execve and words";
    let found = detect(rule(words), &event);
    assert!(matches!(found[0].certainty, Certainty::Undetermined { .. }), "{found:?}");

    // Counted once for the event, and not raised unless that is asked for.
    let handle = RuleHandle::new(rule(words));
    let mut quiet = Vec::new();
    handle.detector().detect(&event, &mut quiet);
    assert_eq!((quiet.len(), handle.undetermined()), (0, 1));

    let mut unreadable = run(&["grep"]);
    unreadable.arguments = Captured::unreadable();
    let found = detect(search("{type: EXECVE, a0: grep}"), &exec(unreadable));
    let fields = vec!["a0".into()];
    assert_eq!(found[0].certainty, Certainty::Undetermined { fields });
}

#[test]
fn a_rule_is_explained_on_the_record_that_it_is_for() {
    let rules = search("{type: EXECVE, a0: dd, a1|startswith: if=}");
    let event = exec(run(&["dd", "of=/dev/sda"]));
    let record = rules.audit_record(AuditView::ExecArguments, &event);
    let explanation = rules.explain(rules.rule("t").unwrap(), &record);
    assert_eq!(explanation.truth(), Truth::False);
    let missing = explanation.missing();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].to_string().contains("a1 like \"if=*\"; found \"of=/dev/sda\""));
}

/// Every value that the views say a record can have, and no other, is what its records have.
#[test]
fn the_table_of_fields_is_what_records_have() {
    let mut names: Vec<&str> = AuditField::NAMED.iter().map(|field| field.name()).collect();
    names.extend(["a0", "a1"]);
    let all = names.iter().map(|name| format!("{name}|exists: true")).collect::<Vec<_>>();
    let rules = search(&format!("{{{}}}", all.join(", ")));
    let mut full = run(&["bash", "-c"]);
    full.terminal = Some(Terminal { major: 136, minor: 0 });
    full.credentials.session_id = Some(3);
    full.credentials.login_uid = Some(0);
    full.executable.inode = 9;
    let events = [
        exec(full.clone()),
        open(full.clone(), "/etc/motd", 0, 3),
        connect(full, "192.0.2.1:80".parse().unwrap(), 0),
    ];
    for event in &events {
        for view in AuditView::of(event.kind()) {
            let record = rules.audit_record(view, event);
            assert_eq!((record.view(), view.kind()), (view, event.kind()));
            let can: Vec<&str> = view.fields().map(AuditField::name).collect();
            for name in &names {
                let there = record.value(rules.fields().id(name).unwrap()).is_present();
                let listed = if *name == "a1" { "aN" } else { name };
                let listed = can.contains(&listed) || *name == "a0" && can.contains(&"aN");
                assert_eq!(there, listed, "{view:?} {name}");
            }
        }
    }
}

proptest! {
    /// Arguments by number are those of the list, however many, however long, whatever they hold.
    #[test]
    fn any_arguments_are_found_by_their_number(
        list in prop::collection::vec(prop::collection::vec(1_u8.., 0..6), 0..40),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let rules = search("{a0: x, a1: x, a15: x, a16: x, a17: x, a39: x, a40: x}");
        let mut process = run(&["x"]);
        let whole = Arguments::from_list(&list);
        process.arguments = Captured::complete(whole.clone());
        let cut = cut.map(|at| at.index(whole.raw().len() + 1));
        if let Some(cut) = cut {
            let value = Arguments::new(&whole.raw()[..cut]);
            process.arguments = Captured::new(value, Provenance::Truncated { true_length: 0 });
        }
        let kept: Vec<Vec<u8>> = process.arguments.value.iter().map(<[u8]>::to_vec).collect();
        let event = exec(process);
        let record = rules.audit_record(AuditView::ExecArguments, &event);
        for number in [0, 1, 15, 16, 17, 39, 40_u32] {
            let id = rules.fields().id(&format!("a{number}")).unwrap();
            let at = number as usize;
            let expected = match (kept.get(at), cut) {
                (Some(text), Some(_)) if at + 1 == kept.len() => FieldValue::Truncated(text, Kept::Start),
                (Some(text), _) => FieldValue::Text(text),
                (None, Some(_)) => FieldValue::Unreadable,
                (None, None) => FieldValue::Absent,
            };
            prop_assert_eq!(record.value(id), expected);
        }
    }

    /// Leaving out what is known of a record beforehand changes nothing.
    #[test]
    fn records_match_what_the_rules_for_audit_at_large_match(
        types in prop::sample::subsequence(vec!["SYSCALL", "EXECVE", "PATH", "CWD", "SOCKADDR", "TTY"], 0..3),
        call in prop::sample::select(vec!["execve", "connect", "mknod", "exec*"]),
        nametype in prop::sample::select(vec!["NORMAL", "CREATE", "DELETE"]),
        condition in prop::sample::select(vec![
            "a and b", "a or b", "a and not b", "not a and b", "c and not a", "1 of them", "d and not c", "d and a",
        ]),
        flags in prop::sample::select(vec![0_u32, 0o101, 0o301]),
    ) {
        let rules = rule(&format!(
            "  a: {{type: [{}]}}\n  b: {{SYSCALL: '{call}'}}\n  c: {{nametype: {nametype}}}\n  \
             d: {{success: null}}\n  condition: {condition}",
            if types.is_empty() { "x".to_owned() } else { types.join(", ") },
        ));
        let mut at_large = rules.evaluator(&AuditView::logsource());
        for event in [
            exec(run(&["id"])),
            open(run(&["id"]), "/etc/motd", flags, 3),
            open(run(&["id"]), "/etc/motd", flags, -2),
            connect(run(&["id"]), "192.0.2.1:80".parse().unwrap(), 0),
        ] {
            for view in AuditView::of(event.kind()) {
                let record = rules.audit_record(view, &event);
                let truth = |evaluator: &mut Evaluator| {
                    evaluator.matches(&record).next().map_or(Truth::False, |found| found.truth())
                };
                let expected = truth(&mut at_large);
                let found = truth(&mut rules.audit_evaluator(view));
                // That the call removed no file is known even where it is not whether it made one.
                prop_assert!(
                    found == expected || expected == Truth::Undetermined && nametype == "DELETE",
                    "{view:?}: {found:?}, and at large {expected:?}"
                );
            }
        }
    }
}

fn host(kinds: &[EventKind]) -> HostCapabilities {
    let probes: Vec<_> =
        kinds.iter().map(|kind| format!(r#"{{"kind":"{kind}","status":"available"}}"#)).collect();
    HostCapabilities::from_json(&format!(r#"{{"probes":[{}]}}"#, probes.join(","))).unwrap()
}

const SEEN: [EventKind; 3] = [EventKind::Exec, EventKind::FileOpen, EventKind::NetConnect];

#[test]
fn rules_that_no_record_can_match_are_told_with_what_they_lack() {
    let reasons = |rules: RuleSet| {
        blocked_rules(&rules, &host(&SEEN)).pop().map_or_else(Vec::new, |rule| rule.reasons)
    };
    for served in [
        "{type: EXECVE, a0: id}",
        "{type: SYSCALL, exe|endswith: /useradd}",
        "{type: PATH, nametype: CREATE}",
        "{type: SYSCALL, SYSCALL: [mknod, connect]}",
        "{a7: x}",
        "[{type: TTY}, {type: PATH, name: /etc/pam.d/x}]",
    ] {
        assert_eq!(
            reasons(search(
                &served.replace("[{", "\n    - {").replace("}, {", "}\n    - {").replace("}]", "}")
            )),
            [],
            "{served}"
        );
    }
    let types = |types: &[&str]| BlockReason::RecordType {
        types: types.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(
        reasons(search("{type: [SERVICE_STOP, ADD_USER]}")),
        [types(&["ADD_USER", "SERVICE_STOP"])]
    );
    let calls = |name: &str| BlockReason::SystemCall { calls: vec![name.to_owned()] };
    assert_eq!(reasons(search("{type: SYSCALL, SYSCALL: mknod}")), [calls("mknod")]);
    assert_eq!(reasons(search("{SYSCALL: openat, key: x}")), [calls("openat")]);
    let fields = |names: &[&str]| BlockReason::AuditFields {
        fields: names.iter().map(|name| (*name).into()).collect(),
    };
    assert_eq!(reasons(search("{key: susp_activity}")), [fields(&["key"])]);
    assert_eq!(
        reasons(search("{type: SYSCALL, SYSCALL: execve, a0: 1, exe: /x}")),
        [fields(&["a0"])]
    );
    assert_eq!(reasons(search("{type: PATH, nametype: DELETE}")), [BlockReason::Never]);
    assert_eq!(reasons(rule("  a: {type: PATH}\n  condition: a and not a")), [BlockReason::Never]);
    assert_eq!(reasons(rule("  words: [dd]\n  condition: words")), [BlockReason::Keywords]);

    // Where only some kinds are seen, what the others would have told is missing.
    let blocked = blocked_rules(&search("{type: EXECVE}"), &host(&[EventKind::FileOpen]));
    assert!(
        matches!(&blocked[0].reasons[..], [BlockReason::Kind { kind: EventKind::Exec, .. }]),
        "{blocked:?}"
    );
    assert_eq!(blocked_rules(&search("{type: PATH}"), &host(&[EventKind::FileOpen])), []);
    let shown = types(&["SERVICE_STOP"]).to_string();
    assert_eq!(shown, "no event gives audit records of type SERVICE_STOP");
}

#[test]
fn most_public_rules_for_audit_can_fire() {
    let Some(corpus) = std::env::var_os("SIGMA_RULES").map(std::path::PathBuf::from) else {
        println!("skipped: SIGMA_RULES does not name a copy of the public Sigma rules");
        return;
    };
    let mut builder = RuleSetBuilder::new();
    builder.add_dir(&corpus.join("rules/linux/auditd"));
    let rules = builder.build().unwrap_or_else(|errors| panic!("{errors}")).rules;
    let blocked = blocked_rules(&rules, &host(&SEEN));
    for rule in &blocked {
        let reasons: Vec<_> = rule.reasons.iter().map(ToString::to_string).collect();
        println!("{}: {}", rule.title, reasons.join("; "));
    }
    let (served, all) = (rules.len() - blocked.len(), rules.len());
    println!("{served} of {all} public rules for audit can fire on Lavender's events");
    // Six of 53 cannot: two ask for the key of an audit rule, three for mknod, sysinfo and syslog, and one for a
    // record of systemd's. New rules of those sorts may come.
    assert!(served >= 47, "only {served} of {all}");
}

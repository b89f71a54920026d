//! The decision what to do about an alert: by clause, by what the rule asks for, and by nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lavender_core::ResponseAction::{Isolate, Kill, KillTree, Quarantine, Stop};
use lavender_core::event::{Event, Executable};
use lavender_core::{
    AgentId, AgentIdentity, Alert, Captured, Certainty, Detection, FileIdentity, FileTarget,
    ResponseAction, ResponseTarget, RuleMeta, Severity, TenantId, Timestamp,
};
use lavender_detect::{ClauseFault, PolicyError, ResponseClause, ResponsePolicy, RuleSet};
use support::{exec, open, process};

/// An alert of this severity about a shell, by a rule that asks for `response`.
fn alert(severity: Severity, response: &[ResponseAction]) -> (Alert, Arc<Event>) {
    let executable = Executable {
        path: Captured::complete("/tmp/x".into()),
        inode: 7,
        device: 8,
        ..Executable::default()
    };
    let mut process = process("/tmp/x", &["x"], None);
    process.executable = executable;
    let event = exec(process);
    (about(&event, severity, response), event)
}

fn about(event: &Arc<Event>, severity: Severity, response: &[ResponseAction]) -> Alert {
    let rule = RuleMeta {
        id: "the-rule".into(),
        level: severity,
        tags: vec!["attack.execution".into(), "attack.t1059.004".into()],
        response: response.to_vec(),
        ..RuleMeta::default()
    };
    let source = AgentIdentity {
        tenant: TenantId::default(),
        agent: AgentId::new("test").unwrap(),
        host: "test".into(),
    };
    let detection = Detection {
        rule: Arc::new(rule),
        event: Arc::clone(event),
        evidence: Vec::new(),
        certainty: Certainty::Certain,
        correlated: None,
    };
    Alert::from_detection(&source, detection, Timestamp::from_millis(0))
}

/// What a policy decides: actions, whether allowed.
fn decided(policy: &ResponsePolicy, alert: &Alert, event: &Event) -> Vec<(ResponseAction, bool)> {
    let decisions = policy.decide(alert, event, None);
    decisions.iter().map(|decision| (decision.order.action, decision.allowed)).collect()
}

fn policy(clause: ResponseClause) -> ResponsePolicy {
    ResponsePolicy::new([clause], []).unwrap()
}

fn rules_may_ask_for(actions: &[ResponseAction]) -> ResponsePolicy {
    ResponsePolicy::new([], actions.iter().copied()).unwrap()
}

#[test]
fn without_a_policy_nothing_is_done() {
    let (alert, event) = alert(Severity::Critical, &[]);
    assert!(ResponsePolicy::default().decide(&alert, &event, Some(u32::MAX)).is_empty());
}

#[test]
fn a_clause_answers_what_is_bad_enough() {
    let policy = policy(ResponseClause {
        min_severity: Some(Severity::High),
        ..ResponseClause::new([Kill])
    });
    for severity in Severity::ALL {
        let (alert, event) = alert(severity, &[]);
        let expected: &[_] = if severity >= Severity::High { &[(Kill, true)] } else { &[] };
        assert_eq!(decided(&policy, &alert, &event), expected, "{severity}");
    }
}

#[test]
fn a_score_that_is_not_known_reaches_no_threshold() {
    let policy = policy(ResponseClause { min_score: Some(200), ..ResponseClause::new([Kill]) });
    let (alert, event) = alert(Severity::Critical, &[]);
    for (score, decisions) in [(None, 0), (Some(199), 0), (Some(200), 1)] {
        assert_eq!(policy.decide(&alert, &event, score).len(), decisions, "{score:?}");
    }
}

#[test]
fn a_clause_is_for_rules_tags_and_techniques() {
    let clause = |rules: &[&str], tags: &[&str], techniques: &[&str]| ResponseClause {
        rules: rules.iter().map(|text| Arc::from(*text)).collect(),
        tags: tags.iter().map(|text| Arc::from(*text)).collect(),
        techniques: techniques.iter().map(|text| Arc::from(*text)).collect(),
        ..ResponseClause::new([Stop])
    };
    let (alert, event) = alert(Severity::Low, &[]);
    for (clause, fits) in [
        (clause(&["other", "the-rule"], &[], &[]), true),
        (clause(&["the-rule-2"], &[], &[]), false),
        (clause(&["the"], &[], &[]), false),
        (clause(&[], &["attack.execution"], &[]), true),
        (clause(&[], &["attack.exec"], &[]), false),
        (clause(&[], &[], &["T1059"]), true),
        (clause(&[], &[], &["T1059.004"]), true),
        (clause(&[], &[], &["T1059.001"]), false),
        (clause(&[], &[], &["T1003"]), false),
        (clause(&["the-rule"], &[], &["T1003"]), false),
        (clause(&["the-rule"], &["attack.execution"], &["T1059"]), true),
    ] {
        let decisions = policy(clause.clone()).decide(&alert, &event, None);
        assert_eq!(!decisions.is_empty(), fits, "{clause:?}");
    }
}

#[test]
fn a_decision_says_why() {
    let policy = policy(ResponseClause {
        min_severity: Some(Severity::Low),
        min_score: Some(5),
        techniques: vec!["T1059".into()],
        ..ResponseClause::new([Kill])
    });
    let (alert, event) = alert(Severity::High, &[]);
    let decisions = policy.decide(&alert, &event, Some(6));
    let why = "severity high (from low), score 6 (from 5), technique T1059.004";
    assert_eq!(&*decisions[0].order.decided_by, why);
    assert_eq!(decisions[0].order.cause.alert(), Some(alert.id));
}

#[test]
fn of_what_happens_to_a_process_only_the_strongest_counts() {
    let clause = |actions: &[ResponseAction]| ResponseClause {
        min_severity: Some(Severity::Low),
        ..ResponseClause::new(actions.iter().copied())
    };
    let clauses = [clause(&[Isolate, Stop]), clause(&[KillTree, Quarantine]), clause(&[Kill])];
    let policy = ResponsePolicy::new(clauses, []).unwrap();
    let (alert, event) = alert(Severity::Low, &[]);
    let expected = [(KillTree, true), (Quarantine, true), (Isolate, true)];
    assert_eq!(decided(&policy, &alert, &event), expected);
}

#[test]
fn a_rule_gets_what_it_may_ask_for_and_no_more() {
    for (asked, may, expected) in [
        (&[Kill][..], &[][..], &[(Kill, false)][..]),
        (&[Kill], &[Kill], &[(Kill, true)]),
        // Capped to the strongest weaker one.
        (&[KillTree], &[Stop, Kill], &[(Kill, true)]),
        (&[KillTree], &[Stop], &[(Stop, true)]),
        // Never raised.
        (&[Stop], &[Kill, KillTree], &[(Stop, false)]),
        (&[Quarantine], &[Kill, KillTree, Stop], &[(Quarantine, false)]),
        (&[Kill], &[Quarantine, Isolate], &[(Kill, false)]),
        (&[Kill, Quarantine], &[Kill], &[(Kill, true), (Quarantine, false)]),
        (&[], &[Kill, KillTree, Stop, Quarantine, Isolate], &[]),
    ] {
        let (alert, event) = alert(Severity::Critical, asked);
        let policy = rules_may_ask_for(may);
        assert_eq!(decided(&policy, &alert, &event), expected, "{asked:?} under {may:?}");
    }
}

#[test]
fn what_a_clause_does_anyway_is_not_refused_to_a_rule() {
    let policy = policy(ResponseClause {
        min_severity: Some(Severity::Low),
        ..ResponseClause::new([KillTree])
    });
    let (alert, event) = alert(Severity::Low, &[Kill]);
    assert_eq!(decided(&policy, &alert, &event), [(KillTree, true)]);
}

#[test]
fn what_is_not_certain_is_not_answered() {
    let policy = ResponsePolicy::new(
        [ResponseClause { min_severity: Some(Severity::Low), ..ResponseClause::new([Kill]) }],
        [Stop],
    );
    let (alert, event) = alert(Severity::Critical, &[Stop]);
    let certainty = Certainty::Undetermined { fields: vec!["CommandLine".into()] };
    let alert = Alert { certainty, ..alert };
    assert!(policy.unwrap().decide(&alert, &event, None).is_empty());
}

/// What would be moved into quarantine.
fn quarantined(event: &Arc<Event>) -> Option<ResponseTarget> {
    let policy = rules_may_ask_for(&[Quarantine]);
    let alert = about(event, Severity::High, &[Quarantine]);
    policy.decide(&alert, event, None).pop().map(|decision| decision.order.target)
}

#[test]
fn the_file_is_the_one_that_was_written_else_the_program() {
    const O_WRONLY: u32 = 1;
    let program =
        |path: &str| ResponseTarget::File(FileTarget { path: path.into(), identity: None });
    let shell = process("/tmp/x", &["x"], None);
    let written = open(shell.clone(), "/etc/cron.d/x", O_WRONLY, 3);
    let target = quarantined(&written).unwrap();
    let ResponseTarget::File(file) = target else { panic!("{target:?}") };
    assert_eq!(file.path, *"/etc/cron.d/x");
    // A file that was only read is not the one to take away.
    let read = open(shell.clone(), "/etc/shadow", 0, 3);
    assert_eq!(quarantined(&read), Some(program("/tmp/x")));

    // Nor is one that could not be opened.
    let denied = open(shell.clone(), "/etc/cron.d/x", O_WRONLY, -13);
    assert_eq!(quarantined(&denied), Some(ResponseTarget::Process(shell.id())));

    let (_, event) = alert(Severity::High, &[]);
    let Some(ResponseTarget::File(file)) = quarantined(&event) else { panic!() };
    assert_eq!(file.identity, Some(FileIdentity { inode: 7, device: 8 }));
    // What lies in memory has no file: the process stands for it.
    let mut memory = shell.clone();
    memory.executable.memory_backed = true;
    let id = memory.id();
    assert_eq!(quarantined(&exec(memory)), Some(ResponseTarget::Process(id)));
}

#[test]
fn a_process_action_without_a_process_is_not_decided() {
    let (alert, event) = alert(Severity::High, &[Kill, Isolate]);
    let alert = Alert { process: None, ..alert };
    let policy = rules_may_ask_for(&[Kill, Isolate]);
    assert_eq!(decided(&policy, &alert, &event), [(Isolate, true)]);
}

#[test]
fn a_policy_that_cannot_be_meant_is_refused() {
    let low = Some(Severity::Low);
    let right = || ResponseClause { min_severity: low, ..ResponseClause::new([Kill]) };
    for (clause, fault) in [
        (ResponseClause::new([Kill]), ClauseFault::NoCondition),
        (ResponseClause { min_severity: low, ..ResponseClause::default() }, ClauseFault::NoAction),
    ] {
        let expected = PolicyError { clause: 2, fault };
        assert_eq!(ResponsePolicy::new([right(), clause], []).unwrap_err(), expected);
    }
    for technique in
        ["", "T105", "t1059", "1059", "T1059.", "T1059.04", "attack.t1059", "T1059.0045"]
    {
        let clause =
            ResponseClause { techniques: vec![technique.into()], ..ResponseClause::new([Kill]) };
        let error = ResponsePolicy::new([clause], []).unwrap_err();
        assert!(matches!(error.fault, ClauseFault::Technique { .. }), "{technique}: {error}");
    }
}

/// A rule with this under its key `lavender`, of which the first line is line 7.
fn rule(extension: &str) -> String {
    format!(
        "title: T\nlogsource: {{product: linux}}\ndetection:\n  s: {{A: x}}\n  condition: s\nlavender:\n{extension}"
    )
}

#[test]
fn a_rule_says_what_it_asks_for() {
    for (extension, expected) in [
        ("  response: kill", &[Kill][..]),
        ("  response: [kill_tree, quarantine]", &[KillTree, Quarantine]),
        ("  response:\n    - stop\n    - isolate", &[Stop, Isolate]),
        ("  risk: 5", &[]),
        ("", &[]),
    ] {
        let rules = RuleSet::from_yaml(&rule(extension)).unwrap();
        assert_eq!(rules.iter().next().unwrap().meta().response, expected, "{extension}");
    }
}

#[test]
fn a_response_that_cannot_be_is_a_fault_of_the_rule() {
    const KNOWN: &str = "stop, kill, kill_tree, quarantine, isolate";
    for (extension, expected) in [
        ("  response: nuke", &*format!("rules:7: `nuke` is not a response: {KNOWN} (in `T`)")),
        (
            "  response:\n    - kill\n    - Kill",
            &*format!("rules:9: `Kill` is not a response: {KNOWN} (in `T`)"),
        ),
        (
            "  response: 9",
            &*format!("rules:7: a response is one of {KNOWN}, not a number (in `T`)"),
        ),
        ("  response: [kill, kill]", "rules:7: `kill` stands twice (in `T`)"),
        ("  response: []", "rules:7: `response` names no action: leave it out (in `T`)"),
        ("  kill", "rules:7: `lavender` is a mapping, not a string (in `T`)"),
    ] {
        let errors = RuleSet::from_yaml(&rule(extension)).unwrap_err();
        let faults: Vec<String> = errors.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, [expected], "{extension}");
    }
}

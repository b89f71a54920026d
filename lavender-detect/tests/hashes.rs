//! Rules that ask for the hash of a program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lavender_core::event::{Event, ExecutableHash, Sha256Digest, Unhashed};
use lavender_core::{Certainty, Detection, Detector as _};
use lavender_detect::{RuleHandle, RuleSet, SigmaDetector, UndeterminedPolicy};
use support::{exec, process};

fn rule(condition: &str) -> RuleSet {
    let text = format!(
        "title: Known bad program
logsource: {{category: process_creation, product: linux}}
detection:
  selection: {condition}
  condition: selection
"
    );
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn ran(hash: Option<ExecutableHash>) -> Arc<Event> {
    let mut shell = process("/tmp/x", &["x"], None);
    shell.executable.hash = hash;
    exec(shell)
}

fn found(rules: RuleSet, event: &Arc<Event>) -> Vec<Detection> {
    let handle = RuleHandle::new(rules);
    let mut detector = SigmaDetector::new(&handle, UndeterminedPolicy::Report);
    let mut out = Vec::new();
    detector.detect(event, &mut out);
    out
}

#[test]
fn a_hash_is_found_in_each_form_that_rules_write() {
    let digits = "0123456789abcdef".repeat(4);
    let event = ran(Some(ExecutableHash::Sha256(digits.parse().unwrap())));
    for condition in [
        format!("{{Hashes|contains: 'SHA256={}'}}", digits.to_uppercase()),
        format!("{{Hashes|contains: 'sha256={digits}'}}"),
        format!("{{Hashes: 'SHA256={digits}'}}"),
        format!("{{sha256: '{digits}'}}"),
        format!("{{sha256: '{}'}}", digits.to_uppercase()),
    ] {
        let found = found(rule(&condition), &event);
        assert_eq!(found.len(), 1, "{condition}");
        assert_eq!(found[0].certainty, Certainty::Certain);
    }
    let other = Sha256Digest::from_bytes(&[1; 32]);
    assert_eq!(found(rule(&format!("{{sha256: '{other}'}}")), &event), []);
    assert_eq!(found(rule("{Hashes|contains: 'MD5='}"), &event), []);
}

#[test]
fn a_program_that_was_not_hashed_is_undetermined_and_without_a_hasher_there_is_no_field() {
    let rules = || rule("{Hashes|contains: 'SHA256=AB'}");
    let missing = found(rules(), &ran(Some(ExecutableHash::Missing(Unhashed::TooLarge))));
    assert_eq!(missing.len(), 1);
    assert!(matches!(missing[0].certainty, Certainty::Undetermined { .. }));
    assert_eq!(found(rules(), &ran(None)), []);
}

#[test]
fn execs_wait_for_hashes_only_where_a_rule_asks() {
    assert!(rule("{Hashes|contains: 'SHA256=AB'}").sensor_plan().awaits_hashes());
    assert!(rule("{sha256: 'ab'}").sensor_plan().awaits_hashes());
    assert!(!rule("{Image: '/tmp/x'}").sensor_plan().awaits_hashes());
    let mut both = rule("{Image: '/tmp/x'}").sensor_plan();
    both.merge(&rule("{sha256: 'ab'}").sensor_plan());
    assert!(both.awaits_hashes());
}

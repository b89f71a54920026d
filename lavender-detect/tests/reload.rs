//! Rules swapped while events flow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lavender_core::Detector;
use lavender_detect::{RuleHandle, RuleSet};
use support::{exec, process};

/// A set of rules that all match, and all have the same number in their titles.
fn generation(number: usize) -> RuleSet {
    let mut text = String::new();
    for rule in 0..5 {
        text += &format!(
            "---\ntitle: '{number}'\nid: g{number}r{rule}\nlogsource: {{product: linux, category: process_creation}}\n\
             detection:\n  selection: {{Image|endswith: /ls}}\n  condition: selection\n"
        );
    }
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn no_event_is_evaluated_by_half_a_set() {
    let handle = RuleHandle::new(generation(0));
    let stop = Arc::new(AtomicBool::new(false));
    let evaluated = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (handle, stop, evaluated) =
                (handle.clone(), Arc::clone(&stop), Arc::clone(&evaluated));
            std::thread::spawn(move || {
                let mut detector = handle.detector();
                let event = exec(process("/usr/bin/ls", &["ls"], None));
                let (mut found, mut newest) = (Vec::new(), 0_usize);
                loop {
                    // Read before the event: the last event comes after the last swap.
                    let last = stop.load(Ordering::Acquire);
                    found.clear();
                    detector.detect(&event, &mut found);
                    evaluated.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(found.len(), 5, "an event saw a part of a set");
                    let first: usize = found[0].rule.title.parse().unwrap();
                    assert!(found.iter().all(|one| one.rule.title == found[0].rule.title));
                    assert!(first >= newest, "an event saw an older set than the one before");
                    newest = first;
                    if last {
                        return newest;
                    }
                }
            })
        })
        .collect();
    for number in 1..=1_000 {
        handle.swap(generation(number));
    }
    assert!(evaluated.load(Ordering::Relaxed) > 0, "nothing flowed while the rules were swapped");
    stop.store(true, Ordering::Release);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 1_000, "the last set was not taken up");
    }
}

//! Rules swapped while events flow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lavender_core::Detector;
use lavender_detect::{RuleHandle, RuleSet};
use support::{exec, process};

/// How many rules a set has.
const RULES: usize = 20;
/// How much the process may grow between the hundredth reload and the thousandth. Measured: 0.5 MB; with every set
/// kept, 16 MB.
const SLACK_BYTES: usize = 4 << 20;

/// A set of rules that all match, and all have the same number in their titles. The last is the same in every set.
fn generation(number: usize) -> RuleSet {
    let mut text = String::new();
    for rule in 0..RULES {
        let id =
            if rule == RULES - 1 { "constant".to_owned() } else { format!("g{number}r{rule}") };
        text += &format!(
            "---\ntitle: '{number}'\nid: {id}\nlogsource: {{product: linux, category: process_creation}}\n\
             detection:\n  selection: {{Image|endswith: /ls}}\n  condition: selection\n"
        );
    }
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What the process holds in memory, in bytes; `None` where the system does not say.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<usize>().ok()? * 4_096)
}

/// Evaluates a numbered stream until told to stop; returns how many events that were.
fn stream(handle: &RuleHandle, stop: &AtomicBool, evaluated: &AtomicU64) -> u64 {
    let mut detector = handle.detector();
    let (mut found, mut newest, mut number) = (Vec::new(), 0_usize, 0_u32);
    loop {
        // Read before the event: the last event comes after the last swap.
        let last = stop.load(Ordering::Acquire);
        let mut event = Arc::into_inner(exec(process("/usr/bin/ls", &["ls"], None))).unwrap();
        event.tid = number;
        found.clear();
        detector.detect(&Arc::new(event), &mut found);
        evaluated.fetch_add(1, Ordering::Relaxed);
        assert_eq!(found.len(), RULES, "event {number} saw a part of a set");
        assert!(found.iter().all(|one| one.event.tid == number), "a detection of another event");
        let first: usize = found[0].rule.title.parse().unwrap();
        assert!(found.iter().all(|one| one.rule.title == found[0].rule.title));
        assert!(first >= newest, "an event saw an older set than the one before");
        newest = first;
        number += 1;
        if last {
            assert_eq!(newest, 1_000, "the last set was not taken up");
            return number.into();
        }
    }
}

#[test]
fn a_thousand_reloads_under_load_split_lose_and_keep_nothing() {
    let handle = RuleHandle::new(generation(0));
    let stop = Arc::new(AtomicBool::new(false));
    let evaluated = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (handle, stop, evaluated) =
                (handle.clone(), Arc::clone(&stop), Arc::clone(&evaluated));
            std::thread::spawn(move || stream(&handle, &stop, &evaluated))
        })
        .collect();
    let mut early = None;
    for number in 1..=1_000 {
        handle.swap(generation(number));
        if number == 100 {
            early = resident();
        }
    }
    let late = resident();
    assert!(evaluated.load(Ordering::Relaxed) > 0, "nothing flowed while the rules were swapped");
    stop.store(true, Ordering::Release);
    let events: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    // The rule that stayed the same through all reloads has counted every event of both streams, each once.
    let stats = handle.rule_stats();
    let constant = stats.iter().find(|one| &*one.id == "constant").unwrap();
    assert_eq!(constant.offered, events);
    assert_eq!((constant.evaluated, constant.matched, constant.skipped), (events, events, 0));
    assert_eq!(stats.len(), RULES, "rules that are gone are counted no more");
    match (early, late) {
        (Some(early), Some(late)) => {
            let grown = late.saturating_sub(early);
            assert!(grown < SLACK_BYTES, "grew by {grown} bytes over 900 reloads");
        }
        _ => println!("skipped: this system does not say how much memory a process holds"),
    }
}

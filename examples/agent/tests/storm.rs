//! At full speed nothing goes missing in silence: every event is stored, or counted as lost.
//!
//! `LAVENDER_TEST_EXECS` (2,000) and `LAVENDER_TEST_OPENS` (100,000) say how much; the product's own bars are
//! 20,000 and 2,000,000.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::collections::HashSet;
use std::time::Instant;

use lavender_core::event::EventKind;
use support::scale;
use support::setting::Setting;
use support::store::Stored;

fn perl(setting: &Setting, program: &str) {
    let status = setting.cgroup.command("/usr/bin/perl").args(["-e", program]).status().unwrap();
    assert!(status.success());
}

#[test]
fn every_fork_exec_and_exit_is_stored_with_its_parent_or_counted() {
    need_kernel!();
    let count = scale("LAVENDER_TEST_EXECS", 2_000);
    let setting = Setting::new("");
    let agent = setting.run(&[]);
    perl(
        &setting,
        &format!(
            r#"for (1..{count}) {{ my $p = fork; if (!$p) {{ exec "/bin/true", $_ }} waitpid $p, 0 }}"#
        ),
    );
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let stored = setting.stored();
    let execs = stored.events(Some(EventKind::Exec));
    let storm = execs
        .iter()
        .find(|stored| {
            let process = stored.event.process.as_ref().unwrap();
            process.arguments.value.command_line().starts_with(b"/usr/bin/perl -e for")
        })
        .expect("the storm's own exec");
    let storm = storm.event.process.as_ref().unwrap().exec_id;
    let mut numbers = HashSet::new();
    for stored in &execs {
        let process = stored.event.process.as_ref().unwrap();
        if process.parent_id != Some(storm) {
            continue;
        }
        let parent = process.parent.as_ref().expect("the parent is known");
        assert_eq!(parent.exec_id, storm);
        let number = process.arguments.value.iter().nth(1).map(<[u8]>::to_vec);
        assert!(numbers.insert(number), "an exec is there twice");
    }
    let lost = stored.lost(EventKind::Exec);
    println!("{} execs stored, {lost} counted as lost, {count} made", numbers.len());
    assert_eq!(numbers.len() as u64 + lost, count);
    for (kind, extra) in [(EventKind::Fork, 0), (EventKind::Exit, 1)] {
        let seen = stored.events(Some(kind)).len() as u64;
        // The storm's own process was made outside of the group, and ended in it.
        assert_eq!(seen + stored.lost(kind), count + extra, "{kind}");
    }
}

/// File opens that are stored, and those that are counted as lost.
fn opens(stored: &Stored) -> (u64, u64) {
    (stored.count(EventKind::FileOpen), stored.lost(EventKind::FileOpen))
}

/// Makes so many opens under a configuration: those made, perl's own among them, and those stored and lost.
fn made_stored_lost(more: &str, count: u64) -> (u64, u64, u64) {
    let program = |count: u64| format!(r#"for (1..{count}) {{ open(my $f, "<", "/dev/null") }}"#);

    // What perl itself opens to start.
    let setting = Setting::new("");
    let agent = setting.run(&[]);
    perl(&setting, &program(0));
    assert_eq!(agent.stop().code, Some(0));
    let (own, lost) = opens(&setting.stored());
    assert_eq!(lost, 0);

    let setting = Setting::new(more);
    let agent = setting.run(&[]);
    let started = Instant::now();
    perl(&setting, &program(count));
    let took = started.elapsed();
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let (stored, lost) = opens(&setting.stored());
    println!(
        "{count} opens in {took:?} and {own} of perl's own: {stored} stored, {lost} counted as lost"
    );
    (count + own, stored, lost)
}

#[test]
fn stored_opens_and_lost_opens_are_the_opens_made() {
    need_kernel!();
    let count = scale("LAVENDER_TEST_OPENS", 100_000);
    let (made, stored, lost) = made_stored_lost("", count);
    assert_eq!(stored + lost, made);
}

/// A ring and a queue that are much too small lose much, and count it to the last one.
#[test]
fn what_does_not_fit_is_counted_exactly() {
    need_kernel!();
    let small = "[sensor]\nfile_ring_bytes = 4096\n[store]\nqueue_events = 1024";
    let (made, stored, lost) = made_stored_lost(small, 50_000);
    assert!(lost > 0);
    assert_eq!(stored + lost, made);
}

//! Load of every kind for some seconds: nothing is left behind of it, and no end is missed.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod soaking;
mod support;

use std::process::Command;
use std::time::Duration;

use lavender_core::event::Priority;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use soaking::Soak;

#[test]
fn nothing_is_left_behind_by_load_and_no_end_is_missed() {
    if !support::can_run() {
        return;
    }
    let seconds = support::amount("LAVENDER_TEST_SOAK_S", 6);
    // The kernel has it until somebody waits for it, and the table does not. One that ended before the sensor came, and
    // that is waited for meanwhile, never has an end that is told.
    let mut ended_before = Command::new("/bin/true").spawn().unwrap();
    // Waits, and leaves it to be waited for.
    waitid(
        WaitId::Pid(Pid::from_child(&ended_before)),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )
    .unwrap();
    // The load takes every processor, and other tests run beside this: the reader gets what is left. With room for what comes
    // meanwhile nothing may be lost all the same.
    let mut soak = Soak::start(|builder| {
        builder
            .with_ring_bytes(Priority::File, 128 << 20)
            .with_ring_bytes(Priority::Network, 32 << 20)
    });
    assert!(ended_before.wait().unwrap().success());
    soak.run(Duration::from_secs(seconds));
    let audit = soak.audit();
    println!("{} processes; {:?}; {:?}", audit.processes, soak.tally, soak.sensor.stats());
    assert!(audit.processes > 1);
    assert!(audit.unknown.is_empty() && audit.ended_unseen.is_empty(), "{audit:?}");

    let mut unwaited = Command::new("/bin/true").spawn().unwrap();
    // Beyond the time for which ends, questions and what was over a limit are remembered.
    soak.quiet(Duration::from_secs(13));
    let census = soak.sensor.census().unwrap();
    println!("{census:?}");
    let held = census.held;
    assert_eq!((held.waiting, held.arguments, held.questions), (0, 0, 0));
    let throttled = census.maps.iter().find(|(name, ..)| name == "throttled").unwrap();
    assert_eq!(throttled.1, 0, "entries are taken out");
    assert!(census.maps.iter().all(|(_, entries, max)| entries <= max));
    let audit = soak.audit();
    assert!(audit.unknown.is_empty() && audit.ended_unseen.is_empty(), "{audit:?}");
    assert!(unwaited.wait().unwrap().success());

    let (tally, stats) = (&soak.tally, soak.sensor.stats());
    assert!(tally.execs > 20 && stats.throttled > 0, "{tally:?} {stats:?}");
    assert_eq!(tally.lost, 0, "{stats:?}");
    assert_eq!(tally.exits, tally.forks + soak.workers(), "{tally:?}");
}

//! Where programs can be at the functions of system calls, what is not watched runs none of ours.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs::File;

use lavender_bpf::support::Probe;
use lavender_core::SensorPlan;
use lavender_core::event::EventKind;

use support::{Group, Watch, builder, can_run};

const CALLS: u64 = 50_000;

/// How often programs of the sensor ran while a child did this, by whomever.
fn runs(watch: &mut Watch, group: &Group, act: fn()) -> u64 {
    let measurement = watch.sensor.measure().unwrap();
    let child = group.fork(|| (0..CALLS).for_each(|_| act()));
    assert_eq!(watch.until_ended(child), 0);
    measurement.costs().iter().map(|cost| cost.runs).sum()
}

fn ask() {
    assert!(rustix::process::getppid().is_some());
}

fn open() {
    File::open("/proc/self").unwrap();
}

#[test]
fn a_call_that_is_not_watched_runs_no_program() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let probes = watch.sensor.probes();
    let row = probes.iter().find(|row| row.probe == Probe::FileOpen).unwrap();
    if !row.mechanism.starts_with("fexit") {
        println!("skipped: programs at functions: calls are seen by {} here", row.mechanism);
        return;
    }
    assert!(runs(&mut watch, &group, open) >= CALLS, "opens are seen");
    let of_others = runs(&mut watch, &group, ask);
    assert!(
        of_others < CALLS / 2,
        "{of_others} programs ran for {CALLS} calls that nobody watches"
    );

    let mut connects = SensorPlan::default();
    connects.select_all(EventKind::NetConnect);
    watch.sensor.apply_plan(&connects).unwrap();
    assert!(!watch.sensor.is_attached(Probe::FileOpen));
    let of_others = runs(&mut watch, &group, open);
    assert!(of_others < CALLS / 2, "{of_others} programs ran for {CALLS} opens that no plan needs");

    let mut opens = SensorPlan::default();
    opens.select_all(EventKind::FileOpen);
    watch.sensor.apply_plan(&opens).unwrap();
    assert!(runs(&mut watch, &group, open) >= CALLS, "opens are seen again");
}

#[test]
fn as_many_are_seen_as_are_done() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder));
    let child = group.fork(|| (0..CALLS).for_each(|_| open()));
    assert_eq!(watch.until_ended(child), 0);
    let seen = watch.finish();
    let opened = support::of_kind(&seen.events, EventKind::FileOpen).count() as u64;
    assert_eq!(opened + support::lost(&seen, EventKind::FileOpen), CALLS);
}

//! The canary on the live kernel: a sensor that sees, sees it, whatever its filters and its plan; one that does not, does not.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use lavender_bpf::{Canary, CanaryError, SensorBuilder};
use lavender_core::SensorPlan;
use lavender_core::event::{Event, EventData, EventKind};

use support::{Group, Watch, builder, can_run, copy_of, process, temporary};

/// What this program is told to do where it is the canary's.
const PERFORMS: [&str; 4] =
    ["this_is_the_program_of_a_canary", "--exact", "--ignored", "--nocapture"];

/// No test: what the canaries of the tests run.
#[test]
#[ignore = "done by other tests, in a process of its own"]
fn this_is_the_program_of_a_canary() {
    let behind: Vec<OsString> = std::env::args_os().skip(1 + PERFORMS.len()).collect();
    Canary::perform(&behind).unwrap();
}

fn canary() -> Canary {
    Canary::new(std::env::current_exe().unwrap(), PERFORMS)
}

/// Does an act, and gives the kinds of its events; of a sensor with these filters, and a plan that has nothing else in it.
fn kinds_seen(canary: &Canary, builder: SensorBuilder, token: &str) -> BTreeSet<EventKind> {
    let mut watch = Watch::with(builder.with_plan(canary.plan()));
    let mut act = canary.begin(token).unwrap();
    while act.try_wait().unwrap().is_none() {
        watch.poll();
    }
    drop(act);
    let seen = watch.finish();
    let acts = seen.events.iter().filter(|event| is_of(event, token));
    acts.map(|event| event.kind()).filter(|kind| Canary::KINDS.contains(kind)).collect()
}

fn is_of(event: &Arc<Event>, token: &str) -> bool {
    let process = event.process.as_ref();
    process.is_some_and(|process| process.arguments.value.iter().last() == Some(token.as_bytes()))
}

fn all() -> BTreeSet<EventKind> {
    Canary::KINDS.into()
}

#[test]
fn each_ring_has_an_event_of_it() {
    if !can_run() {
        return;
    }
    assert_eq!(kinds_seen(&canary(), builder(), "canary-token-everywhere"), all());
}

#[test]
fn it_is_done_in_a_control_group_that_is_included() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let filtered = || builder().with_included_cgroup(&group.folder);
    let canary = || canary().with_filters(slice::from_ref(&group.folder), &[], &[]);
    assert_eq!(kinds_seen(&canary(), filtered(), "canary-token-included"), all());
    // The group is as it was.
    let folders = fs::read_dir(&group.folder).unwrap().flatten();
    let folders: Vec<PathBuf> =
        folders.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    assert_eq!(folders, <[PathBuf; 0]>::default());
    // Elsewhere it is not seen.
    let elsewhere = self::canary();
    assert_eq!(kinds_seen(&elsewhere, filtered(), "canary-token-elsewhere"), BTreeSet::new());
}

#[test]
fn it_is_done_outside_of_a_control_group_that_is_excluded() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let excluded = [group.folder.clone()];
    let filtered = builder().with_excluded_cgroup(&group.folder);
    let canary = canary().with_filters(&[], &excluded, &[]);
    assert_eq!(kinds_seen(&canary, filtered, "canary-token-excluded"), all());
}

#[test]
fn it_is_done_by_a_user_that_is_included() {
    if !can_run() {
        return;
    }
    // Where any user may run it, as the programs of agents are.
    let folder = tempfile::Builder::new().permissions(mode(0o755)).tempdir().unwrap();
    let program =
        copy_of(std::env::current_exe().unwrap().to_str().unwrap(), folder.path(), "canary");
    let of = |uids: &[u32]| Canary::new(&program, PERFORMS).with_filters(&[], &[], uids);
    let by = |uid| builder().with_included_uid(uid);
    assert_eq!(kinds_seen(&of(&[65_534]), by(65_534), "canary-token-nobody"), all());
    assert_eq!(kinds_seen(&of(&[7, 0]), by(0), "canary-token-root"), all());
}

fn mode(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

#[test]
fn a_sensor_that_does_not_see_does_not_see_it() {
    if !can_run() {
        return;
    }
    let canary = canary();
    let mut watch = Watch::with(builder().with_plan(canary.plan()));
    let kinds = |watch: &mut Watch, token: &str| {
        let mut act = canary.begin(token).unwrap();
        while act.try_wait().unwrap().is_none() {
            watch.poll();
        }
        // Its end comes after all that it did.
        watch.event("the end of the act", |event| {
            matches!(event.data, EventData::Exit(_))
                && process(event).arguments.value.iter().last() == Some(token.as_bytes())
        });
        let acts = watch.seen.events.iter().filter(|event| is_of(event, token));
        acts.map(|event| event.kind())
            .filter(|kind| Canary::KINDS.contains(kind))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(kinds(&mut watch, "canary-token-before"), all());
    // Its plan is taken away.
    watch.sensor.apply_plan(&SensorPlan::default()).unwrap();
    assert_eq!(kinds(&mut watch, "canary-token-blind"), BTreeSet::from([EventKind::Exec]));
    watch.sensor.apply_plan(&canary.plan()).unwrap();
    assert_eq!(kinds(&mut watch, "canary-token-after"), all());
}

#[test]
fn what_cannot_be_done_says_why() {
    let nowhere = Canary::new("/nonexistent/canary", PERFORMS);
    let error = nowhere.begin("token").unwrap_err();
    assert!(matches!(error, CanaryError::Run { .. }), "{error}");
    let missing = [PathBuf::from("/nonexistent/group")];
    let error = canary().with_filters(&missing, &[], &[]).begin("token").unwrap_err();
    assert!(error.to_string().contains("/nonexistent/group"), "{error}");

    let folder = temporary();
    let said = "perl has no such script";
    let script = folder.path().join("fails.pl");
    fs::write(&script, format!("print STDERR '{said}'; exit 3")).unwrap();
    let mut act = Canary::new("/usr/bin/perl", [script.as_os_str()]).begin("token").unwrap();
    let error = loop {
        match act.try_wait() {
            Ok(Some(())) => panic!("it succeeded"),
            Ok(None) => std::thread::sleep(std::time::Duration::from_millis(5)),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains(said), "{error}");
    for wrong in [&[][..], &["act"], &["enter", "token"], &["other", "token"]] {
        let wrong: Vec<OsString> = wrong.iter().map(OsString::from).collect();
        assert!(matches!(Canary::perform(&wrong), Err(CanaryError::Arguments)), "{wrong:?}");
    }
}

#[test]
fn a_plan_of_it_lets_through_its_own_file_by_name() {
    let opens = |program: &str| {
        let plan = Canary::new(Path::new(program), ["canary"]).plan();
        let selection = plan.selection(EventKind::FileOpen).unwrap();
        let keys: Vec<String> = selection.keys().map(|(key, _)| key.to_string()).collect();
        (keys, selection.cases().is_empty())
    };
    let by_name = vec!["*/lavender-agent".to_owned()];
    assert_eq!(opens("/usr/bin/lavender-agent"), (by_name, true));
    let long = "/opt/vendor/an-agent-with-a-name-that-no-key-has-room-for";
    assert_eq!(opens(long), (vec!["/opt/vendor/*".to_owned()], true));
}

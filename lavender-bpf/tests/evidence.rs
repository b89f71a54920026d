//! Evidence on the live kernel: what is written when an alert is raised replays to what was seen before it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{EvidenceOptions, EvidenceRing, EvidenceStage, Replay};
use lavender_core::event::{Event, EventData, EventKind};
use lavender_core::{
    Alert, AlertStage as _, Certainty, Detection, EventId, ManualClock, Outcome, ResponseAction,
    ResponseCause, ResponseOrder, ResponseOutcome, ResponseTarget, RuleMeta, Severity, SystemClock,
    Timestamp,
};

use support::{Group, Watch, awaiting_hashes, builder, can_run, identity, of_kind, temporary};

const PLENTY: usize = 32 << 20;

fn alert(event: &Arc<Event>, level: Severity) -> Alert {
    let rule = Arc::new(RuleMeta { id: "rule".into(), level, ..RuleMeta::default() });
    let detection = Detection {
        rule,
        event: Arc::clone(event),
        evidence: Vec::new(),
        certainty: Certainty::Certain,
        correlated: None,
    };
    Alert::from_detection(&identity(), detection, Timestamp::from_millis(1))
}

/// Raises an alert. The file that it names.
fn raise(stage: &mut EvidenceStage, event: &Arc<Event>) -> Option<PathBuf> {
    let mut raised = vec![alert(event, Severity::High)];
    stage.pass(&mut raised, &mut Vec::new());
    raised[0].capture.as_deref().map(PathBuf::from)
}

fn replay(path: &Path) -> Vec<Arc<Event>> {
    let mut replay = Replay::open(path).unwrap();
    assert!(replay.header().midway);
    let mut events = Vec::new();
    while let Some(batch) = replay.read_batch().unwrap() {
        events.extend(batch.events);
    }
    events
}

/// The files in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A process of long ago that runs another program and others, opens files, signals, and asks who nobody answers.
fn act(folder: &Path, rounds: usize) {
    let mut old = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    for _ in 0..rounds {
        assert!(
            Command::new("/bin/sh").args(["-c", "exec /bin/true a b"]).status().unwrap().success()
        );
        for _ in 0..50 {
            fs::write(folder.join("file"), "x").unwrap();
        }
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().connect("127.0.0.1:40009").unwrap();
        let signal = Command::new("/bin/kill").args(["-s", "CONT", &old.id().to_string()]).status();
        assert!(signal.unwrap().success());
        let become_nobody = "exec setpriv --reuid 65534 --clear-groups /bin/cat /proc/version";
        assert!(
            Command::new("/bin/sh").args(["-c", become_nobody]).output().unwrap().status.success()
        );
    }
    old.kill().unwrap();
    old.wait().unwrap();
}

#[test]
fn what_was_before_an_alert_is_replayed_from_its_evidence() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let dir = folder.path().join("evidence");
    let group = Group::new();
    // Several readings: the rings are read once 512 KiB wait, and on a busy machine there are more by then.
    let most = 2 << 20;
    let ring = EvidenceRing::new(most);
    let mut watch = Watch::with(
        builder()
            .with_plan(awaiting_hashes())
            .with_included_cgroup(&group.folder)
            .with_evidence(ring.clone()),
    );
    let at = folder.path().to_owned();
    let child = group.fork(move || act(&at, 80));
    assert_eq!(watch.until_ended(child), 0);
    watch.poll();
    assert!(ring.bytes() <= most, "{}", ring.bytes());

    let cause = of_kind(&watch.seen.events, EventKind::Exec).last().unwrap();
    let mut stage = EvidenceStage::new(ring, EvidenceOptions::new(&dir), Arc::new(SystemClock));
    let path = raise(&mut stage, cause).unwrap();
    drop(stage);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&path)), (0o700, 0o600));
    let replayed = replay(&path);
    let live: HashMap<EventId, &Arc<Event>> =
        watch.seen.events.iter().map(|event| (event.id, event)).collect();
    assert!(replayed.len() > 500, "{}", replayed.len());
    assert!(replayed.len() < live.len(), "the ring never was full");
    assert!(replayed.iter().any(|event| event.id == cause.id));
    for event in &replayed {
        assert_eq!(event, live[&event.id]);
    }
    let has = |kind| of_kind(&replayed, kind).next().is_some();
    for kind in [EventKind::Exec, EventKind::FileOpen, EventKind::Signal, EventKind::CredChange] {
        assert!(has(kind), "{kind}");
    }
    // What was signalled began long before the evidence does.
    let signalled = replayed.iter().find_map(|event| match &event.data {
        EventData::Signal(signal) => Some(signal.target.executable.value.to_string()),
        _ => None,
    });
    assert!(signalled.unwrap().ends_with("/sleep"));
}

/// Some events, and a ring that has them.
fn seen(group: &Group, ring: &EvidenceRing, count: usize) -> Vec<Arc<Event>> {
    let mut watch = Watch::with(
        builder()
            .with_plan(awaiting_hashes())
            .with_included_cgroup(&group.folder)
            .with_evidence(ring.clone()),
    );
    let mut execs = Vec::new();
    for at in 1..=count {
        assert!(watch.run(&mut group.command("/bin/true")).1);
        let last =
            watch.until("exec", |events| of_kind(events, EventKind::Exec).nth(at - 1).cloned());
        execs.push(last);
    }
    execs
}

#[test]
fn alerts_share_a_file_that_has_the_events_of_all() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let dir = folder.path().join("evidence");
    let (group, ring) = (Group::new(), EvidenceRing::new(PLENTY));
    let execs = seen(&group, &ring, 3);
    let mut stage = EvidenceStage::new(ring, EvidenceOptions::new(&dir), Arc::new(SystemClock));
    let paths: Vec<_> = execs.iter().map(|event| raise(&mut stage, event).unwrap()).collect();
    assert!(paths.iter().all(|path| *path == paths[0]));
    let mut low = vec![alert(&execs[0], Severity::Low)];
    stage.pass(&mut low, &mut Vec::new());
    assert_eq!(low[0].capture, None);
    drop(stage);
    assert_eq!(files(&dir), [paths[0].clone()]);
    let replayed = replay(&paths[0]);
    for exec in &execs {
        assert!(replayed.contains(exec));
    }
}

/// What the kernel did by itself is told to the sensor, and no record of its rings.
#[test]
fn an_alert_about_what_was_done_has_what_was_seen_before_it() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let dir = folder.path().join("evidence");
    let (group, ring) = (Group::new(), EvidenceRing::new(PLENTY));
    let mut watch =
        Watch::with(builder().with_included_cgroup(&group.folder).with_evidence(ring.clone()));
    assert!(watch.run(&mut group.command("/bin/true")).1);
    let exec = watch.exec_of("true");
    let order = ResponseOrder {
        cause: ResponseCause::Rule("rule".into()),
        action: ResponseAction::Deny,
        target: ResponseTarget::Process(exec.process.as_ref().unwrap().id()),
        decided_by: "a test".into(),
    };
    let done = watch.sensor.event_of(ResponseOutcome::new(order, Outcome::Done));
    let mut stage = EvidenceStage::new(ring, EvidenceOptions::new(&dir), Arc::new(SystemClock));
    let path = raise(&mut stage, &done).unwrap();
    drop(stage);
    assert!(replay(&path).contains(&exec));
}

#[test]
fn evidence_is_bounded_in_files_and_in_time() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let dir = folder.path().join("evidence");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join("000000000000001-a.lavcap.partial"), "cut off by a kill").unwrap();
    fs::write(dir.join("000000000000001-a.lavcap"), "of long ago").unwrap();
    fs::write(dir.join("notes"), "of somebody else").unwrap();

    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
    let mut options = EvidenceOptions::new(&dir);
    (options.files_max, options.max_per_minute) = (2, 3);
    let (group, ring) = (Group::new(), EvidenceRing::new(PLENTY));
    let mut stage = EvidenceStage::new(ring.clone(), options, Arc::clone(&clock) as _);
    let mut watch = Watch::with(
        builder()
            .with_plan(awaiting_hashes())
            .with_included_cgroup(&group.folder)
            .with_evidence(ring),
    );
    // Each event is newer than what the file before it has.
    let mut written = Vec::new();
    for round in 1..=5 {
        assert!(watch.run(&mut group.command("/bin/true")).1);
        let exec =
            watch.until("exec", |events| of_kind(events, EventKind::Exec).nth(round - 1).cloned());
        clock.advance(Duration::from_secs(1));
        if round == 5 {
            clock.advance(Duration::from_secs(60));
        }
        written.push(raise(&mut stage, &exec));
        settle(&dir, written.iter().flatten().last().unwrap());
    }
    drop(stage);
    let written = match &written[..] {
        [Some(_), Some(_), Some(third), None, Some(fifth)] => [third.clone(), fifth.clone()],
        other => panic!("{other:?}"),
    };
    let mut left = files(&dir);
    left.sort_unstable();
    assert_eq!(left, [written[0].clone(), written[1].clone(), dir.join("notes")]);
}

/// Waits until a file is there, so that the next finds the thread at leisure.
fn settle(dir: &Path, path: &Path) {
    for _ in 0..2_000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} did not come; these did: {:?}", path.display(), files(dir));
}

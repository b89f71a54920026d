//! Plans on the live kernel: what they need comes, what nothing needs is counted, and they change while it happens.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]
#![allow(unsafe_code, reason = "acts of a process of the test's own")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use lavender_bpf::support::Probe;
use lavender_core::event::{EventBatch, EventData, EventKind};
use lavender_core::{Cases, EventKey, SensorPlan};

use support::{Group, Watch, builder, can_run, of_kind, temporary};

const SUCCEEDED: fn(lavender_core::Case) -> bool = |case| case.succeeded;

/// Names with and without what the plan asks for: other cases, other characters, longer than any key, deeper.
const NAMES: [&str; 12] = [
    "shadow",
    "SHADOW",
    "shadow-",
    "other",
    "sch\u{e4}dow",
    "\u{212a}ey",
    "abcdefghijklmnopqrstuvwxyzabcd",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZABCD",
    "abcdefghijklmnopqrstuvwxyzabcde",
    "abcdefghijklmnopqrstuvwxyzabcdefgh\u{e4}",
    "s",
    "shadowshadowshadowshadowshadowshadowshadow",
];

/// Opens that succeed and fail, for reading and for writing.
fn open_all(folder: &Path) {
    for name in NAMES {
        File::create(folder.join(name)).unwrap();
        File::open(folder.join(name)).unwrap();
        OpenOptions::new().append(true).open(folder.join(name)).unwrap();
        assert!(File::open(folder.join("missing").join(name)).is_err());
    }
    // The root of a mount.
    File::open("/proc").unwrap();
    File::open("/proc/self/status").unwrap();
}

/// How often what was opened below a folder, how, and with which result.
fn opened(
    seen: &EventBatch,
    wanted: impl Fn(&lavender_core::event::Event) -> bool,
) -> BTreeMap<String, usize> {
    let mut opens = BTreeMap::new();
    for event in of_kind(&seen.events, EventKind::FileOpen).filter(|event| wanted(event)) {
        let EventData::FileOpen(open) = &event.data else { continue };
        let what = format!("{} {} {}", open.path.value, open.flags, open.result.is_ok());
        *opens.entry(what).or_default() += 1;
    }
    opens
}

/// What the plan has left out, where it is any.
fn counted(watch: &Watch) -> BTreeMap<EventKind, u64> {
    let mut counts = watch.sensor.filtered().unwrap();
    counts.retain(|_, count| *count > 0);
    counts
}

/// The same acts are seen by a sensor of everything and by one with a plan: the latter delivers what the plan lets through as it
/// is evaluated here, and counts the rest. The root of a mount, whose name is not its own, it may deliver as well.
fn agrees(plan: &SensorPlan) {
    let (folder, group) = (temporary(), Group::new());
    let base = fs::canonicalize(folder.path()).unwrap();
    let mut all = Watch::group(&group);
    let mut planned =
        Watch::with(builder().with_included_cgroup(&group.folder).with_plan(plan.clone()));
    let mut child = group.fork(|| open_all(&base));
    while child.try_wait().is_none() {
        all.poll();
        planned.poll();
    }
    assert_eq!(child.try_wait(), Some(0));
    let left_out = counted(&planned);
    let (all, planned) = (all.finish(), planned.finish());
    assert!(all.lost.is_empty() && planned.lost.is_empty());
    let is_mount = |event: &lavender_core::event::Event| matches!(&event.data, EventData::FileOpen(open) if open.path.value == "/proc");
    let expected = opened(&all, |event| plan.passes(event) && !is_mount(event));
    assert_eq!(opened(&planned, |event| !is_mount(event)), expected, "{plan:?}");
    let count = |seen: &EventBatch| of_kind(&seen.events, EventKind::FileOpen).count() as u64;
    let missing = count(&all) - count(&planned);
    assert!(missing > 0 && !expected.is_empty(), "{missing} left out, {expected:?}");
    assert_eq!(left_out, BTreeMap::from([(EventKind::FileOpen, missing)]));
}

#[test]
fn file_names_are_looked_up_without_regard_to_case() {
    if !can_run() {
        return;
    }
    let mut plan = SensorPlan::default();
    let keys = ["shadow", "key", "abcdefghijklmnopqrstuvwxyzabcd"];
    let keys = keys.map(|name| EventKey::file_name(name.as_bytes()).unwrap());
    plan.select(EventKind::FileOpen, Cases::of(SUCCEEDED), keys);
    agrees(&plan);
}

#[test]
fn folders_are_looked_up_from_the_root() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    let prefix = format!("{}/", base.parent().unwrap().display());
    for prefix in [prefix.to_uppercase(), "/proc/".to_owned()] {
        let mut plan = SensorPlan::default();
        let key = EventKey::folder(prefix.as_bytes()).unwrap();
        plan.select(EventKind::FileOpen, Cases::of(SUCCEEDED), [key]);
        agrees(&plan);
    }
}

#[test]
fn cases_are_told_apart() {
    if !can_run() {
        return;
    }
    let mut plan = SensorPlan::default();
    plan.select_cases(EventKind::FileOpen, Cases::of(|case| case.changes && case.succeeded));
    agrees(&plan);
    let mut plan = SensorPlan::default();
    plan.select_cases(EventKind::FileOpen, Cases::of(|case| case.reads && !case.succeeded));
    agrees(&plan);
}

#[test]
fn what_nothing_needs_is_not_attached_and_a_new_plan_is_taken_while_it_runs() {
    if !can_run() {
        return;
    }
    let (folder, group) = (temporary(), Group::new());
    let base = fs::canonicalize(folder.path()).unwrap();
    let mut watch =
        Watch::with(builder().with_included_cgroup(&group.folder).with_plan(SensorPlan::default()));
    let attached = |watch: &Watch| {
        [Probe::ProcessExec, Probe::FileOpen, Probe::NetConnect, Probe::Signal, Probe::IoUring]
            .map(|probe| watch.sensor.is_attached(probe))
    };
    let act = |watch: &mut Watch| {
        let child = group.fork(|| {
            open_all(&base);
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, 1));
        });
        assert_eq!(watch.until_ended(child), 0);
        watch.poll();
    };
    // One program is for all system calls; it and that of signals see what is done to the agent.
    assert_eq!(attached(&watch), [true, true, true, true, false]);
    act(&mut watch);
    let kinds = watch.sensor.filtered().unwrap();
    assert_eq!(kinds.get(&EventKind::NetConnect), Some(&0), "it is told that none of it comes");
    assert_eq!(kinds.get(&EventKind::Exec), None);

    let mut opens = SensorPlan::default();
    opens.select_all(EventKind::FileOpen);
    watch.sensor.apply_plan(&opens).unwrap();
    assert_eq!(watch.sensor.filtered().unwrap().get(&EventKind::FileOpen), None);
    File::create(base.join("between")).unwrap();
    act(&mut watch);

    let mut connects = SensorPlan::default();
    connects.select(EventKind::NetConnect, Cases::ALL, [EventKey::DestinationPort(1)]);
    connects.select_all(EventKind::IoUring);
    watch.sensor.apply_plan(&connects).unwrap();
    assert_eq!(attached(&watch), [true; 5]);
    act(&mut watch);

    connects = SensorPlan::default();
    connects.select(EventKind::NetConnect, Cases::ALL, [EventKey::DestinationPort(2)]);
    watch.sensor.apply_plan(&connects).unwrap();
    act(&mut watch);
    assert_eq!(attached(&watch), [true, true, true, true, false]);
    assert_eq!(counted(&watch), BTreeMap::from([(EventKind::NetConnect, 1)]));

    let seen = watch.finish();
    let opens = opened(&seen, |_| true);
    let named = |name: &str| {
        let mut counts = opens.iter().filter(|(what, _)| what.contains(name));
        counts.by_ref().map(|(_, count)| count).sum::<usize>()
    };
    assert_eq!(named("/other O_RDONLY|O_CLOEXEC true"), 1, "of one act in four: {opens:?}");
    assert_eq!(of_kind(&seen.events, EventKind::NetConnect).count(), 1);
    assert_eq!(of_kind(&seen.events, EventKind::Exit).count(), 4, "process life is always seen");
    assert!(seen.lost.is_empty(), "{:?}", seen.lost);
}

#[test]
fn what_is_done_to_the_agent_comes_whatever_the_plan_says() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch =
        Watch::with(builder().with_included_cgroup(&group.folder).with_plan(SensorPlan::default()));
    let agent = std::process::id() as libc::pid_t;
    let child = group.fork(|| {
        // SAFETY: plain calls. The signal is one that is ignored unless it is asked for; the write has no bytes.
        let other = unsafe { libc::fork() };
        if other == 0 {
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(libc::sleep(60) > 0)) }
        }
        for target in [agent, other] {
            // SAFETY: as above.
            unsafe {
                assert_eq!(libc::kill(target, libc::SIGURG), 0);
                libc::process_vm_writev(target, std::ptr::null(), 0, std::ptr::null(), 0, 0);
            }
        }
        // SAFETY: its own child.
        assert_eq!(unsafe { libc::kill(other, libc::SIGKILL) }, 0);
    });
    assert_eq!(watch.until_ended(child), 0);
    let filtered = counted(&watch);
    let seen = watch.finish();
    for kind in [EventKind::Signal, EventKind::ProcessVmWrite] {
        let targets: Vec<_> = of_kind(&seen.events, kind)
            .map(|event| match &event.data {
                EventData::Signal(signal) => signal.target.exec_id.process.tgid(),
                EventData::ProcessVmWrite(write) => {
                    write.target.as_ref().unwrap().exec_id.process.tgid()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(targets, [agent as u32], "{kind}");
    }
    let expected = [(EventKind::Signal, 2), (EventKind::ProcessVmWrite, 1)];
    assert_eq!(filtered, BTreeMap::from(expected));
}

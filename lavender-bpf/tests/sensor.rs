//! The sensor itself: filters, the snapshot, its own thread, errors that say what is wrong.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use lavender_bpf::{SensorError, support as capabilities};
use lavender_core::event::{EventData, EventKind, Priority};
use lavender_core::{
    Outcome, Provenance, ResponseAction, ResponseCause, ResponseOrder, ResponseOutcome,
    ResponseTarget, Source as _,
};

use support::{Group, Watch, builder, can_run, copy_of, lost, of_kind, process, temporary};

/// Processes that ran before the sensor are known, as far as the filter lets.
#[test]
fn what_runs_already_is_known() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let outside = copy_of("/bin/sleep", folder.path(), "outside-sleeper");
    let mut outside = Command::new(outside).arg("60.25").spawn().unwrap();
    let mut shell = group
        .command("/bin/sh")
        .args(["-c", "read line; /bin/true first; exit 0", "a-shell", "secret"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut watch = Watch::group(&group);
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(shell.wait().unwrap().success());
    let exec = watch.exec_of("true");
    outside.kill().unwrap();
    outside.wait().unwrap();

    let parent = process(&exec).parent.clone().unwrap();
    assert_eq!(parent.pid, shell.id());
    assert_eq!(parent.arguments.provenance, Provenance::FromProc);
    assert_eq!(parent.arguments.value.iter().nth(4), Some(&b"secret"[..]));
    // Above it stands this test, which the filter leaves out: known, and its arguments are not.
    let above = parent.parent.clone().unwrap();
    assert_eq!(above.pid, std::process::id());
    assert_eq!(above.arguments.provenance, Provenance::Unreadable);
    let own = std::env::current_exe().unwrap();
    assert_eq!(above.executable.path.value, *own.to_str().unwrap());
    assert_eq!(above.working_directory.provenance, Provenance::Unreadable);
    let last = process(&exec).ancestors().last().unwrap();
    assert_eq!(last.pid, 1, "the line leads to the first process");
}

#[test]
fn groups_below_are_included_and_excluded() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    // Made after the sensor started.
    let inner = Group { folder: group.folder.join("inner") };
    fs::create_dir(&inner.folder).unwrap();
    let child = inner.fork(|| drop(fs::read("/proc/version")));
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let (open, _) = watch.open_of("/proc/version");
    assert_eq!(process(&open).pid, pid);
    watch.finish();

    let mut watch = Watch::with(
        builder().with_included_cgroup(&group.folder).with_excluded_cgroup(&inner.folder),
    );
    let child = inner.fork(|| drop(fs::read("/proc/version")));
    assert_eq!(watch.until_ended(child), 0);
    let child = group.fork(|| drop(fs::read("/proc/uptime")));
    assert_eq!(watch.until_ended(child), 0);
    watch.open_of("/proc/uptime");
    let seen = watch.finish();
    let opens = of_kind(&seen.events, EventKind::FileOpen).count();
    assert_eq!(opens, 1, "nothing of the excluded group");
    drop(inner);
}

#[test]
fn only_what_is_asked_for_is_watched() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let kinds = [EventKind::NetConnect];
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder).with_kinds(kinds));
    assert_eq!(watch.sensor.probes().len(), 5);
    let (pid, _) = watch.run(group.command("/bin/cat").arg("/proc/version").stdout(Stdio::null()));
    watch.event("exit", |event| event.kind() == EventKind::Exit && process(event).pid == pid);
    let seen = watch.finish();
    assert_eq!(of_kind(&seen.events, EventKind::FileOpen).count(), 0);
}

#[test]
fn a_user_can_be_filtered_by() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch =
        Watch::with(builder().with_included_cgroup(&group.folder).with_included_uid(54_321));
    let as_user = |uid: u32, file: &'static str| {
        let mut command = Command::new("/bin/cat");
        command.arg(file).stdout(Stdio::null());
        std::os::unix::process::CommandExt::uid(&mut command, uid);
        assert!(command.status().unwrap().success());
    };
    let child = group.fork(|| {
        as_user(54_320, "/proc/uptime");
        as_user(54_321, "/proc/version");
    });
    assert_eq!(watch.until_ended(child), 0);
    watch.open_of("/proc/version");
    let seen = watch.finish();
    assert!(seen.events.iter().all(|event| process(event).credentials.uid == 54_321));
}

/// After a pause the reader sleeps without its timer, and the next record wakes it.
#[test]
fn the_first_record_after_a_pause_is_not_kept_waiting() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let never = Duration::from_secs(3_600);
    let mut sensor = builder()
        .with_included_cgroup(&group.folder)
        .with_drain_interval(Duration::from_millis(1))
        .open()
        .unwrap();
    for _ in 0..3 {
        // Until nothing comes any more.
        while !sensor.poll(Duration::from_millis(100)).unwrap().is_empty() {}
        let child = group.fork(|| drop(fs::read("/proc/version")));
        let batch = sensor.poll(never).unwrap();
        assert!(!batch.events.is_empty());
        assert_eq!(ended(child), 0);
    }
}

/// A loss of process life makes the sensor look at all processes again.
#[test]
fn after_a_loss_the_processes_are_counted_anew() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::with(
        builder().with_included_cgroup(&group.folder).with_ring_bytes(Priority::Process, 4_096),
    );
    let mut child = group.fork(|| {
        for _ in 0..50 {
            Command::new("/bin/true").status().unwrap();
        }
        std::thread::sleep(Duration::from_secs(2));
        Command::new("/bin/true").status().unwrap();
    });
    let pid = child.pid;
    // Nobody reads, so that the ring overflows.
    std::thread::sleep(Duration::from_millis(500));
    while child.try_wait().is_none() {
        watch.poll();
    }
    assert!(watch.sensor.stats().snapshots >= 2, "{:?}", watch.sensor.stats());
    let seen = watch.finish();
    for kind in [EventKind::Fork, EventKind::Exec] {
        let delivered = of_kind(&seen.events, kind).count() as u64;
        assert_eq!(delivered + lost(&seen, kind), 51, "{kind}");
    }
    assert!(lost(&seen, EventKind::Fork) > 0);
    let last = of_kind(&seen.events, EventKind::Fork).last().unwrap();
    assert_eq!(process(last).parent.as_ref().unwrap().pid, pid);
}

#[tokio::test]
async fn on_a_thread_of_its_own_it_ends_when_told() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut source = builder().with_included_cgroup(&group.folder).spawn().unwrap();
    assert!(source.probes().iter().all(|probe| probe.is_available()));
    assert!(group.command("/bin/true").status().unwrap().success());
    source.stop();
    let mut kinds = Vec::new();
    while let Some(batch) = source.next_batch().await.unwrap() {
        kinds.extend(batch.events.iter().map(|event| event.kind()));
    }
    assert!(kinds.contains(&EventKind::Exec) && kinds.contains(&EventKind::Exit), "{kinds:?}");
    assert!(source.next_batch().await.unwrap().is_none());
    assert_eq!(source.stats().events, kinds.len() as u64);
}

/// Prevention knows of a process no more than its id.
#[tokio::test]
async fn what_was_done_to_a_process_is_an_event_of_that_process() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut source = builder().with_included_cgroup(&group.folder).spawn().unwrap();
    let sensor = source.outcome_handle();
    let outcome = |target| {
        let order = ResponseOrder {
            cause: ResponseCause::Rule("a-rule".into()),
            action: ResponseAction::Deny,
            target,
            decided_by: "a test".into(),
        };
        ResponseOutcome::new(order, Outcome::Done)
    };
    assert!(group.command("/bin/true").status().unwrap().success());
    let mut ran = None;
    while ran.is_none() {
        let batch = source.next_batch().await.unwrap().unwrap();
        ran = batch.events.iter().find(|event| event.kind() == EventKind::Exec).cloned();
    }
    let ran = process(&ran.unwrap()).clone();
    let done = [ResponseTarget::Process(ran.id()), ResponseTarget::Host].map(outcome);
    for done in &done {
        sensor.tell(done.clone()).unwrap();
    }
    source.stop();
    let mut told = Vec::new();
    while let Some(batch) = source.next_batch().await.unwrap() {
        told.extend(batch.events.into_iter().filter_map(|event| match &event.data {
            EventData::Response(done) => Some((done.clone(), event.process.clone())),
            _ => None,
        }));
    }
    assert_eq!(told.iter().map(|(done, _)| done.clone()).collect::<Vec<_>>(), done);
    assert_eq!(told[0].1.as_ref().unwrap().exec_id, ran.exec_id);
    assert_eq!(told[1].1, None);
    assert!(sensor.is_closed() && sensor.tell(done[0].clone()).is_err());
}

/// Few at a time are read soon; many gather, for as long as they may.
#[test]
fn many_records_gather_and_few_do_not() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let interval = Duration::from_secs(1);
    let builder = builder().with_included_cgroup(&group.folder).with_drain_interval(interval);
    let mut sensor = builder.open().unwrap();
    let mut batches = |at_a_time: u32| {
        let mut child = group.fork(|| {
            for _ in 0..80 {
                (0..at_a_time).for_each(|_| drop(fs::read("/proc/version")));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let mut batches = 0;
        while child.try_wait().is_none() {
            batches += u32::from(!sensor.poll(2 * interval).unwrap().is_empty());
        }
        batches
    };
    let (few, many) = (batches(1), batches(40));
    println!("{few} batches where few come at a time, {many} where many do");
    assert!(few > many, "{few} {many}");
}

#[test]
fn a_ring_that_cannot_be_is_named() {
    if !can_run() {
        return;
    }
    let refused = |ring, bytes| match builder().with_ring_bytes(ring, bytes).open() {
        Err(error @ SensorError::Ring { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let error = refused(Priority::Network, 100_000);
    assert!(error.contains("network_ring") && error.contains("power of two"), "{error}");
    let error = refused(Priority::File, 1 << 31);
    assert!(error.contains("file_ring") && error.contains("2147483648"), "{error}");
}

/// Where there is no memory for a ring, the error says which ring it was.
#[test]
fn a_ring_without_memory_is_named() {
    if !can_run() {
        return;
    }
    let Some(limited) = limited_memory(64 << 20) else {
        println!("skipped: no memory controller of control groups");
        return;
    };
    let child =
        limited.fork(|| match builder().with_ring_bytes(Priority::Network, 256 << 20).open() {
            Err(error @ SensorError::Ring { .. }) => {
                assert!(error.to_string().contains("network_ring"), "{error}");
            }
            other => panic!("{other:?}"),
        });
    assert_eq!(ended(child), 0);
}

/// A control group of the test's own in which no more than so much memory can be had.
fn limited_memory(bytes: u64) -> Option<Group> {
    let first_version = std::path::Path::new("/sys/fs/cgroup/memory");
    let group = if first_version.join("memory.limit_in_bytes").exists() {
        let name = format!("lavender-test-memory-{}", std::process::id());
        let folder = first_version.join(name);
        fs::create_dir(&folder).ok()?;
        Group { folder }
    } else {
        Group::new()
    };
    let limit = ["memory.limit_in_bytes", "memory.max"];
    let limit = limit.map(|file| group.folder.join(file)).into_iter().find(|file| file.exists())?;
    fs::write(limit, bytes.to_string()).ok()?;
    Some(group)
}

fn ended(mut child: support::Child) -> i32 {
    loop {
        if let Some(status) = child.try_wait() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_control_group_that_is_none_is_named() {
    if !can_run() {
        return;
    }
    for folder in ["/nonexistent", "/tmp"] {
        let error = builder().with_included_cgroup(folder).open().unwrap_err();
        assert!(matches!(error, SensorError::Cgroup { .. }), "{error:?}");
        assert!(error.to_string().contains(folder), "{error}");
    }
}

#[test]
fn the_table_of_capabilities_is_found_by_trying() {
    if !can_run() {
        return;
    }
    let table = capabilities::capabilities();
    assert!(table.btf && table.missing.is_empty());
    assert_eq!(table.probes.len(), capabilities::Probe::ALL.len());
    for row in &table.probes {
        assert!(row.is_available(), "{row:?}");
    }
    let json = serde_json::to_value(&table).unwrap();
    assert_eq!(json["probes"][0]["probe"], "process_fork");
    assert_eq!(json["probes"][0]["status"], "available");
}

#[test]
fn ancestors_outside_the_filter_show_neither_arguments_nor_folder() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| assert!(Command::new("/bin/true").status().unwrap().success()));
    assert_eq!(watch.until_ended(child), 0);
    let event = watch.exec_of("true");
    let outside: Vec<_> = process(&event)
        .ancestors()
        .skip_while(|ancestor| ancestor.pid != std::process::id())
        .collect();
    assert!(!outside.is_empty(), "this test is an ancestor");
    for ancestor in outside {
        assert_eq!(ancestor.arguments.value.len(), 0, "{:?}", ancestor.executable.path);
        assert_eq!(ancestor.working_directory.value.len(), 0, "{:?}", ancestor.executable.path);
    }
}

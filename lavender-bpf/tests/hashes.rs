//! The SHA-256 of programs on the live kernel: the content that ran is hashed, wherever its file is by then.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{CaptureWriter, HashOptions, Replay, SensorBuilder};
use lavender_core::event::{Event, EventKind, ExecutableHash, Process, Sha256Digest, Unhashed};
use sha2::{Digest as _, Sha256};

use support::{Group, Watch, awaiting_hashes, builder, can_run, copy_of, process, temporary};

fn sha256(content: &[u8]) -> ExecutableHash {
    ExecutableHash::Sha256(Sha256Digest::from_bytes(&Sha256::digest(content).into()))
}

fn hash_of(process: &Process) -> Option<ExecutableHash> {
    process.executable.hash.clone()
}

/// Execs wait for their hash, as they do where a rule asks for one, for as long as a test has patience.
fn awaiting(group: &Group) -> SensorBuilder {
    let options = HashOptions { wait: support::PATIENCE, ..HashOptions::default() };
    builder()
        .with_included_cgroup(&group.folder)
        .with_plan(awaiting_hashes())
        .with_hashes(Some(options))
}

/// Ends the test's own child, whatever became of the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_first_exec_waits_for_its_hash_where_a_rule_asks_and_later_ones_have_it_at_once() {
    if !can_run() {
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let program = copy_of("/bin/true", folder.path(), "hashed-true");
    let expected = sha256(&fs::read(&program).unwrap());
    let mut watch = Watch::with(awaiting(&group));
    for _ in 0..2 {
        assert!(watch.run(group.command(&program).arg("x")).1);
    }
    let execs = watch.until("two execs", |events| {
        let execs = events.iter().filter(|event| {
            event.kind() == EventKind::Exec && process(event).name == "hashed-true"
        });
        let execs: Vec<_> = execs.cloned().collect();
        (execs.len() == 2).then_some(execs)
    });
    for exec in &execs {
        assert_eq!(hash_of(process(exec)), Some(expected.clone()));
    }
    // What was written anew is another content.
    let mut file = fs::OpenOptions::new().append(true).open(&program).unwrap();
    file.write_all(b"more").unwrap();
    drop(file);
    let expected = sha256(&fs::read(&program).unwrap());
    assert!(watch.run(group.command(&program).arg("changed")).1);
    let changed = watch.event("the changed program", |event| {
        event.kind() == EventKind::Exec
            && process(event).arguments.value.iter().nth(1) == Some(b"changed")
    });
    assert_eq!(hash_of(process(&changed)), Some(expected));
    assert_eq!(watch.sensor.unhashed(), [].into());
    assert_eq!(watch.finish().lost, []);
}

#[test]
fn where_no_rule_asks_the_exec_does_not_wait_and_what_follows_has_the_hash() {
    if !can_run() {
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let program = copy_of("/bin/cat", folder.path(), "hashed-cat");
    let expected = sha256(&fs::read(&program).unwrap());
    let mut watch = Watch::group(&group);
    let mut command = group.command(&program);
    let cat = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut cat = Ends(cat);
    let exec = watch.exec_of("hashed-cat");
    assert_eq!(hash_of(process(&exec)), Some(ExecutableHash::Missing(Unhashed::Pending)));
    // The thread takes its time: whoever execs the same again has it some time.
    let again = watch.until("an exec with a hash", |events| {
        let same = |event: &&Arc<Event>| {
            event.kind() == EventKind::Exec && process(event).name == "hashed-cat"
        };
        let hashed = |event: &&Arc<Event>| hash_of(process(event)) == Some(expected.clone());
        let found = events.iter().filter(same).find(hashed).cloned();
        if found.is_none() {
            let status = group.command(&program).arg("/dev/null").status().unwrap();
            assert!(status.success());
        }
        found
    });
    assert_ne!(process(&again).id(), process(&exec).id());
    // The one that was there before has it in what it does from then on.
    drop(cat.0.stdin.take());
    let exit = watch.event("the exit of the first", |event| {
        event.kind() == EventKind::Exit && process(event).id() == process(&exec).id()
    });
    assert_eq!(hash_of(process(&exit)), Some(expected));
}

/// Runs a program by a descriptor, as its file has no name any more.
fn run_by_descriptor(group: &Group, file: &File, argument: &str) -> Child {
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    group.command(path).arg(argument).spawn().unwrap()
}

#[test]
fn a_program_without_a_name_or_in_memory_is_hashed_while_it_runs() {
    if !can_run() {
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let content = fs::read("/bin/sleep").unwrap();
    let program = copy_of("/bin/sleep", folder.path(), "nameless");
    let file = File::open(&program).unwrap();
    fs::remove_file(&program).unwrap();
    let memory = rustix::fs::memfd_create("hidden", rustix::fs::MemfdFlags::empty()).unwrap();
    let mut writer = File::from(memory);
    writer.write_all(&content).unwrap();
    let memory = File::open(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
    drop(writer);

    let mut watch = Watch::with(awaiting(&group));
    for (file, in_memory) in [(&file, false), (&memory, true)] {
        let child = Ends(run_by_descriptor(&group, file, "1000"));
        let exec = watch.event("the exec", |event| {
            event.kind() == EventKind::Exec
                && process(event).pid == child.0.id()
                && process(event).executable.deleted
        });
        let executable = &process(&exec).executable;
        assert_eq!(executable.memory_backed, in_memory);
        assert_eq!(executable.hash, Some(sha256(&content)));
    }
}

#[test]
fn what_no_path_leads_to_when_its_process_has_ended_is_gone_and_counted() {
    if !can_run() {
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let program = copy_of("/bin/true", folder.path(), "gone");
    let file = File::open(&program).unwrap();
    fs::remove_file(&program).unwrap();
    let mut watch = Watch::with(awaiting(&group));
    // Nobody reads the rings before it has ended.
    let mut child = run_by_descriptor(&group, &file, "x");
    assert!(child.wait().unwrap().success());
    let exec = watch.event("the exec", |event| {
        event.kind() == EventKind::Exec && process(event).executable.deleted
    });
    assert_eq!(hash_of(process(&exec)), Some(ExecutableHash::Missing(Unhashed::Gone)));
    assert_eq!(watch.sensor.unhashed(), [(Unhashed::Gone, 1)].into());
}

#[test]
fn a_short_lived_program_that_only_a_container_sees_is_hashed_and_not_its_namesake_here() {
    if !can_run() {
        return;
    }
    let can = Command::new("unshare").args(["--mount", "true"]).status();
    if !can.is_ok_and(|status| status.success()) {
        println!("skipped: no new mount namespace can be made here");
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let namesake = copy_of("/bin/cat", folder.path(), "inner");
    let content = fs::read("/bin/true").unwrap();
    let script =
        "mount -t tmpfs none \"$0\" && cp /bin/true \"$0/inner\" && \"$0/inner\" && read line";
    let mut command = group.command("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(folder.path()).stdin(Stdio::piped());
    let mut watch = Watch::with(awaiting(&group));
    let shell = Ends(command.spawn().unwrap());
    let exec = watch.exec_of("inner");
    assert_eq!(&*process(&exec).executable.path.value, namesake.as_os_str().as_encoded_bytes());
    assert_eq!(hash_of(process(&exec)), Some(sha256(&content)));
    assert_ne!(sha256(&content), sha256(&fs::read(&namesake).unwrap()));
    drop(shell);
}

#[test]
fn what_is_too_large_is_not_read_and_is_counted() {
    if !can_run() {
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let program = copy_of("/bin/true", folder.path(), "large");
    let large = fs::metadata(&program).unwrap().len();
    let options = HashOptions {
        file_bytes_max: large - 1,
        wait: support::PATIENCE,
        ..HashOptions::default()
    };
    let mut watch = Watch::with(awaiting(&group).with_hashes(Some(options)));
    for _ in 0..2 {
        assert!(watch.run(&mut group.command(&program)).1);
    }
    let execs = watch.until("two execs", |events| {
        let execs = events
            .iter()
            .filter(|event| event.kind() == EventKind::Exec && process(event).name == "large");
        let execs: Vec<_> = execs.cloned().collect();
        (execs.len() == 2).then_some(execs)
    });
    for exec in execs {
        assert_eq!(hash_of(process(&exec)), Some(ExecutableHash::Missing(Unhashed::TooLarge)));
    }
    // Once for the file, though it ran twice. Whatever else ran may be too large as well.
    assert!(watch.sensor.unhashed()[&Unhashed::TooLarge] >= 1);
}

#[test]
fn who_does_not_want_hashes_has_none() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::with(awaiting(&group).with_hashes(None));
    assert!(watch.run(&mut group.command("/bin/true")).1);
    assert_eq!(hash_of(process(&watch.exec_of("true"))), None);
}

#[test]
fn an_exec_waits_no_longer_than_it_may() {
    if !can_run() {
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let program = copy_of("/bin/true", folder.path(), "slow");
    // Larger than a second's worth by far: it is read for hours.
    let file = fs::OpenOptions::new().append(true).open(&program).unwrap();
    file.set_len(4 << 20).unwrap();
    drop(file);
    let options = HashOptions {
        bytes_per_s: 100.try_into().unwrap(),
        wait: Duration::from_millis(200),
        ..HashOptions::default()
    };
    let mut watch = Watch::with(awaiting(&group).with_hashes(Some(options)));
    assert!(watch.run(&mut group.command(&program)).1);
    let exec = watch.exec_of("slow");
    assert_eq!(hash_of(process(&exec)), Some(ExecutableHash::Missing(Unhashed::Pending)));
    // What came after it was told meanwhile: it alone waited.
    let place =
        |kind: EventKind| {
            watch.seen.events.iter().position(|event| {
                event.kind() == kind && process(event).id() == process(&exec).id()
            })
        };
    let own = watch.seen.events.iter().position(|event| Arc::ptr_eq(event, &exec)).unwrap();
    assert!(place(EventKind::Exit).unwrap() < own);
}

fn replayed(path: &Path) -> Vec<Arc<Event>> {
    let mut replay = Replay::open(path).unwrap();
    let mut events = Vec::new();
    while let Some(batch) = replay.read_batch().unwrap() {
        events.extend(batch.events);
    }
    events
}

#[test]
fn a_replay_has_the_hashes_of_the_live_run() {
    if !can_run() {
        return;
    }
    let (group, folder) = (Group::new(), temporary());
    let path = folder.path().join("capture");
    let capture = CaptureWriter::create(&path, 64 << 20).unwrap();
    let mut watch = Watch::with(awaiting(&group).with_capture(capture));
    for round in 0..10 {
        // Some that are known, some that are not, and some that are gone by then.
        let name = format!("replayed-{}", round / 2);
        let program = folder.path().join(&name);
        if !program.exists() {
            copy_of("/bin/true", folder.path(), &name);
        }
        assert!(watch.run(&mut group.command(&program)).1);
        if round % 4 == 3 {
            fs::remove_file(&program).unwrap();
        }
    }
    let hashed = |events: &[Arc<Event>]| {
        let mut execs = events.iter().filter(|event| event.kind() == EventKind::Exec);
        execs
            .by_ref()
            .filter(|exec| matches!(hash_of(process(exec)), Some(ExecutableHash::Sha256(_))))
            .count()
    };
    // The thread takes its time, and who ends the sensor before has execs without a hash.
    watch.until("ten execs", |events| {
        (events.iter().filter(|event| event.kind() == EventKind::Exec).count() == 10).then_some(())
    });
    let seen = watch.finish();
    assert!(hashed(&seen.events) >= 5);
    assert_eq!(replayed(&path), seen.events);
}

//! Opens on the live kernel: every call, resolved paths, results, and exact counts.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lavender_bpf::Limits;
use lavender_core::Provenance;
use lavender_core::event::{Event, EventData, EventKind, Priority};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};

use support::compat::{call_32, low_copy};
use support::{Group, Watch, amount, builder, can_run, lost, of_kind, process, temporary};

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Opens and closes, without anything around it.
fn open_null(times: u64) {
    for _ in 0..times {
        // SAFETY: a descriptor that is closed at once.
        unsafe {
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
            assert!(null >= 0);
            libc::close(null);
        }
    }
}

/// Delivered and lost add up to what was done, at full speed.
#[test]
fn opens_at_full_speed_add_up() {
    if !can_run() {
        return;
    }
    let count = amount("LAVENDER_TEST_OPENS", 200_000);
    let group = Group::new();
    // Without limits, so that it is the rings that are tried.
    let unlimited = builder().with_included_cgroup(&group.folder).with_limits(Limits::OFF);
    let mut watch = Watch::with(unlimited);
    let mut child = group.fork(|| open_null(count));
    let pid = child.pid;
    let count_opens = |events: &[Arc<Event>]| {
        for event in of_kind(events, EventKind::FileOpen) {
            let EventData::FileOpen(open) = &event.data else { continue };
            assert!(open.path.value == "/dev/null" && open.path.is_whole(), "{event:?}");
            assert!(open.inode != 0 && process(event).pid == pid, "{event:?}");
        }
        of_kind(events, EventKind::FileOpen).count() as u64
    };
    let mut delivered = 0;
    while child.try_wait().is_none() {
        watch.poll();
        // Counted and not kept, so that the full count fits into memory.
        delivered += count_opens(&watch.seen.events);
        watch.seen.events.clear();
    }
    let seen = watch.finish();
    delivered += count_opens(&seen.events);
    let lost = lost(&seen, EventKind::FileOpen);
    println!("{delivered} delivered, {lost} lost of {count}");
    assert_eq!(delivered + lost, count);
}

/// A ring that is far too small, and a reader that sleeps: still every open is delivered or counted.
#[test]
fn what_does_not_fit_is_counted_exactly() {
    if !can_run() {
        return;
    }
    let count = 20_000;
    let group = Group::new();
    let mut watch = Watch::with(
        builder().with_included_cgroup(&group.folder).with_ring_bytes(Priority::File, 16_384),
    );
    let before = watch.sensor.stats();
    let mut child = group.fork(|| open_null(count));
    while child.try_wait().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(watch.sensor.stats(), before, "nothing is read while it sleeps");
    watch.poll();
    let seen = watch.finish();
    let delivered = of_kind(&seen.events, EventKind::FileOpen).count() as u64;
    let lost = lost(&seen, EventKind::FileOpen);
    assert!(lost > count / 2, "{lost} lost");
    assert_eq!(delivered + lost, count);
    assert!(seen.lost.iter().all(|loss| loss.cpu.is_some()));
    // Process life has a ring of its own, and nothing of it was lost.
    assert_eq!(of_kind(&seen.events, EventKind::Exit).count(), 1);
}

#[test]
fn every_call_that_opens() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    fs::write(base.join("there"), "x").unwrap();
    fs::create_dir(base.join("sub")).unwrap();
    let mut watch = Watch::group(&group);
    let at = base.clone();
    let child = group.fork(move || {
        // SAFETY: plain calls with strings that live.
        unsafe {
            assert!(
                libc::syscall(libc::SYS_open, c(&at.join("there")).as_ptr(), libc::O_RDONLY) >= 0
            );
            assert!(libc::creat(c(&at.join("made")).as_ptr(), 0o640) >= 0);
        }
        let folder = rustix::fs::open(&at, OFlags::DIRECTORY, Mode::empty()).unwrap();
        openat(&folder, "sub/../by-openat", OFlags::CREATE | OFlags::WRONLY, 0o600.into()).unwrap();
        openat2(&folder, "there", OFlags::RDWR, Mode::empty(), ResolveFlags::BENEATH).unwrap();
        std::env::set_current_dir(at.join("sub")).unwrap();
        fs::read("../there").unwrap();
    });
    assert_eq!(watch.until_ended(child), 0);

    let path = |name: &str| base.join(name).into_os_string().into_encoded_bytes();
    let made = watch.open_of(path("made")).1;
    assert_eq!((made.flags.0, made.mode), (0o1101, 0o640));
    let by_openat = watch.open_of(path("by-openat")).1;
    assert!(by_openat.flags.may_create() && by_openat.result.is_ok());
    assert_eq!(by_openat.mode, 0o600);
    let there = path("there");
    let opens: Vec<_> = of_kind(&watch.seen.events, EventKind::FileOpen)
        .filter_map(|event| match &event.data {
            EventData::FileOpen(open) if *open.path.value == *there => Some(open),
            _ => None,
        })
        .collect();
    // open, openat2, and the relative one.
    assert_eq!(opens.len(), 3, "{opens:?}");
    let metadata = fs::metadata(base.join("there")).unwrap();
    for open in opens {
        assert_eq!(open.inode, std::os::unix::fs::MetadataExt::ino(&metadata));
        assert!(open.path.is_whole());
    }
}

#[test]
fn opens_that_fail_have_absolute_paths() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(base.join("sub")).unwrap();
    let mut watch = Watch::group(&group);
    let at = base.clone();
    let child = group.fork(move || {
        let read = |name: &str| assert!(fs::read(name).is_err());
        let folder = rustix::fs::open(&at, OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert!(openat(&folder, "sub/./../no-dirfd", OFlags::RDONLY, Mode::empty()).is_err());
        let in_root =
            openat2(&folder, "/../no-inroot", OFlags::RDONLY, Mode::empty(), ResolveFlags::IN_ROOT);
        assert!(in_root.is_err());
        std::env::set_current_dir(at.join("sub")).unwrap();
        read("no-cwd");
        read("..//no-up");
        read("/no/such/../absolute");
        // SAFETY: an address that is not mapped.
        assert_eq!(unsafe { libc::open(std::ptr::without_provenance(8), libc::O_RDONLY) }, -1);
        std::os::unix::fs::chroot(&at).unwrap();
        read("/no-chroot");
    });
    assert_eq!(watch.until_ended(child), 0);
    for name in ["no-dirfd", "no-inroot", "sub/no-cwd", "no-up", "no-chroot"] {
        let open = watch.open_of(base.join(name).as_os_str().as_bytes()).1;
        assert_eq!(open.result.errno(), Some(2), "{name}");
        assert!(open.path.is_whole() && open.inode == 0, "{open:?}");
    }
    assert_eq!(watch.open_of("/no/absolute").1.result.errno(), Some(2));
    let unreadable = watch.open_of("").1;
    assert_eq!(unreadable.path.provenance, Provenance::Unreadable);
    assert_eq!(unreadable.result.errno(), Some(14));
}

/// A folder below `base` with a path of exactly `length` bytes, made of names of 200.
fn deep_folder(base: &Path, length: usize) -> PathBuf {
    let mut path = base.to_owned();
    while path.as_os_str().len() + 202 < length {
        path.push("d".repeat(200));
    }
    let rest = length - path.as_os_str().len() - 1;
    path.push("e".repeat(rest));
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn a_path_of_4095_bytes_is_whole() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    let file = deep_folder(&base, 4_000).join("f".repeat(94));
    assert_eq!(file.as_os_str().len(), 4_095);
    let mut watch = Watch::group(&group);
    let target = file.clone();
    let child = group.fork(move || {
        fs::write(&target, "x").unwrap();
        // One byte longer: the kernel takes no such path, and it does not fit.
        let mut longer = target.into_os_string().into_encoded_bytes();
        longer.push(b'g');
        let longer = CString::new(longer).unwrap();
        // SAFETY: a string that lives.
        assert_eq!(unsafe { libc::open(longer.as_ptr(), libc::O_RDONLY) }, -1);
    });
    assert_eq!(watch.until_ended(child), 0);
    let open = watch.open_of(file.as_os_str().as_bytes()).1;
    assert_eq!(open.path.provenance, Provenance::Complete);
    let too_long = watch.event("open of a path too long", |event| {
        matches!(&event.data, EventData::FileOpen(open)
            if open.result.errno() == Some(36) && !open.path.is_whole())
    });
    assert!(too_long.process.is_some());
}

/// Deeper than any path that a call takes: cut at the front, and marked.
#[test]
fn a_path_beyond_the_limit_is_marked() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    let deep = deep_folder(&base, 4_000);
    let mut watch = Watch::group(&group);
    let inside = deep.clone();
    let child = group.fork(move || {
        std::env::set_current_dir(&inside).unwrap();
        fs::create_dir("g".repeat(200)).unwrap();
        fs::write(format!("{}/leaf", "g".repeat(200)), "x").unwrap();
    });
    assert_eq!(watch.until_ended(child), 0);
    let event = watch.event("the open of the leaf", |event| {
        matches!(&event.data, EventData::FileOpen(open)
            if open.path.value.ends_with(b"/leaf"))
    });
    match &event.data {
        EventData::FileOpen(open) => {
            assert!(!open.path.is_whole());
            assert!(open.path.value.len() >= 4_000);
        }
        other => panic!("{other:?}"),
    }
}

/// As many names as a path can have.
#[test]
fn a_path_of_two_thousand_names_is_whole() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    let names = (4_095 - base.as_os_str().len() - 2) / 2;
    let deep = base.join(vec!["n"; names - 1].join("/"));
    fs::create_dir_all(&deep).unwrap();
    let file = deep.join("f");
    let mut watch = Watch::group(&group);
    let target = file.clone();
    let child = group.fork(move || fs::write(&target, "x").unwrap());
    assert_eq!(watch.until_ended(child), 0);
    assert!(watch.open_of(file.as_os_str().as_bytes()).1.path.is_whole());
}

/// System calls of the 32-bit table have other numbers, and are not taken for what they are not.
#[test]
#[cfg(target_arch = "x86_64")]
fn system_calls_of_32_bits_are_read_as_such() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        let low = low_copy(b"/proc/version\0");
        // open is 5, which is fstat in the other table; getuid is 24 here, and 2 is fork and no open.
        let file = call_32(5, low, 0, 0);
        if file == -38 {
            println!("skipped: this kernel takes no 32-bit system calls");
            return;
        }
        assert!(file >= 0, "{file}");
        assert_eq!(call_32(5, low_copy(b"/not-there-32\0"), 0, 0), -2);
    });
    assert_eq!(watch.until_ended(child), 0);
    assert!(watch.open_of("/proc/version").1.result.is_ok());
    assert_eq!(watch.open_of("/not-there-32").1.result.errno(), Some(2));
}

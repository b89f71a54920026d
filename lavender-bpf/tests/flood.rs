//! Opens from every processor at once, as fast as they go, while programs start: process life loses nothing by it, and what
//! was done is what was told, lost and over a limit, to the last.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(
    unsafe_code,
    reason = "memory that children share, and calls without anything around them"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use lavender_bpf::{Limits, Rates};
use lavender_core::event::{EventBatch, EventData, EventKind, LossStage};

use support::{Child, Group, Watch, amount, builder, can_run};

/// What the flooding children share with the test.
#[repr(C)]
struct Shared {
    stop: AtomicU64,
    opens: AtomicU64,
}

fn shared() -> &'static Shared {
    // SAFETY: a new anonymous mapping, zeroed, which is a valid `Shared`, and never unmapped.
    unsafe {
        let (access, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let memory = libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), access, flags, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        &*memory.cast::<Shared>()
    }
}

/// Opens, and counts them, until it is told to stop.
fn flood(shared: &Shared) {
    while shared.stop.load(Ordering::Relaxed) == 0 {
        for _ in 0..100 {
            // SAFETY: a descriptor that is closed at once.
            unsafe { libc::close(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY)) };
        }
        shared.opens.fetch_add(100, Ordering::Relaxed);
    }
}

/// What was told, kind by kind, as counts: a flood does not fit into memory.
#[derive(Debug, Default)]
struct Ledger {
    execs: u64,
    exits: u64,
    opens: u64,
    opens_lost: u64,
    opens_throttled: u64,
    other_lost: u64,
}

impl Ledger {
    fn add(&mut self, seen: &mut EventBatch) {
        for event in seen.events.drain(..) {
            match &event.data {
                EventData::Exec(_) => self.execs += 1,
                EventData::Exit(_) => self.exits += 1,
                EventData::FileOpen(_) => self.opens += 1,
                EventData::Lost(loss) => {
                    assert!(
                        loss.stage == LossStage::ThrottledProcess
                            && loss.kind == EventKind::FileOpen
                    );
                    self.opens_throttled += loss.count;
                }
                _ => {}
            }
        }
        for loss in seen.lost.drain(..) {
            match loss.kind {
                EventKind::FileOpen if loss.stage.is_throttled() => {
                    self.opens_throttled += loss.count
                }
                EventKind::FileOpen => self.opens_lost += loss.count,
                _ => self.other_lost += loss.count,
            }
        }
    }
}

/// How many files `/bin/true` opens as it starts.
fn opens_of_true() -> u64 {
    let group = Group::new();
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder));
    let child = group.fork(|| assert!(Command::new("/bin/true").status().unwrap().success()));
    assert_eq!(watch.until_ended(child), 0);
    let mut ledger = Ledger::default();
    ledger.add(&mut watch.finish());
    assert_eq!((ledger.execs, ledger.opens_lost), (1, 0));
    ledger.opens
}

/// Floods from every processor while programs start. What was done: opens, and programs.
fn flooded(limits: Limits) -> (Ledger, u64, u64) {
    let programs = amount("LAVENDER_TEST_FORKS", 300);
    let opens_each = opens_of_true();
    let group = Group::new();
    let shared = shared();
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder).with_limits(limits));
    let mut ledger = Ledger::default();
    let processors = std::thread::available_parallelism().unwrap().get();
    let mut flooding: Vec<Child> = (0..processors).map(|_| group.fork(|| flood(shared))).collect();
    let mut starting = group.fork(|| {
        for _ in 0..programs {
            assert!(Command::new("/bin/true").status().unwrap().success());
        }
    });
    let mut wait_for = |watch: &mut Watch, child: &mut Child| {
        while child.try_wait().is_none() {
            watch.poll();
            ledger.add(&mut watch.seen);
        }
        assert_eq!(child.try_wait(), Some(0));
    };
    wait_for(&mut watch, &mut starting);
    shared.stop.store(1, Ordering::Relaxed);
    for child in &mut flooding {
        wait_for(&mut watch, child);
    }
    ledger.add(&mut watch.finish());
    let opens = shared.opens.load(Ordering::Relaxed) + programs * opens_each;
    println!("{opens} opens by {processors} processes, {programs} programs started: {ledger:?}");
    assert_eq!((ledger.execs, ledger.exits), (programs, programs + 1 + processors as u64));
    assert_eq!(ledger.other_lost, 0, "process life has a ring of its own");
    (ledger, opens, programs)
}

#[test]
fn a_flood_of_opens_evicts_no_program_start() {
    if !can_run() {
        return;
    }
    let (ledger, opens, _) = flooded(Limits::OFF);
    assert_eq!(ledger.opens_throttled, 0);
    assert_eq!(ledger.opens + ledger.opens_lost, opens);
}

#[test]
fn a_flood_over_its_limit_adds_up_too() {
    if !can_run() {
        return;
    }
    let process = Rates { files_per_s: 10_000, ..Limits::OFF.process };
    let limits = Limits { process, burst: std::time::Duration::from_millis(500), ..Limits::OFF };
    let (ledger, opens, _) = flooded(limits);
    assert!(ledger.opens_throttled > ledger.opens_lost, "{ledger:?}");
    assert_eq!(ledger.opens + ledger.opens_lost + ledger.opens_throttled, opens);
}

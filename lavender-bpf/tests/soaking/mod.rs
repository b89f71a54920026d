//! Load of every kind in a control group of its own, and what the sensor holds meanwhile. The test runs it for seconds, the
//! example `soak` for as long as it is told.
#![allow(dead_code, unreachable_pub, reason = "the test and the example each use a part")]
#![allow(unsafe_code, reason = "memory that children share, and calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "load on the real kernel")]

use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lavender_bpf::{Limits, ProcessAudit, Rates, Sensor, SensorBuilder};
use lavender_core::event::{EventBatch, EventKind};

use crate::support::{Child, Group, builder};

/// A question of a resolver: what is the address of `a.test`?
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";

/// What was seen, as counts.
#[derive(Debug, Default)]
pub struct Tally {
    pub events: u64,
    pub forks: u64,
    pub execs: u64,
    pub exits: u64,
    pub lost: u64,
}

impl Tally {
    fn add(&mut self, batch: &EventBatch) {
        self.events += batch.events.len() as u64;
        for event in &batch.events {
            match event.kind() {
                EventKind::Fork => self.forks += 1,
                EventKind::Exec => self.execs += 1,
                EventKind::Exit => self.exits += 1,
                _ => {}
            }
        }
        let lost = batch.lost.iter().filter(|loss| !loss.stage.is_throttled());
        self.lost += lost.map(|loss| loss.count).sum::<u64>();
    }
}

/// A sensor that watches a group in which every processor is kept busy.
#[derive(Debug)]
pub struct Soak {
    pub sensor: Sensor,
    pub tally: Tally,
    workers: Vec<Child>,
    stop: &'static AtomicU64,
    group: Group,
    _folder: tempfile::TempDir,
}

impl Soak {
    /// Begins the load, with this sensor set up further by `set`.
    pub fn start(set: impl FnOnce(SensorBuilder) -> SensorBuilder) -> Self {
        let (group, folder) = (Group::new(), tempfile::tempdir().unwrap());
        // Low, so that limits are reached, and what is counted of them comes and goes.
        let process = Rates { files_per_s: 2_000, network_per_s: 2_000, acts_per_s: 2_000 };
        let limits = Limits { process, burst: Duration::from_secs(1), ..Limits::OFF };
        let builder = builder().with_included_cgroup(&group.folder).with_limits(limits);
        let mut sensor = set(builder).open().unwrap();
        let mut tally = Tally::default();
        tally.add(&sensor.poll(Duration::from_millis(50)).unwrap());
        let stop = shared();
        let workers = std::thread::available_parallelism().unwrap().get();
        let workers = (0..workers).map(|_| group.fork(|| work(folder.path(), stop))).collect();
        Self { sensor, tally, workers, stop, group, _folder: folder }
    }

    /// Goes on for a time.
    pub fn run(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            let batch = self.sensor.poll(Duration::from_millis(50)).unwrap();
            self.tally.add(&batch);
        }
    }

    pub fn audit(&mut self) -> ProcessAudit {
        let tally = &mut self.tally;
        self.sensor.audit_processes(|batch| tally.add(&batch)).unwrap()
    }

    /// Ends the load, and waits until what ended is forgotten.
    pub fn quiet(&mut self, time: Duration) {
        self.stop.store(1, Ordering::Relaxed);
        while self.workers.iter_mut().any(|worker| worker.try_wait().is_none()) {
            self.run(Duration::from_millis(50));
        }
        for worker in &mut self.workers {
            assert_eq!(worker.try_wait(), Some(0), "a worker failed");
        }
        self.run(time);
    }

    /// How many workers there were: their forks are outside of the group.
    pub fn workers(&self) -> u64 {
        self.workers.len() as u64
    }

    /// The sensor's own memory that nobody shares, in KiB.
    pub fn resident_kib() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn shared() -> &'static AtomicU64 {
    // SAFETY: a new anonymous mapping, zeroed, which is a valid number, and never unmapped.
    unsafe {
        let (access, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let memory = libc::mmap(std::ptr::null_mut(), 8, access, flags, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        &*memory.cast::<AtomicU64>()
    }
}

/// Does a little of everything until it is told to stop.
fn work(folder: &Path, stop: &AtomicU64) {
    let own = folder.join(std::process::id().to_string());
    fs::create_dir(&own).unwrap();
    let (file, renamed) = (own.join("file"), own.join("renamed"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) != 0 {
            break;
        }
        let status = Command::new("/bin/true").status().unwrap();
        assert!(status.success());
        fs::write(&file, "x").unwrap();
        fs::rename(&file, &renamed).unwrap();
        fs::remove_file(&renamed).unwrap();
        let port = 1_024 + (round % 50_000) as u16;
        let _ = socket.send_to(b"x", ("127.0.0.2", port));
        let _ = socket.send_to(QUESTION, "127.0.0.3:53");
        let _ = TcpStream::connect("127.0.0.1:1");
        let _ = Command::new("/nonexistent/program").status();
        std::thread::spawn(|| {}).join().unwrap();
        // SAFETY: plain numbers and a constant name; the descriptor is closed at once.
        unsafe {
            libc::setfsuid(0);
            libc::close(libc::memfd_create(c"soak".as_ptr(), 0));
        }
        match round % 16 {
            0 => {
                // A child whose parent ends first, and an end that is no success.
                let script = "(/bin/true &); (exec /bin/true) & wait; exit 3";
                assert_eq!(
                    Command::new("/bin/sh").args(["-c", script]).status().unwrap().code(),
                    Some(3)
                );
            }
            8 => {
                let mut sleeper =
                    Command::new("/bin/sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
                sleeper.kill().unwrap();
                sleeper.wait().unwrap();
            }
            4 => drop(Command::new("/bin/true").arg("x".repeat(30_000)).status().unwrap()),
            12 if round % 512 == 12 => flood(),
            _ => {}
        }
    }
    fs::remove_dir_all(&own).unwrap();
}

/// A process of its own that goes beyond its limit, and ends.
fn flood() {
    let script = "i=0; while [ $i -lt 5000 ]; do : </dev/null; i=$((i+1)); done";
    assert!(Command::new("/bin/sh").args(["-c", script]).status().unwrap().success());
}

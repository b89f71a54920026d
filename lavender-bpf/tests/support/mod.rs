//! What the live tests share: control groups of their own, children that act in them, a sensor that watches.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(
    unsafe_code,
    reason = "children are forked, so that a test decides what they do down to the call"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

pub mod compat;
pub mod net;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lavender_bpf::{Sensor, SensorBuilder, host, support};
use lavender_core::event::{
    Event, EventBatch, EventData, EventKind, FileOpen, NetConnect, Process,
};
use lavender_core::{AgentId, AgentIdentity, BootId, Origin, SensorPlan, Sequencer, TenantId};

/// How long to wait for an event that is on its way.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether live tests can run here; if not, says why.
pub fn can_run() -> bool {
    let missing = support::check();
    if !missing.is_empty() {
        let why: Vec<String> = missing.iter().map(ToString::to_string).collect();
        println!("skipped: {}", why.join("; "));
        return false;
    }
    if mount().is_none() {
        println!("skipped: no v2 control groups are mounted");
        return false;
    }
    true
}

fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// A control group of the test's own, removed with it.
#[derive(Debug)]
pub struct Group {
    pub folder: PathBuf,
}

impl Group {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mount = mount().unwrap();
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = mount.join(format!("lavender-test-{}-{count}", std::process::id()));
            match fs::create_dir(&folder) {
                Ok(()) => return Self { folder },
                // Storms use up the pids: this process can have that of an earlier test, whose group is still there.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", folder.display()),
            }
        }
    }

    /// A command that first enters the group.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg("echo 0 > \"$0/cgroup.procs\" && exec \"$@\"")
            .arg(&self.folder)
            .arg(program)
            // Cargo's has every folder that a dependency was built in: hundreds of opens for every program that is started.
            .env_remove("LD_LIBRARY_PATH");
        command
    }

    /// A child that enters the group, then does what `act` does, and ends with 0, or 101 if that panics.
    pub fn fork(&self, act: impl FnOnce()) -> Child {
        self.fork_to_ask(|| {
            act();
            true
        })
    }

    /// The same, for what may well not hold: the child ends with 1 then, and says nothing of it.
    pub fn fork_to_ask(&self, act: impl FnOnce() -> bool) -> Child {
        // SAFETY: the child runs `act` and ends without returning.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    fs::write(self.folder.join("cgroup.procs"), "0").unwrap();
                    act()
                }));
                let code = ran.map_or(101, |holds| i32::from(!holds));
                // SAFETY: ends the process without running what belongs to the parent.
                unsafe { libc::_exit(code) }
            }
            pid => Child { pid: pid as u32, status: None },
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last member may still be on its way out.
        for _ in 0..200 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A forked child.
#[derive(Debug)]
pub struct Child {
    pub pid: u32,
    status: Option<i32>,
}

impl Child {
    pub fn try_wait(&mut self) -> Option<i32> {
        if self.status.is_none() {
            let mut status = 0;
            // SAFETY: waits for the test's own child.
            let done = unsafe { libc::waitpid(self.pid as i32, &raw mut status, libc::WNOHANG) };
            if done == self.pid as i32 {
                self.status = Some(status);
            }
        }
        self.status
    }
}

pub fn identity() -> AgentIdentity {
    AgentIdentity {
        tenant: TenantId::default(),
        agent: AgentId::new("test").unwrap(),
        host: "test-host".into(),
    }
}

pub fn boot() -> BootId {
    host::boot_id().unwrap()
}

pub fn builder() -> SensorBuilder {
    let identity = identity();
    let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot()));
    SensorBuilder::new(identity, boot(), ids)
}

/// Everything, and execs wait for the hash of their program, as they do where a rule asks for one.
pub fn awaiting_hashes() -> SensorPlan {
    let mut plan = SensorPlan::everything();
    plan.await_hashes();
    plan
}

/// A sensor, and all that it has delivered.
#[derive(Debug)]
pub struct Watch {
    pub sensor: Sensor,
    pub seen: EventBatch,
}

impl Watch {
    /// Watches a group.
    pub fn group(group: &Group) -> Self {
        Self::with(builder().with_included_cgroup(&group.folder))
    }

    pub fn with(builder: SensorBuilder) -> Self {
        let mut sensor = builder.open().unwrap();
        let seen = sensor.poll(Duration::from_millis(50)).unwrap();
        Self { sensor, seen }
    }

    pub fn poll(&mut self) {
        let batch = self.sensor.poll(Duration::from_millis(20)).unwrap();
        self.seen.events.extend(batch.events);
        self.seen.lost.extend(batch.lost);
    }

    /// Polls until the child has ended. Its wait status.
    pub fn until_ended(&mut self, mut child: Child) -> i32 {
        loop {
            self.poll();
            if let Some(status) = child.try_wait() {
                return status;
            }
        }
    }

    /// Runs a command to its end, polling. Its pid and whether it succeeded.
    pub fn run(&mut self, command: &mut Command) -> (u32, bool) {
        let mut child = command.spawn().unwrap();
        loop {
            self.poll();
            if let Some(status) = child.try_wait().unwrap() {
                return (child.id(), status.success());
            }
        }
    }

    /// Polls until something is among what was delivered.
    pub fn until<T>(&mut self, what: &str, mut find: impl FnMut(&[Arc<Event>]) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = find(&self.seen.events) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "no {what} came; there were:\n{}", self.shown());
            self.poll();
        }
    }

    /// The first event that fits.
    pub fn event(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Arc<Event> {
        self.until(what, |events| events.iter().find(|event| fits(event)).cloned())
    }

    /// The exec with this program name (`comm`).
    pub fn exec_of(&mut self, name: &str) -> Arc<Event> {
        self.event(&format!("exec of {name}"), |event| {
            event.kind() == EventKind::Exec && process(event).name == *name
        })
    }

    pub fn open_of(&mut self, path: impl AsRef<[u8]>) -> (Arc<Event>, FileOpen) {
        let path = path.as_ref();
        let what = format!("open of {}", path.escape_ascii());
        let event = self.event(
            &what,
            |event| matches!(&event.data, EventData::FileOpen(open) if &*open.path.value == path),
        );
        match &event.data {
            EventData::FileOpen(open) => (Arc::clone(&event), open.clone()),
            _ => unreachable!(),
        }
    }

    pub fn connect_to(&mut self, port: u16) -> (Arc<Event>, NetConnect) {
        let event = self.event(&format!("connect to {port}"), |event| {
            matches!(&event.data, EventData::NetConnect(connect) if connect.destination.port() == port)
        });
        match &event.data {
            EventData::NetConnect(connect) => (Arc::clone(&event), connect.clone()),
            _ => unreachable!(),
        }
    }

    /// Stops the sensor: all that it delivered, to the last.
    pub fn finish(self) -> EventBatch {
        let mut seen = self.seen;
        for batch in self.sensor.finish().unwrap() {
            seen.events.extend(batch.events);
            seen.lost.extend(batch.lost);
        }
        seen
    }

    fn shown(&self) -> String {
        let line = |event: &Arc<Event>| {
            let process = process(event);
            let mut data = format!("{:?}", event.data);
            data.truncate(300);
            format!("{} {} {data}\n", process.pid, process.name)
        };
        self.seen.events.iter().take(100).map(line).collect()
    }
}

/// What was seen of this act of a child, which must succeed.
pub fn seen(act: impl FnOnce()) -> (u32, Vec<Arc<Event>>) {
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(act);
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(batch.lost, []);
    (pid, batch.events)
}

pub fn process(event: &Event) -> &Arc<Process> {
    event.process.as_ref().unwrap()
}

pub fn of_kind(events: &[Arc<Event>], kind: EventKind) -> impl Iterator<Item = &Arc<Event>> {
    events.iter().filter(move |event| event.kind() == kind)
}

pub fn lost(seen: &EventBatch, kind: EventKind) -> u64 {
    seen.lost.iter().filter(|loss| loss.kind == kind).map(|loss| loss.count).sum()
}

/// Opens that found no room in their ring.
pub fn lost_for_room(seen: &EventBatch) -> u64 {
    let of_opens = seen.lost.iter().filter(|loss| loss.kind == EventKind::FileOpen);
    of_opens.filter(|loss| !loss.stage.is_throttled()).map(|loss| loss.count).sum()
}

/// A number from the environment: how much of something a test does.
pub fn amount(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

pub fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A copy of a program, to be called by a name of the test's own.
pub fn copy_of(program: &str, folder: &Path, name: &str) -> PathBuf {
    let copy = folder.join(name);
    fs::copy(program, &copy).unwrap();
    copy
}

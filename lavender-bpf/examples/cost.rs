//! What the sensor costs the programs that it watches: the same work with nothing attached and with all probes
//! attached, in turn, in a control group of its own.
//!
//!     cargo run --release -p lavender-bpf --example cost [ROUNDS]
//!
//! Needs root. CPU time is that of the control group (user and system), the kernel's own accounting; wall time is
//! not shown, since it is mostly that of others. The last lines are the medians.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool that may fail loudly")]

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lavender_bpf::{SensorBuilder, host};
use lavender_core::{AgentId, AgentIdentity, Origin, Sequencer, TenantId};

/// What is done, how often a round, and how long one may take more with the sensor attached.
const WORK: [(&str, u64); 5] = [
    ("exec", 1_000),
    ("open", 200_000),
    ("connect", 20_000),
    ("getppid", 500_000),
    ("read", 500_000),
];

fn work(verb: &str, count: u64) {
    let (mut file, mut bytes) = (fs::File::open("/dev/zero").unwrap(), [0; 64]);
    for _ in 0..count {
        match verb {
            // No message, but by its number it might be one.
            "read" => file.read_exact(&mut bytes).unwrap(),
            "exec" => drop(Command::new("/bin/true").stdout(Stdio::null()).status().unwrap()),
            "open" => drop(fs::File::open("/dev/null").unwrap()),
            "connect" => {
                // Port 1 of loopback: refused at once.
                let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
                TcpStream::connect(closed).unwrap_err();
            }
            _ => drop(std::hint::black_box(std::os::unix::process::parent_id())),
        }
    }
}

/// A control group of this run's own, removed at the end.
struct Group(PathBuf);

impl Group {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = fields.find(|fields| fields[2] == "cgroup2").unwrap();
        let folder = Path::new(mount[1]).join(format!("lavender-cost-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn cpu_ns(&self) -> u64 {
        let stat = fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        usage.parse::<u64>().unwrap() * 1_000
    }

    /// Runs the work in the group and returns its CPU time, ns for one.
    fn run(&self, verb: &str, count: u64) -> f64 {
        let before = self.cpu_ns();
        // A shell that joins the group before it becomes the worker: the sensor's thread stays outside.
        let status = Command::new("/bin/sh")
            .args([
                "-c",
                "echo $$ >\"$1/cgroup.procs\" && exec \"$2\" --work \"$3\" \"$4\"",
                "cost",
            ])
            .arg(&self.0)
            .arg(std::env::current_exe().unwrap())
            .args([verb, &count.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        (self.cpu_ns() - before) as f64 / count as f64
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What the sensor did while it was attached.
struct Watched {
    events: u64,
    lost: u64,
    cpu_ns: u64,
}

/// Runs `during` with all probes attached, and the sensor reading on a thread of its own.
fn attached<T>(group: &Group, during: impl FnOnce() -> T) -> (T, Watched) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let (thread_stop, folder) = (Arc::clone(&stop), group.0.clone());
    let thread = std::thread::spawn(move || {
        let identity = AgentIdentity {
            tenant: TenantId::default(),
            agent: AgentId::new("cost").unwrap(),
            host: "cost".into(),
        };
        let boot = host::boot_id().unwrap();
        let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot));
        let mut sensor =
            SensorBuilder::new(identity, boot, ids).with_included_cgroup(folder).open().unwrap();
        let started = cpu_ns();
        ready.send(()).unwrap();
        let mut events = 0;
        while !thread_stop.load(Ordering::Relaxed) {
            events += sensor.poll(Duration::from_millis(10)).unwrap().events.len() as u64;
        }
        let before_end = cpu_ns();
        let mut lost = sensor.stats().lost;
        for batch in sensor.finish().unwrap() {
            events += batch.events.len() as u64;
            lost += batch.lost.iter().map(|loss| loss.count).sum::<u64>();
        }
        Watched { events, lost, cpu_ns: before_end - started }
    });
    is_ready.recv().unwrap();
    let result = during();
    stop.store(true, Ordering::Relaxed);
    (result, thread.join().unwrap())
}

fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, verb, count] = &arguments[..]
        && flag == "--work"
    {
        return work(verb, count.parse().unwrap());
    }
    let rounds = arguments.get(1).map_or(5, |rounds| rounds.parse().unwrap());
    let group = Group::new();
    println!(
        "{:>8}  {:>12}  {:>12}  {:>10}  {:>7}  {:>14}",
        "", "nothing ns", "attached ns", "added ns", "ratio", "sensor ns/event"
    );
    let (mut all_events, mut all_lost) = (0, 0);
    for (verb, count) in WORK {
        let (mut bare, mut watched, mut sensor) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(group.run(verb, count));
            let (cpu, seen) = attached(&group, || group.run(verb, count));
            watched.push(cpu);
            if verb != "getppid" {
                sensor.push(seen.cpu_ns as f64 / seen.events.max(1) as f64);
            }
            all_events += seen.events;
            all_lost += seen.lost;
        }
        let (bare, watched) = (median(bare), median(watched));
        let sensor =
            if sensor.is_empty() { String::from("-") } else { format!("{:.0}", median(sensor)) };
        println!(
            "{verb:>8}  {bare:>12.0}  {watched:>12.0}  {:>10.0}  {:>7.3}  {sensor:>14}",
            watched - bare,
            watched / bare
        );
    }
    println!("{all_events} events, {all_lost} lost");
}

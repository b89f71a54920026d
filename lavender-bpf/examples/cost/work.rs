//! The work that is watched, and the control group that it is done in.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is done, and how often a round.
pub(crate) const WORK: [(&str, u64); 5] = [
    ("exec", 1_000),
    ("open", 100_000),
    ("connect", 10_000),
    ("getppid", 300_000),
    ("read", 300_000),
];

/// The worker's user id, by which peers are told whom to watch.
pub(crate) const WORKER_UID: u32 = 54_321;

/// Does the work, as the user that is watched, and returns.
pub(crate) fn be_worker(verb: &str, count: u64) {
    nix::unistd::setuid(WORKER_UID.into()).unwrap();
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
pub(crate) struct Group(pub(crate) PathBuf);

impl Group {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn run(&self, verb: &str, count: u64) -> f64 {
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

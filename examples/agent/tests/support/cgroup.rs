//! A control group (v2) of a test's own.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Where the v2 hierarchy is mounted.
pub fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (path, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| path.into())
    })
}

/// A group that is removed with everything in it when the test ends.
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mount = mount().unwrap();
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = mount.join(format!("lavender-test-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self { path },
                // Storms use up the pids: this process can have that of an earlier test, whose group is still there.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that runs in the group. A shell outside of it moves itself in, then becomes the program:
    /// the first that is seen of it is that exec.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#])
            .arg(&self.path)
            .arg(program)
            // Cargo's has every folder that a dependency was built in: hundreds of opens for every program that is started.
            .env_remove("LD_LIBRARY_PATH");
        command
    }

    /// Kills what is left in the group, which only the test can have started.
    fn kill_all(&self) {
        // `cgroup.kill` is of 5.14.
        if fs::write(self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for pid in fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..50 {
            self.kill_all();
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        println!("{} could not be removed", self.path.display());
    }
}

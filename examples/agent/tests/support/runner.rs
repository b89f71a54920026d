//! A shell that is nobody's child.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::cgroup::Cgroup;
use super::write;

/// A shell in a control group that runs scripts, one after the other. Started before the agent, it is init's child to it,
/// so that what runs this test is not among the ancestors of what it runs.
pub struct Runner {
    scripts: File,
}

impl Runner {
    pub fn new(cgroup: &Cgroup, folder: &Path) -> Self {
        let scripts = folder.join("scripts");
        assert!(Command::new("mkfifo").arg(&scripts).status().unwrap().success());
        // It ends when nobody writes to the pipe any more.
        let detach = r#"(echo 0 >"$0/cgroup.procs"
            while read script; do /bin/sh "$script" >"$script.said" 2>&1; echo $? >"$script.ended"; done <"$1") &"#;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", detach]).arg(cgroup.path()).arg(&scripts);
        command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        Self { scripts: File::options().write(true).open(&scripts).unwrap() }
    }

    /// Runs a script, which is written to this file, to its end.
    pub fn run(&mut self, path: &Path, script: &str) {
        write(path, script);
        writeln!(self.scripts, "{}", path.display()).unwrap();
        let beside = |suffix: &str| format!("{}.{suffix}", path.display());
        for _ in 0..6_000 {
            match fs::read_to_string(beside("ended")).unwrap_or_default().as_str() {
                "0\n" => return,
                code if code.ends_with('\n') => {
                    panic!("{script}\n{}", fs::read_to_string(beside("said")).unwrap_or_default());
                }
                _ => thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("it did not end: {script}");
    }
}

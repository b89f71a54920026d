//! Harmless acts that rules take for attacks, in a control group of the fleet's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{FleetError, Result};

/// A control group (v2) that is removed with everything in it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// When there are none of version 2, or it may not be made.
    pub fn make() -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").map_err(FleetError::io("/proc/self/mounts"))?;
        let mount = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (path, kind) = (words.nth(1)?, words.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(path))
        });
        let missing = || FleetError::Missing("there are no control groups of version 2".into());
        let path =
            mount.ok_or_else(missing)?.join(format!("lavender-fleet-{}", std::process::id()));
        fs::create_dir(&path).map_err(FleetError::io(format!("making {}", path.display())))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a shell that decodes and runs `id`, as droppers do with what they fetched. `mark` is in its command line.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn decode_and_run(&self, mark: &str) -> Result<()> {
        let payload = format!(": {mark}; echo aWQ= | base64 -d | sh");
        // A shell outside of the group moves itself in, then becomes the program.
        let done = Command::new("/bin/sh")
            .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#])
            .arg(&self.path)
            .args(["bash", "-c", &payload])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .map_err(FleetError::io("running the act"))?;
        match done.success() {
            true => Ok(()),
            false => Err(FleetError::Broken(format!("the act ended with {done}"))),
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What is left in it was started here.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        if fs::remove_dir(&self.path).is_err() {
            // The kernel takes a moment; nothing is lost if it stays empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

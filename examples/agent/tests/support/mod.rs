//! What the tests of the real binary on the real kernel share: a control group of their own, so that they
//! see nothing but themselves; the agent as a child process; harmless stand-ins of attacks.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod agent;
pub mod benign;
pub mod cgroup;
pub mod net;
pub mod runner;
pub mod setting;
pub mod stand_in;
pub mod store;
pub mod titles;

use std::fs;
use std::path::Path;

/// Why this machine cannot run the sensor's tests, if it cannot. The caller prints it and returns.
pub fn missing() -> Option<String> {
    if !cfg!(feature = "live") {
        return Some("built without the feature `live`".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("the kernel has no BTF".to_owned());
    }
    if cgroup::mount().is_none() {
        return Some("no cgroup v2 hierarchy is mounted".to_owned());
    }
    None
}

/// Returns from the test, saying why, when this machine cannot run it.
#[macro_export]
macro_rules! need_kernel {
    () => {
        if let Some(why) = $crate::support::missing() {
            println!("skipped: {why}");
            return;
        }
    };
}

/// A number from the environment, or the one that keeps the default run short.
pub fn scale(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Writes a file and makes its folder.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

//! Containers and pid namespaces on the live kernel: a control group that is called as a runtime calls it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs;
use std::process::Command;

use lavender_core::event::QosClass;

use support::{Group, Watch, can_run, process};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "8cbb7bc8-9a4b-4ee2-9ac8-7d3a0f3c6e11";

#[test]
fn a_process_tells_its_container_pod_and_both_of_its_pids() {
    if !can_run() {
        return;
    }
    let unshare = ["--pid", "--fork", "/bin/sh", "-c", "exec /bin/true; true"];
    if !Command::new("unshare").args(unshare).status().is_ok_and(|status| status.success()) {
        println!("skipped: no new pid namespace can be made here");
        return;
    }
    let group = Group::new();
    let pod = group.folder.join(format!("kubepods-burstable-pod{}.slice", POD.replace('-', "_")));
    let container = pod.join(format!("cri-containerd-{ID}.scope"));
    fs::create_dir_all(&container).unwrap();
    let mut watch = Watch::group(&group);
    let procs = container.join("cgroup.procs");
    let child = group.fork(move || {
        fs::write(procs, "0").unwrap();
        assert!(Command::new("unshare").args(unshare).status().unwrap().success());
    });
    let outside = child.pid;
    assert_eq!(watch.until_ended(child), 0);

    let inside = process(&watch.exec_of("true")).clone();
    let found = inside.container.as_ref().unwrap();
    assert_eq!((&*found.id, found.runtime.as_deref()), (ID, Some("containerd")));
    let found = found.pod.as_ref().unwrap();
    assert_eq!((&*found.uid, found.qos_class), (POD, QosClass::Burstable));
    // The first process of its namespace; what made it is in the test's.
    assert_eq!(inside.namespace_pid, 1);
    assert!(inside.pid > 1);
    let unshare = process(&watch.exec_of("unshare")).clone();
    assert_ne!(inside.pid, unshare.pid);
    assert_ne!(inside.namespaces.pid, unshare.namespaces.pid);
    assert_eq!(unshare.parent.as_ref().unwrap().namespace_pid, outside);
    for folder in [container, pod] {
        fs::remove_dir(folder).unwrap();
    }
}

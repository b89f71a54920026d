//! Namespaces and mounts on the live kernel: every call that changes them, and what became of it. All of it happens in
//! namespaces of the tests' own children.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lavender_core::event::{
    Event, EventData, EventKind, Mount, MountCall, NamespaceTypes, NsCall, NsChange,
};
use support::compat::{call_32, call_32_with, call_64, low_copy};
use support::{can_run, of_kind, process, seen, temporary};

const PTR: fn(&CString) -> i64 = |text| text.as_ptr().addr() as i64;

fn change(event: &Event) -> &NsChange {
    match &event.data {
        EventData::NsChange(change) => change,
        other => panic!("{other:?}"),
    }
}

fn mount(event: &Event) -> &Mount {
    match &event.data {
        EventData::Mount(mount) => mount,
        other => panic!("{other:?}"),
    }
}

/// The number of this process's own namespace.
fn own(name: &str) -> u32 {
    fs::metadata(format!("/proc/self/ns/{name}")).unwrap().ino() as u32
}

fn unshare(types: i32) {
    assert_eq!(call_64(libc::SYS_unshare, [types.into(), 0, 0, 0, 0, 0]), 0);
}

#[test]
fn changes_of_namespaces_tell_what_was_asked_before_and_after() {
    if !can_run() {
        return;
    }
    let home = ["uts", "net", "user", "mnt"].map(own);
    let (pid, events) = seen(|| {
        let uts = File::open("/proc/self/ns/uts").unwrap();
        unshare(libc::CLONE_NEWUTS);
        assert_eq!(call_32(310, libc::CLONE_NEWNET as u32, 0, 0), 0);
        // Back, without saying what it is.
        let descriptor = i64::from(uts.as_raw_fd());
        assert_eq!(call_64(libc::SYS_setns, [descriptor, 0, 0, 0, 0, 0]), 0);
        assert!(call_64(libc::SYS_setns, [-1, libc::CLONE_NEWNET.into(), 0, 0, 0, 0]) < 0);
        // What a thread does is not what the process is.
        std::thread::spawn(|| unshare(libc::CLONE_NEWUTS)).join().unwrap();
        // Not about namespaces.
        unshare(libc::CLONE_FS);
        // By a process: its network and users, whom it has in common with its parent.
        let parent = std::os::unix::process::parent_id();
        let by_pid = call_64(libc::SYS_pidfd_open, [parent.into(), 0, 0, 0, 0, 0]);
        assert!(by_pid >= 0);
        let both = i64::from(libc::CLONE_NEWNET | libc::CLONE_NEWUTS);
        assert_eq!(call_64(libc::SYS_setns, [by_pid, both, 0, 0, 0, 0]), 0);
        unshare(libc::CLONE_NEWPID);
    });
    let changes: Vec<_> = of_kind(&events, EventKind::NsChange)
        .map(|event| {
            assert_eq!(process(event).pid, pid);
            (change(event), process(event).namespaces)
        })
        .collect();
    let seen: Vec<_> = changes
        .iter()
        .map(|(change, _)| {
            let types: Vec<&str> = change.types.names().collect();
            (change.call, types, change.result.is_ok())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (NsCall::Unshare, vec!["uts"], true),
            (NsCall::Unshare, vec!["net"], true),
            (NsCall::Setns, vec!["uts"], true),
            (NsCall::Setns, vec!["net"], false),
            (NsCall::Unshare, vec!["uts"], true),
            (NsCall::Setns, vec!["uts", "net"], true),
            (NsCall::Unshare, vec!["pid"], true),
        ]
    );
    let [uts, net, user, mnt] = home;
    for (change, now) in &changes {
        let after = change.after.unwrap();
        assert_eq!((after.user, after.mnt, now.pid), (user, mnt, after.pid));
        assert!(change.before.is_some() && change.target.is_none());
    }
    let after = |at: usize| changes[at].0.after.unwrap();
    assert!(after(0).uts != uts && after(0).net == net);
    assert_eq!(changes[0].0.before.unwrap().uts, uts);
    assert_eq!(changes[1].0.before.unwrap().uts, after(0).uts);
    assert!(after(1).net != net && after(2).uts == uts);
    // The thread's own, and the process's, which stays.
    assert!(after(4).uts != uts && changes[4].1.uts == uts);
    assert_eq!((after(5).uts, after(5).net), (uts, net));
    let children = changes[6].0.children_pid.unwrap();
    assert_ne!(children, after(6).pid);
}

/// Makes a child by `clone3`, which ends at once, with these flags.
fn clone3(flags: i32) -> i64 {
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let mut arguments = [flags as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let place = arguments.as_mut_ptr();
    let child = call_64(libc::SYS_clone3, [place.addr() as i64, 64, 0, 0, 0, 0]);
    ended(child)
}

/// Ends the child in itself; in its maker, waits for it.
fn ended(child: i64) -> i64 {
    if child == 0 {
        // SAFETY: ends the child without running what belongs to the test.
        unsafe { libc::_exit(0) };
    }
    if child > 0 {
        let mut status = 0;
        // SAFETY: waits for its own child.
        assert_eq!(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }, child as i32);
    }
    child
}

/// The same, but the child has this process's memory, and takes the flags out of it while the maker waits.
#[cfg(target_arch = "x86_64")]
fn clone3_and_hide(flags: i32) -> i64 {
    let flags = (flags | libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    let mut arguments = [flags, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let child: i64;
    // SAFETY: the child writes the memory that it is given, ends, and uses no stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov qword ptr [rdi], 0x4000",
            "mov eax, 60",
            "xor edi, edi",
            "syscall",
            "2:",
            inlateout("rax") libc::SYS_clone3 => child,
            in("rdi") arguments.as_mut_ptr(),
            in("rsi") 64,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    assert!(child > 0);
    assert_eq!(arguments[0], 0x4000);
    ended(child)
}

#[test]
fn clones_in_new_namespaces_tell_of_the_new_process() {
    if !can_run() {
        return;
    }
    let (pid, events) = seen(|| {
        let flags = i64::from(libc::CLONE_NEWUTS | libc::SIGCHLD);
        assert!(ended(call_64(libc::SYS_clone, [flags, 0, 0, 0, 0, 0])) > 0);
        assert!(clone3(libc::CLONE_NEWNET) > 0);
        assert!(clone3(0) > 0);
        assert!(clone3_and_hide(libc::CLONE_NEWUTS) > 0);
        assert!(clone3(libc::CLONE_NEWUSER | libc::CLONE_FS) < 0);
    });
    let changes: Vec<_> = of_kind(&events, EventKind::NsChange).collect();
    let kinds: Vec<_> = changes
        .iter()
        .map(|event| {
            let change = change(event);
            assert_eq!((process(event).pid, change.call), (pid, NsCall::Clone));
            (change.types, change.result.is_ok())
        })
        .collect();
    assert_eq!(
        kinds,
        [
            (NamespaceTypes(libc::CLONE_NEWUTS as u32), true),
            (NamespaceTypes(libc::CLONE_NEWNET as u32), true),
            // What was asked for is gone; what came of it is not.
            (NamespaceTypes(0), true),
            (NamespaceTypes::USER, false),
        ]
    );
    for event in &changes[..3] {
        let change = change(event);
        let (before, after) = (change.before.unwrap(), change.after.unwrap());
        assert!(before.uts != after.uts || before.net != after.net);
        let child = change.target.as_ref().unwrap().exec_id.process;
        assert_eq!(i64::from(child.tgid()), change.result.0);
        assert_eq!(process(event).namespaces, before);
    }
    assert_eq!(change(changes[3]).target, None);
}

/// A process that has ended has no namespaces any more, and that is no change of them: it may have by the time that its
/// maker's call ends.
#[test]
fn clones_that_ended_at_once_are_no_change() {
    if !can_run() {
        return;
    }
    let (_, events) = seen(|| {
        for _ in 0..1_000 {
            assert!(clone3(libc::CLONE_VFORK) > 0);
        }
    });
    assert!(of_kind(&events, EventKind::Fork).count() >= 1_000);
    assert_eq!(of_kind(&events, EventKind::NsChange).count(), 0);
}

/// In a mount namespace of its own, in which nothing reaches the host.
fn alone() {
    unshare(libc::CLONE_NEWNS);
    let private = i64::try_from(libc::MS_REC | libc::MS_PRIVATE).unwrap();
    let root = c"/".to_owned();
    assert_eq!(call_64(libc::SYS_mount, [0, PTR(&root), 0, private, 0, 0]), 0);
}

fn text(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

#[test]
fn mounts_tell_what_is_mounted_where_and_what_became_of_it() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let root = fs::canonicalize(folder.path()).unwrap();
    let [one, two, three] = ["one", "two", "three"].map(|name| root.join(name));
    for place in [&one, &two, &three] {
        fs::create_dir(place).unwrap();
    }
    let (a, b, c) = (one.clone(), two.clone(), three.clone());
    let (_, events) = seen(move || {
        alone();
        let [one, two, three] = [&a, &b, &c].map(|path| text(path));
        let (tmpfs, word) = (c"tmpfs".to_owned(), c"a-word".to_owned());
        let mount = |source, target, kind, flags: u64| {
            call_64(libc::SYS_mount, [source, target, kind, flags as i64, 0, 0])
        };
        assert_eq!(mount(PTR(&word), PTR(&one), PTR(&tmpfs), libc::MS_NOSUID), 0);
        std::env::set_current_dir(a.parent().unwrap()).unwrap();
        let relative = c"two".to_owned();
        assert_eq!(mount(PTR(&one), PTR(&relative), 0, libc::MS_BIND), 0);
        assert!(mount(PTR(&word), PTR(&three), PTR(&word), 0) < 0);
        // Never a copy of the strings that 32 bits cannot point to.
        let [low_word, low_three, low_type] =
            [word.as_bytes_with_nul(), three.as_bytes_with_nul(), tmpfs.as_bytes_with_nul()]
                .map(low_copy);
        assert_eq!(call_32_with(21, [low_word, low_three, low_type, 0, 0]), 0);
        assert_eq!(call_32(52, low_three, libc::MNT_DETACH as u32, 0), 0);
        assert_eq!(call_64(libc::SYS_umount2, [PTR(&two), 0, 0, 0, 0, 0]), 0);
        assert!(call_64(libc::SYS_umount2, [PTR(&two), 0, 0, 0, 0, 0]) < 0);
        assert!(call_64(libc::SYS_pivot_root, [PTR(&two), PTR(&three), 0, 0, 0, 0]) < 0);
    });
    let mounts: Vec<&Mount> =
        of_kind(&events, EventKind::Mount).map(|event| mount(event)).collect();
    let shown: Vec<_> = mounts
        .iter()
        .map(|mount| {
            let path = |path: &Option<lavender_core::Captured<lavender_core::ByteString>>| {
                path.as_ref().map_or_else(String::new, |path| {
                    assert!(path.is_whole());
                    path.value.to_string()
                })
            };
            let kind = mount.filesystem.as_ref().map_or_else(String::new, ToString::to_string);
            (mount.call, path(&mount.source), path(&mount.target), kind, mount.result.is_ok())
        })
        .collect();
    let [one, two, three] = [one, two, three].map(|path| path.to_str().unwrap().to_owned());
    let row = |call, source: &str, target: &str, kind: &str, ok| {
        (call, source.to_owned(), target.to_owned(), kind.to_owned(), ok)
    };
    assert_eq!(
        shown,
        [
            row(MountCall::Mount, "", "/", "", true),
            row(MountCall::Mount, "a-word", &one, "tmpfs", true),
            row(MountCall::Mount, &one, &two, "", true),
            row(MountCall::Mount, "a-word", &three, "a-word", false),
            row(MountCall::Mount, "a-word", &three, "tmpfs", true),
            row(MountCall::Umount, "", &three, "", true),
            row(MountCall::Umount, "", &two, "", true),
            row(MountCall::Umount, "", &two, "", false),
            row(MountCall::PivotRoot, &two, &three, "", false),
        ]
    );
    assert_eq!(mounts[1].flags, libc::MS_NOSUID);
    assert_eq!(mounts[5].flags, libc::MNT_DETACH as u64);
    // The process is told of where it is from then on.
    let unshared = of_kind(&events, EventKind::NsChange).next().unwrap();
    let namespaces = change(unshared).after.unwrap();
    assert_ne!(namespaces.mnt, own("mnt"));
    for event in of_kind(&events, EventKind::Mount) {
        assert_eq!(process(event).namespaces, namespaces);
    }
}

#[test]
fn mounts_by_descriptors_are_mounts_too() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let place = fs::canonicalize(folder.path()).unwrap();
    let target = place.clone();
    let (_, events) = seen(move || {
        alone();
        let path = text(&target);
        let (empty, kind, key, name) = (
            c"".to_owned(),
            c"tmpfs".to_owned(),
            c"source".to_owned(),
            c"by-descriptor".to_owned(),
        );
        let context = call_64(libc::SYS_fsopen, [PTR(&kind), 0, 0, 0, 0, 0]);
        // FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE
        let set = [context, 1, PTR(&key), PTR(&name), 0, 0];
        assert_eq!(call_64(libc::SYS_fsconfig, set), 0);
        assert_eq!(call_64(libc::SYS_fsconfig, [context, 6, 0, 0, 0, 0]), 0);
        let made = call_64(libc::SYS_fsmount, [context, 0, 0, 0, 0, 0]);
        assert!(made >= 0);
        // MOVE_MOUNT_F_EMPTY_PATH
        let here = i64::from(libc::AT_FDCWD);
        let attach = [made, PTR(&empty), here, PTR(&path), 4, 0];
        assert_eq!(call_64(libc::SYS_move_mount, attach), 0);
        // OPEN_TREE_CLONE; only looked at without it.
        let tree = call_64(libc::SYS_open_tree, [here, PTR(&path), 1, 0, 0, 0]);
        assert!(tree >= 0);
        assert!(call_64(libc::SYS_open_tree, [here, PTR(&path), 0, 0, 0, 0]) >= 0);
        // Onto what a descriptor stands for: MOVE_MOUNT_T_EMPTY_PATH as well.
        let onto = File::open(&target).unwrap();
        let onto = i64::from(onto.as_raw_fd());
        assert_eq!(
            call_64(libc::SYS_move_mount, [tree, PTR(&empty), onto, PTR(&empty), 0x44, 0]),
            0
        );
        // struct mount_attr: MOUNT_ATTR_RDONLY.
        let attributes = [1_u64, 0, 0, 0];
        let attributes = attributes.as_ptr().addr() as i64;
        let set = [here, PTR(&path), 0, attributes, 32, 0];
        assert_eq!(call_64(libc::SYS_mount_setattr, set), 0);
    });
    let mounts: Vec<&Mount> =
        of_kind(&events, EventKind::Mount).skip(1).map(|event| mount(event)).collect();
    let [made, attached, tree, onto, set] = &mounts[..] else { panic!("{mounts:#?}") };
    let calls = [made, attached, tree, onto, set].map(|mount| mount.call);
    use MountCall as C;
    assert_eq!(calls, [C::Fsmount, C::MoveMount, C::OpenTree, C::MoveMount, C::MountSetattr]);
    assert!(mounts.iter().all(|mount| mount.result.is_ok()));
    for mount in [made, attached, tree, onto] {
        assert_eq!(mount.filesystem, Some("tmpfs".into()), "{mount:?}");
    }
    let place = place.to_str().unwrap();
    for mount in [made, attached, onto] {
        assert_eq!(mount.source.as_ref().unwrap().value, "by-descriptor", "{mount:?}");
    }
    assert_eq!(tree.source.as_ref().unwrap().value, *place);
    assert_eq!((&made.target, &tree.target), (&None, &None));
    for mount in [attached, onto, set] {
        assert_eq!(mount.target.as_ref().unwrap().value, *place, "{mount:?}");
    }
    assert_eq!(set.flags, 1);
}

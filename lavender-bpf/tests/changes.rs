//! Removed, renamed and linked files, their modes and owners, on the live kernel: every call, and every way to name a
//! file.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use lavender_core::Captured;
use lavender_core::event::{EventData, EventKind, FileDelete, FileLink, FileMode, FileRename};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, chmodat, chownat, linkat, renameat_with};
use rustix::fs::{symlinkat, unlinkat};

use support::compat::{call_32, low_copy};
use support::{Group, Watch, builder, can_run, of_kind, process, temporary};

/// Watches only these acts, made below a folder of the test's own. What was seen, in order.
fn seen(act: impl FnOnce(&Path)) -> (tempfile::TempDir, PathBuf, Vec<EventData>) {
    let group = Group::new();
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    let mut watch = Watch::group(&group);
    let at = base.clone();
    let child = group.fork(move || {
        std::env::set_current_dir(&at).unwrap();
        act(&at);
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(batch.lost, []);
    let changes = batch.events.iter().filter(|event| {
        matches!(
            event.kind(),
            EventKind::FileDelete
                | EventKind::FileRename
                | EventKind::FileLink
                | EventKind::FileMode
        )
    });
    let changes = changes.inspect(|event| assert_eq!(process(event).pid, pid));
    (folder, base, changes.map(|event| event.data.clone()).collect())
}

fn shown(base: &Path, path: &Captured<lavender_core::ByteString>) -> String {
    assert!(path.is_whole(), "{path:?}");
    let text = String::from_utf8_lossy(&path.value).into_owned();
    text.strip_prefix(&format!("{}/", base.display())).unwrap_or(&text).to_owned()
}

/// One line for each change: what, the paths below the folder, the error.
fn lines(base: &Path, changes: &[EventData]) -> Vec<String> {
    let path = |path: &Captured<lavender_core::ByteString>| shown(base, path);
    let line = |change: &EventData| match change {
        EventData::FileDelete(FileDelete { path: name, directory, result }) => {
            format!("delete {} {directory} {}", path(name), result.0)
        }
        EventData::FileRename(FileRename { path: new, previous_path, exchange, result }) => {
            format!("rename {} {} {exchange} {}", path(previous_path), path(new), result.0)
        }
        EventData::FileLink(FileLink { path: new, target, symbolic, result }) => {
            format!("link {} {} {symbolic} {}", path(target), path(new), result.0)
        }
        EventData::FileMode(FileMode { path: name, mode, uid, gid, result }) => {
            let mode = mode.map(|mode| format!("{mode:o}"));
            format!("mode {} {mode:?} {uid:?} {gid:?} {}", path(name), result.0)
        }
        other => panic!("{other:?}"),
    };
    changes.iter().map(line).collect()
}

fn open_folder(path: &Path) -> std::os::fd::OwnedFd {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap()
}

#[test]
fn every_call_that_removes() {
    if !can_run() {
        return;
    }
    let (_folder, base, changes) = seen(|at| {
        for name in ["a", "b", "c", "d"] {
            fs::write(name, "x").unwrap();
        }
        fs::create_dir_all("sub/below").unwrap();
        symlink("sub", "way").unwrap();
        fs::remove_file(at.join("a")).unwrap();
        fs::remove_file("sub/.././b").unwrap();
        let folder = open_folder(&at.join("sub"));
        unlinkat(&folder, "../c", AtFlags::empty()).unwrap();
        std::thread::spawn(|| fs::remove_file("d").unwrap()).join().unwrap();
        fs::remove_dir("way/below").unwrap();
        unlinkat(&folder, at.join("way"), AtFlags::empty()).unwrap();
        std::env::set_current_dir("/").unwrap();
        unlinkat(&folder, "not-there", AtFlags::empty()).unwrap_err();
        unlinkat(rustix::fs::CWD, at.join("sub"), AtFlags::REMOVEDIR).unwrap();
    });
    assert_eq!(
        lines(&base, &changes),
        [
            "link sub way true 0",
            "delete a false 0",
            "delete b false 0",
            "delete c false 0",
            "delete d false 0",
            // As it was named: by then nobody can tell where the link led.
            "delete way/below true 0",
            "delete way false 0",
            "delete sub/not-there false -2",
            "delete sub true 0",
        ]
    );
}

#[test]
fn every_call_that_renames() {
    if !can_run() {
        return;
    }
    let (_folder, base, changes) = seen(|at| {
        fs::write("a", "x").unwrap();
        fs::write("z", "y").unwrap();
        fs::create_dir("sub").unwrap();
        let folder = open_folder(&at.join("sub"));
        fs::rename("a", at.join("sub/b")).unwrap();
        renameat_with(&folder, "b", rustix::fs::CWD, "c", RenameFlags::NOREPLACE).unwrap();
        renameat_with(&folder, "../c", &folder, "../z", RenameFlags::EXCHANGE).unwrap();
        // SAFETY: strings that live.
        unsafe {
            let moved = libc::syscall(
                libc::SYS_renameat,
                libc::AT_FDCWD,
                c"c".as_ptr(),
                libc::AT_FDCWD,
                c"z".as_ptr(),
            );
            assert_eq!(moved, 0);
        }
        fs::rename("c", "d").unwrap_err();
    });
    assert_eq!(
        lines(&base, &changes),
        [
            "rename a sub/b false 0",
            "rename sub/b c false 0",
            "rename c z true 0",
            "rename c z false 0",
            "rename c d false -2",
        ]
    );
}

#[test]
fn every_call_that_links() {
    if !can_run() {
        return;
    }
    let (_folder, base, changes) = seen(|at| {
        fs::write("a", "x").unwrap();
        fs::create_dir("sub").unwrap();
        let folder = open_folder(&at.join("sub"));
        fs::hard_link("a", "sub/b").unwrap();
        let name = |name: &Path| CString::new(name.as_os_str().as_bytes()).unwrap();
        // SAFETY: strings that live.
        unsafe {
            assert_eq!(libc::link(name(&at.join("a")).as_ptr(), c"c".as_ptr()), 0);
        }
        let file = fs::File::open("a").unwrap();
        linkat(&file, "", &folder, "d", AtFlags::EMPTY_PATH).unwrap();
        symlink("../etc//passwd", "sub/e").unwrap();
        symlinkat("/etc/shadow", &folder, "f").unwrap();
        symlink("x", "a").unwrap_err();
    });
    assert_eq!(
        lines(&base, &changes),
        [
            "link a sub/b false 0",
            "link a c false 0",
            "link a sub/d false 0",
            "link ../etc//passwd sub/e true 0",
            "link /etc/shadow sub/f true 0",
            "link x a true -17",
        ]
    );
}

#[test]
fn every_call_that_sets_a_mode_or_an_owner() {
    if !can_run() {
        return;
    }
    let (_folder, base, changes) = seen(|at| {
        fs::write("a", "x").unwrap();
        fs::create_dir("sub").unwrap();
        symlink("../a", "sub/way").unwrap();
        let folder = open_folder(&at.join("sub"));
        fs::set_permissions("a", fs::Permissions::from_mode(0o4711)).unwrap();
        let file = fs::File::open("sub/way").unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        chmodat(&folder, "../a", 0o640.into(), AtFlags::empty()).unwrap();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        chown("a", Some(uid), None).unwrap();
        lchown("sub/way", None, Some(gid)).unwrap();
        fchown(&file, Some(uid), Some(gid)).unwrap();
        chownat(&file, "", Some(rustix::process::getuid()), None, AtFlags::EMPTY_PATH).unwrap();
        // SAFETY: a descriptor that is not open.
        assert_eq!(unsafe { libc::fchmodat(-9, c"/not/there".as_ptr(), 0o777, 0) }, -1);
        // SAFETY: a string that lives. Kernels before 6.6 do not have the call.
        let newer = unsafe { libc::syscall(452, libc::AT_FDCWD, c"a".as_ptr(), 0o6755, 0) };
        println!("fchmodat2 returns {newer}");
    });
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let lines = lines(&base, &changes);
    assert_eq!(
        lines[..9],
        [
            "link ../a sub/way true 0".to_owned(),
            "mode a Some(\"4711\") None None 0".to_owned(),
            // By its descriptor: the file itself, whatever link led to it.
            "mode a Some(\"600\") None None 0".to_owned(),
            "mode a Some(\"640\") None None 0".to_owned(),
            format!("mode a None Some({uid}) None 0"),
            format!("mode sub/way None None Some({gid}) 0"),
            format!("mode a None Some({uid}) Some({gid}) 0"),
            format!("mode a None Some({uid}) None 0"),
            "mode /not/there Some(\"777\") None None -2".to_owned(),
        ]
    );
    // Where it is not a call, it has no function at which it could be seen.
    let newer = &lines[9..];
    assert!(
        newer.iter().all(|line| line.starts_with("mode a Some(\"6755\") None None ")),
        "{newer:?}"
    );
    // SAFETY: a descriptor that is not open.
    assert_eq!(unsafe { libc::syscall(452, -9, c"not-there".as_ptr(), 0o600, 0) }, -1);
    let is_call = std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS);
    assert!(newer.len() == 1 || !is_call && newer.is_empty(), "{newer:?}");
}

/// The other table has other numbers, and of some calls two: with user ids of 16 bits, and of 32.
#[test]
#[cfg(target_arch = "x86_64")]
fn changes_by_calls_of_32_bits() {
    if !can_run() {
        return;
    }
    let (_folder, base, changes) = seen(|_| {
        let text = |text: &'static [u8]| low_copy(text);
        fs::write("a", "x").unwrap();
        if call_32(15, text(b"a\0"), 0o4755, 0) == -38 {
            println!("skipped: this kernel takes no 32-bit system calls");
            return;
        }
        assert_eq!(call_32(9, text(b"a\0"), text(b"b\0"), 0), 0); // link
        assert_eq!(call_32(38, text(b"b\0"), text(b"c\0"), 0), 0); // rename
        assert_eq!(call_32(182, text(b"c\0"), 0xffff, 0xffff), 0); // chown, 16 bits
        assert_eq!(call_32(212, text(b"c\0"), u32::MAX, u32::MAX), 0); // chown, 32 bits
        assert_eq!(call_32(83, text(b"to\0"), text(b"s\0"), 0), 0); // symlink
        assert_eq!(call_32(10, text(b"c\0"), 0, 0), 0); // unlink
        assert_eq!(call_32(301, -100_i32 as u32, text(b"s\0"), 0), 0); // unlinkat
        assert_eq!(call_32(40, text(b"not-there\0"), 0, 0), -2); // rmdir
    });
    if changes.is_empty() {
        return;
    }
    assert_eq!(
        lines(&base, &changes),
        [
            "mode a Some(\"4755\") None None 0",
            "link a b false 0",
            "rename b c false 0",
            "mode c None None None 0",
            "mode c None None None 0",
            "link to s true 0",
            "delete c false 0",
            "delete s false 0",
            "delete not-there true -2",
        ]
    );
}

/// What is not asked for is not seen, though the same program would see it.
#[test]
fn only_the_kinds_that_are_asked_for() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let at = folder.path().to_owned();
    let asked = builder().with_included_cgroup(&group.folder).with_kinds([EventKind::FileDelete]);
    let mut watch = Watch::with(asked);
    let child = group.fork(move || {
        fs::write(at.join("a"), "x").unwrap();
        fs::rename(at.join("a"), at.join("b")).unwrap();
        fs::remove_file(at.join("b")).unwrap();
    });
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(of_kind(&batch.events, EventKind::FileDelete).count(), 1);
    for kind in [EventKind::FileOpen, EventKind::FileRename] {
        assert_eq!(of_kind(&batch.events, kind).count(), 0, "{kind}");
    }
}

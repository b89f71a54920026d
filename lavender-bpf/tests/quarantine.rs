//! Files taken away and given back, on files of the test's own: always the one that is meant, and no other.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod enforcement;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use enforcement::{TRIES, armed, enforce, enforcer, is_protected, order};
use lavender_bpf::{Enforcer, EnforcerOptions, Quarantine, QuarantineError};
use lavender_core::{
    AlertId, ByteString, FileIdentity, FileTarget, Outcome, ResponseAction, ResponseCause,
    ResponseOutcome, ResponseTarget, SystemClock,
};
use proptest::prelude::ProptestConfig;

/// A folder with a quarantine in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn quarantine(&self) -> Quarantine {
        Quarantine::open(&self.path("quarantine"), Arc::new(SystemClock)).unwrap()
    }

    fn options(&self) -> EnforcerOptions {
        EnforcerOptions { quarantine: self.path("quarantine"), ..armed() }
    }

    fn enforcer(&self) -> Enforcer {
        enforcer(self.options())
    }
}

fn bytes(path: &Path) -> ByteString {
    path.as_os_str().as_bytes().into()
}

/// The file as an event tells of it: with the kernel's number of the device.
fn target(path: &Path) -> FileTarget {
    let stat = fs::symlink_metadata(path).unwrap();
    let device = (libc::major(stat.dev()) << 20) | libc::minor(stat.dev());
    FileTarget { path: bytes(path), identity: Some(FileIdentity { inode: stat.ino(), device }) }
}

fn unidentified(path: &Path) -> FileTarget {
    FileTarget { path: bytes(path), identity: None }
}

fn alert() -> ResponseCause {
    ResponseCause::Alert(AlertId::new("a test", &[]))
}

fn take(enforcer: &mut Enforcer, file: FileTarget) -> ResponseOutcome {
    let mut outcomes =
        enforce(enforcer, order(ResponseAction::Quarantine, ResponseTarget::File(file)));
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0)
}

/// SHA-256 of "#!/bin/sh\n".
const SHA256: &str = "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf";

#[test]
fn a_file_is_taken_away_and_comes_back_as_it_was() {
    let place = Place::new();
    let file = place.write("dropped", "#!/bin/sh\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let times = fs::FileTimes::new().set_modified(long_ago).set_accessed(long_ago);
    File::open(&file).unwrap().set_times(times).unwrap();
    let before = fs::metadata(&file).unwrap();

    let answer = take(&mut place.enforcer(), target(&file));
    assert_eq!(answer.outcome, Outcome::Done);
    let entry = answer.quarantine_entry.unwrap();
    assert!(!file.exists());
    let kept = place.path("quarantine").join(&*entry);
    let stat = fs::metadata(&kept).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.ino()), (0, before.ino()));
    let folder = fs::metadata(place.path("quarantine")).unwrap();
    assert_eq!(folder.mode() & 0o7777, 0o700);

    let quarantine = place.quarantine();
    assert_eq!(quarantine.entries().unwrap(), [entry.to_string()]);
    let manifest = quarantine.manifest(&entry).unwrap();
    assert_eq!(manifest.original_path, bytes(&file));
    assert_eq!(manifest.cause, answer.order.cause);
    assert_eq!((manifest.uid, manifest.gid, manifest.mode), (before.uid(), before.gid(), 0o4751));
    assert_eq!(manifest.modified.as_nanos(), 1_000_000_000_123_456_789);
    assert_eq!(manifest.sha256.as_deref(), Some(SHA256));

    quarantine.restore(&entry).unwrap();
    let after = fs::metadata(&file).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "#!/bin/sh\n");
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    assert_eq!(after.modified().unwrap(), long_ago);
    assert!(quarantine.entries().unwrap().is_empty());
    assert_eq!(fs::read_dir(place.path("quarantine")).unwrap().count(), 0);
}

#[test]
fn another_file_under_the_same_path_is_let_be() {
    let place = Place::new();
    let mut enforcer = place.enforcer();
    let file = place.path("file");
    for _ in 0..TRIES {
        // Kept under another name, so that its inode number is not given to the next.
        let meant = place.write("meant", "meant");
        let target = FileTarget { path: bytes(&file), ..target(&meant) };
        fs::write(&file, "another").unwrap();
        let answer = take(&mut enforcer, target);
        assert_eq!(answer.outcome, Outcome::Gone);
        assert_eq!(fs::read_to_string(&file).unwrap(), "another");
        fs::remove_file(meant).unwrap();
    }
}

#[test]
fn a_file_on_another_device_with_the_same_number_is_another() {
    let place = Place::new();
    let file = place.write("file", "x");
    let mut other = target(&file);
    other.identity.as_mut().unwrap().device ^= 1;
    assert_eq!(take(&mut place.enforcer(), other).outcome, Outcome::Gone);
    assert!(file.exists());
}

#[test]
fn no_symbolic_link_is_followed() {
    let place = Place::new();
    let quarantine = place.quarantine();
    let file = place.write("real/file", "precious");
    symlink(place.path("real"), place.path("folder")).unwrap();
    symlink(&file, place.path("link")).unwrap();
    for path in [place.path("folder/file"), place.path("real/../real/file")] {
        let error = quarantine.take(&unidentified(&path), &alert()).unwrap_err();
        assert!(
            matches!(error, QuarantineError::Gone { .. } | QuarantineError::NotAPath { .. }),
            "{error}"
        );
        let mut meant = target(&file);
        meant.path = bytes(&path);
        assert_ne!(take(&mut place.enforcer(), meant).outcome, Outcome::Done);
    }
    let error = quarantine.take(&unidentified(&place.path("link")), &alert()).unwrap_err();
    assert!(matches!(error, QuarantineError::NotAFile { .. }), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(quarantine.entries().unwrap().is_empty());
}

#[test]
fn what_is_no_file_is_refused() {
    let place = Place::new();
    let quarantine = place.quarantine();
    let pipe = place.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    fs::create_dir(place.path("folder")).unwrap();
    for path in [pipe, place.path("folder"), PathBuf::from("/dev/null")] {
        let error = quarantine.take(&unidentified(&path), &alert()).unwrap_err();
        assert!(matches!(error, QuarantineError::NotAFile { .. }), "{error}");
        assert!(path.exists());
    }
    for path in ["relative", "", "/", "/tmp/.."] {
        let error = quarantine.take(&unidentified(Path::new(path)), &alert()).unwrap_err();
        assert!(matches!(error, QuarantineError::NotAPath { .. }), "{path}: {error}");
    }
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Somebody changes a file for a link to a precious one, and for a precious file itself, as fast as it goes.
#[test]
fn whoever_changes_the_name_in_the_meantime_loses_nothing_else() {
    let place = Place::new();
    let precious = place.write("precious", "precious");
    let mut enforcer = place.enforcer();
    let [name, link, decoy] = ["name", "link", "decoy"].map(|name| place.path(name));
    let (mut taken, mut refused) = (0, 0);
    for nth in 0..5 * TRIES {
        for path in [&name, &link, &decoy] {
            let _ = fs::remove_file(path);
        }
        fs::write(&name, "evil").unwrap();
        fs::write(&decoy, "decoy").unwrap();
        symlink(&precious, &link).unwrap();
        let meant = target(&name);
        let quarantine = place.path("quarantine");
        let files_before = files_in(&quarantine);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The manifest is written between the first look at the file and the move. Every third time the
                // change comes before, whenever it comes.
                while nth % 3 != 0
                    && files_in(&quarantine) == files_before
                    && !done.load(Ordering::Acquire)
                {
                    std::hint::spin_loop();
                }
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &link,
                    rustix::fs::CWD,
                    &name,
                    rustix::fs::RenameFlags::EXCHANGE,
                );
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &decoy,
                    rustix::fs::CWD,
                    &name,
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            });
            let answer = take(&mut enforcer, meant.clone());
            done.store(true, Ordering::Release);
            match answer.outcome {
                Outcome::Done => {
                    taken += 1;
                    let entry = place.path("quarantine").join(&*answer.quarantine_entry.unwrap());
                    // Root reads it whatever its mode.
                    assert_eq!(fs::read_to_string(entry).unwrap(), "evil");
                }
                Outcome::Gone => refused += 1,
                Outcome::Failed { reason } => {
                    // What was taken by mistake could not be put back, since the name was taken again: it says so.
                    assert!(reason.contains("cannot be put back"), "{reason}");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::metadata(&precious).unwrap().mode() & 0o777, 0o644);
        assert!(
            [&name, &link, &decoy]
                .into_iter()
                .any(|path| { fs::symlink_metadata(path).is_ok_and(|stat| stat.is_symlink()) }),
            "the link is gone"
        );
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken + refused == 5 * TRIES);
}

#[test]
fn other_names_of_a_file_keep_their_mode() {
    let place = Place::new();
    let file = place.write("file", "shared");
    let other = place.path("other");
    fs::hard_link(&file, &other).unwrap();
    let answer = take(&mut place.enforcer(), target(&file));
    assert_eq!(answer.outcome, Outcome::Done);
    assert!(!file.exists());
    assert_eq!(fs::metadata(&other).unwrap().mode() & 0o777, 0o644);
    assert_eq!(fs::read_to_string(&other).unwrap(), "shared");
    let quarantine = place.quarantine();
    let entry = answer.quarantine_entry.unwrap();
    assert_eq!(quarantine.manifest(&entry).unwrap().links, 2);
    quarantine.restore(&entry).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "shared");
}

#[test]
fn between_file_systems_the_content_is_copied() {
    let place = Place::new();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm to put a file on");
        return;
    };
    if fs::metadata(memory.path()).unwrap().dev()
        == fs::metadata(place.folder.path()).unwrap().dev()
    {
        println!("skipped: /dev/shm is on the file system of the temporary folder");
        return;
    }
    let file = memory.path().canonicalize().unwrap().join("dropped");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let answer = take(&mut place.enforcer(), target(&file));
    assert_eq!(answer.outcome, Outcome::Done);
    assert_eq!(fs::read_dir(memory.path()).unwrap().count(), 0);
    let entry = answer.quarantine_entry.unwrap();
    let kept = fs::metadata(place.path("quarantine").join(&*entry)).unwrap();
    assert_eq!(kept.mode() & 0o7777, 0);
    place.quarantine().restore(&entry).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "#!/bin/sh\n");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o755);
    assert!(place.quarantine().entries().unwrap().is_empty());
}

#[test]
fn what_is_protected_stays() {
    let place = Place::new();
    let program = place.write("bin/program", "program");
    let other_name = place.path("hard-link");
    fs::hard_link(&program, &other_name).unwrap();
    let below = place.write("etc/ssh/deep/key", "key");
    let beside = place.write("etc/sshd-not", "x");
    let options = EnforcerOptions {
        protected_executables: vec![program.clone()],
        protected_paths: vec![place.path("etc/ssh")],
        ..place.options()
    };
    let mut enforcer = enforcer(options);
    let quarantined = place.write("quarantine/x", "x");
    fs::set_permissions(place.path("quarantine"), fs::Permissions::from_mode(0o700)).unwrap();
    for path in [&program, &other_name, &below, &quarantined] {
        for _ in 0..TRIES {
            let answer = take(&mut enforcer, target(path));
            assert!(is_protected(&answer.outcome), "{}: {answer:?}", path.display());
        }
        assert!(path.exists());
    }
    assert_eq!(take(&mut enforcer, target(&beside)).outcome, Outcome::Done);
}

#[test]
fn the_agent_and_what_a_host_needs_are_protected_without_being_named() {
    let place = Place::new();
    // In dry-run, so that a guard that fails costs a test and not the machine.
    let mut enforcer = enforcer(EnforcerOptions { dry_run: true, ..place.options() });
    let own = std::env::current_exe().unwrap().canonicalize().unwrap();
    for path in [own, fs::canonicalize("/bin/sh").unwrap(), "/etc/passwd".into()] {
        let answer = take(&mut enforcer, target(&path));
        assert!(is_protected(&answer.outcome), "{}: {answer:?}", path.display());
    }
    let file = place.write("file", "x");
    assert_eq!(take(&mut enforcer, target(&file)).outcome, Outcome::DryRun);
    assert!(file.exists() && !place.path("quarantine").exists());
}

#[test]
fn a_file_that_the_event_does_not_identify_is_not_touched() {
    let place = Place::new();
    let file = place.write("file", "x");
    let answer = take(&mut place.enforcer(), unidentified(&file));
    assert!(matches!(answer.outcome, Outcome::Unsupported { .. }), "{answer:?}");
    assert!(file.exists());
}

#[test]
fn a_quarantine_that_others_can_enter_is_not_used() {
    let place = Place::new();
    fs::create_dir(place.path("quarantine")).unwrap();
    fs::set_permissions(place.path("quarantine"), fs::Permissions::from_mode(0o711)).unwrap();
    let file = place.write("file", "x");
    let answer = take(&mut place.enforcer(), target(&file));
    assert!(matches!(&answer.outcome, Outcome::Failed { reason } if reason.contains("0700")));
    assert!(file.exists());
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a manifest, it is understood or refused; and what is refused stays where it is.
    #[test]
    fn a_manifest_that_is_no_manifest_is_refused(text in ".{0,200}") {
        let place = Place::new();
        let quarantine = place.quarantine();
        fs::write(place.path("quarantine/entry"), "x").unwrap();
        fs::write(place.path("quarantine/entry.json"), text).unwrap();
        let error = quarantine.restore("entry").unwrap_err();
        let refused = matches!(error, QuarantineError::Entry { .. });
        proptest::prop_assert!(refused);
        proptest::prop_assert!(place.path("quarantine/entry").exists());
    }
}

/// A manifest that somebody changed leads nowhere but to an absolute path.
#[test]
fn a_changed_manifest_leads_to_no_strange_path() {
    let place = Place::new();
    let quarantine = place.quarantine();
    let file = place.write("file", "x");
    let entry = quarantine.take(&target(&file), &alert()).unwrap();
    let manifest = place.path("quarantine").join(format!("{entry}.json"));
    let text = fs::read_to_string(&manifest).unwrap();
    let original = serde_json::to_string(&bytes(&file)).unwrap();
    for path in ["relative", "/a/../b", "", "/"] {
        let changed = text.replace(&original, &serde_json::to_string(path).unwrap());
        assert_ne!(changed, text);
        fs::write(&manifest, changed).unwrap();
        let error = quarantine.restore(&entry).unwrap_err();
        assert!(matches!(error, QuarantineError::NotAPath { .. }), "{path}: {error}");
    }
    fs::write(&manifest, text).unwrap();
    quarantine.restore(&entry).unwrap();
    assert!(file.exists());
}

#[test]
fn what_cannot_be_restored_stays_in_quarantine() {
    let place = Place::new();
    let quarantine = place.quarantine();
    let file = place.write("folder/file", "first");
    let entry = quarantine.take(&target(&file), &alert()).unwrap();
    // Its place is taken.
    fs::write(&file, "second").unwrap();
    let error = quarantine.restore(&entry).unwrap_err();
    assert!(matches!(error, QuarantineError::Occupied { .. }), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "second");
    // Its folder is a link now.
    fs::rename(place.path("folder"), place.path("moved")).unwrap();
    symlink(place.path("moved"), place.path("folder")).unwrap();
    fs::remove_file(place.path("moved/file")).unwrap();
    let error = quarantine.restore(&entry).unwrap_err();
    assert!(matches!(error, QuarantineError::Gone { .. }), "{error}");
    // Its content is another.
    fs::remove_file(place.path("folder")).unwrap();
    fs::rename(place.path("moved"), place.path("folder")).unwrap();
    fs::write(place.path("quarantine").join(&entry), "changed").unwrap();
    let error = quarantine.restore(&entry).unwrap_err();
    assert!(error.to_string().contains("not what was put here"), "{error}");
    fs::write(place.path("quarantine").join(&entry), "first").unwrap();
    assert_eq!(quarantine.entries().unwrap(), [entry.as_str()]);
    quarantine.restore(&entry).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "first");
    // No entry, or no name of one.
    for name in [&*entry, "", "..", "../file", "/etc/passwd", ".hidden"] {
        let error = quarantine.restore(name).unwrap_err();
        assert!(matches!(error, QuarantineError::Entry { .. }), "{name}: {error}");
    }
}

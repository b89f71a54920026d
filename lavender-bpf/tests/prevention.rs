//! Prevention: what a rule marks is killed or refused before it takes effect, and nothing else is. Everything happens in a
//! control group of the test's own, and outside of it nothing is looked at.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod preventing;
mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use lavender_bpf::support::PreventionHook;
use lavender_core::{
    CalledTest, FileUse, Outcome, PathTest, PeerTest, PreventionAction, PreventionPlan,
    PreventionTest, ResponseAction, ResponseCause, ResponseTarget,
};
use preventing::{RULE, armed, connects, has, outcomes, plan, start};
use support::{Group, can_run, copy_of, temporary};

/// How often each promise is tried.
const TRIES: usize = 100;

/// How often a refusal is: on an emulated machine each takes a second.
const REFUSALS: usize = 20;

fn whole(path: &Path) -> PathTest {
    PathTest::Whole(path.to_str().unwrap().parse().unwrap())
}

fn below(path: &Path) -> PathTest {
    PathTest::Below(path.to_str().unwrap().parse().unwrap())
}

fn named(name: &str) -> PathTest {
    PathTest::Name(name.parse().unwrap())
}

/// Programs of the test's own, in a folder of its own, which write a file when they run.
struct Programs {
    group: Group,
    folder: tempfile::TempDir,
}

impl Programs {
    fn new() -> Self {
        Self { group: Group::new(), folder: temporary() }
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    fn add(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        copy_of("/bin/sh", &self.path(""), name)
    }

    fn marker(&self) -> PathBuf {
        self.path("marker")
    }

    /// Runs a copy of the shell, which writes the marker first of all. How it ended, its pid, and whether it ran.
    fn run(&self, program: &Path) -> (ExitStatus, u32, bool) {
        let mut command = self.group.command(program);
        command.args(["-c", ": > \"$1\"", "sh"]).arg(self.marker());
        self.finish(command)
    }

    fn run_script(&self, script: &Path) -> (ExitStatus, u32, bool) {
        let mut command = self.group.command(script);
        command.arg(self.marker());
        self.finish(command)
    }

    fn finish(&self, mut command: Command) -> (ExitStatus, u32, bool) {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let status = child.wait().unwrap();
        let ran = fs::remove_file(self.marker()).is_ok();
        (status, child.id(), ran)
    }

    fn runs(&self, program: &Path) -> bool {
        let (status, _, ran) = self.run(program);
        assert_eq!(status.success(), ran, "{status}");
        ran
    }

    /// Whether it is killed before it does anything.
    fn is_killed(&self, program: &Path) -> bool {
        let (status, _, ran) = self.run(program);
        assert!(!ran || status.success(), "it ran, and was ended then");
        status.signal() == Some(9)
    }
}

#[test]
fn a_new_program_is_killed_before_its_first_instruction_and_its_neighbours_are_not() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let (evil, good) = (own.add("evil-program"), own.add("evil-programs"));
    let tests = [PreventionTest::Program(named("evil-program"))];
    let mut prevention = start(&plan(PreventionAction::Kill, tests), armed(&own.group));
    for _ in 0..TRIES {
        let (status, pid, ran) = own.run(&evil);
        assert_eq!((status.signal(), ran), (Some(9), false));
        assert!(own.runs(&good));
        let told = outcomes(&mut prevention, 1);
        assert_eq!(told.len(), 1, "{told:?}");
        let ResponseTarget::Process(id) = told[0].order.target else { panic!("{told:?}") };
        assert_eq!(id.tgid(), pid);
        assert_eq!(told[0].outcome, Outcome::Done);
        assert_eq!(told[0].order.action, ResponseAction::Kill);
        assert_eq!(told[0].order.cause, ResponseCause::Rule(RULE.into()));
        assert_eq!(&*told[0].order.decided_by, "in the kernel: exec of */evil-program");
    }
    let counts = prevention.counts().unwrap();
    assert_eq!((counts.acts, counts.untold, counts.missed), (TRIES as u64, 0, 0));
    drop(prevention);
    assert!(own.runs(&evil), "it ends with the value");
}

#[test]
fn in_dry_run_nothing_is_killed_and_all_is_told() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let evil = own.add("evil-program");
    let tests = [PreventionTest::Program(whole(&evil))];
    let mut options = armed(&own.group);
    options.dry_run = true;
    let mut prevention = start(&plan(PreventionAction::Kill, tests), options);
    for _ in 0..TRIES / 10 {
        assert!(own.runs(&evil));
    }
    let told = outcomes(&mut prevention, TRIES / 10);
    assert_eq!(told.len(), TRIES / 10);
    assert!(told.iter().all(|told| told.outcome == Outcome::DryRun), "{told:?}");
    assert!(told.iter().all(|told| told.order.action == ResponseAction::Kill), "{told:?}");
    let health = prevention.health().unwrap();
    assert_eq!((health.dry_run, health.rules, health.counts.acts), (true, 1, 10));
}

#[test]
fn paths_are_compared_whole_by_folder_and_by_name_without_regard_to_case() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let whole_one = own.add("One");
    let deep = own.add("folder/a/b/c/two");
    let long = "n".repeat(62);
    let (named_one, longer) = (own.add(&long), own.add(&format!("{long}n")));
    let others = ["One.old", "folder-2/two", "one/two", "three"].map(|name| own.add(name));
    let tests = [
        PreventionTest::Program(whole(&own.path("oNE"))),
        PreventionTest::Program(below(&own.path("FOLDER"))),
        PreventionTest::Program(named(&long)),
    ];
    let prevention = start(&plan(PreventionAction::Kill, tests), armed(&own.group));
    for evil in [&whole_one, &deep, &named_one] {
        assert!(own.is_killed(evil), "{}", evil.display());
    }
    for good in others.iter().chain([&longer]) {
        assert!(own.runs(good), "{}", good.display());
    }
    // What is called by a link is the file that it leads to; a hard link is another name.
    let link = own.path("link");
    std::os::unix::fs::symlink(&whole_one, &link).unwrap();
    assert!(own.is_killed(&link));
    let renamed = own.path("renamed");
    fs::hard_link(&whole_one, &renamed).unwrap();
    assert!(own.runs(&renamed));
    assert_eq!(prevention.counts().unwrap().missed, 0);
}

#[test]
fn no_depth_hides_a_program_from_the_folder_that_it_is_in() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let far = own.add(&format!("folder/{}program", "d/".repeat(200)));
    let tests = [PreventionTest::Program(below(&own.path("folder")))];
    let _prevention = start(&plan(PreventionAction::Kill, tests), armed(&own.group));
    assert!(own.is_killed(&far));
}

#[test]
fn a_script_is_known_by_how_it_is_called() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let script = |name: &str| {
        let path = own.path(name);
        fs::write(&path, "#!/bin/sh\n: > \"$1\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let (by_name, by_path, good) = (script("a-script"), script("b"), script("not-a-script"));
    let path = by_path.to_str().unwrap().parse().unwrap();
    let tests = [
        PreventionTest::Called(CalledTest::Name("a-script".parse().unwrap())),
        PreventionTest::Called(CalledTest::Whole(path)),
    ];
    let mut prevention = start(&plan(PreventionAction::Kill, tests), armed(&own.group));
    for evil in [&by_name, &by_path] {
        let (status, _, ran) = own.run_script(evil);
        assert_eq!((status.signal(), ran), (Some(9), false), "{}", evil.display());
    }
    let (status, _, ran) = own.run_script(&good);
    assert!(status.success() && ran);
    // The interpreter by itself is nobody's concern.
    assert!(own.runs(Path::new("/bin/sh")));
    assert_eq!(outcomes(&mut prevention, 2).len(), 2);
}

#[test]
fn outside_of_the_filter_nothing_is_looked_at() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let evil = own.add("evil-program");
    let inside = own.group.folder.join("inside");
    fs::create_dir(&inside).unwrap();
    let tests = [PreventionTest::Program(whole(&evil))];
    let mut options = armed(&own.group);
    options.excluded_cgroups = vec![inside.clone()];
    let mut prevention = start(&plan(PreventionAction::Kill, tests), options);
    let other = Programs { group: Group::new(), folder: temporary() };
    assert!(other.runs(&evil), "of another group");
    let within = Programs { group: Group { folder: inside }, folder: temporary() };
    assert!(within.runs(&evil), "of a group that is left out");
    drop(within);
    assert_eq!(prevention.counts().unwrap().acts, 0);
    assert!(own.is_killed(&evil));
    assert_eq!(outcomes(&mut prevention, 1).len(), 1);
}

#[test]
fn a_protected_program_is_spared_by_its_file_and_by_its_path() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let (kept, evil) = (own.add("kept"), own.add("evil"));
    let tests = [PreventionTest::Program(below(&own.path("").components().collect::<PathBuf>()))];
    let mut options = armed(&own.group);
    options.protected_executables = vec![kept.clone()];
    let prevention = start(&plan(PreventionAction::Kill, tests), options);
    assert!(own.is_killed(&evil) && own.runs(&kept));
    let other_name = own.path("other-name");
    fs::hard_link(&kept, &other_name).unwrap();
    assert!(own.runs(&other_name), "the same file");
    // As an upgrade does it: another file under the path.
    fs::rename(own.add("new"), &kept).unwrap();
    assert!(own.runs(&kept), "the same path");
    let counts = prevention.counts().unwrap();
    assert_eq!((counts.acts, counts.spared), (1, 3));
}

#[test]
fn another_plan_takes_the_place_of_the_one_before_and_none_of_it_is_left() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let (one, two, three) = (own.add("one"), own.add("two"), own.add("three"));
    let of = |paths: &[&Path]| {
        let tests = paths.iter().map(|path| PreventionTest::Program(whole(path)));
        plan(PreventionAction::Kill, tests)
    };
    let mut prevention = start(&of(&[&one, &two]), armed(&own.group));
    for round in 0..20 {
        assert!(own.is_killed(&one) && own.is_killed(&two) && own.runs(&three), "{round}");
        prevention.apply(&of(&[&two, &three])).unwrap();
        assert!(own.runs(&one) && own.is_killed(&two) && own.is_killed(&three), "{round}");
        prevention.apply(&PreventionPlan::default()).unwrap();
        assert!([&one, &two, &three].iter().all(|program| own.runs(program)), "{round}");
        prevention.apply(&of(&[&one, &two])).unwrap();
    }
}

#[test]
fn what_both_plans_have_is_prevented_while_they_are_exchanged() {
    if !can_run() {
        return;
    }
    let own = Arc::new(Programs::new());
    let (both, other) = (own.add("both"), own.add("other"));
    let of = |paths: &[&Path]| {
        let tests = paths.iter().map(|path| PreventionTest::Program(whole(path)));
        plan(PreventionAction::Kill, tests)
    };
    let mut prevention = start(&of(&[&both]), armed(&own.group));
    let running = Arc::clone(&own);
    let runs = std::thread::spawn(move || (0..TRIES).filter(|_| running.is_killed(&both)).count());
    let both = own.path("both");
    while !runs.is_finished() {
        prevention.apply(&of(&[&other, &both])).unwrap();
        prevention.apply(&of(&[&both])).unwrap();
    }
    assert_eq!(runs.join().unwrap(), TRIES);
}

#[test]
fn a_connect_is_refused_by_port_by_address_and_by_both() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let second: IpAddr = "127.0.0.2".parse().unwrap();
    let listen = |address: IpAddr, port: u16| TcpListener::bind((address, port)).unwrap();
    let v4 = listen(here[0], 0);
    let port = v4.local_addr().unwrap().port();
    let other = listen(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let other_port = other.local_addr().unwrap().port();
    let v6 =
        TcpListener::bind((here[1], port)).or_else(|_| TcpListener::bind((here[1], 0))).unwrap();
    let v6 = v6.local_addr().unwrap();
    let tests =
        [PeerTest::Port(port), PeerTest::Address(second), PeerTest::Both(v6.ip(), v6.port())];
    let tests = tests.map(PreventionTest::Connect);
    let mut prevention = start(&plan(PreventionAction::Deny, tests), armed(&group));
    if !has(&prevention, PreventionHook::Connect) {
        return;
    }
    let mapped: IpAddr = Ipv4Addr::new(127, 0, 0, 2).to_ipv6_mapped().into();
    let refused = [
        SocketAddr::new(here[0], port),
        SocketAddr::new(second, other_port),
        SocketAddr::new(mapped, other_port),
        v6,
    ];
    let passes = [SocketAddr::new(here[0], other_port)];
    assert_eq!(connects(&group, &refused, 1), [1, 1, 1, 1]);
    assert_eq!(connects(&group, &passes, 1), [0]);
    let told = outcomes(&mut prevention, 4);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|told| told.order.action == ResponseAction::Deny), "{told:?}");
    assert!(told.iter().all(|told| told.outcome == Outcome::Done), "{told:?}");
    // Whoever is not in the group connects as before.
    assert!(TcpStream::connect(refused[0]).is_ok() && TcpStream::connect(v6).is_ok());
    let mut options = armed(&group);
    options.dry_run = true;
    drop(prevention);
    let tests = [PreventionTest::Connect(PeerTest::Port(port))];
    let mut prevention = start(&plan(PreventionAction::Deny, tests), options);
    assert_eq!(connects(&group, &refused[..1], 1), [0]);
    assert_eq!(outcomes(&mut prevention, 1)[0].outcome, Outcome::DryRun);
}

#[test]
fn a_program_is_refused_where_the_kernel_asks() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let (evil, good) = (own.add("evil-program"), own.add("good"));
    let script = own.path("evil-script");
    fs::write(&script, format!("#!{}\n: > \"$1\"\n", evil.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let tests = [PreventionTest::Program(named("evil-program"))];
    let mut prevention = start(&plan(PreventionAction::Deny, tests), armed(&own.group));
    if !has(&prevention, PreventionHook::ExecDeny) {
        // Nothing is done instead, unless that is asked for.
        let health = prevention.health().unwrap();
        assert_eq!((health.rules, health.unavailable.len()), (0, 1));
        assert!(own.runs(&evil));
        return;
    }
    for _ in 0..REFUSALS {
        let (status, _, ran) = own.run(&evil);
        assert_eq!((status.code(), ran), (Some(126), false), "{status}");
        assert!(own.runs(&good));
    }
    let (status, _, ran) = own.run_script(&script);
    assert!(!status.success() && !ran, "the interpreter is refused");
    let told = outcomes(&mut prevention, REFUSALS + 1);
    let counts = prevention.counts().unwrap();
    assert_eq!(counts.acts, REFUSALS as u64 + 1);
    assert_eq!(told.len() as u64 + counts.untold, counts.acts);
    assert!(told.iter().all(|told| told.order.action == ResponseAction::Deny), "{told:?}");
}

#[test]
fn what_cannot_be_refused_is_killed_where_that_is_asked_for() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    let evil = own.add("evil-program");
    let tests = [PreventionTest::Program(whole(&evil))];
    let mut options = armed(&own.group);
    options.kill_for_deny = true;
    let mut prevention = start(&plan(PreventionAction::Deny, tests), options);
    let (status, _, ran) = own.run(&evil);
    let told = outcomes(&mut prevention, 1);
    let report = prevention.hooks().iter().find(|row| row.hook == PreventionHook::ExecDeny);
    let (signal, action) = match report.unwrap().is_available() {
        true => (None, ResponseAction::Deny),
        false => (Some(9), ResponseAction::Kill),
    };
    assert_eq!((status.signal(), status.success(), ran), (signal, false, false));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].order.action, action);
}

#[test]
fn a_file_is_not_opened_for_what_a_rule_refuses() {
    if !can_run() {
        return;
    }
    let own = Programs::new();
    for name in ["secret", "kept", "other", "folder-2"] {
        fs::write(own.path(name), "content").unwrap();
    }
    fs::create_dir(own.path("folder")).unwrap();
    fs::write(own.path("folder/file"), "content").unwrap();
    let tests = [
        PreventionTest::Open(FileUse::Read, whole(&own.path("secret"))),
        PreventionTest::Open(FileUse::Change, whole(&own.path("kept"))),
        PreventionTest::Open(FileUse::Change, below(&own.path("folder"))),
    ];
    let mut prevention = start(&plan(PreventionAction::Deny, tests), armed(&own.group));
    if !has(&prevention, PreventionHook::Open) {
        return;
    }
    let shell = |text: &str, name: &str| {
        let mut command = own.group.command("/bin/sh");
        command.args(["-c", text, "sh"]).arg(own.path(name)).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    let (read, write) = ("read -r line < \"$1\" || [ -n \"$line\" ]", ": >> \"$1\"");
    for _ in 0..10 {
        assert!(!shell(read, "secret") && shell(write, "secret"));
        assert!(shell(read, "kept") && !shell(write, "kept") && !shell(": > \"$1\"", "kept"));
        assert!(shell(read, "folder/file") && !shell(write, "folder/file"));
        assert!(shell(read, "other") && shell(write, "other") && shell(write, "folder-2"));
    }
    assert_eq!(fs::read_to_string(own.path("kept")).unwrap(), "content", "it was not cut either");
    let told = outcomes(&mut prevention, 40);
    assert_eq!(prevention.counts().unwrap().acts, 40);
    assert!(told.iter().all(|told| told.order.action == ResponseAction::Deny), "{told:?}");
    // Killed, too, where the rule says so.
    let tests = [PreventionTest::Open(FileUse::Change, whole(&own.path("kept")))];
    prevention.apply(&plan(PreventionAction::Kill, tests)).unwrap();
    let mut command = own.group.command("/bin/sh");
    command.args(["-c", "(: > \"$1\"); : > \"$2\"", "sh"]).arg(own.path("kept")).arg(own.marker());
    let (_, _, ran) = own.finish(command);
    assert!(ran, "the parent of the one that is killed goes on");
    assert_eq!(fs::read_to_string(own.path("kept")).unwrap(), "content");
    let told = outcomes(&mut prevention, 1);
    assert_eq!(told.last().unwrap().order.action, ResponseAction::Kill);
}

#[test]
fn what_is_done_in_a_loop_is_counted_and_not_told_each_time() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let tests = [PreventionTest::Connect(PeerTest::Port(to.port()))];
    let mut prevention = start(&plan(PreventionAction::Deny, tests), armed(&group));
    if !has(&prevention, PreventionHook::Connect) {
        return;
    }
    let errors = connects(&group, &[to], 20_000);
    assert!(errors.len() == 20_000 && errors.iter().all(|error| *error == 1), "each is refused");
    let told = outcomes(&mut prevention, 1);
    let counts = prevention.counts().unwrap();
    assert_eq!(counts.acts, 20_000);
    assert_eq!(told.len() as u64 + counts.untold, counts.acts);
    assert!(counts.untold > 0, "{counts:?}");
}

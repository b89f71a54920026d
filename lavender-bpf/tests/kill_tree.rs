//! Killing a process and everything that it started, whatever that did to get away; and nothing else. On the live
//! kernel, in control groups of the test's own.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod enforcement;
mod support;

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Instant;

use enforcement::{TRIES, Victim, armed, enforce, enforcer, is_protected, order, state_of};
use lavender_bpf::{Enforcer, EnforcerOptions};
use lavender_core::event::{Event, EventKind};
use lavender_core::{Outcome, ProcessId, ResponseAction, ResponseOutcome, ResponseTarget};
use support::{Group, PATIENCE, Watch, can_run};

/// A process makes three children of two children each, and two grandchildren whose parents end at once and which
/// have sessions of their own.
const TREE: &str = r#"
use POSIX;
sub rest { syswrite(STDOUT, "x"); sleep 100; POSIX::_exit(0) }
sub leave {
    my $child = fork();
    if (!$child) { POSIX::setsid(); my $orphan = fork(); POSIX::_exit(0) if $orphan; rest() }
    waitpid($child, 0);
}
for (1..3) { if (!fork) { for (1..2) { rest() if !fork } rest() } }
leave() for 1..2;
"#;

/// How many processes that is, the first included.
const TREE_PROCESSES: usize = 12;

/// Ways to live on: to do nothing more; to leave orphans as fast as it goes, and let children do the same, deaf
/// to every signal that one can be deaf to.
const QUIET: &str = "rest();";
const STORM: &str = r#"
$SIG{$_} = 'IGNORE' for qw(HUP INT TERM TSTP TTIN TTOU USR1 USR2);
fork(); for (1..400) { leave() } sleep 100;
"#;

/// A tree in a group, which a sensor watches.
struct Planted {
    group: Group,
    watch: Watch,
    root: Child,
    seen: usize,
}

impl Planted {
    fn new(program: &str) -> Self {
        let group = Group::new();
        let watch = Watch::group(&group);
        let root = start(&group, program);
        let mut planted = Self { group, watch, root, seen: 0 };
        planted.until_root_runs();
        planted
    }

    /// Another tree, when the one before is dead.
    fn again(&mut self, program: &str) {
        self.root.wait().unwrap();
        // A hundred trees may use up all pids: what an earlier one did is not to be taken for this one's.
        self.watch.seen.events.clear();
        self.seen = 0;
        self.root = start(&self.group, program);
        self.until_root_runs();
    }

    fn until_root_runs(&mut self) {
        let pid = self.root.id();
        self.watch.event("exec of the root", |event| {
            let process = support::process(event);
            event.kind() == EventKind::Exec && process.pid == pid && process.name == *"perl"
        });
    }

    fn root_id(&self) -> ProcessId {
        let of_root = |event: &&Arc<Event>| {
            event.process.as_ref().is_some_and(|process| process.pid == self.root.id())
        };
        self.watch.seen.events.iter().rev().find(of_root).unwrap().process.as_ref().unwrap().id()
    }

    fn members(&self) -> HashSet<u32> {
        let procs = fs::read_to_string(self.group.folder.join("cgroup.procs")).unwrap();
        procs.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until so many of the processes rest.
    fn until_there_rest(&mut self, processes: usize) {
        let mut said = vec![0; processes];
        self.root.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    }

    /// Shows the enforcer the forks of all that are there, and of all that came before.
    fn observe_forks(&mut self, enforcer: &mut Enforcer, beside: &[u32]) {
        let start = Instant::now();
        let mut missing = self.members();
        // The sensor sees it come into the group by itself, and not by a fork.
        missing.remove(&self.root.id());
        missing.retain(|pid| !beside.contains(pid));
        loop {
            assert_eq!(self.observe(enforcer), [], "something is answered that nobody asked about");
            for event in support::of_kind(&self.watch.seen.events, EventKind::Fork) {
                missing.remove(&support::process(event).pid);
            }
            if missing.is_empty() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the sensor did not see the fork of {missing:?}");
        }
    }

    /// Shows the enforcer what came since the last time, as the pipeline does.
    fn observe(&mut self, enforcer: &mut Enforcer) -> Vec<ResponseOutcome> {
        self.watch.poll();
        let mut outcomes = Vec::new();
        for event in &self.watch.seen.events[self.seen..] {
            enforcer.observe(event, &mut outcomes);
        }
        self.seen = self.watch.seen.events.len();
        outcomes
    }

    fn kill(&self, enforcer: &mut Enforcer) -> Vec<ResponseOutcome> {
        let order = order(ResponseAction::KillTree, ResponseTarget::Process(self.root_id()));
        enforce(enforcer, order)
    }

    /// Observes until nothing but these is left in the group.
    fn until_only(&mut self, enforcer: &mut Enforcer, left: &HashSet<u32>) -> Vec<ResponseOutcome> {
        let start = Instant::now();
        let mut outcomes = Vec::new();
        while self.members() != *left {
            let alive: Vec<_> = self.members().iter().map(|pid| (*pid, state_of(*pid))).collect();
            assert!(start.elapsed() < PATIENCE, "{alive:?} are left, {left:?} should be");
            outcomes.extend(self.observe(enforcer));
        }
        outcomes
    }
}

/// Starts a tree in a group.
fn start(group: &Group, program: &str) -> Child {
    let mut command = group.command("/usr/bin/perl");
    command.args(["-e", program]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Planted {
    fn drop(&mut self) {
        // Whatever a failed test leaves: only the test can have put it into the group.
        let _ = fs::write(self.group.folder.join("cgroup.kill"), "1");
        let _ = self.root.wait();
    }
}

fn target(outcome: &ResponseOutcome) -> ProcessId {
    match outcome.order.target {
        ResponseTarget::Process(id) => id,
        ref other => panic!("not a process: {other:?}"),
    }
}

fn count(outcomes: &[ResponseOutcome], wanted: &Outcome) -> usize {
    outcomes.iter().filter(|answer| answer.outcome == *wanted).count()
}

/// One that has no part in a tree, in the same group.
fn bystander(group: &Group) -> Victim {
    let mut command = group.command("/bin/sleep");
    Victim(command.arg("600").stdin(Stdio::null()).spawn().unwrap())
}

fn tree(program: &str) -> String {
    format!("{TREE}{program}")
}

fn plant(program: &str) -> Planted {
    Planted::new(&tree(program))
}

#[test]
fn every_tree_dies_whole_and_nothing_beside_it() {
    if !can_run() {
        return;
    }
    let mut enforcer = enforcer(armed());
    let mut outside = Victim::start();
    let mut planted = plant(QUIET);
    let mut beside = bystander(&planted.group);
    for nth in 0..TRIES {
        if nth > 0 {
            planted.again(&tree(QUIET));
        }
        planted.until_there_rest(TREE_PROCESSES);
        planted.observe_forks(&mut enforcer, &[beside.pid()]);
        let root = planted.root_id();
        let outcomes = planted.kill(&mut enforcer);
        assert_eq!(target(&outcomes[0]), root);
        assert_eq!(outcomes[0].tree_of, None);
        assert!(outcomes[1..].iter().all(|answer| answer.tree_of == Some(root)), "{outcomes:?}");
        assert!(outcomes.iter().all(|answer| answer.order.action == ResponseAction::KillTree));
        assert_eq!(count(&outcomes, &Outcome::Done), TREE_PROCESSES, "try {nth}: {outcomes:#?}");
        assert_eq!(outcomes.len(), TREE_PROCESSES);
        assert_eq!(planted.until_only(&mut enforcer, &[beside.pid()].into()), []);
        assert!(beside.lives() && outside.lives());
    }
}

#[test]
fn a_tree_that_never_stops_leaving_orphans_dies_whole() {
    if !can_run() {
        return;
    }
    let mut enforcer = enforcer(armed());
    let mut outside = Victim::start();
    let mut planted = plant(STORM);
    let mut beside = bystander(&planted.group);
    let mut late = 0;
    for nth in 0..TRIES {
        if nth > 0 {
            planted.again(&tree(STORM));
        }
        planted.until_there_rest(TREE_PROCESSES + 10);
        planted.observe(&mut enforcer);
        let outcomes = planted.kill(&mut enforcer);
        assert_eq!(outcomes[0].outcome, Outcome::Done);
        late += planted.until_only(&mut enforcer, &[beside.pid()].into()).len();
        assert!(beside.lives() && outside.lives());
    }
    println!("{late} were killed when their forks were seen");
}

/// No event tells of the children here: only that all are stopped before any is killed keeps the last ones from
/// being missed.
#[test]
fn a_tree_that_never_stops_growing_dies_whole_without_events() {
    if !can_run() {
        return;
    }
    let mut enforcer = enforcer(armed());
    let growing = tree(
        "fork(); for (1..10000) { rest() if !fork; select(undef, undef, undef, 0.002) } rest()",
    );
    let mut planted = Planted::new(&growing);
    for nth in 0..TRIES / 10 {
        if nth > 0 {
            planted.again(&growing);
        }
        // Beside the orphans of the tree, of which nobody has told.
        planted.until_there_rest(TREE_PROCESSES + 50);
        let outcomes = planted.kill(&mut enforcer);
        assert_eq!(outcomes[0].outcome, Outcome::Done, "try {nth}");
        let start = Instant::now();
        while planted.members().len() > 2 {
            assert!(start.elapsed() < PATIENCE, "{:?} live on", planted.members());
            std::thread::yield_now();
        }
        planted.until_only(&mut enforcer, &HashSet::new());
    }
}

/// The kernel still knows the children; of the orphans nobody has told.
#[test]
fn without_events_the_tree_is_what_the_kernel_has() {
    if !can_run() {
        return;
    }
    let mut enforcer = enforcer(armed());
    let mut planted = plant(QUIET);
    planted.until_there_rest(TREE_PROCESSES);
    let outcomes = planted.kill(&mut enforcer);
    assert_eq!(count(&outcomes, &Outcome::Done), TREE_PROCESSES - 2);
    // And with them, later: their forks are from a tree that was killed.
    let late = planted.until_only(&mut enforcer, &HashSet::new());
    assert_eq!(count(&late, &Outcome::Done), 2);
    let root = planted.root_id();
    assert!(late.iter().all(|answer| answer.tree_of == Some(root)), "{late:?}");
}

#[test]
fn what_a_process_left_behind_dies_though_it_has_ended_itself() {
    if !can_run() {
        return;
    }
    let mut enforcer = enforcer(armed());
    let mut planted = plant("POSIX::_exit(0);");
    planted.until_there_rest(TREE_PROCESSES - 1);
    planted.root.wait().unwrap();
    planted.observe_forks(&mut enforcer, &[]);
    let outcomes = planted.kill(&mut enforcer);
    assert_eq!(outcomes[0].outcome, Outcome::Gone);
    assert_eq!(count(&outcomes, &Outcome::Done), TREE_PROCESSES - 1, "{outcomes:#?}");
    planted.until_only(&mut enforcer, &HashSet::new());
}

#[test]
fn in_dry_run_the_whole_tree_is_named_and_lives() {
    if !can_run() {
        return;
    }
    let mut enforcer = enforcer(EnforcerOptions::default());
    let mut planted = plant(QUIET);
    planted.until_there_rest(TREE_PROCESSES);
    planted.observe_forks(&mut enforcer, &[]);
    for _ in 0..TRIES {
        let outcomes = planted.kill(&mut enforcer);
        assert_eq!(count(&outcomes, &Outcome::DryRun), TREE_PROCESSES, "{outcomes:#?}");
        assert_eq!(outcomes.len(), TREE_PROCESSES);
        let named: HashSet<u32> = outcomes.iter().map(|answer| target(answer).tgid()).collect();
        assert_eq!(named, planted.members());
    }
    assert_eq!(planted.observe(&mut enforcer), []);
    assert_eq!(planted.members().len(), TREE_PROCESSES);
    assert!(planted.members().iter().all(|pid| state_of(*pid) != Some('T')));
}

/// A copy of perl under a name of its own, so that protecting it protects nothing else.
fn guard(planted: &tempfile::TempDir) -> PathBuf {
    support::copy_of("/usr/bin/perl", planted.path(), "guard")
}

#[test]
fn a_protected_process_in_the_tree_is_spared_with_what_it_started() {
    if !can_run() {
        return;
    }
    let folder = support::temporary();
    let guard = guard(&folder);
    let options = EnforcerOptions { protected_executables: vec![guard.clone()], ..armed() };
    // The guard has a child, and so has the root.
    const REST: &str = "sub rest { syswrite(STDOUT, q(x)); sleep 100 }";
    let program = format!(
        "{REST} if (!fork) {{ exec({:?}, '-e', '{REST} fork(); rest()') }} fork(); rest()",
        guard.to_str().unwrap()
    );
    for _ in 0..TRIES / 10 {
        let mut enforcer = enforcer(options.clone());
        let mut planted = Planted::new(&program);
        planted.until_there_rest(4);
        let guarded = support::process(&planted.watch.exec_of("guard")).id();
        planted.observe_forks(&mut enforcer, &[]);
        let outcomes = planted.kill(&mut enforcer);
        assert_eq!(count(&outcomes, &Outcome::Done), 2, "{outcomes:#?}");
        let spared = outcomes.iter().find(|answer| is_protected(&answer.outcome)).unwrap();
        assert_eq!(target(spared), guarded);
        assert_eq!(outcomes.len(), 3);
        let forks = support::of_kind(&planted.watch.seen.events, EventKind::Fork);
        let of_guard = forks
            .map(|event| support::process(event))
            .filter(|process| process.parent_id.is_some_and(|parent| parent.process == guarded));
        let mut left: HashSet<u32> = of_guard.map(|process| process.pid).collect();
        assert_eq!(left.len(), 1, "the guard has one child");
        left.insert(guarded.tgid());
        assert_eq!(planted.until_only(&mut enforcer, &left), []);
        assert!(left.iter().all(|pid| state_of(*pid) != Some('T')));
    }
}

#[test]
fn the_tree_of_a_protected_process_is_let_be() {
    if !can_run() {
        return;
    }
    let perl = fs::canonicalize("/usr/bin/perl").unwrap();
    let options = EnforcerOptions { protected_executables: vec![perl], ..armed() };
    let mut enforcer = enforcer(options);
    let mut planted = plant(QUIET);
    planted.until_there_rest(TREE_PROCESSES);
    planted.observe_forks(&mut enforcer, &[]);
    for _ in 0..TRIES {
        let outcomes = planted.kill(&mut enforcer);
        assert_eq!(outcomes.len(), 1);
        assert!(is_protected(&outcomes[0].outcome));
    }
    assert_eq!(planted.members().len(), TREE_PROCESSES);
}

/// The pid of the root, and another start: not its tree.
#[test]
fn the_tree_of_a_process_that_has_the_same_pid_is_let_be() {
    if !can_run() {
        return;
    }
    let mut enforcer = enforcer(armed());
    let mut planted = plant(QUIET);
    planted.until_there_rest(TREE_PROCESSES);
    planted.observe_forks(&mut enforcer, &[]);
    let own = planted.root_id();
    for nth in 1..=TRIES as u64 {
        let start_ns = own.start_ns() - 2 * nth * enforcement::TICK_NS;
        let other = ProcessId::new(enforcement::boot(), start_ns, own.tgid());
        let tree = order(ResponseAction::KillTree, ResponseTarget::Process(other));
        let outcomes = enforce(&mut enforcer, tree);
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].outcome, Outcome::Gone);
    }
    assert_eq!(planted.members().len(), TREE_PROCESSES);
    assert!(planted.members().iter().all(|pid| state_of(*pid) != Some('T')));
}

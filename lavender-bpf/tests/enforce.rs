//! Killing exactly the process that an alert is about, tried on processes that the test itself starts.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{KillPolicy, ProcessKiller};
use lavender_core::event::{EventKind, Process};
use lavender_core::{
    AgentId, AgentIdentity, Alert, AlertId, AlertStatus, BootId, BootTime, Certainty, Clock,
    ManualClock, Outcome, ProcessId, Responder, ResponseAction, RuleMeta, Severity, SystemClock,
    TenantId, Timestamp,
};

const TICK_NS: u64 = 10_000_000;
const TRIES: usize = 20;

/// A process of the test's own; ended and reaped with the test, whatever becomes of it.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        let mut command = Command::new("/bin/sleep");
        command.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn id(&self) -> ProcessId {
        id_of(self.pid())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn end(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Nothing happens when it has been reaped: std remembers.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn boot() -> BootId {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().parse().unwrap()
}

/// The identity of a running process, to the tick that `/proc` shows.
fn id_of(pid: u32) -> ProcessId {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = after_name.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
    // Somewhere within the tick, as the kernel's own nanoseconds are.
    ProcessId::new(boot(), ticks * TICK_NS + TICK_NS / 3, pid)
}

fn armed() -> KillPolicy {
    KillPolicy { dry_run: false, max_per_minute: 1_000, ..KillPolicy::default() }
}

fn killer(policy: KillPolicy) -> ProcessKiller {
    ProcessKiller::new(policy, Arc::new(SystemClock))
}

fn process(id: ProcessId) -> Arc<Process> {
    let exec_id = serde_json::json!({ "process": id, "generation": 1 });
    let process = serde_json::json!({
        "exec_id": exec_id,
        "pid": id.tgid(),
        "namespace_pid": id.tgid(),
        "name": "sleep",
        "executable": { "path": "/bin/sleep", "inode": 0, "device": 0 },
        "arguments": ["sleep", "60"],
        "working_directory": "/",
        "credentials": { "uid": 0, "euid": 0, "gid": 0, "egid": 0, "capabilities_effective": 0 },
        "cgroup_id": 0,
        "namespaces": { "cgroup": 0, "mnt": 0, "net": 0, "pid": 0, "user": 0, "uts": 0 },
    });
    Arc::new(serde_json::from_value(process).unwrap())
}

fn alert(severity: Severity, target: Option<ProcessId>) -> Alert {
    Alert {
        id: AlertId::new("a rule", &[]),
        source: AgentIdentity {
            tenant: TenantId::default(),
            agent: AgentId::new("test").unwrap(),
            host: "test".into(),
        },
        rule: Arc::new(RuleMeta::default()),
        severity,
        status: AlertStatus::Open,
        observed_at: Timestamp::from_millis(0),
        boot_time: BootTime::from_nanos(0),
        created_at: Timestamp::from_millis(0),
        event_kind: EventKind::Exec,
        events: Vec::new(),
        process: target.map(process),
        evidence: Vec::new(),
        certainty: Certainty::Certain,
        incomplete: false,
    }
}

fn is_protected(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Protected { .. })
}

#[test]
fn every_process_that_is_meant_dies() {
    let mut killer = killer(armed());
    for _ in 0..TRIES {
        let mut victim = Victim::start();
        let target = victim.id();
        let response = killer.respond(&alert(Severity::Critical, Some(target))).unwrap();
        assert_eq!(response.outcome, Outcome::Done);
        assert_eq!(response.action, ResponseAction::Kill);
        assert_eq!(response.target, target);
        assert_eq!(response.alert, AlertId::new("a rule", &[]));
        assert_eq!(victim.end().signal(), Some(libc::SIGKILL));
    }
}

#[test]
fn a_process_that_only_has_the_same_pid_lives() {
    let mut killer = killer(armed());
    for nth in 0..TRIES {
        let mut victim = Victim::start();
        let own = victim.id();
        // A process that had the pid before: a second earlier, and down to two ticks.
        let earlier = if nth % 2 == 0 { 100 * TICK_NS } else { 2 * TICK_NS };
        let other = ProcessId::new(boot(), own.start_ns() - earlier, own.tgid());
        assert_eq!(killer.kill(other), Outcome::Gone);
        assert!(victim.lives());
    }
}

#[test]
fn a_process_that_has_ended_is_gone() {
    let mut killer = killer(armed());
    let mut victim = Victim::start();
    let target = victim.id();
    victim.0.kill().unwrap();
    victim.end();
    assert_eq!(killer.kill(target), Outcome::Gone);
}

#[test]
fn a_protected_program_lives() {
    // The path as configured, and as the kernel resolves it where /bin is a link.
    let paths = [PathBuf::from("/bin/sleep"), fs::canonicalize("/bin/sleep").unwrap()];
    for path in paths {
        for dry_run in [false, true] {
            let policy =
                KillPolicy { protected_executables: vec![path.clone()], dry_run, ..armed() };
            let mut killer = killer(policy);
            for _ in 0..TRIES / 4 {
                let mut victim = Victim::start();
                let outcome = killer.kill(victim.id());
                assert!(is_protected(&outcome), "{outcome:?}");
                assert!(victim.lives());
            }
        }
    }
}

#[test]
fn another_protected_program_protects_nothing_else() {
    let policy = KillPolicy { protected_executables: vec!["/bin/cat".into()], ..armed() };
    let mut victim = Victim::start();
    assert_eq!(killer(policy).kill(victim.id()), Outcome::Done);
    victim.end();
}

#[test]
fn dry_run_is_the_default_and_kills_nothing() {
    let mut killer = killer(KillPolicy::default());
    for _ in 0..TRIES {
        let mut victim = Victim::start();
        let response = killer.respond(&alert(Severity::Critical, Some(victim.id()))).unwrap();
        assert_eq!(response.outcome, Outcome::DryRun);
        assert!(victim.lives());
    }
}

#[test]
fn what_is_gone_is_said_to_be_gone_in_dry_run_too() {
    let mut victim = Victim::start();
    let own = victim.id();
    let other = ProcessId::new(boot(), own.start_ns() - 100 * TICK_NS, own.tgid());
    assert_eq!(killer(KillPolicy::default()).kill(other), Outcome::Gone);
    assert!(victim.lives());
}

#[test]
fn below_the_severity_nothing_is_done() {
    let mut killer = killer(armed());
    for severity in Severity::ALL.into_iter().filter(|severity| *severity < Severity::Critical) {
        for _ in 0..TRIES / 4 {
            let mut victim = Victim::start();
            assert_eq!(killer.respond(&alert(severity, Some(victim.id()))), None);
            assert!(victim.lives());
        }
    }
}

#[test]
fn an_alert_about_no_process_is_not_answered() {
    assert_eq!(killer(armed()).respond(&alert(Severity::Critical, None)), None);
}

#[test]
fn a_policy_without_a_severity_answers_nothing() {
    let mut killer = killer(KillPolicy { severity: None, ..armed() });
    let mut victim = Victim::start();
    assert_eq!(killer.respond(&alert(Severity::Critical, Some(victim.id()))), None);
    assert!(victim.lives());
}

#[test]
fn no_more_than_so_many_die_in_a_minute() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let policy = KillPolicy { max_per_minute: 3, ..armed() };
    let mut killer = ProcessKiller::new(policy, Arc::clone(&clock) as Arc<dyn Clock>);
    for _ in 0..3 {
        let mut victim = Victim::start();
        assert_eq!(killer.kill(victim.id()), Outcome::Done);
        assert_eq!(victim.end().signal(), Some(libc::SIGKILL));
    }
    let mut spared = Victim::start();
    assert_eq!(killer.kill(spared.id()), Outcome::RateLimited);
    assert!(spared.lives());
    clock.advance(Duration::from_secs(60));
    assert_eq!(killer.kill(spared.id()), Outcome::Done);
    assert_eq!(spared.end().signal(), Some(libc::SIGKILL));
}

#[test]
fn what_is_refused_takes_nothing_from_the_rate() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let policy = KillPolicy { max_per_minute: 1, ..armed() };
    let mut killer = ProcessKiller::new(policy, clock);
    for _ in 0..TRIES {
        assert!(is_protected(&killer.kill(id_of(std::process::id()))));
    }
    let mut victim = Victim::start();
    assert_eq!(killer.kill(victim.id()), Outcome::Done);
    victim.end();
}

/// In dry-run, so that a guard that fails costs a test and not the machine.
#[test]
fn the_agent_its_ancestors_and_the_first_process_are_protected() {
    let mut killer = killer(KillPolicy::default());
    let parent = std::os::unix::process::parent_id();
    for pid in [std::process::id(), parent, 1] {
        let outcome = killer.kill(id_of(pid));
        assert!(is_protected(&outcome), "pid {pid}: {outcome:?}");
    }
}

/// In dry-run for the same reason. Pid 2 is `kthreadd` wherever the initial pid namespace is visible.
#[test]
fn a_thread_of_the_kernel_is_protected() {
    if fs::read_to_string("/proc/2/comm").ok().as_deref() != Some("kthreadd\n") {
        println!("skipped: this pid namespace shows no threads of the kernel");
        return;
    }
    let outcome = killer(KillPolicy::default()).kill(id_of(2));
    assert!(is_protected(&outcome), "{outcome:?}");
}

/// A process whose first thread has ended while another goes on: `/proc` shows it as a zombie without memory
/// and without a program.
fn start_without_leader() -> Option<Victim> {
    let program = format!(
        "import ctypes,threading,time\n\
         threading.Thread(target=time.sleep, args=(60,)).start()\n\
         ctypes.CDLL(None).syscall({}, 0)",
        libc::SYS_exit
    );
    let mut command = Command::new("python3");
    command.args(["-c", &program]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut victim = Victim(command.stderr(Stdio::null()).spawn().ok()?);
    let stat = format!("/proc/{}/stat", victim.pid());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        // Python without ctypes ends, and is no victim.
        if !victim.lives() {
            return None;
        }
        std::thread::yield_now();
    }
    Some(victim)
}

#[test]
fn a_process_whose_first_thread_has_ended_still_dies() {
    let Some(mut victim) = start_without_leader() else {
        println!("skipped: there is no python3 with ctypes to make such a process with");
        return;
    };
    assert!(victim.lives());
    assert_eq!(killer(armed()).kill(victim.id()), Outcome::Done);
    assert_eq!(victim.end().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_protected_program_whose_first_thread_has_ended_lives() {
    let Some(mut victim) = start_without_leader() else {
        println!("skipped: there is no python3 with ctypes to make such a process with");
        return;
    };
    let tasks = fs::read_dir(format!("/proc/{}/task", victim.pid())).unwrap();
    let program = tasks.flatten().find_map(|task| fs::read_link(task.path().join("exe")).ok());
    let protected_executables = vec![program.unwrap()];
    let outcome = killer(KillPolicy { protected_executables, ..armed() }).kill(victim.id());
    assert!(is_protected(&outcome), "{outcome:?}");
    assert!(victim.lives());
}

#[test]
fn an_undecided_match_is_not_answered() {
    let mut victim = Victim::start();
    let certainty = Certainty::Undetermined { fields: vec!["CommandLine".into()] };
    let alert = Alert { certainty, ..alert(Severity::Critical, Some(victim.id())) };
    assert_eq!(killer(armed()).respond(&alert), None);
    assert!(victim.lives());
}

#[test]
fn a_process_of_another_boot_is_another() {
    let mut victim = Victim::start();
    let own = victim.id();
    let other = ProcessId::new(BootId::from_u128(7), own.start_ns(), own.tgid());
    let outcome = killer(armed()).kill(other);
    assert!(victim.lives(), "{outcome:?}");
    assert_eq!(outcome, Outcome::Gone);
}

#[test]
fn a_dead_process_that_is_not_reaped_is_gone() {
    let mut victim = Victim::start();
    let target = victim.id();
    victim.0.kill().unwrap();
    let stat = format!("/proc/{}/stat", victim.pid());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    assert_eq!(killer(armed()).kill(target), Outcome::Gone);
}

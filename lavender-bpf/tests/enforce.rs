//! Acting on exactly the process that an alert is about, tried on processes that the test itself starts.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod enforcement;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use enforcement::{
    TICK_NS, TRIES, Victim, act, armed, boot, enforce, enforcer, id_of, is_protected, kill, order,
    state_of,
};
use lavender_bpf::{BreakerOptions, Enforcer, EnforcerOptions};
use lavender_core::{
    BootId, Clock, ManualClock, Outcome, ProcessId, ResponseAction, ResponseTarget, Timestamp,
};

/// What is done to one process.
const TO_PROCESSES: [ResponseAction; 3] =
    [ResponseAction::Kill, ResponseAction::KillTree, ResponseAction::Stop];

#[test]
fn every_process_that_is_meant_dies() {
    let mut enforcer = enforcer(armed());
    let mut bystander = Victim::start();
    for _ in 0..TRIES {
        let mut victim = Victim::start();
        assert_eq!(kill(&mut enforcer, victim.id()), Outcome::Done);
        assert_eq!(victim.end().signal(), Some(libc::SIGKILL));
    }
    assert!(bystander.lives());
}

#[test]
fn what_is_stopped_stands_still_until_it_is_continued() {
    let mut enforcer = enforcer(armed());
    let mut victim = Victim::start();
    let id = victim.id();
    assert_eq!(act(&mut enforcer, ResponseAction::Stop, id), Outcome::Done);
    while state_of(victim.pid()) != Some('T') {
        std::thread::yield_now();
    }
    assert!(victim.lives());
    let other = ProcessId::new(boot(), id.start_ns() - 100 * TICK_NS, id.tgid());
    assert_eq!(enforcer.continue_process(other), Outcome::Gone);
    assert_eq!(state_of(victim.pid()), Some('T'));
    assert_eq!(enforcer.continue_process(id), Outcome::Done);
    while state_of(victim.pid()) == Some('T') {
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_only_has_the_same_pid_lives() {
    let mut enforcer = enforcer(armed());
    for action in TO_PROCESSES {
        let mut victim = Victim::start();
        let own = victim.id();
        for nth in 0..TRIES {
            // A process that had the pid before: a second earlier, and down to two ticks.
            let earlier = if nth % 2 == 0 { 100 * TICK_NS } else { 2 * TICK_NS };
            let other = ProcessId::new(boot(), own.start_ns() - earlier, own.tgid());
            assert_eq!(act(&mut enforcer, action, other), Outcome::Gone);
            assert!(victim.lives());
            assert_ne!(state_of(victim.pid()), Some('T'));
        }
    }
}

#[test]
fn a_protected_program_lives() {
    // The path as configured, and as the kernel resolves it where /bin is a link.
    let paths = [PathBuf::from("/bin/sleep"), fs::canonicalize("/bin/sleep").unwrap()];
    for path in paths {
        for dry_run in [false, true] {
            let policy =
                EnforcerOptions { protected_executables: vec![path.clone()], dry_run, ..armed() };
            let mut enforcer = enforcer(policy);
            for action in TO_PROCESSES {
                let mut victim = Victim::start();
                for _ in 0..TRIES {
                    let outcome = act(&mut enforcer, action, victim.id());
                    assert!(is_protected(&outcome), "{outcome:?}");
                }
                assert!(victim.lives());
                assert_ne!(state_of(victim.pid()), Some('T'));
            }
        }
    }
}

/// The same file under another path is as protected as it is under its own; a copy of it, under whatever name,
/// is not.
#[test]
fn it_is_the_file_that_is_protected_and_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("guarded");
    fs::copy("/bin/sleep", &program).unwrap();
    let other_name = folder.path().join("other");
    fs::hard_link(&program, &other_name).unwrap();
    fs::create_dir(folder.path().join("elsewhere")).unwrap();
    let same_name = folder.path().join("elsewhere/guarded");
    fs::copy("/bin/sleep", &same_name).unwrap();
    let policy = EnforcerOptions { protected_executables: vec![program.clone()], ..armed() };
    let mut enforcer = enforcer(policy);
    for protected in [&program, &other_name] {
        let mut victim = Victim::running(protected);
        let outcome = kill(&mut enforcer, victim.id());
        assert!(is_protected(&outcome), "{outcome:?}");
        assert!(victim.lives());
    }
    let mut victim = Victim::running(&same_name);
    assert_eq!(kill(&mut enforcer, victim.id()), Outcome::Done);
    victim.end();
}

#[test]
fn dry_run_is_the_default_and_does_nothing() {
    let mut enforcer = enforcer(EnforcerOptions::default());
    for action in TO_PROCESSES {
        let mut victim = Victim::start();
        for _ in 0..TRIES {
            assert_eq!(act(&mut enforcer, action, victim.id()), Outcome::DryRun);
        }
        assert!(victim.lives());
        assert_ne!(state_of(victim.pid()), Some('T'));
    }
}

#[test]
fn an_order_that_comes_again_is_not_carried_out_again() {
    let mut enforcer = enforcer(armed());
    let mut victim = Victim::start();
    let stop = order(ResponseAction::Stop, ResponseTarget::Process(victim.id()));
    assert_eq!(enforce(&mut enforcer, stop.clone()).len(), 1);
    assert_eq!(enforcer.continue_process(victim.id()), Outcome::Done);
    while state_of(victim.pid()) == Some('T') {
        std::thread::yield_now();
    }
    assert_eq!(enforce(&mut enforcer, stop.clone()), []);
    assert_ne!(state_of(victim.pid()), Some('T'));
    // Another alert about the same process is another order, and so is another action.
    let other = order(ResponseAction::Stop, stop.target.clone());
    assert_eq!(enforce(&mut enforcer, other)[0].outcome, Outcome::Done);
    let kill = lavender_core::ResponseOrder { action: ResponseAction::Kill, ..stop };
    assert_eq!(enforce(&mut enforcer, kill)[0].outcome, Outcome::Done);
    victim.end();
}

fn with_clock(options: EnforcerOptions) -> (Enforcer, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    (Enforcer::new(options, Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

#[test]
fn no_more_than_so_many_die_in_a_minute() {
    let (mut enforcer, clock) = with_clock(EnforcerOptions { max_per_minute: 3, ..armed() });
    for action in [ResponseAction::Kill, ResponseAction::KillTree, ResponseAction::Kill] {
        let mut victim = Victim::start();
        assert_eq!(act(&mut enforcer, action, victim.id()), Outcome::Done);
        assert_eq!(victim.end().signal(), Some(libc::SIGKILL));
    }
    let mut spared = Victim::start();
    for action in TO_PROCESSES {
        assert_eq!(act(&mut enforcer, action, spared.id()), Outcome::RateLimited);
    }
    assert!(spared.lives());
    clock.advance(Duration::from_secs(60));
    assert_eq!(kill(&mut enforcer, spared.id()), Outcome::Done);
    assert_eq!(spared.end().signal(), Some(libc::SIGKILL));
}

#[test]
fn the_circuit_breaker_opens_and_says_so() {
    let breaker = BreakerOptions {
        max_responses: 3,
        window: Duration::from_secs(60),
        open_for: Duration::from_secs(600),
    };
    let (mut enforcer, clock) = with_clock(EnforcerOptions { breaker, ..armed() });
    for _ in 0..3 {
        let mut victim = Victim::start();
        assert_eq!(kill(&mut enforcer, victim.id()), Outcome::Done);
        victim.end();
    }
    assert_eq!(enforcer.circuit_open_for(), None);
    let mut spared = Victim::start();
    for action in TO_PROCESSES {
        let open = Outcome::CircuitOpen { closes_in_secs: 600 };
        assert_eq!(act(&mut enforcer, action, spared.id()), open);
    }
    assert!(spared.lives());
    assert_ne!(state_of(spared.pid()), Some('T'));
    clock.advance(Duration::from_secs(599));
    assert_eq!(enforcer.circuit_open_for(), Some(Duration::from_secs(1)));
    assert_eq!(
        kill(&mut enforcer, spared.id()),
        Outcome::CircuitOpen { closes_in_secs: 1 },
        "it stays open although the window is over"
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(enforcer.circuit_open_for(), None);
    assert_eq!(kill(&mut enforcer, spared.id()), Outcome::Done);
    spared.end();
}

#[test]
fn what_is_refused_takes_nothing_from_the_rate_and_opens_no_breaker() {
    let breaker = BreakerOptions { max_responses: 1, ..BreakerOptions::default() };
    let options = EnforcerOptions { max_per_minute: 1, breaker, ..armed() };
    let (mut enforcer, _) = with_clock(options);
    let mut victim = Victim::start();
    let own = victim.id();
    let other = ProcessId::new(boot(), own.start_ns() - 100 * TICK_NS, own.tgid());
    for action in TO_PROCESSES {
        for _ in 0..TRIES {
            assert!(is_protected(&act(&mut enforcer, action, id_of(std::process::id()))));
            assert_eq!(act(&mut enforcer, action, other), Outcome::Gone);
        }
    }
    assert_eq!(kill(&mut enforcer, own), Outcome::Done);
    victim.end();
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let mut enforcer = enforcer(armed());
    let mut victim = Victim::start();
    let process = ResponseTarget::Process(victim.id());
    for (action, target) in [
        (ResponseAction::Isolate, ResponseTarget::Host),
        (ResponseAction::Quarantine, process),
        (ResponseAction::Kill, ResponseTarget::Host),
    ] {
        let outcomes = enforce(&mut enforcer, order(action, target));
        let [answer] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(matches!(&answer.outcome, Outcome::Unsupported { reason } if !reason.is_empty()));
    }
    assert!(victim.lives());
}

#[test]
fn a_process_that_has_ended_is_gone() {
    let mut enforcer = enforcer(armed());
    let mut victim = Victim::start();
    let target = victim.id();
    victim.0.kill().unwrap();
    victim.end();
    assert_eq!(kill(&mut enforcer, target), Outcome::Gone);
}

#[test]
fn another_protected_program_protects_nothing_else() {
    let policy = EnforcerOptions { protected_executables: vec!["/bin/cat".into()], ..armed() };
    let mut victim = Victim::start();
    assert_eq!(kill(&mut enforcer(policy), victim.id()), Outcome::Done);
    victim.end();
}

#[test]
fn what_is_gone_is_said_to_be_gone_in_dry_run_too() {
    let mut victim = Victim::start();
    let own = victim.id();
    let other = ProcessId::new(boot(), own.start_ns() - 100 * TICK_NS, own.tgid());
    assert_eq!(kill(&mut enforcer(EnforcerOptions::default()), other), Outcome::Gone);
    assert!(victim.lives());
}

/// In dry-run, so that a guard that fails costs a test and not the machine.
#[test]
fn the_agent_its_ancestors_and_the_first_process_are_protected() {
    let mut enforcer = enforcer(EnforcerOptions::default());
    let parent = std::os::unix::process::parent_id();
    for pid in [std::process::id(), parent, 1] {
        let outcome = kill(&mut enforcer, id_of(pid));
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
    let outcome = kill(&mut enforcer(EnforcerOptions::default()), id_of(2));
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
    assert_eq!(kill(&mut enforcer(armed()), victim.id()), Outcome::Done);
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
    let outcome =
        kill(&mut enforcer(EnforcerOptions { protected_executables, ..armed() }), victim.id());
    assert!(is_protected(&outcome), "{outcome:?}");
    assert!(victim.lives());
}

#[test]
fn a_process_of_another_boot_is_another() {
    let mut victim = Victim::start();
    let own = victim.id();
    let other = ProcessId::new(BootId::from_u128(7), own.start_ns(), own.tgid());
    let outcome = kill(&mut enforcer(armed()), other);
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
    assert_eq!(kill(&mut enforcer(armed()), target), Outcome::Gone);
}

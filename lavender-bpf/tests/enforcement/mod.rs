//! What the tests of enforcement share: processes of their own, orders about them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use lavender_bpf::{BreakerOptions, Enforcer, EnforcerOptions};
use lavender_core::{
    AlertId, BootId, Outcome, ProcessId, ResponseAction, ResponseCause, ResponseOrder,
    ResponseOutcome, ResponseTarget, SystemClock,
};

pub const TICK_NS: u64 = 10_000_000;

/// How often each promise is tried.
pub const TRIES: usize = 100;

/// A process of the test's own; ended and reaped with the test, whatever becomes of it.
pub struct Victim(pub Child);

impl Victim {
    pub fn start() -> Self {
        Self::running("/bin/sleep")
    }

    /// A program that takes a number of seconds and waits as long.
    pub fn running(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let mut command = Command::new(&program);
        command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        // The parent of a vfork goes on just before the child has its new program: until then it is not the victim.
        let program = std::fs::canonicalize(program).unwrap();
        while std::fs::read_link(format!("/proc/{}/exe", child.id())).unwrap() != program {
            std::thread::yield_now();
        }
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn id(&self) -> ProcessId {
        id_of(self.pid())
    }

    pub fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub fn end(&mut self) -> ExitStatus {
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

pub fn boot() -> BootId {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().parse().unwrap()
}

/// The identity of a running process, to the tick that `/proc` shows.
pub fn id_of(pid: u32) -> ProcessId {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = after_name.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
    // Somewhere within the tick, as the kernel's own nanoseconds are.
    ProcessId::new(boot(), ticks * TICK_NS + TICK_NS / 3, pid)
}

/// The state of a process, as `/proc` shows it.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Bounds that no test reaches unless it means to.
pub fn armed() -> EnforcerOptions {
    EnforcerOptions {
        dry_run: false,
        max_per_minute: 1_000,
        breaker: BreakerOptions { max_responses: 1_000, ..BreakerOptions::default() },
        ..EnforcerOptions::default()
    }
}

pub fn enforcer(options: EnforcerOptions) -> Enforcer {
    Enforcer::new(options, Arc::new(SystemClock))
}

/// An order of its own: no other alert is the same.
pub fn order(action: ResponseAction, target: ResponseTarget) -> ResponseOrder {
    use std::sync::atomic::{AtomicU64, Ordering};
    static ALERTS: AtomicU64 = AtomicU64::new(0);
    let alert = ALERTS.fetch_add(1, Ordering::Relaxed).to_string();
    let cause = ResponseCause::Alert(AlertId::new(&alert, &[]));
    ResponseOrder { cause, action, target, decided_by: "a test".into() }
}

/// What comes of an order.
pub fn enforce(enforcer: &mut Enforcer, order: ResponseOrder) -> Vec<ResponseOutcome> {
    let mut outcomes = Vec::new();
    enforcer.enforce(order, &mut outcomes);
    outcomes
}

/// What comes of an order about one process.
pub fn act(enforcer: &mut Enforcer, action: ResponseAction, target: ProcessId) -> Outcome {
    let order = order(action, ResponseTarget::Process(target));
    let outcomes = enforce(enforcer, order.clone());
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes[0].order, order, "the outcome does not say what it is of");
    outcomes[0].outcome.clone()
}

pub fn kill(enforcer: &mut Enforcer, target: ProcessId) -> Outcome {
    act(enforcer, ResponseAction::Kill, target)
}

pub fn is_protected(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Protected { .. })
}

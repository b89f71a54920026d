//! Agents that send more than they may: what is beyond the limit waits, as long as there is room to wait, and is
//! then not let pass.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::{BootTime, Clock};

use super::ledger::Agent;
use crate::AgentLimits;

/// The shortest time that a message waits, so that one that is held up is not looked at all the time.
const DELAY_MIN: Duration = Duration::from_millis(100);

/// How often a message waits: what it waits in all is less than what a hole is waited for.
const WAITS_MAX: u32 = 4;

/// What becomes of a message of an agent that is over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It comes again after this time.
    Later(Duration),
    /// It does not pass.
    Refused,
}

/// The limits, and who is beyond them just now.
#[derive(Debug)]
pub(super) struct Pace {
    limits: AgentLimits,
    clock: Arc<dyn Clock>,
    /// The most messages of one agent that wait.
    waiting_max: usize,
    /// The most messages of all agents that wait: they take the place of others in what the broker hands out.
    waiting_total_max: usize,
    delay_max: Duration,
    over: HashMap<Agent, Over>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Over {
    /// Until when there is no need to look at anything of it.
    until: BootTime,
    /// When the messages come again that wait.
    waiting: VecDeque<BootTime>,
}

impl Pace {
    pub(super) fn new(
        limits: AgentLimits,
        clock: Arc<dyn Clock>,
        (waiting_max, waiting_total_max): (usize, usize),
        gap_wait: Duration,
    ) -> Self {
        let delay_max = (gap_wait / (2 * WAITS_MAX)).max(DELAY_MIN);
        let over = HashMap::new();
        Self { limits, clock, waiting_max, waiting_total_max, delay_max, over, waiting: 0 }
    }

    /// Whether an agent is known to be over its limit, so that its message need not be opened.
    pub(super) fn is_over(&mut self, agent: &Agent, attempt: u32) -> Option<Verdict> {
        let now = self.clock.boot_time();
        let until = self.over.get(agent)?.until;
        (until > now).then(|| self.hold(agent, attempt, until.since(now)))
    }

    /// Takes events off what an agent may send, if it may.
    pub(super) fn charge(&mut self, agent: &Agent, events: usize, attempt: u32) -> Option<Verdict> {
        let wait = self.limits.check(&agent.0, &agent.1, events).err()?;
        let over = self.over.entry(agent.clone()).or_default();
        over.until = after(self.clock.boot_time(), wait.min(self.delay_max));
        Some(self.hold(agent, attempt, wait))
    }

    /// Forgets who is within its limit again.
    pub(super) fn forget(&mut self) {
        let now = self.clock.boot_time();
        let mut waiting = 0;
        self.over.retain(|_, over| {
            over.waiting.retain(|until| *until > now);
            waiting += over.waiting.len();
            over.until > now || !over.waiting.is_empty()
        });
        self.waiting = waiting;
        self.limits.forget_quiet();
    }

    fn hold(&mut self, agent: &Agent, attempt: u32, wait: Duration) -> Verdict {
        let now = self.clock.boot_time();
        let Some(over) = self.over.get_mut(agent) else { return Verdict::Refused };
        let before = over.waiting.len();
        over.waiting.retain(|until| *until > now);
        self.waiting = self.waiting.saturating_sub(before - over.waiting.len());
        let room = over.waiting.len() < self.waiting_max && self.waiting < self.waiting_total_max;
        if attempt > WAITS_MAX || !room {
            return Verdict::Refused;
        }
        let delay = wait.clamp(DELAY_MIN, self.delay_max);
        over.waiting.push_back(after(now, delay));
        self.waiting += 1;
        Verdict::Later(delay)
    }
}

fn after(now: BootTime, wait: Duration) -> BootTime {
    let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    BootTime::from_nanos(now.as_nanos().saturating_add(wait))
}

//! Agents that send more than they may: how many messages wait for them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lavender_core::{AgentId, BootTime, TenantId};

/// How many agents may have so many waiting before the rest is put aside.
const AGENTS: usize = 4;

/// What waits with the broker takes a place of the durable, which all agents share.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    until: HashMap<(TenantId, AgentId), VecDeque<BootTime>>,
    total: usize,
}

impl Waiting {
    /// Whether one more message may wait so long.
    pub(super) fn admit(
        &mut self,
        agent: (TenantId, AgentId),
        now: BootTime,
        wait: Duration,
        most: usize,
    ) -> bool {
        self.until.retain(|_, times| {
            while times.front().is_some_and(|until| *until <= now) {
                times.pop_front();
                self.total -= 1;
            }
            !times.is_empty()
        });
        let waiting = self.until.get(&agent).map_or(0, VecDeque::len);
        if waiting >= most || self.total >= most.saturating_mul(AGENTS) {
            return false;
        }
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let until = BootTime::from_nanos(now.as_nanos().saturating_add(nanos));
        self.until.entry(agent).or_default().push_back(until);
        self.total += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_takes_no_place_of_another() {
        let mut waiting = Waiting::default();
        let agent = |name| (TenantId::new("acme").unwrap(), AgentId::new(name).unwrap());
        let at = |seconds: u64| BootTime::from_nanos(seconds * 1_000_000_000);
        let second = Duration::from_secs(1);
        assert!(waiting.admit(agent("a"), at(1), second, 2));
        assert!(waiting.admit(agent("a"), at(1), second, 2));
        assert!(!waiting.admit(agent("a"), at(1), second, 2));
        assert!(waiting.admit(agent("b"), at(1), second, 2));
        // What waited has its turn.
        assert!(waiting.admit(agent("a"), at(2), second, 2));
    }
}

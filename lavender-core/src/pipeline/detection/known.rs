//! The agents that a worker has heard of.

use std::collections::HashMap;

use super::agent::Agent;
use crate::time::Timestamp;

/// What a worker remembers of an agent between its batches. All of it can be had again.
#[derive(Default)]
pub(super) struct Heard {
    /// The time of the newest event that came, and of the oldest.
    pub(super) newest: Option<Timestamp>,
    pub(super) oldest: Option<Timestamp>,
    /// For which time its state waits, as far as is known.
    pub(super) due: Option<Timestamp>,
    /// Its state, which may be another by now in the store.
    cached: Option<Agent>,
    used: u64,
}

/// The agents that a worker has heard of, by the keys of their states.
pub(super) struct Known {
    agents: HashMap<String, Heard>,
    agents_max: usize,
    cached_bytes: usize,
    cached_bytes_max: usize,
    uses: u64,
}

impl Known {
    pub(super) fn new(agents_max: usize, cached_bytes_max: usize) -> Self {
        Self { agents: HashMap::new(), agents_max, cached_bytes: 0, cached_bytes_max, uses: 0 }
    }

    /// What is remembered of an agent, from now on if nothing is.
    pub(super) fn of(&mut self, key: &str) -> &mut Heard {
        self.uses += 1;
        if !self.agents.contains_key(key) {
            if self.agents.len() >= self.agents_max {
                self.forget_half();
            }
            self.agents.insert(key.to_owned(), Heard::default());
        }
        let heard = self.agents.entry(key.to_owned()).or_default();
        heard.used = self.uses;
        heard
    }

    /// Takes the state of an agent out.
    pub(super) fn take_cached(&mut self, key: &str) -> Option<Agent> {
        let agent = self.agents.get_mut(key)?.cached.take()?;
        self.cached_bytes -= agent.bytes;
        Some(agent)
    }

    /// Keeps the state of an agent.
    pub(super) fn cache(&mut self, key: &str, agent: Agent) {
        self.take_cached(key);
        if self.cached_bytes + agent.bytes > self.cached_bytes_max {
            for heard in self.agents.values_mut() {
                heard.cached = None;
            }
            self.cached_bytes = 0;
        }
        self.cached_bytes += agent.bytes;
        let heard = self.of(key);
        heard.due = agent.due();
        heard.cached = Some(agent);
    }

    /// Every agent that waits for a time, with that time and the newest that came of it.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&str, Timestamp, Option<Timestamp>)> {
        self.agents.iter().filter_map(|(key, heard)| Some((&**key, heard.due?, heard.newest)))
    }

    /// Forgets when each was first heard of, and lets go of its state, which others may have to decide by.
    pub(super) fn meet_again(&mut self) {
        for heard in self.agents.values_mut() {
            (heard.oldest, heard.cached) = (None, None);
        }
        self.cached_bytes = 0;
    }

    fn forget_half(&mut self) {
        let mut uses: Vec<u64> = self.agents.values().map(|heard| heard.used).collect();
        let half = uses.len() / 2;
        let (_, middle, _) = uses.select_nth_unstable(half);
        let middle = *middle;
        self.agents.retain(|_, heard| heard.used > middle);
        let cached = self.agents.values().filter_map(|heard| heard.cached.as_ref());
        self.cached_bytes = cached.map(|agent| agent.bytes).sum();
    }
}

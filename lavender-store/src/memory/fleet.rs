//! The agents of a tenant, in memory.

use std::collections::BTreeMap;

use lavender_core::store::{
    FleetAgent, FleetQuery, FleetStore, LivenessTimes, LivenessTransition, LossEntry, Page,
    TimeRange, TransitionQuery,
};
use lavender_core::{AgentId, Result, TenantId, Timestamp, async_trait};

use super::feed::Noted;
use super::{Kept, MemoryStore};
use crate::cursor::{self, Listing, Position};

/// How many transitions are kept; the oldest make room.
const KEPT: usize = 100_000;

#[derive(Default)]
pub(super) struct Transitions {
    by_time: BTreeMap<Position, LivenessTransition>,
    noted: u128,
}

impl Transitions {
    fn note(&mut self, transition: LivenessTransition) {
        self.noted += 1;
        self.by_time.insert(Position { time: transition.at, id: self.noted }, transition);
        while self.by_time.len() > KEPT {
            self.by_time.pop_first();
        }
    }
}

impl Kept {
    fn sweep(&mut self, times: &LivenessTimes, now: Timestamp) -> u64 {
        let changed = self.events.judge(times, now);
        for transition in &changed {
            self.transitions.note(transition.clone());
            self.feed.note(&transition.tenant, Noted::Liveness(transition.clone()));
        }
        changed.len() as u64
    }
}

#[async_trait]
impl FleetStore for MemoryStore {
    async fn fleet(&self, tenant: &TenantId, query: &FleetQuery) -> Result<Page<FleetAgent>> {
        let limit = cursor::limit(query.limit)?;
        let after = cursor::after_agent(query.after.as_ref())?;
        let kept = self.kept()?;
        let found = kept.events.fleet(tenant).filter(|agent| {
            after.as_ref().is_none_or(|after| agent.record.source.agent > *after)
                && query.liveness.is_none_or(|wanted| {
                    agent.liveness.is_some_and(|(liveness, _)| liveness == wanted)
                })
        });
        let items = found.take(limit + 1).cloned().collect();
        Ok(cursor::agents_page(items, limit, |agent| &agent.record.source.agent))
    }

    async fn fleet_agent(&self, tenant: &TenantId, agent: &AgentId) -> Result<Option<FleetAgent>> {
        let kept = self.kept()?;
        Ok(kept.events.fleet(tenant).find(|known| known.record.source.agent == *agent).cloned())
    }

    async fn sweep_liveness(&self, times: &LivenessTimes, now: Timestamp) -> Result<u64> {
        Ok(self.kept()?.sweep(times, now))
    }

    async fn transitions(
        &self,
        tenant: &TenantId,
        query: &TransitionQuery,
    ) -> Result<Page<LivenessTransition>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Transitions.position(query.after.as_ref())?;
        let kept = self.kept()?;
        let found = kept.transitions.by_time.iter().rev().filter(|(at, transition)| {
            transition.tenant == *tenant
                && query.time.contains(transition.at)
                && query.agent.as_ref().is_none_or(|agent| *agent == transition.agent)
                && after.is_none_or(|after| **at < after)
        });
        let items: Vec<_> =
            found.take(limit + 1).map(|(at, transition)| (*at, transition.clone())).collect();
        Ok(Listing::Transitions.page(items, limit, |(at, _)| *at).map(|(_, transition)| transition))
    }

    async fn tenant_losses(
        &self,
        tenant: &TenantId,
        agent: Option<&AgentId>,
        time: TimeRange,
    ) -> Result<Vec<LossEntry>> {
        let mut lines = self.kept()?.events.losses(Some(tenant), agent, time);
        lines.truncate(LossEntry::MAX);
        Ok(lines)
    }
}

//! Events in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use lavender_core::event::{Event, EventData, EventKind, LossStage, Process};
use lavender_core::store::{
    AgentFacts, AgentRecord, EventQuery, FleetAgent, Inserted, LivenessTimes, LivenessTransition,
    LossEntry, Page, StoredEvent, TimeRange,
};
use lavender_core::{AgentId, AgentIdentity, EventId, ExecId, Origin, Result, TenantId, Timestamp};

use crate::cursor::{Listing, Position};
use crate::day::Day;
use crate::heartbeat;
use crate::sequence::origin_bits;

#[derive(Default)]
pub(super) struct Events {
    by_time: BTreeMap<Position, StoredEvent>,
    by_id: HashMap<EventId, Timestamp>,
    /// Held by the events themselves, and gone with them.
    processes: HashMap<ExecId, Weak<Process>>,
    /// The highest sequence number of each origin.
    sequences: HashMap<u128, u64>,
    agents: BTreeMap<(TenantId, AgentId), Heard>,
    pub(super) forgotten: u64,
}

/// An agent, and when it last said that it starts or stops.
struct Heard {
    agent: FleetAgent,
    life_at: Option<Timestamp>,
}

fn position(stored: &StoredEvent) -> Position {
    Position { time: stored.event.observed_at, id: stored.event.id.as_u128() }
}

impl Events {
    pub(super) fn append(
        &mut self,
        source: &AgentIdentity,
        events: &[Arc<Event>],
        max: usize,
    ) -> Inserted {
        let mut inserted = Inserted::default();
        for event in events {
            if self.by_id.contains_key(&event.id) {
                inserted.duplicate += 1;
                continue;
            }
            inserted.new += 1;
            self.by_id.insert(event.id, event.observed_at);
            let highest = self.sequences.entry(origin_bits(event.id)).or_default();
            *highest = event.id.sequence().max(*highest);
            self.remember_processes(event);
            self.hear(source, event);
            let stored = StoredEvent { source: source.clone(), event: Arc::clone(event) };
            self.by_time.insert(position(&stored), stored);
        }
        while self.by_time.len() > max {
            let Some((_, oldest)) = self.by_time.pop_first() else { break };
            self.by_id.remove(&oldest.event.id);
            self.forgotten += 1;
        }
        // Each event brings some processes with it, most of them shared; well above that, most are gone.
        if self.processes.len() > 2 * max.max(1_024) {
            self.processes.retain(|_, process| process.strong_count() > 0);
        }
        inserted
    }

    fn remember_processes(&mut self, event: &Event) {
        let Some(process) = &event.process else { return };
        for process in std::iter::once(process).chain(process.ancestors()) {
            let known = self.processes.insert(process.exec_id, Arc::downgrade(process));
            if known.is_some_and(|known| known.as_ptr() == Arc::as_ptr(process)) {
                break;
            }
        }
    }

    fn hear(&mut self, source: &AgentIdentity, event: &Event) {
        let at = event.observed_at;
        let heard = self
            .agents
            .entry((source.tenant.clone(), source.agent.clone()))
            .or_insert_with(|| Heard {
                agent: FleetAgent {
                    record: AgentRecord {
                        source: source.clone(),
                        first_seen: at,
                        last_seen: at,
                        version: None,
                        kernel_release: None,
                        stopped: false,
                    },
                    last_lost_at: None,
                    rules: None,
                    kinds: Vec::new(),
                    heartbeat: None,
                    liveness: None,
                },
                life_at: None,
            });
        let agent = &mut heard.agent;
        if matches!(event.data, EventData::Lost(_)) {
            agent.last_lost_at = agent.last_lost_at.max(Some(at));
        }
        if let EventData::Heartbeat(beat) = &event.data
            && agent.heartbeat.as_ref().is_none_or(|(_, last)| *last <= at)
            && heartbeat::kept(beat).is_some()
        {
            agent.heartbeat = Some(((**beat).clone(), at));
        }
        let record = &mut agent.record;
        record.first_seen = record.first_seen.min(at);
        if at >= record.last_seen {
            record.last_seen = at;
            record.source.host = Arc::clone(&source.host);
        }
        if !matches!(event.data, EventData::AgentStart(_) | EventData::AgentStop(_))
            || heard.life_at.is_some_and(|life_at| at < life_at)
        {
            return;
        }
        heard.life_at = Some(at);
        match &event.data {
            EventData::AgentStart(start) => {
                record.version = Some(Arc::clone(&start.version));
                record.kernel_release = Some(Arc::clone(&start.kernel_release));
                record.stopped = false;
                agent.rules = Some(start.rules);
                agent.kinds.clone_from(&start.kinds);
            }
            _ => record.stopped = true,
        }
    }

    pub(super) fn read(&self, query: &EventQuery, limit: usize) -> Result<Page<StoredEvent>> {
        let after = Listing::Events.position(query.after.as_ref())?;
        let first = Position { time: query.time.from, id: 0 };
        let items = self
            .by_time
            .range(after.unwrap_or(first).max(first)..)
            .filter(|(at, _)| after.is_none_or(|after| **at > after))
            .map(|(_, stored)| stored)
            .take_while(|stored| stored.event.observed_at < query.time.to)
            .filter(|stored| matches(query, stored))
            .take(limit + 1)
            .cloned()
            .collect();
        Ok(Listing::Events.page(items, limit, position))
    }

    pub(super) fn process(&self, id: ExecId) -> Option<Arc<Process>> {
        self.processes.get(&id)?.upgrade()
    }

    pub(super) fn last_sequence(&self, origin: Origin) -> Option<u64> {
        self.sequences.get(&origin_bits(origin.event(0))).copied()
    }

    pub(super) fn agents(&self) -> Vec<AgentRecord> {
        self.agents.values().map(|heard| heard.agent.record.clone()).collect()
    }

    /// The agents of a tenant, by their ids.
    pub(super) fn fleet<'a>(
        &'a self,
        tenant: &'a TenantId,
    ) -> impl Iterator<Item = &'a FleetAgent> {
        self.agents.iter().filter(move |((of, _), _)| of == tenant).map(|(_, heard)| &heard.agent)
    }

    /// Judges every agent, and tells what has changed.
    pub(super) fn judge(
        &mut self,
        times: &LivenessTimes,
        now: Timestamp,
    ) -> Vec<LivenessTransition> {
        let mut changed = Vec::new();
        for ((tenant, name), Heard { agent, .. }) in &mut self.agents {
            let facts = AgentFacts {
                last_seen: agent.record.last_seen,
                last_lost_at: agent.last_lost_at,
                blind: agent.heartbeat.as_ref().is_some_and(|(beat, _)| heartbeat::is_blind(beat)),
                stopped: agent.record.stopped,
            };
            let from = agent.liveness.map(|(liveness, _)| liveness);
            let (to, reason) = times.judge(&facts, now);
            if from != Some(to) {
                agent.liveness = Some((to, now));
                let (tenant, agent) = (tenant.clone(), name.clone());
                changed.push(LivenessTransition { tenant, agent, from, to, reason, at: now });
            }
        }
        changed
    }

    pub(super) fn losses(
        &self,
        of_tenant: Option<&TenantId>,
        of_agent: Option<&AgentId>,
        time: TimeRange,
    ) -> Vec<LossEntry> {
        let mut sums: BTreeMap<(TenantId, AgentId, EventKind, LossStage), u64> = BTreeMap::new();
        for stored in self.by_time.values() {
            let EventData::Lost(loss) = &stored.event.data else { continue };
            let AgentIdentity { tenant, agent, .. } = &stored.source;
            let asked =
                of_tenant.is_none_or(|of| of == tenant) && of_agent.is_none_or(|of| of == agent);
            if asked && time.contains(stored.event.observed_at) {
                let line = (tenant.clone(), agent.clone(), loss.kind, loss.stage);
                let sum = sums.entry(line).or_default();
                *sum = sum.saturating_add(loss.count);
            }
        }
        sums.into_iter()
            .filter_map(|((tenant, agent, kind, stage), count)| {
                let source = self.agents.get(&(tenant, agent))?.agent.record.source.clone();
                Some(LossEntry { source, kind, stage, count })
            })
            .collect()
    }

    pub(super) fn retain(&mut self, before: Timestamp) -> u64 {
        let first_kept = Position { time: Day::of(before).start(), id: 0 };
        let kept = self.by_time.split_off(&first_kept);
        let dropped = std::mem::replace(&mut self.by_time, kept);
        let mut days: Vec<Day> = dropped.keys().map(|at| Day::of(at.time)).collect();
        days.dedup();
        for stored in dropped.into_values() {
            self.by_id.remove(&stored.event.id);
        }
        self.processes.retain(|_, process| process.strong_count() > 0);
        days.len() as u64
    }
}

fn matches(query: &EventQuery, stored: &StoredEvent) -> bool {
    let StoredEvent { source, event } = stored;
    query.tenant.as_ref().is_none_or(|tenant| *tenant == source.tenant)
        && query.agent.as_ref().is_none_or(|agent| *agent == source.agent)
        && query.kind.is_none_or(|kind| kind == event.kind())
        && query.process.is_none_or(|id| event.process.as_ref().is_some_and(|p| p.id() == id))
        && query.response_to.is_none_or(
            |alert| matches!(&event.data, EventData::Response(answer) if answer.order.cause.alert() == Some(alert)),
        )
}

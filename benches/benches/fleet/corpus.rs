//! What a fleet sends: each agent's own events, fresh in every round, in batches as agents make them.

use std::sync::Arc;
use std::time::Duration;

use lavender_benches::{SEED, events};
use lavender_core::envelope::Envelope;
use lavender_core::event::Event;
use lavender_core::transport::{Message, Payload, Topic};
use lavender_core::{AgentId, AgentIdentity, BootId, Clock as _, Origin, SystemClock, TenantId};

/// What an agent sends at once where there is much to send.
pub const BATCH: usize = 256;

struct Agent {
    source: AgentIdentity,
    origin: Origin,
    sequence: u64,
}

pub struct Corpus {
    agents: Vec<Agent>,
    round: u64,
}

impl Corpus {
    pub fn new(agents: usize) -> Self {
        let agent = |number: usize| {
            let source = AgentIdentity {
                tenant: TenantId::new("bench").unwrap(),
                agent: AgentId::new(&format!("bench-{number}")).unwrap(),
                host: format!("bench-{number}.example").into(),
            };
            let boot = BootId::from_u128(number as u128 + 1);
            Agent { origin: Origin::new(&source.tenant, &source.agent, boot), source, sequence: 0 }
        };
        Self { agents: (0..agents).map(agent).collect(), round: 0 }
    }

    /// So many batches of each agent, all agents in turn.
    pub fn messages(&mut self, batch: usize, each: usize, topic: Topic) -> Vec<Message> {
        self.round += 1;
        let (round, now) = (self.round, SystemClock.now());
        let mut of_agents = Vec::new();
        for (number, agent) in self.agents.iter_mut().enumerate() {
            let seed = SEED + round * 1_000 + number as u64;
            let made = events(seed, batch * each).unwrap();
            let fresh = made.iter().zip(0..).map(|(event, index)| {
                agent.sequence += 1;
                let observed_at = now.saturating_add(Duration::from_micros(10 * index));
                let id = agent.origin.event(agent.sequence);
                Arc::new(Event { id, observed_at, ..(**event).clone() })
            });
            let fresh: Vec<_> = fresh.collect();
            let batches: Vec<_> = fresh.chunks(batch).map(<[_]>::to_vec).collect();
            of_agents.push((agent.source.clone(), batches));
        }
        let message = |turn: usize, (source, batches): &(AgentIdentity, Vec<Vec<_>>)| {
            let payload = Payload::Events(batches[turn].clone());
            Message { source: source.clone(), topic, payload }
        };
        (0..each).flat_map(|turn| of_agents.iter().map(move |agent| message(turn, agent))).collect()
    }
}

/// The messages as they are sent.
pub fn sealed(messages: &[Message]) -> Vec<Envelope> {
    messages.iter().flat_map(|message| Envelope::encode(message, 900 << 10).unwrap()).collect()
}

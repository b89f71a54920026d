//! What happens on the simulated agents. An event is decided by the seed, its agent and its number alone, so that an
//! agent that was killed goes on with the very same events.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{
    Arguments, Credentials, Event, EventData, Exec, Executable, Namespaces, Process,
};
use lavender_core::{
    AgentId, AgentIdentity, BootId, BootTime, ByteString, Captured, ExecId, Origin, ProcessId,
    TenantId, Timestamp,
};

use crate::error::{FleetError, Result};
use crate::site::TENANT;

/// How many events of an agent rules match, about. All lie within detection's lateness, so all are remembered at once,
/// within what may be remembered of an agent.
const MATCHES: u64 = 250;

/// The numbers of a sequence by a seed: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One that is less than `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The workers' rules, that find what happens: plain ones, correlations, and what is new.
pub fn rules() -> String {
    let exec = |id: &str, image: &str, more: &str| {
        format!(
            "title: {id}\nid: {id}\nname: {id}\nlogsource: {{category: process_creation, product: linux}}\n\
             detection: {{s: {{Image|endswith: /{image}}}, condition: s}}\n{more}\n---\n"
        )
    };
    let correlation = |id: &str, what: &str| {
        format!("title: {id}\nid: {id}\nlevel: high\ncorrelation: {{{what}}}\n---\n")
    };
    [
        exec("plain", "curl", "level: medium"),
        exec(
            "seen",
            "ssh",
            "level: medium\nlavender: {risk: 0, novelty: {fields: [CurrentDirectory], baseline: 5s}}",
        ),
        exec("a", "cat", "level: low"),
        exec("b", "tar", "level: low"),
        exec("c", "rm", "level: low"),
        correlation("many", "type: event_count, rules: [a], group-by: [CurrentDirectory], timespan: 9s, condition: {gte: 3}"),
        correlation("kinds", "type: value_count, rules: [a, b, c], group-by: [CurrentDirectory], timespan: 12s, condition: {field: Image, gte: 3}"),
        "title: then\nid: then\nlevel: high\ncorrelation: {type: temporal_ordered, rules: [c, plain], \
         group-by: [CurrentDirectory], timespan: 8s}\nlavender: {generate: [plain], risk: 0}\n---\n"
            .to_owned(),
        "title: without\nid: without\nlevel: medium\ncorrelation: {type: temporal_ordered, rules: [a, b, c], \
         group-by: [CurrentDirectory], timespan: 10s}\nlavender: {missing: [c]}\n"
            .to_owned(),
    ]
    .concat()
}

/// What decides the streams of all agents.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// The seed.
    pub seed: u64,
    /// When the first event happens. In the past by over an hour, for the last event is so much later.
    pub begin: Timestamp,
    /// How many events an agent has, without the last heartbeat.
    pub events: u64,
}

impl Streams {
    /// The time that all of an agent's events take. Less than detection's lateness, so that nothing which comes again
    /// is too late however fast the streams are played.
    const SPAN: Duration = Duration::from_secs(55);
    /// How much later the last heartbeat is: whatever waits for time to pass is decided by it.
    const LAST: Duration = Duration::from_secs(3_600);

    /// The name of an agent.
    pub fn agent(number: usize) -> String {
        format!("sim-{number}")
    }

    /// Who an agent is.
    ///
    /// # Errors
    ///
    /// When its name is none.
    pub fn identity(number: usize) -> Result<AgentIdentity> {
        let broken = |error: lavender_core::IdError| FleetError::Broken(error.to_string());
        let name = Self::agent(number);
        Ok(AgentIdentity {
            tenant: TenantId::new(TENANT).map_err(broken)?,
            agent: AgentId::new(&name).map_err(broken)?,
            host: format!("{name}.{TENANT}.example").into(),
        })
    }

    /// Where an agent's numbers begin.
    pub fn origin(source: &AgentIdentity) -> Origin {
        Origin::new(&source.tenant, &source.agent, Self::boot())
    }

    const fn boot() -> BootId {
        BootId::from_u128(7)
    }

    /// The event of a number, from 1; the one behind the last is that the agent still lives, much later.
    pub fn event(&self, number: usize, origin: Origin, sequence: u64) -> Arc<Event> {
        let mixed = (number as u64).wrapping_mul(0x1_0000_0001).wrapping_add(sequence << 20);
        let mut random = Random(Random(self.seed ^ mixed).next());
        let last = sequence > self.events;
        let step = Self::SPAN.as_nanos() as u64 / self.events.max(1);
        let since = match last {
            true => Self::LAST,
            false => Duration::from_nanos(step * sequence + random.below(step.max(1))),
        };
        let (process, data) = match last {
            true => (None, EventData::Heartbeat(Box::default())),
            false => {
                let exec = Exec { filename: text("x"), previous_executable: None };
                (
                    Some(Arc::new(process(&mut random, (self.events / MATCHES).max(1)))),
                    EventData::Exec(exec),
                )
            }
        };
        Arc::new(Event {
            id: origin.event(sequence),
            observed_at: self.begin.saturating_add(since),
            boot_time: BootTime::from_nanos(sequence),
            tid: 100,
            process,
            data,
        })
    }
}

fn text(text: &str) -> Captured<ByteString> {
    Captured::complete(ByteString::from(text))
}

fn process(random: &mut Random, rarity: u64) -> Process {
    const FOUND: [&str; 6] = ["curl", "ssh", "cat", "tar", "rm", "wget"];
    const OTHERS: [&str; 6] = ["ls", "sh", "true", "make", "cc", "sed"];
    let image = match random.below(rarity) {
        0 => FOUND[random.below(FOUND.len() as u64) as usize],
        _ => OTHERS[random.below(OTHERS.len() as u64) as usize],
    };
    let (tree, start) = (random.below(16), random.below(1_000));
    let directory = format!("/srv/{}", random.below(8));
    Process {
        exec_id: ExecId { process: ProcessId::new(Streams::boot(), start, 100), generation: 1 },
        pid: 100,
        namespace_pid: 100,
        name: ByteString::from(image),
        executable: Executable {
            path: text(&format!("/usr/bin/{image}")),
            ..Executable::default()
        },
        arguments: Captured::complete(Arguments::new(format!("{image}\0").as_bytes())),
        working_directory: text(&directory),
        credentials: Credentials::default(),
        user: None,
        group: None,
        terminal: None,
        cgroup_id: 1,
        container: None,
        namespaces: Namespaces::default(),
        tree: Some(ProcessId::new(Streams::boot(), 5_000 + tree, 10)),
        parent_id: None,
        parent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_begins_again_goes_on_with_the_same_events() {
        let streams =
            Streams { seed: 3, begin: Timestamp::from_millis(1_700_000_000_000), events: 90 };
        let origin =
            Streams::origin(&Streams::identity(1).unwrap_or_else(|error| panic!("{error}")));
        let all: Vec<_> = (1..=91).map(|sequence| streams.event(1, origin, sequence)).collect();
        let again: Vec<_> = (40..=91).map(|sequence| streams.event(1, origin, sequence)).collect();
        assert_eq!(all[39..], again[..]);
        assert!(all.is_sorted_by(|a, b| a.observed_at < b.observed_at));
        assert_ne!(all[0].process, streams.event(2, origin, 1).process);
    }
}

//! Agents on which things happen as a seed says, and the rules that find them.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{
    Arguments, Credentials, Event, EventData, EventKind, Exec, Executable, Loss, LossStage,
    Namespaces, Process,
};
use lavender_core::{
    AgentId, AgentIdentity, BootId, BootTime, ByteString, Captured, ExecId, Origin, ProcessId,
    TenantId, Timestamp,
};
use lavender_detect::{FleetOptions, RuleSet};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// By how much events may come late.
pub(crate) const LATENESS: Duration = Duration::from_secs(30);

pub(crate) fn options() -> FleetOptions {
    FleetOptions::new(LATENESS)
}

pub(crate) fn rules() -> RuleSet {
    let exec = |id: &str, image: &str, more: &str| {
        format!(
            "title: {id}\nid: {id}\nname: {id}\nlogsource: {{category: process_creation, product: linux}}\n\
             detection: {{s: {{Image|endswith: /{image}}}, condition: s}}\n{more}\n---\n"
        )
    };
    let correlation = |id: &str, what: &str| {
        format!("title: {id}\nid: {id}\nlevel: high\ncorrelation: {{{what}}}\n---\n")
    };
    let text = [
        exec("plain", "curl", "level: medium"),
        exec("other", "wget", "level: low"),
        exec("each", "nc", "level: low\nlavender: {suppress: false}"),
        exec("seen", "ssh", "level: medium\nlavender: {risk: 0, novelty: {fields: [CurrentDirectory], baseline: 10s}}"),
        exec("a", "cat", "level: low"),
        exec("b", "tar", "level: low"),
        exec("c", "rm", "level: low"),
        correlation("many", "type: event_count, rules: [a], group-by: [CurrentDirectory], timespan: 9s, condition: {gte: 4}"),
        correlation("few", "type: event_count, rules: [b], group-by: [CurrentDirectory], timespan: 7s, condition: {lt: 2}"),
        correlation("kinds", "type: value_count, rules: [a, b, c], group-by: [CurrentDirectory], timespan: 12s, condition: {field: Image, gte: 3}"),
        "title: then\nid: then\nlevel: high\ncorrelation: {type: temporal_ordered, rules: [c, plain], \
         group-by: [CurrentDirectory], timespan: 8s}\nlavender: {generate: [plain], risk: 0}\n---\n"
            .to_owned(),
        "title: without\nid: without\nlevel: medium\ncorrelation: {type: temporal_ordered, rules: [a, b, c], \
         group-by: [CurrentDirectory], timespan: 10s}\nlavender: {missing: [c]}\n"
            .to_owned(),
    ]
    .concat();
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

pub(crate) fn identity(number: u64) -> AgentIdentity {
    AgentIdentity {
        tenant: TenantId::new("acme").unwrap(),
        agent: AgentId::new(&format!("web-{number}")).unwrap(),
        host: format!("web-{number}.acme.example").into(),
    }
}

pub(crate) const START_S: i64 = 1_700_000_000;

/// How much happens on an agent, and where.
pub(crate) struct Pace {
    /// The longest time from one to the next, in ms.
    pub(crate) apart_ms: u64,
    /// How many process trees there are.
    pub(crate) trees: u64,
    /// How many directories.
    pub(crate) directories: u64,
}

/// What happens takes longer than may be late.
pub(crate) const USUAL: Pace = Pace { apart_ms: 720, trees: 3, directories: 4 };
/// All of 320 events lies within what may be late.
pub(crate) const DENSE: Pace = Pace { apart_ms: 140, trees: 16, directories: 8 };

/// What happens on an agent at the usual pace.
pub(crate) fn events(random: &mut Random, source: &AgentIdentity, count: u64) -> Vec<Arc<Event>> {
    events_at(&USUAL, random, source, count)
}

/// What happens on an agent, in order; at last, much later, that it still lives.
pub(crate) fn events_at(
    pace: &Pace,
    random: &mut Random,
    source: &AgentIdentity,
    count: u64,
) -> Vec<Arc<Event>> {
    let origin = Origin::new(&source.tenant, &source.agent, BootId::from_u128(7));
    let mut time = Timestamp::from_millis(START_S * 1_000);
    let mut events = Vec::new();
    for sequence in 1..=count {
        time = time.saturating_add(Duration::from_millis(1 + random.below(pace.apart_ms)));
        let (process, data) = if random.one_in(60) {
            (None, EventData::Lost(Loss::new(LossStage::Queue, EventKind::FileOpen, 3)))
        } else {
            let exec = Exec { filename: text("x"), previous_executable: None };
            (Some(Arc::new(process(random, pace))), EventData::Exec(exec))
        };
        events.push(Arc::new(Event {
            id: origin.event(sequence),
            observed_at: time,
            boot_time: BootTime::from_nanos(sequence),
            tid: 100,
            process,
            data,
        }));
    }
    events.push(Arc::new(Event {
        id: origin.event(count + 1),
        observed_at: time.saturating_add(Duration::from_secs(3_600)),
        boot_time: BootTime::from_nanos(count + 1),
        tid: 0,
        process: None,
        data: EventData::Heartbeat(Box::default()),
    }));
    events
}

fn text(text: &str) -> Captured<ByteString> {
    Captured::complete(ByteString::from(text))
}

fn process(random: &mut Random, pace: &Pace) -> Process {
    const IMAGES: [&str; 12] =
        ["curl", "wget", "nc", "ssh", "cat", "tar", "rm", "ls", "sh", "true", "make", "cc"];
    let boot = BootId::from_u128(7);
    let (tree, image) = (random.below(pace.trees), IMAGES[random.below(12) as usize]);
    let directory = format!("/srv/{}", random.below(pace.directories));
    Process {
        exec_id: ExecId { process: ProcessId::new(boot, random.below(1_000), 100), generation: 1 },
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
        tree: Some(ProcessId::new(boot, 5_000 + tree, 10)),
        parent_id: None,
        parent: None,
    }
}

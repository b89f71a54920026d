//! Random correlations and random streams of detections, from a seed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lavender_core::{AgentId, BootId, EventId, Origin, TenantId};

pub(crate) const PERCENTILE: f64 = 75.0;
pub(crate) const SECOND: i64 = 1_000_000_000;
/// How late events may come.
pub(crate) const LATENESS: i64 = 2 * SECOND;
const RULES: usize = 4;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) time: i64,
    pub(crate) id: EventId,
    /// The rules that match it.
    pub(crate) rules: Vec<usize>,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    EventCount,
    ValueCount,
    Temporal,
    Ordered,
    Sum,
    Average,
    Percentile,
    Median,
}

impl Kind {
    pub(crate) fn is_temporal(self) -> bool {
        matches!(self, Self::Temporal | Self::Ordered)
    }

    pub(crate) fn is_aggregate(self) -> bool {
        matches!(self, Self::Sum | Self::Average | Self::Percentile | Self::Median)
    }

    fn name(self) -> &'static str {
        match self {
            Self::EventCount => "event_count",
            Self::ValueCount => "value_count",
            Self::Temporal => "temporal",
            Self::Ordered => "temporal_ordered",
            Self::Sum => "value_sum",
            Self::Average => "value_avg",
            Self::Percentile => "value_percentile",
            Self::Median => "value_median",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    All,
    Bounds(Vec<(&'static str, f64)>),
    /// The first rule and not the second.
    WithNot,
    /// The first rule, or the second and the third.
    FirstOrBoth,
}

impl Condition {
    pub(crate) fn only_from_below(&self) -> bool {
        match self {
            Self::All | Self::FirstOrBoth => true,
            Self::WithNot => false,
            Self::Bounds(bounds) => bounds.iter().all(|(operator, _)| operator.starts_with('g')),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Member {
    Rule(usize),
    Correlation(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) number: usize,
    pub(crate) kind: Kind,
    pub(crate) members: Vec<Member>,
    pub(crate) until: Vec<Member>,
    /// Slots.
    pub(crate) missing: Vec<usize>,
    pub(crate) group: Vec<&'static str>,
    /// Whether the first of what is grouped by is an alias, that the last member has under another name.
    pub(crate) aliased: bool,
    pub(crate) span: i64,
    pub(crate) condition: Condition,
}

impl Spec {
    pub(crate) fn id(&self) -> String {
        format!("correlation-{}", self.number)
    }

    pub(crate) fn group_of(
        &self,
        slot: usize,
        fields: &BTreeMap<&'static str, String>,
    ) -> Option<Vec<String>> {
        let last = slot + 1 == self.members.len();
        self.group
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let name = if at == 0 && self.aliased && last { "h" } else { name };
                fields.get(name).cloned()
            })
            .collect()
    }

    fn yaml(&self) -> String {
        let name = |member: &Member| match member {
            Member::Rule(rule) => format!("rule_{rule}"),
            Member::Correlation(number) => format!("correlation-{number}"),
        };
        let names = |members: &[Member]| members.iter().map(name).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "title: C{0}\nid: correlation-{0}\ncorrelation:\n  type: {1}\n  rules: [{2}]\n  timespan: {3}s\n",
            self.number,
            self.kind.name(),
            names(&self.members),
            self.span / SECOND,
        );
        if !self.group.is_empty() {
            let group = self.group.iter().enumerate();
            let group: Vec<&str> = group
                .map(|(at, name)| if at == 0 && self.aliased { "alias" } else { *name })
                .collect();
            writeln!(text, "  group-by: [{}]", group.join(", ")).unwrap();
            if self.aliased {
                text += "  aliases:\n    alias:\n";
                let count = self.members.len();
                for (slot, member) in self.members.iter().enumerate() {
                    let field = if slot + 1 == count { "h" } else { self.group[0] };
                    writeln!(text, "      {}: {field}", name(member)).unwrap();
                }
                for end in &self.until {
                    writeln!(text, "      {}: {}", name(end), self.group[0]).unwrap();
                }
            }
        }
        match &self.condition {
            Condition::All => {}
            Condition::Bounds(bounds) => {
                text += "  condition:\n";
                if self.kind == Kind::ValueCount {
                    text += "    field: v\n";
                } else if self.kind.is_aggregate() {
                    text += "    field: n\n";
                }
                if self.kind == Kind::Percentile {
                    writeln!(text, "    percentile: {PERCENTILE}").unwrap();
                }
                for (operator, bound) in bounds {
                    writeln!(text, "    {operator}: {bound}").unwrap();
                }
            }
            Condition::WithNot => {
                let (a, b) = (name(&self.members[0]), name(&self.members[1]));
                writeln!(text, "  condition: {a} and not {b}").unwrap();
            }
            Condition::FirstOrBoth => {
                let [a, b, c] = [0, 1, 2].map(|at| name(&self.members[at]));
                writeln!(text, "  condition: {a} or ({b} and {c})").unwrap();
            }
        }
        if !self.until.is_empty() || !self.missing.is_empty() {
            let missing: Vec<_> =
                self.missing.iter().map(|slot| name(&self.members[*slot])).collect();
            writeln!(
                text,
                "lavender:\n  until: [{}]\n  missing: [{}]",
                names(&self.until),
                missing.join(", ")
            )
            .unwrap();
        }
        text
    }
}

/// The rules and correlations as a text.
pub(crate) fn yaml(specs: &[Spec]) -> String {
    let mut text = String::new();
    for rule in 0..RULES {
        writeln!(
            text,
            "title: R{rule}\nid: rule_{rule}\nlogsource: {{product: test}}\ndetection:\n  s: {{r: {rule}}}\n  condition: s\n---"
        )
        .unwrap();
    }
    text + &specs.iter().map(Spec::yaml).collect::<Vec<_>>().join("---\n")
}

pub(crate) fn specs(random: &mut Random) -> Vec<Spec> {
    let count = 2 + random.below(4) as usize;
    (0..count).map(|number| spec(random, number)).collect()
}

fn spec(random: &mut Random, number: usize) -> Spec {
    use Kind as K;
    let kind = random.pick(&[
        K::EventCount,
        K::EventCount,
        K::ValueCount,
        K::ValueCount,
        K::Temporal,
        K::Temporal,
        K::Ordered,
        K::Ordered,
        K::Ordered,
        K::Sum,
        K::Average,
        K::Percentile,
        K::Median,
    ]);
    let mut rules: Vec<usize> = (0..RULES).collect();
    for at in (1..RULES).rev() {
        rules.swap(at, random.below(at as u64 + 1) as usize);
    }
    let least: u64 = if kind.is_temporal() { 2 } else { 1 };
    let count = (least + random.below(3 - least)) as usize;
    let count = count.max(if kind.is_temporal() && random.one_in(2) { 3 } else { 1 });
    let ending = random.one_in(4).then(|| Member::Rule(rules[RULES - 1]));
    let mut members: Vec<Member> = rules[..count].iter().map(|rule| Member::Rule(*rule)).collect();
    if number > 0 && random.one_in(4) {
        members[0] = Member::Correlation(random.below(number as u64) as usize);
    }
    let mut missing = Vec::new();
    if kind == K::Ordered && members.len() == 3 && random.one_in(2) {
        missing.push(random.below(3) as usize);
    }
    // The same rule twice, as the first and the last step.
    if kind == K::Ordered && members.len() == 3 && missing.is_empty() && random.one_in(4) {
        members[2] = members[0].clone();
    }
    let low = |random: &mut Random| (1 + random.below(4)) as f64;
    let bounds = |random: &mut Random, low: f64| match random.below(8) {
        0 => vec![("lt", low + 1.0)],
        1 => vec![("lte", low)],
        2 => vec![("eq", low)],
        3 => vec![("neq", low)],
        4 => vec![("gte", low), ("lte", low + 2.0)],
        5 => vec![("gt", low)],
        _ => vec![("gte", low)],
    };
    let condition = match kind {
        K::EventCount | K::ValueCount => {
            let low = low(random);
            Condition::Bounds(bounds(random, low))
        }
        K::Ordered => Condition::All,
        K::Temporal => match random.below(5) {
            0 => Condition::Bounds(vec![("gte", 2.0)]),
            1 => Condition::WithNot,
            2 if members.len() == 3 => Condition::FirstOrBoth,
            3 => Condition::Bounds(vec![("eq", 1.0)]),
            _ => Condition::All,
        },
        _ => {
            let low = random.below(40) as f64 - 10.0;
            Condition::Bounds(bounds(random, low))
        }
    };
    let group = random.pick(&[vec![], vec!["g"], vec!["g"], vec!["g", "h"]]);
    // A correlation's fields have the names that it asks for: an alias of one is tried elsewhere.
    let plain = members.iter().all(|member| matches!(member, Member::Rule(_)));
    let twice = members.len() == 3 && members[0] == members[2];
    let aliased = plain && !twice && !group.is_empty() && members.len() > 1 && random.one_in(4);
    let span = random.pick(&[1, 2, 3, 5, 10, 30]) * SECOND;
    Spec {
        number,
        kind,
        members,
        until: ending.into_iter().collect(),
        missing,
        group,
        aliased,
        span,
        condition,
    }
}

/// A history: bursts and pauses, on a grid that makes equal times and exact spans common.
pub(crate) fn events(random: &mut Random) -> Vec<Event> {
    // Of one agent, or of several that meet in the same groups.
    let agents = random.pick(&[1, 1, 2, 3]);
    let origins: Vec<Origin> = ["one", "two", "three"][..agents]
        .iter()
        .map(|agent| {
            let agent = AgentId::new(agent).unwrap();
            Origin::new(&TenantId::default(), &agent, BootId::from_u128(7))
        })
        .collect();
    let count = 20 + random.below(60);
    let grid = random.pick(&[SECOND, SECOND / 2, SECOND / 10]);
    let groups = 1 + random.below(3);
    let mut time = 1_700_000_000 * SECOND + random.below(60) as i64 * SECOND;
    (1..=count)
        .map(|sequence| {
            time += match random.below(12) {
                0 => 20 * SECOND,
                1 | 2 => 3 * SECOND,
                _ => grid * random.below(4) as i64,
            };
            let mut rules = vec![random.below(RULES as u64) as usize];
            if random.one_in(6) {
                rules.push((rules[0] + 1) % RULES);
            }
            let mut fields = BTreeMap::from([
                ("g", random.below(groups).to_string()),
                ("v", random.below(5).to_string()),
                ("n", (random.below(60) as f64 / 4.0 - 5.0).to_string()),
            ]);
            if !random.one_in(10) {
                fields.insert("h", random.below(2).to_string());
            }
            let id = random.pick(&origins).event(sequence);
            Event { time, id, rules, fields }
        })
        .collect()
}

/// An order in which the events may come, some of them twice, each with the time of its arrival.
pub(crate) fn arrivals(random: &mut Random, events: &[Event], jitter: i64) -> Vec<(i64, Event)> {
    let mut arrivals: Vec<(i64, u64, Event)> = Vec::new();
    for event in events {
        let copies = if random.one_in(5) { 2 } else { 1 };
        for _ in 0..copies {
            // Often as late as may be, to the nanosecond.
            let delay = match random.below(4) {
                0 => 0,
                1 => jitter,
                _ => random.below(jitter as u64 + 1) as i64,
            };
            // Of two that come at the same moment, either may be the first.
            arrivals.push((event.time + delay, random.below(1 << 32), event.clone()));
        }
    }
    arrivals.sort_by_key(|(arrival, order, _)| (*arrival, *order));
    arrivals.into_iter().map(|(arrival, _, event)| (arrival, event)).collect()
}

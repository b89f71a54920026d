//! The tables.

use std::collections::BTreeMap;
use std::error::Error;

use lavender_peers::corpus::RuleTexts;
use lavender_peers::engine::Engine;
use lavender_peers::floor::{OneAutomaton, read_fields};
use lavender_peers::lavender::{Keywords, Lavender};
use lavender_peers::measure::{Figure, Subject, interleaved, ratio};
use lavender_peers::observed::Observed;
use lavender_peers::rsigma::{Rsigma, parse};
use lavender_peers::sigma_rust::SigmaRust;

/// What is measured beside the two engines that always are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// sigma-rust, which takes milliseconds an event for large sets.
    pub sigma_rust: bool,
    /// Lines of JSON.
    pub json: bool,
}

/// Prints as it measures, and keeps the ratios for the end.
#[derive(Debug)]
pub struct Table {
    rounds: usize,
    ratios: Vec<String>,
    /// Lavender's own time by set of rules.
    own: BTreeMap<String, f64>,
}

impl Table {
    pub fn new(rounds: usize) -> Self {
        Self { rounds, ratios: Vec::new(), own: BTreeMap::new() }
    }

    /// Measures every engine on these rules and events, and prints a table.
    pub fn add(
        &mut self,
        rules: &RuleTexts,
        kind: &str,
        events: &[Observed],
        options: Options,
    ) -> Result<(), Box<dyn Error>> {
        let mut lavender = Lavender::new(rules, Keywords::LeftToText)?;
        let mut everywhere = Lavender::new(rules, Keywords::Everywhere)?;
        let mut rsigma = Rsigma::new(rules)?;
        let mut sigma_rust = options.sigma_rust.then(|| SigmaRust::new(rules));
        if let Some(engine) = &mut sigma_rust {
            engine.prepare(&events[..events.len().min(2_000)]);
        }
        println!("\n## {}, {kind} events ({})\n", rules.name, events.len());
        agree(&mut lavender, &mut everywhere, &mut rsigma, events);
        let with_keywords = has_other_plan(&mut lavender, &mut everywhere, events);
        let figures = {
            let mut near = Lavender::new(rules, Keywords::LeftToText)?;
            let parsed = parse(rules)?;
            let mut automaton = OneAutomaton::new(&parsed.iter().collect::<Vec<_>>());
            let warm = |n: usize| read_fields(&events[n]);
            let mut subjects = vec![
                subject(&mut lavender, events, &warm),
                Subject::new("lavender, index alone", events.len(), &warm, |n| {
                    near.near(&events[n])
                }),
                Subject::new("floor: read every text", events.len(), &warm, |n| warm(n) as usize),
            ];
            if with_keywords {
                subjects.push(subject(&mut everywhere, events, &warm));
            }
            subjects.push(subject(&mut rsigma, events, &warm));
            if let Some(automaton) = &mut automaton {
                let name = format!("floor: one automaton, {} literals", automaton.literals);
                subjects
                    .push(Subject::new(name, events.len(), &warm, |n| automaton.count(&events[n])));
            }
            if let Some(engine) = &mut sigma_rust {
                subjects.push(subject(engine, &events[..events.len().min(2_000)], &warm));
            }
            interleaved(subjects, self.rounds)
        };
        print(&figures);
        self.keep(rules, kind, &figures);
        if options.json {
            self.add_json(rules, &mut lavender, &mut rsigma, events);
        }
        Ok(())
    }

    fn add_json(
        &mut self,
        rules: &RuleTexts,
        lavender: &mut Lavender,
        rsigma: &mut Rsigma,
        events: &[Observed],
    ) {
        let lines: Vec<Vec<u8>> =
            events.iter().map(|event| event.to_json().to_string().into_bytes()).collect();
        let mean = lines.iter().map(Vec::len).sum::<usize>() / lines.len().max(1);
        println!("\nas lines of JSON, {mean} bytes in the mean\n");
        let work = |engine: &mut dyn Engine, n: usize| {
            engine.count_line(&events[n], &lines[n]).unwrap_or_default()
        };
        let warm = |n: usize| lines[n].iter().map(|byte| u64::from(*byte)).sum();
        let figures = interleaved(
            vec![
                Subject::new("lavender", events.len(), &warm, |n| work(lavender, n)),
                Subject::new("rsigma-eval", events.len(), &warm, |n| work(rsigma, n)),
            ],
            self.rounds,
        );
        print(&figures);
        self.ratios.push(format!("{} json {:.1}", rules.name, ratio(&figures[1], &figures[0])));
    }

    fn keep(&mut self, rules: &RuleTexts, kind: &str, figures: &[Figure]) {
        let of = |name: &str| figures.iter().find(|figure| figure.name == name);
        let (Some(own), Some(peer)) = (of("lavender"), of("rsigma-eval")) else { return };
        if kind == "ordinary" {
            self.own.insert(rules.name.clone(), own.median);
        }
        self.ratios.push(format!("{} {kind} {:.1}", rules.name, ratio(peer, own)));
        if let Some(everywhere) = of("lavender, keywords everywhere") {
            let ratio = ratio(peer, everywhere);
            self.ratios.push(format!("{} {kind}, equal matches {ratio:.1}", rules.name));
        }
    }

    /// The last line: how many times as long rsigma-eval takes as Lavender.
    pub fn print_ratios(&self) {
        let of = |name: &str| self.own.iter().find(|(set, _)| set.starts_with(name));
        let mut all = self.ratios.clone();
        if let (Some((_, endpoint)), Some((_, every))) = (of("endpoint"), of("all")) {
            all.push(format!("lavender all/endpoint {:.2}", every / endpoint));
        }
        println!("\nrsigma-eval / lavender: {}", all.join("; "));
    }
}

fn subject<'a>(
    engine: &'a mut dyn Engine,
    events: &'a [Observed],
    warm: &'a dyn Fn(usize) -> u64,
) -> Subject<'a> {
    let name = engine.name();
    Subject::new(name, events.len(), warm, move |n| engine.count(n, &events[n]))
}

/// Whether the rules of keywords change anything for the events at all.
fn has_other_plan(a: &mut Lavender, b: &mut Lavender, events: &[Observed]) -> bool {
    a.routed(&events[0]) != b.routed(&events[0])
}

/// Compares what the engines found, event by event, and says how it came out.
fn agree(
    lavender: &mut Lavender,
    everywhere: &mut Lavender,
    rsigma: &mut Rsigma,
    events: &[Observed],
) {
    let (mut matches, mut left_out, mut differing) = (0, 0, BTreeMap::<String, usize>::new());
    for (number, event) in events.iter().enumerate() {
        let sorted = |mut ids: Vec<String>| {
            ids.sort_unstable();
            ids
        };
        let own = sorted(everywhere.ids(number, event));
        let theirs = sorted(rsigma.ids(number, event));
        matches += own.len();
        left_out += own.len() - lavender.count(number, event);
        if own != theirs {
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|id| !b.contains(id)).cloned().collect()
            };
            for id in only(&own, &theirs).into_iter().chain(only(&theirs, &own)) {
                *differing.entry(id).or_default() += 1;
            }
        }
    }
    let per_thousand = matches as f64 * 1_000.0 / events.len().max(1) as f64;
    println!(
        "{} rules; {per_thousand:.1} matches per 1,000 events; {left_out} of {matches} by rules of keywords that \
         Lavender leaves to lines of text by default.",
        lavender.rules(),
    );
    match differing.len() {
        0 => println!("Lavender with those and rsigma-eval find the same on every event.\n"),
        _ => println!("They differ on these rules, so often: {differing:?}\n"),
    }
}

fn print(figures: &[Figure]) {
    println!("| | ns an event, median | least | of lavender |\n|---|---:|---:|---:|");
    let Some(own) = figures.first() else { return };
    for figure in figures {
        let ratio = ratio(figure, own);
        let Figure { name, median, least, .. } = figure;
        println!("| {name} | {median:.0} | {least:.0} | {ratio:.2} |");
    }
}

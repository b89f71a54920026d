//! What rules and events made to cost do cost: time and memory, each beside a floor measured in the same run.
//!
//! `cargo bench -p lavender-benches --bench adversarial` prints a table; as a test it does each once, small.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Duration;

use lavender_benches::{SEED, rules};
use lavender_core::{Clock as _, SystemClock};
use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSet, RuleSetBuilder};

/// How much is done.
#[derive(Clone, Copy)]
struct Size {
    /// By how much everything is smaller than it says.
    scale: usize,
    /// How often the quick ones are repeated; the fastest counts, since others share the machine.
    rounds: usize,
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = SystemClock.boot_time();
    let made = work();
    (SystemClock.boot_time().since(start), made)
}

fn mebibytes(bytes: impl TryInto<i64>) -> f64 {
    bytes.try_into().unwrap_or(i64::MAX) as f64 / f64::from(1 << 20)
}

/// What the work leaves on the heap, in bytes.
fn heap<T>(work: impl FnOnce() -> T) -> (i64, T) {
    let mut made = None;
    let counted = allocation_counter::measure(|| made = Some(work()));
    (counted.bytes_current, made.unwrap())
}

fn sum(bytes: &[u8]) -> usize {
    bytes.iter().map(|byte| usize::from(*byte)).sum()
}

/// Rules that each have their own text to look for, in one field.
fn patterns(count: usize, modifier: &str) -> String {
    (0..count)
        .map(|number| {
            format!(
                "---\ntitle: {number}\nlogsource: {{product: linux}}\ndetection: {{s: {{CommandLine|{modifier}: '<{number}>'}}, condition: s}}\n"
            )
        })
        .collect()
}

fn one(detection: &str) -> RuleSet {
    RuleSet::from_yaml(&format!("title: T\nlogsource: {{product: linux}}\ndetection:\n{detection}"))
        .unwrap()
}

impl Size {
    fn fastest(self, mut work: impl FnMut() -> usize) -> Duration {
        (0..self.rounds).map(|_| timed(|| black_box(work())).0).min().unwrap_or_default()
    }

    /// Loads rules and prints what that takes, beside reading the bytes.
    fn load(self, name: &str, text: &str) -> RuleSet {
        let floor = self.fastest(|| sum(text.as_bytes()));
        let (kept, (took, rules)) = heap(|| {
            timed(|| {
                let mut builder = RuleSetBuilder::new();
                builder.add_str("rules.yml", text);
                builder.build().unwrap().rules
            })
        });
        let (indexing, evaluator) =
            timed(|| rules.evaluator(&LogSource::linux("process_creation")));
        println!(
            "{name:<44} {:>8.1} ms to load, {:>6.1} ms to index {} of them (reading the {:.1} MiB: {:.1} ms); {:>6.1} MiB of heap and {:.1} for the index",
            took.as_secs_f64() * 1e3,
            indexing.as_secs_f64() * 1e3,
            evaluator.len(),
            mebibytes(text.len()),
            floor.as_secs_f64() * 1e3,
            mebibytes(kept),
            mebibytes(rules.index_bytes()),
        );
        rules
    }

    /// Evaluates one record and prints what that takes, beside reading its bytes.
    fn evaluate(self, name: &str, rules: &RuleSet, line: &str) {
        let record = FlatRecord::new(
            rules.fields(),
            [("CommandLine", FieldValue::from(line)), ("Image", FieldValue::from("/usr/bin/true"))],
        );
        let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
        let (kept, _) = heap(|| evaluator.matches(&record).len());
        let repeats = (1 << 20) / self.scale / line.len().max(1_024);
        let repeats = repeats.max(1);
        let took = self
            .fastest(|| (0..repeats).map(|_| evaluator.matches(black_box(&record)).len()).sum());
        let floor = self.fastest(|| (0..repeats).map(|_| sum(black_box(line.as_bytes()))).sum());
        let per_event = took.as_nanos() as f64 / repeats as f64;
        println!(
            "{name:<44} {:>12.0} ns an event, {:>8.3} ns a byte, {:>7.1} times reading it, {} candidates, {:.1} MiB more",
            per_event,
            per_event / line.len() as f64,
            took.as_secs_f64() / floor.as_secs_f64(),
            evaluator.candidates(),
            mebibytes(kept),
        );
    }
}

fn main() {
    // As criterion's benches do: only `cargo bench` says that it is one.
    let small = std::env::args().all(|argument| argument != "--bench");
    let size = if small { Size { scale: 100, rounds: 1 } } else { Size { scale: 1, rounds: 15 } };
    let scale = size.scale;
    let long = (1 << 20) / scale;

    let ordinary = "/usr/bin/find /var/log -name *.gz -mtime +7 -delete";
    for count in [1_000, 10_000, 100_000] {
        let rules = size.load(&format!("{count} rules"), &rules(SEED, count / scale));
        size.evaluate(&format!("{count} rules, an ordinary event"), &rules, ordinary);
    }
    for modifier in ["contains", "startswith", "endswith"] {
        let name = format!("10,000 patterns, {modifier}");
        let rules = size.load(&name, &patterns(10_000 / scale, modifier));
        size.evaluate(&format!("{name}, an ordinary event"), &rules, ordinary);
        size.evaluate(&format!("{name}, 1 MiB"), &rules, &"<12".repeat(long / 3));
    }
    let values: String = (0..100_000 / scale).map(|n| format!("      - '<{n}>'\n")).collect();
    let text = format!(
        "title: T\nlogsource: {{product: linux}}\ndetection:\n  s:\n    CommandLine|contains:\n{values}  condition: s\n"
    );
    let rules = size.load("a rule of 100,000 values", &text);
    size.evaluate("a rule of 100,000 values, an ordinary event", &rules, ordinary);

    let hay = "aaXb".repeat(long / 4);
    for (name, detection) in [
        ("contains", "  s: {CommandLine|contains: needle}\n  condition: s\n"),
        ("contains|cased", "  s: {CommandLine|cased|contains: needle}\n  condition: s\n"),
        ("a glob", "  s: {CommandLine: '*a*a?X*Xa*b?needle'}\n  condition: s\n"),
        ("keywords", "  s: [needle, other]\n  condition: s\n"),
        ("re: x.*needle", "  s: {CommandLine|re: 'x.*needle'}\n  condition: s\n"),
        ("re: ^(a|X|b)+$", "  s: {CommandLine|re: '^(a|X|b)+$'}\n  condition: s\n"),
        ("re: (a+)+$", "  s: {CommandLine|re: '(a+)+$'}\n  condition: s\n"),
        ("re: (.*){50}x", "  s: {CommandLine|re: '(.*){50}x'}\n  condition: s\n"),
        ("re: [ab].{50}q", "  s: {CommandLine|re: '[ab].{50}q'}\n  condition: s\n"),
        (
            "re: (?:[ab]\\w{0,9}){9}q",
            "  s: {CommandLine|re: '(?:[ab]\\w{0,9}){9}q'}\n  condition: s\n",
        ),
    ] {
        size.evaluate(&format!("1 MiB, {name}"), &one(detection), &hay);
    }
}

//! What a rule cannot match without, chosen to be cheap to look for and rarely there.

use std::collections::HashSet;

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder};

use crate::compile::{Expression, Predicate, PredicateId, Predicates, Subject, Test};
use crate::index::gate::Anchor;

/// The predicates of which one must hold, and what waiting on them costs per record, roughly in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) cost: f64,
    pub(crate) predicates: Vec<PredicateId>,
}

/// What checking a rule costs that turns out not to match.
const CONFIRM_COST: f64 = 60.0;
/// What one more literal costs in a tree, and in a searcher.
const ANCHORED_COST: f64 = 0.1;
const INNER_COST: f64 = 0.7;

/// The cheapest witness of an expression; `None` when it can match without any.
pub(crate) fn choose(expression: &Expression, predicates: &Predicates) -> Option<Witness> {
    match expression {
        // What never matches waits on nothing, for ever.
        Expression::Constant(false) => Some(Witness { cost: 0.0, predicates: Vec::new() }),
        Expression::Constant(true) | Expression::NotTest(_) => None,
        Expression::Test(id) => {
            let cost = cost_of(*id, predicates)?;
            Some(Witness { cost, predicates: vec![*id] })
        }
        Expression::All(parts) => parts
            .iter()
            .filter_map(|part| choose(part, predicates))
            .min_by(|a, b| a.cost.total_cmp(&b.cost)),
        Expression::Any(parts) => {
            let mut all = Witness { cost: 0.0, predicates: Vec::new() };
            for part in parts {
                let one = choose(part, predicates)?;
                all.cost += one.cost;
                all.predicates.extend(one.predicates);
            }
            Some(all)
        }
    }
}

/// The texts of which a test needs one, and whether finding it is passing the test. `None` when it needs none.
pub(crate) fn anchors(
    id: PredicateId,
    predicate: &Predicate,
    predicates: &Predicates,
) -> Option<Vec<(Anchor, bool)>> {
    match &predicate.test {
        Test::Patterns(patterns) => {
            let worth = match predicate.subject {
                Subject::Field(_) => <[u8]>::len,
                Subject::AnyValue => super::prefilter::worth,
            };
            let anchor = |pattern| Anchor::of(pattern, worth);
            Some(without_needless(patterns.iter().map(anchor).collect::<Option<_>>()?))
        }
        Test::Regex(_) => {
            let required = &predicates.regex(id)?.required;
            let possible = |text: &Vec<u8>| (Anchor::Inside(text.clone()), false);
            (!required.is_empty()).then(|| required.iter().map(possible).collect())
        }
        _ => None,
    }
}

/// Up to so many texts are compared each with each; a searcher takes longer to build.
const MAX_PAIRED: usize = 64;

/// Leaves out what tells nothing when it is found: a text that holds another of them which passes the test by itself.
fn without_needless(mut anchors: Vec<(Anchor, bool)>) -> Vec<(Anchor, bool)> {
    let parts: HashSet<Vec<u8>> =
        anchors.iter().filter_map(passing_inside).map(<[u8]>::to_vec).collect();
    if parts.len() <= MAX_PAIRED {
        let holds = |whole: &[u8], part: &[u8]| {
            part.len() < whole.len() && memchr::memmem::find(whole, part).is_some()
        };
        retain_inside(&mut anchors, |whole| !parts.iter().any(|part| holds(whole, part)));
        return anchors;
    }
    // Where no searcher can be built, all are kept.
    let values = parts.iter().map(|part| (part, part.len() as u32));
    let searcher: Result<DoubleArrayAhoCorasick<u32>, _> =
        DoubleArrayAhoCorasickBuilder::new().build_with_values(values);
    if let Ok(searcher) = searcher {
        retain_inside(&mut anchors, |whole| {
            let mut parts = searcher.find_overlapping_iter(whole);
            !parts.any(|part| (part.value() as usize) < whole.len())
        });
    }
    anchors
}

/// Keeps of the texts that stand anywhere those of which `is_needed` says so, and all others.
fn retain_inside(anchors: &mut Vec<(Anchor, bool)>, is_needed: impl Fn(&[u8]) -> bool) {
    anchors.retain(|(anchor, _)| match anchor {
        Anchor::Inside(text) => is_needed(text),
        _ => true,
    });
}

/// The text that passes the test wherever it stands, if it is one.
fn passing_inside((anchor, certain): &(Anchor, bool)) -> Option<&[u8]> {
    match anchor {
        Anchor::Inside(text) if *certain => Some(text),
        _ => None,
    }
}

fn cost_of(id: PredicateId, predicates: &Predicates) -> Option<f64> {
    let predicate = predicates.get(id);
    let everywhere = if predicate.subject == Subject::AnyValue { 10.0 } else { 1.0 };
    if let Some(anchors) = anchors(id, predicate, predicates) {
        let one = |anchor: &Anchor| {
            let scan = if let Anchor::Inside(_) = anchor { INNER_COST } else { ANCHORED_COST };
            scan + likelihood(anchor) * CONFIRM_COST
        };
        let sum: f64 = anchors.iter().map(|(anchor, _)| one(anchor)).sum();
        // Never dearer than to check the rule for every record that has the field.
        return Some((sum * everywhere).min(CONFIRM_COST * 0.95 * everywhere));
    }
    match predicate.test {
        // Absence is no witness.
        Test::Null => None,
        _ => Some(CONFIRM_COST * 0.9 * everywhere),
    }
}

/// How likely a literal is in a record at large. What ordinary hosts run all day is counted; of two truths one is as
/// good as the other; the rest is guessed by length.
fn likelihood(anchor: &Anchor) -> f64 {
    let text = anchor.text();
    let fits = |value: &&[u8]| match anchor {
        Anchor::Whole(text) => *value == text.as_slice(),
        Anchor::Start(text) => value.starts_with(text),
        Anchor::Stop(text) => value.ends_with(text),
        Anchor::Inside(text) => memchr::memmem::find(value, text).is_some(),
    };
    let counted =
        ORDINARY.iter().filter(|value| fits(value)).count() as f64 / ORDINARY.len() as f64;
    let guessed = match (anchor, text.len()) {
        (Anchor::Inside(_), 0..=1) => 0.5,
        (Anchor::Inside(_), 2) => 0.15,
        (Anchor::Inside(_), 3) => 0.05,
        (Anchor::Inside(_), 4) => 0.015,
        (Anchor::Inside(_), length) => 0.05 / length as f64,
        (_, 1) => 0.05,
        (_, length) => 0.02 / length as f64,
    };
    let truth = matches!(text, b"true" | b"false") && matches!(anchor, Anchor::Whole(_));
    if truth { 0.5 } else { counted.max(guessed) }
}

/// Values that ordinary Linux hosts have all day, folded.
pub(super) const ORDINARY: [&[u8]; 39] = [
    b"/usr/bin/bash",
    b"/usr/bin/dash",
    b"/bin/sh",
    b"/bin/bash",
    b"/usr/bin/sudo",
    b"/usr/bin/python3.11",
    b"/usr/sbin/sshd",
    b"/usr/sbin/cron",
    b"/usr/lib/systemd/systemd",
    b"/usr/bin/git",
    b"/usr/bin/cat",
    b"/usr/bin/grep",
    b"/usr/bin/ls",
    b"/usr/bin/curl",
    b"/usr/bin/find",
    b"/usr/bin/ps",
    b"/usr/sbin/nginx",
    b"/usr/bin/systemctl",
    b"root",
    b"tcp",
    b"443",
    b"80",
    b"53",
    b"127.0.0.1",
    b"/etc/passwd",
    b"/var/log/syslog",
    b"/tmp/tmp.x1",
    b"/proc/self/status",
    b"/home/user/.bashrc",
    b"/usr/lib/x86_64-linux-gnu/libc.so.6",
    b"bash -c ls -la /tmp",
    b"/bin/sh -c cd / && run-parts --report /etc/cron.hourly",
    b"sh -c command -v debian-sa1 > /dev/null && debian-sa1 1 1",
    b"sshd: user [priv]",
    b"sudo -u root systemctl restart nginx.service",
    b"python3 -m http.server 8000",
    b"curl -s https://example.org/api/v1/status -o /dev/null",
    b"find /var/log -name *.gz -mtime +7 -delete",
    b"git -c core.quotepath=false status --porcelain",
];

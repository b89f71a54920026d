//! Scores by brute force: every match against every other, over the whole history.

use std::collections::{BTreeMap, BTreeSet};

use lavender_core::{Alert, AlertId, EventId, ProcessId, RISK_RULE};
use lavender_detect::attack;
use lavender_detect::risk::RiskOptions;

use crate::setting::source;

struct Match {
    time: i64,
    event: EventId,
    rule: String,
    points: u32,
    tactics: Vec<usize>,
}

fn fade(value: f64, from: i64, to: i64, half_life: i64) -> f64 {
    let now = value * (-((to - from) as f64) / half_life as f64).exp2();
    if now < 0.5 { 0.0 } else { now }
}

/// The scores of a tree at each of its matches, and how many rules add to each.
fn scores(matches: &[Match], options: &RiskOptions) -> Vec<(u32, usize)> {
    let half_life = options.half_life.as_nanos() as i64;
    // Of each match and each of its tactics, the longest line of tactics up to it.
    let mut lines: Vec<Vec<f64>> = Vec::new();
    for (at, this) in matches.iter().enumerate() {
        let longest = this.tactics.iter().map(|tactic| {
            let mut longest: f64 = 0.0;
            for (earlier, other) in matches[..at].iter().enumerate() {
                for (of, before) in other.tactics.iter().enumerate() {
                    if before < tactic {
                        let line = fade(lines[earlier][of], other.time, this.time, half_life);
                        longest = longest.max(line);
                    }
                }
            }
            1.0 + longest
        });
        lines.push(longest.collect());
    }
    let score = |at: usize| {
        let time = matches[at].time;
        let mut rules: BTreeMap<&str, f64> = BTreeMap::new();
        let mut line: f64 = 0.0;
        for (earlier, other) in matches[..=at].iter().enumerate() {
            let now = fade(f64::from(other.points), other.time, time, half_life);
            let best = rules.entry(&other.rule).or_default();
            *best = best.max(now);
            for length in &lines[earlier] {
                line = line.max(fade(*length, other.time, time, half_life));
            }
        }
        let sequence = ((line - 1.0).max(0.0) * f64::from(options.sequence_points)).round() as u32;
        let points: u32 = rules.values().map(|points| points.round() as u32).sum();
        (points + sequence, rules.values().filter(|points| points.round() > 0.0).count())
    };
    (0..matches.len()).map(score).collect()
}

/// The ids of the alerts that scores raise on this history, in whatever order it came.
pub(crate) fn expected(history: &[Alert], options: &RiskOptions) -> BTreeSet<AlertId> {
    let mut trees: BTreeMap<ProcessId, Vec<Match>> = BTreeMap::new();
    for alert in history {
        let process = alert.process.as_ref().unwrap();
        let depth = options.depth_points * process.tree_depth() as u32;
        let tactics = alert.rule.tags.iter().filter_map(|tag| {
            let name = tag.strip_prefix("attack.")?;
            attack::TACTICS.iter().position(|tactic| *tactic == name)
        });
        trees.entry(process.tree_id()).or_default().push(Match {
            time: alert.observed_at.as_nanos(),
            event: alert.events[0],
            rule: alert.rule.id.to_string(),
            points: alert.rule.risk.unwrap() + depth.min(options.depth_points_max),
            tactics: tactics.collect(),
        });
    }
    let mut alerts = BTreeSet::new();
    for (tree, matches) in &mut trees {
        matches.sort_by(|one, other| {
            (one.time, one.event, &one.rule).cmp(&(other.time, other.event, &other.rule))
        });
        matches.dedup_by(|one, other| (one.event, &one.rule) == (other.event, &other.rule));
        let episode = options.episode.as_nanos() as i64;
        for (this, (score, rules)) in matches.iter().zip(scores(matches, options)) {
            let anchor = this.time.div_euclid(episode) * episode;
            for threshold in &options.thresholds {
                if score >= threshold.score && rules >= options.rules_min {
                    let mut group = tree.as_u128().to_be_bytes().to_vec();
                    group.extend_from_slice(&threshold.score.to_be_bytes());
                    let id = AlertId::of_correlation(RISK_RULE, &group, anchor);
                    let source = source();
                    alerts.insert(id.of_agent(&source.tenant, &source.agent));
                }
            }
        }
    }
    alerts
}

//! Correlation by brute force: the definition, evaluated over the whole history.

use std::collections::{BTreeMap, BTreeSet};

use lavender_core::{AlertId, EventId};

use super::generate::{Condition, Event, Kind, Member, Spec};

/// What a rule, or a correlation, found: when, in which event, with which fields.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    time: i64,
    id: EventId,
    slot: usize,
    fields: BTreeMap<&'static str, String>,
}

impl Item {
    fn moment(&self) -> (i64, EventId) {
        (self.time, self.id)
    }

    fn place(&self) -> (i64, EventId, std::cmp::Reverse<usize>) {
        (self.time, self.id, std::cmp::Reverse(self.slot))
    }

    fn number(&self) -> f64 {
        self.fields["n"].parse().unwrap()
    }
}

struct Firing {
    anchor: i64,
    item: Item,
}

/// The ids of all alerts that these correlations have to raise over these events.
pub(crate) fn alerts(specs: &[Spec], events: &[Event]) -> BTreeSet<AlertId> {
    let mut ids = BTreeSet::new();
    let mut found: Vec<Vec<Item>> = Vec::new();
    for (number, spec) in specs.iter().enumerate() {
        let mut groups: BTreeMap<Vec<String>, Vec<Item>> = BTreeMap::new();
        for (slot, member) in spec.members.iter().chain(&spec.until).enumerate() {
            let items: Vec<Item> = match member {
                Member::Rule(rule) => {
                    events.iter().filter(|e| e.rules.contains(rule)).map(Item::from).collect()
                }
                Member::Correlation(child) => found[*child].clone(),
            };
            for mut item in items {
                let Some(group) = spec.group_of(slot, &item.fields) else { continue };
                item.slot = slot;
                groups.entry(group).or_default().push(item);
            }
        }
        let mut all = Vec::new();
        for (group, mut items) in groups {
            if !spec.kind.is_temporal() {
                let ends = spec.members.len();
                items.iter_mut().filter(|item| item.slot < ends).for_each(|item| item.slot = 0);
            }
            items.sort_by_key(Item::place);
            items.dedup_by_key(|item| item.place());
            let is_child = specs.iter().any(|s| s.members.contains(&Member::Correlation(number)));
            for firing in evaluate(spec, &items) {
                if !is_child {
                    let mut key = Vec::new();
                    for value in &group {
                        key.extend_from_slice(&(value.len() as u32).to_le_bytes());
                        key.extend_from_slice(value.as_bytes());
                    }
                    ids.insert(AlertId::of_correlation(&spec.id(), &key, firing.anchor));
                }
                all.push(firing.item);
            }
        }
        found.push(all);
    }
    ids
}

impl From<&Event> for Item {
    fn from(event: &Event) -> Self {
        Self { time: event.time, id: event.id, slot: 0, fields: event.fields.clone() }
    }
}

fn evaluate(spec: &Spec, items: &[Item]) -> Vec<Firing> {
    if spec.kind == Kind::Ordered {
        return ordered(spec, items);
    }
    if !spec.condition.only_from_below() {
        return closing(spec, items);
    }
    let mut firings = Vec::new();
    let (ends, others): (Vec<&Item>, Vec<&Item>) =
        items.iter().partition(|item| item.slot >= spec.members.len());
    for last in &others {
        let cleared = ends.iter().rev().find(|end| end.place() < last.place());
        let window: Vec<&Item> = others
            .iter()
            .copied()
            .filter(|item| item.place() <= last.place() && last.time - item.time <= spec.span)
            .filter(|item| cleared.is_none_or(|end| end.place() < item.place()))
            .collect();
        if holds(spec, &window) {
            let anchor = last.time.div_euclid(spec.span) * spec.span;
            firings.push(Firing { anchor, item: (*last).clone() });
        }
    }
    firings
}

fn holds(spec: &Spec, window: &[&Item]) -> bool {
    let slots: BTreeSet<usize> = window.iter().map(|item| item.slot).collect();
    let mut numbers: Vec<f64> = Vec::new();
    if spec.kind.is_aggregate() {
        numbers = window.iter().map(|item| item.number()).collect();
        numbers.sort_by(f64::total_cmp);
    }
    let sum = numbers.iter().sum::<f64>();
    let count = numbers.len();
    let measured = match spec.kind {
        Kind::EventCount => window.len() as f64,
        Kind::ValueCount => {
            window.iter().map(|item| &item.fields["v"]).collect::<BTreeSet<_>>().len() as f64
        }
        Kind::Temporal => slots.len() as f64,
        Kind::Sum => sum,
        Kind::Average => sum / count as f64,
        Kind::Median => (numbers[(count - 1) / 2] + numbers[count / 2]) / 2.0,
        Kind::Percentile => {
            // The least number that at least so many of a hundred do not exceed.
            let enough = |n: &&f64| {
                let below = numbers.iter().filter(|other| *other <= *n).count();
                below as f64 / count as f64 * 100.0 >= super::generate::PERCENTILE
            };
            *numbers.iter().find(enough).unwrap()
        }
        Kind::Ordered => unreachable!(),
    };
    match &spec.condition {
        Condition::All => slots.len() == spec.members.len(),
        Condition::Bounds(bounds) => bounds.iter().all(|(operator, bound)| match *operator {
            "gt" => measured > *bound,
            "gte" => measured >= *bound,
            "lt" => measured < *bound,
            "lte" => measured <= *bound,
            "eq" => measured == *bound,
            _ => measured != *bound,
        }),
        Condition::WithNot => slots.contains(&0) && !slots.contains(&1),
        Condition::FirstOrBoth => slots.contains(&0) || (slots.contains(&1) && slots.contains(&2)),
    }
}

fn closing(spec: &Spec, items: &[Item]) -> Vec<Firing> {
    let mut firings = Vec::new();
    let mut window: Vec<&Item> = Vec::new();
    let mut close = |window: &mut Vec<&Item>| {
        if let Some(first) = window.first()
            && holds(spec, window)
        {
            let item = Item { time: first.time + spec.span, ..(*first).clone() };
            firings.push(Firing { anchor: first.time, item });
        }
        window.clear();
    };
    for item in items {
        if window.first().is_some_and(|first| item.time - first.time > spec.span) {
            close(&mut window);
        }
        if item.slot >= spec.members.len() {
            window.clear();
        } else {
            window.push(item);
        }
    }
    close(&mut window);
    firings
}

/// Every choice of events for the steps is tried.
fn ordered(spec: &Spec, items: &[Item]) -> Vec<Firing> {
    let steps: Vec<usize> =
        (0..spec.members.len()).filter(|slot| !spec.missing.contains(slot)).collect();
    let last_step = steps[steps.len() - 1];
    let mut firings = Vec::new();
    for last in items.iter().filter(|item| item.slot == last_step) {
        let mut best: Option<i64> = None;
        choose(spec, items, &steps, &mut vec![last], &mut best);
        let Some(start) = best else { continue };
        let trailing = last_step + 1 < spec.members.len();
        let mut item = last.clone();
        if trailing {
            let undone = items.iter().any(|other| {
                (other.slot > last_step)
                    && other.moment() > last.moment()
                    && other.time <= start + spec.span
            });
            if undone {
                continue;
            }
            item.time = start + spec.span;
        }
        firings.push(Firing { anchor: item.time.div_euclid(spec.span) * spec.span, item });
    }
    firings
}

/// Extends a choice, made from its end, by every event that fits; keeps the latest start of a whole one.
fn choose<'a>(
    spec: &Spec,
    items: &'a [Item],
    steps: &[usize],
    chosen: &mut Vec<&'a Item>,
    best: &mut Option<i64>,
) {
    let first = chosen[chosen.len() - 1];
    if chosen.len() == steps.len() {
        if is_allowed(spec, items, steps, chosen) {
            *best = Some(best.map_or(first.time, |best| best.max(first.time)));
        }
        return;
    }
    let step = steps[steps.len() - 1 - chosen.len()];
    for item in items.iter().filter(|item| item.slot == step) {
        if item.moment() < first.moment() && chosen[0].time - item.time <= spec.span {
            chosen.push(item);
            choose(spec, items, steps, chosen, best);
            chosen.pop();
        }
    }
}

fn is_allowed(spec: &Spec, items: &[Item], steps: &[usize], chosen: &[&Item]) -> bool {
    let (first, last) = (chosen[chosen.len() - 1], chosen[0]);
    let ends = |item: &&Item| item.slot >= spec.members.len();
    let ended = items
        .iter()
        .filter(ends)
        .any(|end| first.moment() < end.moment() && end.moment() <= last.moment());
    let between = |slot: usize| {
        let after = steps.iter().filter(|step| **step < slot).count();
        items.iter().filter(|item| item.slot == slot).any(|item| {
            if after == 0 {
                let cleared = items.iter().filter(ends).any(|end| {
                    item.moment() <= end.moment()
                        && end.moment() <= first.moment()
                        && end.place() > item.place()
                });
                return !cleared
                    && item.moment() < first.moment()
                    && first.time - item.time <= spec.span;
            }
            // What comes after the last step is looked at elsewhere.
            after < steps.len()
                && chosen[steps.len() - after].moment() < item.moment()
                && item.moment() < chosen[steps.len() - after - 1].moment()
        })
    };
    !ended && !spec.missing.iter().any(|slot| between(*slot))
}

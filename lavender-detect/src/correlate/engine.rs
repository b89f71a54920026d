//! How a correlation decides.

use super::condition::{Bounds, SlotTest};
use super::plan::{Aggregate, ClosingTest, Engine, Role, SettledTest, Settling, WindowTest};
use crate::rule::{ConditionDocument, CorrelationDocument, CorrelationKind};

/// Chooses how a correlation decides: at once where one more detection can only make it true, else when nothing can
/// change it any more.
pub(super) fn engine(document: &CorrelationDocument, waits: bool) -> Result<Engine, (u32, String)> {
    let slots = document.rules.len() as u16;
    let until = document.rules.len() as u16;
    if document.kind != CorrelationKind::TemporalOrdered
        && let Some((line, _)) = document.missing.first()
    {
        return Err((*line, "only `temporal_ordered` has rules that must be missing".to_owned()));
    }
    let waits = waits || !document.until.is_empty();
    let settled = |test| Engine::Settled(Settling { until, test });
    let test = match document.kind {
        CorrelationKind::TemporalOrdered => return sequence(document, waits),
        CorrelationKind::Temporal => {
            let test = slot_test(document, slots)?;
            if !test.only_from_below() {
                return Ok(settled(SettledTest::Closing(ClosingTest::Slots(test))));
            }
            WindowTest::Slots(test)
        }
        CorrelationKind::EventCount | CorrelationKind::ValueCount => {
            let bounds = bounds(document)?;
            let counts_values = document.kind == CorrelationKind::ValueCount;
            if !bounds.only_from_below() {
                let test = match counts_values {
                    true => ClosingTest::Distinct(bounds),
                    false => ClosingTest::Count(bounds),
                };
                return Ok(settled(SettledTest::Closing(test)));
            }
            let least = bounds.least_count();
            if least == 0 {
                return Err((document.line, "the condition holds for any count".to_owned()));
            }
            if counts_values { WindowTest::Distinct(least) } else { WindowTest::Count(least) }
        }
        kind => {
            let bounds = bounds(document)?;
            let aggregate = match kind {
                CorrelationKind::ValueSum => Aggregate::Sum,
                CorrelationKind::ValueAvg => Aggregate::Average,
                CorrelationKind::ValueMedian => Aggregate::Median,
                _ => Aggregate::Percentile(document.percentile.unwrap_or_default()),
            };
            return Ok(settled(match bounds.only_from_below() {
                true => SettledTest::Aggregate(aggregate, bounds),
                false => SettledTest::Closing(ClosingTest::Aggregate(aggregate, bounds)),
            }));
        }
    };
    Ok(if waits { settled(SettledTest::Sliding(test)) } else { Engine::Window(test) })
}

fn bounds(document: &CorrelationDocument) -> Result<Bounds, (u32, String)> {
    let needs = || format!("`{}` needs a condition such as `gte: 5`", document.kind);
    match &document.condition {
        ConditionDocument::Bounds(written) if !written.is_empty() => {
            let counts = !document.kind.is_aggregate();
            if let Some((line, ..)) =
                written.iter().find(|(_, _, bound)| counts && !(0.0..=1e6).contains(bound))
            {
                return Err((*line, "a count is compared with 0 to 1,000,000".to_owned()));
            }
            Ok(Bounds::new(written.iter().map(|(_, operator, bound)| (*operator, *bound))))
        }
        ConditionDocument::Expression(line, _) => Err((*line, needs())),
        _ => Err((document.line, needs())),
    }
}

fn slot_test(document: &CorrelationDocument, slots: u16) -> Result<SlotTest, (u32, String)> {
    match &document.condition {
        ConditionDocument::Absent => Ok(SlotTest::all(slots)),
        ConditionDocument::Bounds(written) if written.is_empty() => Ok(SlotTest::all(slots)),
        ConditionDocument::Bounds(_) => bounds(document).map(SlotTest::Count),
        ConditionDocument::Expression(line, expression) => {
            let names: Vec<&str> = document.rules.iter().map(|(_, name)| &**name).collect();
            let slot = |name: &str| names.iter().position(|other| *other == name);
            SlotTest::new(expression, &names, &|name| slot(name).map(|slot| slot as u16))
                .map_err(|reason| (*line, reason))
        }
    }
}

fn sequence(document: &CorrelationDocument, waits: bool) -> Result<Engine, (u32, String)> {
    match &document.condition {
        ConditionDocument::Absent => {}
        ConditionDocument::Bounds(written) if written.is_empty() => {}
        ConditionDocument::Bounds(_) | ConditionDocument::Expression(..) => {
            let reason = "`temporal_ordered` has no condition: all of its rules, in their order";
            return Err((document.line, reason.to_owned()));
        }
    }
    let mut steps = 0;
    let is_missing = |name: &str| document.missing.iter().any(|(_, other)| **other == *name);
    let roles: Box<[Role]> = document
        .rules
        .iter()
        .map(|(_, name)| {
            if is_missing(name) {
                return Role::Missing(steps);
            }
            steps += 1;
            Role::Step(steps - 1)
        })
        .collect();
    if steps == 0 {
        return Err((document.line, "one of the rules at least must not be missing".to_owned()));
    }
    if !waits && document.missing.is_empty() {
        return Ok(Engine::Sequence(steps));
    }
    let until = document.rules.len() as u16;
    Ok(Engine::Settled(Settling { until, test: SettledTest::Sequence(roles) }))
}

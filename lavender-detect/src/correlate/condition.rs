//! Conditions of correlations.

use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern};

use crate::rule::{Operator, fits};

/// Bounds of a number: all of them must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds(Box<[(Operator, f64)]>);

impl Bounds {
    pub(crate) fn new(bounds: impl IntoIterator<Item = (Operator, f64)>) -> Self {
        Self(bounds.into_iter().collect())
    }

    /// Whether they hold for a number.
    pub(crate) fn hold(&self, number: f64) -> bool {
        self.0.iter().all(|(operator, bound)| match operator {
            Operator::Gt => number > *bound,
            Operator::Gte => number >= *bound,
            Operator::Lt => number < *bound,
            Operator::Lte => number <= *bound,
            Operator::Eq => number == *bound,
            Operator::Neq => number != *bound,
        })
    }

    /// Whether what holds for a number holds for every greater one.
    pub(crate) fn only_from_below(&self) -> bool {
        self.0.iter().all(|(operator, _)| matches!(operator, Operator::Gt | Operator::Gte))
    }

    /// The least count that they hold for, when they are only from below.
    pub(crate) fn least_count(&self) -> usize {
        let least = |(operator, bound): &(Operator, f64)| match operator {
            Operator::Gt => bound.floor() + 1.0,
            _ => bound.ceil(),
        };
        self.0.iter().map(least).fold(0.0, f64::max) as usize
    }

    /// A count beyond which no bound makes a difference.
    pub(crate) fn enough(&self) -> usize {
        self.0.iter().map(|(_, bound)| bound.ceil()).fold(0.0, f64::max) as usize + 1
    }
}

/// A question to the set of rules that matched: bit N stands for rule N.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SlotTest {
    /// How many.
    Count(Bounds),
    /// One of them.
    Slot(u16),
    /// All parts.
    All(Vec<SlotTest>),
    /// Any part.
    Any(Vec<SlotTest>),
    /// Not this.
    Not(Box<SlotTest>),
}

impl SlotTest {
    /// Every one of so many rules.
    pub(crate) fn all(slots: u16) -> Self {
        Self::All((0..slots).map(Self::Slot).collect())
    }

    /// Reads an expression over the rules' names; `slot` finds them.
    pub(crate) fn new(
        expression: &ConditionExpr,
        names: &[&str],
        slot: &impl Fn(&str) -> Option<u16>,
    ) -> Result<Self, String> {
        let parts = |parts: &[ConditionExpr]| {
            parts.iter().map(|part| Self::new(part, names, slot)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match expression {
            ConditionExpr::And(of) => Self::All(parts(of)?),
            ConditionExpr::Or(of) => Self::Any(parts(of)?),
            ConditionExpr::Not(inner) => Self::Not(Box::new(Self::new(inner, names, slot)?)),
            ConditionExpr::Identifier(name) => Self::Slot(slot(name).ok_or_else(|| {
                format!("the condition names `{name}`, which is not among the `rules`")
            })?),
            ConditionExpr::Selector { quantifier, pattern } => {
                let meant = |name: &str| match pattern {
                    SelectorPattern::Them => true,
                    SelectorPattern::Pattern(pattern) => fits(pattern, name),
                };
                let slots: Vec<Self> = names
                    .iter()
                    .filter(|name| meant(name))
                    .filter_map(|name| slot(name).map(Self::Slot))
                    .collect();
                if slots.is_empty() {
                    return Err(format!("no rule fits `{quantifier} of {pattern}`"));
                }
                match quantifier {
                    Quantifier::Any => Self::Any(slots),
                    Quantifier::All => Self::All(slots),
                    Quantifier::Count(count) => {
                        return Err(format!(
                            "`{count} of` is not Sigma: only `1 of`, `any of` and `all of` are"
                        ));
                    }
                }
            }
        })
    }

    /// Whether it holds for a set.
    pub(crate) fn holds(&self, set: u64) -> bool {
        match self {
            Self::Count(bounds) => bounds.hold(f64::from(set.count_ones())),
            Self::Slot(slot) => set >> slot & 1 == 1,
            Self::All(parts) => parts.iter().all(|part| part.holds(set)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(set)),
            Self::Not(inner) => !inner.holds(set),
        }
    }

    /// Whether what holds for a set holds for every set that contains it.
    pub(crate) fn only_from_below(&self) -> bool {
        match self {
            Self::Count(bounds) => bounds.only_from_below(),
            Self::Slot(_) => true,
            Self::All(parts) | Self::Any(parts) => parts.iter().all(Self::only_from_below),
            Self::Not(_) => false,
        }
    }
}

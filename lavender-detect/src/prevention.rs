//! Which rules the kernel can decide by itself, and how: what is to be prevented.
//!
//! A rule is taken only if it says nothing that the kernel does not compare. What is left over by any other reading would
//! stop what the rule does not mean.

use std::net::IpAddr;
use std::sync::Arc;

use lavender_core::event::{Event, EventData};
use lavender_core::{
    CalledTest, Evidence, FileUse, Outcome, PathTest, PeerTest, PreventionAction, PreventionPlan,
    PreventionRule, PreventionTest, ResponseAction, ResponseCause, TextFault,
};

use crate::compile::{Expression, PredicateId, Subject, Test};
use crate::event::{AuditView, EventField, Route};
use crate::matcher::pattern::{Pattern, Shape};
use crate::ruleset::{Inner, Rule, RuleSet};

/// A rule that asks to prevent what it finds, and that the kernel cannot decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {id} ({title}) can't be decided in the kernel: {why}")]
pub struct Undecidable {
    /// The rule's id.
    pub id: Arc<str>,
    /// Its title.
    pub title: Arc<str>,
    /// What the kernel cannot compare.
    pub why: Arc<str>,
}

/// What the kernel is asked to prevent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preventions {
    /// What it decides.
    pub plan: PreventionPlan,
    /// The rules that ask for it in vain.
    pub undecidable: Vec<Undecidable>,
}

/// The most tests that one rule may come to: addresses times ports grow fast.
const TESTS_MAX: usize = 1_024;

impl RuleSet {
    /// What rules that say `prevent` under their key `lavender` have the kernel do, and which of them it cannot decide. It
    /// decides a rule that asks, of one kind of acts, for nothing but these, of which any is enough:
    ///
    /// | category | fields |
    /// |---|---|
    /// | `process_creation` | `Image`; `ScriptPath` whole, or by its end `/name` |
    /// | `file_event`, `file_access` | `TargetFilename` |
    /// | `network_connection` | `DestinationIp`, `DestinationPort`, or both together |
    ///
    /// Paths are given whole, as a folder (`|startswith: /tmp/`) or by a name (`|endswith: /name`); addresses and ports
    /// whole.
    ///
    /// ```
    /// use lavender_detect::RuleSet;
    ///
    /// # fn main() -> Result<(), lavender_detect::RuleErrors> {
    /// let rules = RuleSet::from_yaml(
    ///     "title: Miner
    /// logsource: {category: process_creation, product: linux}
    /// detection:
    ///   selection: {Image|endswith: /xmrig}
    ///   condition: selection
    /// lavender: {prevent: kill}
    /// ---
    /// title: Miner by its arguments
    /// logsource: {category: process_creation, product: linux}
    /// detection:
    ///   selection: {CommandLine|contains: stratum}
    ///   condition: selection
    /// lavender: {prevent: kill}
    /// ",
    /// )?;
    /// let preventions = rules.preventions();
    /// assert_eq!(preventions.plan.rules()[0].tests[0].to_string(), "exec of */xmrig");
    /// assert_eq!(&*preventions.undecidable[0].why, "it compares `CommandLine`");
    /// # Ok(())
    /// # }
    /// ```
    pub fn preventions(&self) -> Preventions {
        let mut decided = Vec::new();
        let mut undecidable = Vec::new();
        for rule in self.iter() {
            match self.prevents(rule) {
                Some(Ok(rule)) => decided.push(rule),
                Some(Err(why)) => {
                    let (id, title) = (Arc::clone(&rule.meta.id), Arc::clone(&rule.meta.title));
                    undecidable.push(Undecidable { id, title, why: why.into() });
                }
                None => {}
            }
        }
        Preventions { plan: PreventionPlan::new(decided), undecidable }
    }

    /// What a rule has the kernel do, or why it cannot decide the rule; `None` where the rule does not ask for it.
    pub(crate) fn prevents(&self, rule: &Rule) -> Option<Result<PreventionRule, String>> {
        let action = rule.prevents()?;
        let tests = self.inner().tests(rule, action);
        Some(tests.map(|tests| PreventionRule { id: Arc::clone(&rule.meta.id), action, tests }))
    }

    /// Which rule the kernel refused an act by, by its number, and in whose words, if this event says so and no other event of
    /// the act is one that the rule finds: a program that was not started, a file that was not changed. What was killed has
    /// been done, and calls that failed are looked at as any other.
    pub(crate) fn refused(&self, event: &Event) -> Option<(u32, Evidence)> {
        let EventData::Response(done) = &event.data else { return None };
        let ResponseCause::Rule(id) = &done.order.cause else { return None };
        if done.outcome == Outcome::DryRun {
            return None;
        }
        let number = self.iter().position(|rule| rule.meta.id == *id)?;
        let prevented = self.prevents(&self.inner().rules[number])?.ok()?;
        let refused = done.order.action == ResponseAction::Deny;
        let unseen = prevented.tests.iter().any(|test| match test {
            PreventionTest::Program(_) | PreventionTest::Called(_) => refused,
            PreventionTest::Open(FileUse::Change, _) => true,
            PreventionTest::Open(FileUse::Read, _) | PreventionTest::Connect(_) => false,
        });
        let value = done.order.decided_by.as_bytes().into();
        let evidence = Evidence { field: "decided_by".into(), value };
        unseen.then_some((u32::try_from(number).ok()?, evidence))
    }
}

/// Which acts a rule is about.
#[derive(Clone, Copy)]
enum Act {
    Exec,
    Open(FileUse),
    Connect,
}

/// What one test of a rule comes to.
enum Part {
    Whole(Vec<PreventionTest>),
    Addresses(Vec<IpAddr>),
    Ports(Vec<u16>),
}

impl Part {
    fn into_tests(self) -> Vec<PreventionTest> {
        match self {
            Self::Whole(tests) => tests,
            Self::Addresses(all) => {
                all.into_iter().map(PeerTest::Address).map(PreventionTest::Connect).collect()
            }
            Self::Ports(all) => {
                all.into_iter().map(PeerTest::Port).map(PreventionTest::Connect).collect()
            }
        }
    }
}

impl Inner {
    /// The tests that a rule comes to; why it comes to none.
    fn tests(&self, rule: &Rule, action: PreventionAction) -> Result<Vec<PreventionTest>, String> {
        if rule.novelty().is_some() {
            return Err("it is about what is new".to_owned());
        }
        let act = self.act_of(rule)?;
        let mut tests = Vec::new();
        self.add(&rule.expression, act, &mut tests)?;
        tests.sort_unstable();
        tests.dedup();
        if tests.is_empty() {
            return Err(format!("it finds nothing to {action}"));
        }
        Ok(tests)
    }

    fn act_of(&self, rule: &Rule) -> Result<Act, String> {
        let mut routes =
            Route::ALL.into_iter().filter(|route| self.planned_on(rule, *route).is_some());
        let (first, second) = (routes.next(), routes.next());
        let is_audits =
            AuditView::ALL.into_iter().any(|view| self.planned_as(rule, view).is_some());
        if is_audits || second.is_some() {
            return Err("its log source is not one category".to_owned());
        }
        match first {
            Some(Route::ProcessCreation) => Ok(Act::Exec),
            Some(Route::FileEvent) => Ok(Act::Open(FileUse::Change)),
            Some(Route::FileAccess) => Ok(Act::Open(FileUse::Read)),
            Some(Route::NetworkConnection) => Ok(Act::Connect),
            Some(route) => Err(format!("its category is `{}`", route.category())),
            None => Err("its log source is none of a host's".to_owned()),
        }
    }

    fn add(
        &self,
        expression: &Expression,
        act: Act,
        tests: &mut Vec<PreventionTest>,
    ) -> Result<(), String> {
        match expression {
            Expression::Test(id) => tests.extend(self.part(*id, act)?.into_tests()),
            Expression::Any(parts) => {
                parts.iter().try_for_each(|part| self.add(part, act, tests))?;
            }
            Expression::All(parts) => tests.extend(self.both(parts, act)?),
            Expression::NotTest(_) => return Err("it makes an exception".to_owned()),
            Expression::Constant(_) => return Err("its condition is always the same".to_owned()),
        }
        if tests.len() > TESTS_MAX {
            return Err(format!("it comes to more than {TESTS_MAX} tests"));
        }
        Ok(())
    }

    /// An address and a port; nothing else is compared together.
    fn both(&self, parts: &[Expression], act: Act) -> Result<Vec<PreventionTest>, String> {
        let together = || "it compares several fields together".to_owned();
        if parts.iter().any(|part| matches!(part, Expression::NotTest(_))) {
            return Err("it makes an exception".to_owned());
        }
        let [Expression::Test(first), Expression::Test(second)] = parts else {
            return Err(together());
        };
        match (self.part(*first, act)?, self.part(*second, act)?) {
            (Part::Addresses(addresses), Part::Ports(ports))
            | (Part::Ports(ports), Part::Addresses(addresses)) => {
                if addresses.len().saturating_mul(ports.len()) > TESTS_MAX {
                    return Err(format!("it comes to more than {TESTS_MAX} tests"));
                }
                let each = |address| ports.iter().map(move |port| PeerTest::Both(address, *port));
                Ok(addresses.into_iter().flat_map(each).map(PreventionTest::Connect).collect())
            }
            _ => Err(together()),
        }
    }

    fn part(&self, id: PredicateId, act: Act) -> Result<Part, String> {
        let predicate = self.predicates.get(id);
        let Subject::Field(field) = predicate.subject else {
            return Err("it looks for keywords".to_owned());
        };
        let name = self.fields.name(field);
        let compares = || format!("it compares `{name}`");
        let Test::Patterns(patterns) = &predicate.test else {
            return Err(format!("it compares `{name}` other than by whole texts"));
        };
        if patterns.iter().any(|pattern| pattern.cased) {
            return Err(format!("it compares `{name}` by case"));
        }
        let field = EventField::ALL.get(field.index()).copied().ok_or_else(compares)?;
        let each = |test: fn(&Pattern) -> Result<PreventionTest, String>| {
            patterns.iter().map(test).collect::<Result<_, _>>().map(Part::Whole)
        };
        match (act, field) {
            (Act::Exec, EventField::Image) => {
                each(|pattern| path_test(pattern).map(PreventionTest::Program))
            }
            (Act::Exec, EventField::ScriptPath) => {
                each(|pattern| called_test(pattern).map(PreventionTest::Called))
            }
            (Act::Open(FileUse::Read), EventField::TargetFilename) => each(|pattern| {
                path_test(pattern).map(|path| PreventionTest::Open(FileUse::Read, path))
            }),
            (Act::Open(FileUse::Change), EventField::TargetFilename) => each(|pattern| {
                path_test(pattern).map(|path| PreventionTest::Open(FileUse::Change, path))
            }),
            (Act::Connect, EventField::DestinationIp) => {
                let all = patterns.iter().map(|pattern| written(pattern, "an address"));
                all.collect::<Result<_, _>>().map(Part::Addresses)
            }
            (Act::Connect, EventField::DestinationPort) => {
                let all = patterns.iter().map(|pattern| written(pattern, "a port"));
                all.collect::<Result<_, _>>().map(Part::Ports)
            }
            _ => Err(compares()),
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    // Texts of rules are UTF-8, and what is not ASCII is refused in any form.
    std::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}

fn refused(pattern: &Pattern) -> impl FnOnce(TextFault) -> String {
    let shown = pattern.show();
    move |fault| format!("`{shown}`: {fault}")
}

/// A whole path, a folder, or a name.
fn path_test(pattern: &Pattern) -> Result<PathTest, String> {
    let shape = || format!("`{}` is no path, no folder and no name", pattern.show());
    match &pattern.shape {
        Shape::Exact(path) => text(path).parse().map(PathTest::Whole).map_err(refused(pattern)),
        Shape::Prefix(prefix) => {
            let folder = text(prefix).strip_suffix('/').filter(|folder| !folder.is_empty());
            let folder = folder.ok_or_else(shape)?;
            folder.parse().map(PathTest::Below).map_err(refused(pattern))
        }
        Shape::Suffix(suffix) => {
            let name = name_in(suffix).ok_or_else(shape)?;
            name.parse().map(PathTest::Name).map_err(refused(pattern))
        }
        Shape::Contains(_) | Shape::Glob(_) => Err(shape()),
    }
}

/// The name of `/name`.
fn name_in(suffix: &[u8]) -> Option<&str> {
    text(suffix).strip_prefix('/').filter(|name| !name.contains('/'))
}

fn called_test(pattern: &Pattern) -> Result<CalledTest, String> {
    let shape = || format!("`{}` is no whole path and no name", pattern.show());
    match &pattern.shape {
        Shape::Exact(path) => text(path).parse().map(CalledTest::Whole).map_err(refused(pattern)),
        Shape::Suffix(suffix) => {
            let name = name_in(suffix).ok_or_else(shape)?;
            name.parse().map(CalledTest::Name).map_err(refused(pattern))
        }
        _ => Err(shape()),
    }
}

/// A number or an address, where it is written as events have it.
fn written<T: std::str::FromStr + ToString>(pattern: &Pattern, what: &str) -> Result<T, String> {
    let fault = || format!("`{}` is not {what} as events have it", pattern.show());
    let Shape::Exact(literal) = &pattern.shape else { return Err(fault()) };
    let value: T = text(literal).parse().map_err(|_| fault())?;
    if value.to_string() == text(literal) { Ok(value) } else { Err(fault()) }
}

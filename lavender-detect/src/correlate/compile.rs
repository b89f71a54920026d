//! From documents to correlations: references resolved, fields numbered, a plan chosen for each.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::correlation::{Correlation, Correlations, Feed};
use super::engine::engine;
use super::plan::{Engine, Plan};
use crate::event::EventField;
use crate::rule::{CorrelationDocument, CorrelationKind};
use crate::ruleset::Rule;
use crate::schema::{FieldId, Fields};

/// What is wrong with a correlation: which, on what line, and what.
pub(crate) type Wrong = (usize, u32, String);

/// Sets of rules are kept in 64 bits.
const SLOTS_MAX: usize = 64;
/// How many correlations may rest one on the other.
const LEVELS_MAX: u8 = 16;

/// What a name in `rules` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Rule(usize),
    Correlation(usize),
}

struct Compiler<'a> {
    documents: &'a [(Arc<str>, CorrelationDocument)],
    rules: &'a [Rule],
    fields: &'a mut Fields,
    mapping: &'a HashMap<String, String>,
    /// By document: what its rules are, with those that clear it behind them.
    members: Vec<Vec<Member>>,
    levels: Vec<u8>,
    /// By document: the names of the fields that correlations of it ask for.
    carried: Vec<Vec<Arc<str>>>,
    wrong: Vec<Wrong>,
}

/// Compiles correlations on these rules. Where something is wrong nothing is compiled.
pub(crate) fn compile(
    documents: &[(Arc<str>, CorrelationDocument)],
    rules: &[Rule],
    fields: &mut Fields,
    mapping: &HashMap<String, String>,
) -> Result<Correlations, Vec<Wrong>> {
    let count = documents.len();
    let mut compiler = Compiler {
        documents,
        rules,
        fields,
        mapping,
        members: Vec::new(),
        levels: vec![0; count],
        carried: vec![Vec::new(); count],
        wrong: Vec::new(),
    };
    compiler.resolve();
    compiler.check();
    if compiler.wrong.is_empty() {
        compiler.find_levels();
    }
    if compiler.wrong.is_empty() {
        let plans = compiler.plans();
        if compiler.wrong.is_empty() {
            compiler.carry();
            let compiled = compiler.correlations(plans);
            if compiler.wrong.is_empty() {
                return Ok(compiled);
            }
        }
    }
    Err(compiler.wrong)
}

impl Compiler<'_> {
    fn fault(&mut self, document: usize, line: u32, reason: impl Into<String>) {
        self.wrong.push((document, line, reason.into()));
    }

    fn resolve(&mut self) {
        for (number, (_, document)) in self.documents.iter().enumerate() {
            let mut members = Vec::new();
            for (line, name) in document.rules.iter().chain(&document.until) {
                match self.find(name) {
                    Ok(member) => members.push(member),
                    Err(reason) => self.fault(number, *line, reason),
                }
            }
            if members.len() > SLOTS_MAX {
                let reason = format!("a correlation has at most {SLOTS_MAX} rules");
                self.fault(number, document.line, reason);
            }
            self.members.push(members);
        }
    }

    fn find(&self, name: &str) -> Result<Member, String> {
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| rule.is_called(name));
        let rules = rules.map(|(number, _)| Member::Rule(number));
        let is_called = |(_, (_, document)): &(usize, &(Arc<str>, CorrelationDocument))| {
            *document.meta.id == *name || document.name.as_deref() == Some(name)
        };
        let correlations = self.documents.iter().enumerate().filter(is_called);
        let mut all = rules.chain(correlations.map(|(number, _)| Member::Correlation(number)));
        match (all.next(), all.next()) {
            (Some(member), None) => Ok(member),
            (None, _) => Err(format!("it correlates `{name}`, and no rule has that id or name")),
            (Some(_), Some(_)) => {
                Err(format!("it correlates `{name}`, and several rules have that name: use the id"))
            }
        }
    }

    /// Checks what a document says about its own rules and fields.
    fn check(&mut self) {
        for (number, (_, document)) in self.documents.iter().enumerate() {
            let among = |name: &str| document.rules.iter().any(|(_, rule)| **rule == *name);
            let ends = |name: &str| document.until.iter().any(|(_, rule)| **rule == *name);
            for ((_, alias), fields) in &document.aliases {
                let foreign = fields.iter().filter(|((_, rule), _)| !among(rule) && !ends(rule));
                for ((line, rule), _) in foreign {
                    let reason = format!(
                        "the alias `{alias}` is for `{rule}`, which is not among the `rules`"
                    );
                    self.fault(number, *line, reason);
                }
            }
            let named = document.missing.iter().chain(&document.descendants_of);
            let named = named.chain(&document.generating);
            for (line, name) in named.filter(|(_, name)| !among(name)) {
                self.fault(number, *line, format!("`{name}` is not among the `rules`"));
            }
            let takes_fields =
                document.kind == CorrelationKind::ValueCount || document.kind.is_aggregate();
            if takes_fields == document.fields.is_empty() {
                let reason = match takes_fields {
                    true => format!("`{}` needs `field` in its condition", document.kind),
                    false => format!("`{}` takes no `field` in its condition", document.kind),
                };
                self.fault(number, document.line, reason);
            }
            if document.kind.is_aggregate() && document.fields.len() > 1 {
                let reason = format!("`{}` is of one field", document.kind);
                self.fault(number, document.line, reason);
            }
            let takes_percentile = document.kind == CorrelationKind::ValuePercentile;
            if document.percentile.is_some() != takes_percentile {
                let reason = match takes_percentile {
                    true => "`value_percentile` needs `percentile`, its rank, in its condition",
                    false => "only `value_percentile` takes `percentile`",
                };
                self.fault(number, document.line, reason);
            }
        }
    }

    /// Orders correlations by what they rest on.
    fn find_levels(&mut self) {
        for _ in 0..=LEVELS_MAX {
            let mut changed = false;
            for number in 0..self.documents.len() {
                let below = self.members[number].iter().filter_map(|member| match member {
                    Member::Rule(_) => None,
                    Member::Correlation(below) => Some(self.levels[*below].saturating_add(1)),
                });
                let level = below.max().unwrap_or(0);
                changed |= level != self.levels[number];
                self.levels[number] = level;
            }
            if !changed {
                return;
            }
        }
        for number in 0..self.documents.len() {
            if self.levels[number] > LEVELS_MAX {
                let reason = format!(
                    "it rests on itself, or more than {LEVELS_MAX} correlations rest one on the other"
                );
                self.fault(number, self.documents[number].1.line, reason);
            }
        }
    }

    /// Whether others rest on it.
    fn is_child(&self, number: usize) -> bool {
        self.members.iter().flatten().any(|member| *member == Member::Correlation(number))
    }

    /// Whether every event of a group is of one process tree.
    fn is_of_one_tree(&self, document: &CorrelationDocument) -> bool {
        let of_one = |name: &str| {
            let name = self.mapping.get(name).map_or(name, String::as_str);
            [EventField::ProcessTreeGuid, EventField::ProcessGuid].iter().any(|f| f.name() == name)
        };
        document.descendants_of.is_some()
            || document.group_by.iter().any(|(_, name)| {
                let alias = document.aliases.iter().find(|((_, alias), _)| alias == name);
                match alias {
                    Some((_, fields)) => fields.iter().all(|(_, field)| of_one(field)),
                    None => of_one(name),
                }
            })
    }

    /// Whether it is to add to the score of a tree, and which tree that is would depend on the order in which its
    /// detections come, were it decided at once.
    fn scores_by_chance(&self, document: &CorrelationDocument) -> bool {
        document.meta.risk.is_some_and(|points| points > 0) && !self.is_of_one_tree(document)
    }

    fn plans(&mut self) -> Vec<Plan> {
        let mut plans = Vec::new();
        for number in 0..self.documents.len() {
            let document = &self.documents[number].1;
            let waits = self.is_child(number) || self.scores_by_chance(document);
            match engine(document, waits) {
                Ok(engine) => plans.push(Plan { span: document.timespan_ns, engine }),
                Err((line, reason)) => self.fault(number, line, reason),
            }
        }
        plans
    }

    /// Finds out which fields each correlation has to carry along for those that rest on it.
    fn carry(&mut self) {
        let mut order: Vec<usize> = (0..self.documents.len()).collect();
        order.sort_by_key(|number| std::cmp::Reverse(self.levels[*number]));
        for number in order {
            for slot in 0..self.members[number].len() {
                let Member::Correlation(child) = self.members[number][slot] else { continue };
                for name in self.wanted(number, slot) {
                    if !self.carried[child].contains(&name) {
                        self.carried[child].push(name);
                    }
                }
            }
        }
    }

    /// The names of the fields that a correlation asks of one of its rules, aliases resolved.
    fn wanted(&self, number: usize, slot: usize) -> Vec<Arc<str>> {
        let document = &self.documents[number].1;
        let rule = document.rules.iter().chain(&document.until).nth(slot).map(|(_, name)| name);
        let of_rule = |name: &Arc<str>| {
            let alias = document.aliases.iter().find(|((_, alias), _)| alias == name);
            let field = alias.and_then(|(_, fields)| {
                fields.iter().find(|((_, of), _)| Some(of) == rule).map(|(_, field)| field)
            });
            Arc::clone(field.unwrap_or(name))
        };
        let lineage = document.descendants_of.as_ref().map(|(_, ancestor)| {
            let field = if Some(ancestor) == rule {
                EventField::ProcessGuid
            } else {
                EventField::LineageGuids
            };
            Arc::from(field.name())
        });
        let group = document.group_by.iter().map(|(_, name)| name);
        let named = group.chain(&document.fields).chain(&self.carried[number]).map(of_rule);
        lineage.into_iter().chain(named).collect()
    }

    fn correlations(&mut self, plans: Vec<Plan>) -> Correlations {
        let mut feeds: Vec<Vec<Feed<FieldId>>> = vec![Vec::new(); self.rules.len()];
        let mut parents: Vec<Vec<Feed<u16>>> = vec![Vec::new(); self.documents.len()];
        let mut generates = vec![false; self.rules.len() + self.documents.len()];
        let mut silent = vec![false; self.rules.len()];
        for number in 0..self.documents.len() {
            let document = &self.documents[number].1;
            let group = document.group_by.len() + usize::from(document.descendants_of.is_some());
            let values = document.fields.len();
            // The later rules first: see the order of elements.
            for slot in (0..self.members[number].len()).rev() {
                let wanted = self.wanted(number, slot);
                let correlation = number as u32;
                let kept = slot as u16;
                let name = document.rules.get(slot).map(|(_, name)| name);
                let generate = document.generate
                    || document.generating.iter().any(|(_, other)| Some(other) == name);
                match self.members[number][slot] {
                    Member::Rule(rule) => {
                        silent[rule] = true;
                        generates[rule] |= generate;
                        let Some(columns) = self.columns(number, &wanted) else { continue };
                        feeds[rule].push(Feed { correlation, slot: kept, columns, group, values });
                    }
                    Member::Correlation(child) => {
                        generates[self.rules.len() + child] |= generate;
                        let place = |name: &Arc<str>| {
                            let carried = &self.carried[child];
                            carried.iter().position(|other| other == name).unwrap_or(0) as u16
                        };
                        let columns = wanted.iter().map(place).collect();
                        parents[child].push(Feed {
                            correlation,
                            slot: kept,
                            columns,
                            group,
                            values,
                        });
                    }
                }
            }
        }
        for (silent, generates) in silent.iter_mut().zip(&generates) {
            *silent &= !generates;
        }
        let all = self.documents.iter().zip(plans).zip(parents).enumerate();
        let all = all.map(|(number, (((file, document), plan), parents))| {
            let generate = generates[self.rules.len() + number];
            self.correlation(number, file, document, plan, parents, generate)
        });
        Correlations {
            all: all.collect(),
            feeds: feeds.into_iter().map(Into::into).collect(),
            silent: silent.into(),
        }
    }

    fn columns(&mut self, number: usize, wanted: &[Arc<str>]) -> Option<Box<[FieldId]>> {
        let mut columns = Vec::new();
        for name in wanted {
            let name = self.mapping.get(&**name).map_or(&**name, String::as_str);
            let Some(field) = self.fields.intern(name) else {
                let line = self.documents[number].1.line;
                self.fault(number, line, "the rules name more than 65,536 fields");
                return None;
            };
            columns.push(field);
        }
        Some(columns.into())
    }

    fn correlation(
        &self,
        number: usize,
        file: &Arc<str>,
        document: &CorrelationDocument,
        plan: Plan,
        parents: Vec<Feed<u16>>,
        generate: bool,
    ) -> Correlation {
        let lineage = document.descendants_of.iter().map(|_| EventField::ProcessGuid.name().into());
        let group_by = document.group_by.iter().map(|(_, name)| Arc::clone(name));
        let members = self.members[number].iter().map(|member| match member {
            Member::Rule(rule) => Arc::clone(&self.rules[*rule].meta.id),
            Member::Correlation(child) => Arc::clone(&self.documents[*child].1.meta.id),
        });
        let members: Box<[Arc<str>]> = members.collect();
        let mut hasher = SipHasher13::new();
        let own = [&*document.meta.id, &document.content];
        for text in own.into_iter().chain(members.iter().map(|id| &**id)) {
            hasher.write(text.as_bytes());
            hasher.write_u8(0);
        }
        // What is carried along is part of state.
        for name in &self.carried[number] {
            hasher.write(name.as_bytes());
            hasher.write_u8(1);
        }
        let digest = hasher.finish128();
        let mut meta = document.meta.clone();
        // Decided at once, the tree of the detection that happened to complete it would get its points.
        if !matches!(plan.engine, Engine::Settled(_)) && !self.is_of_one_tree(document) {
            meta.risk = Some(0);
        }
        Correlation {
            meta: Arc::new(meta),
            name: document.name.clone(),
            kind: document.kind,
            plan,
            group_by: lineage.chain(group_by).collect(),
            members,
            raises: generate || parents.is_empty(),
            parents: parents.into(),
            level: self.levels[number],
            content: [digest.h1, digest.h2],
            extension: document.extension.clone(),
            file: Arc::clone(file),
            line: document.line,
        }
    }
}

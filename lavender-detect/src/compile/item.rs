//! One line of a search, with its modifiers, as predicates.

use rsigma_parser::Modifier;

use super::Lowering;
use super::expression::Expression;
use super::predicate::{Predicate, Relation, Subject, Test};
use super::template::{MAX_EXPANSIONS, Template, Utf16};
use crate::matcher::number::{Comparison, Number};
use crate::matcher::pattern::{self, Pattern};
use crate::matcher::regex::RegexSource;
use crate::matcher::time::TimePart;
use crate::rule::{Item, Scalar};

/// More modifiers that change a text than this are refused: some double it each time.
const MAX_STEPS: usize = 8;

/// What the modifiers of an item ask for, once they are known to go together.
#[derive(Default)]
struct Shape {
    all: bool,
    cased: bool,
    negated: bool,
    kind: Kind,
    /// What is done to each text value, in the order written.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Text,
    Regex {
        ignore_case: bool,
        multi_line: bool,
        dot_matches_new_line: bool,
    },
    Networks,
    Exists,
    FieldRef,
    Compare(Comparison),
    TimePart(TimePart, Comparison),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Contains,
    StartsWith,
    EndsWith,
    Wide,
    Utf16Big,
    Utf16Marked,
    Base64,
    Base64Offset,
    Windash,
    Expand,
}

impl Shape {
    fn of(modifiers: &[Modifier]) -> Result<Self, String> {
        let mut shape = Self::default();
        for modifier in modifiers {
            shape.add(*modifier)?;
        }
        shape.check()?;
        Ok(shape)
    }

    fn add(&mut self, modifier: Modifier) -> Result<(), String> {
        match modifier {
            Modifier::All => self.all = true,
            Modifier::Cased => self.cased = true,
            Modifier::Neq => self.negated = true,
            Modifier::Re => self.set(Kind::Regex {
                ignore_case: false,
                multi_line: false,
                dot_matches_new_line: false,
            })?,
            Modifier::IgnoreCase | Modifier::Multiline | Modifier::DotAll => self.flag(modifier)?,
            Modifier::Cidr => self.set(Kind::Networks)?,
            Modifier::Exists => self.set(Kind::Exists)?,
            Modifier::FieldRef => self.set(Kind::FieldRef)?,
            Modifier::Gt => self.compare(Comparison::Greater)?,
            Modifier::Gte => self.compare(Comparison::GreaterOrEqual)?,
            Modifier::Lt => self.compare(Comparison::Less)?,
            Modifier::Lte => self.compare(Comparison::LessOrEqual)?,
            Modifier::Minute => self.set(Kind::TimePart(TimePart::Minute, Comparison::Equal))?,
            Modifier::Hour => self.set(Kind::TimePart(TimePart::Hour, Comparison::Equal))?,
            Modifier::Day => self.set(Kind::TimePart(TimePart::Day, Comparison::Equal))?,
            Modifier::Week => self.set(Kind::TimePart(TimePart::Week, Comparison::Equal))?,
            Modifier::Month => self.set(Kind::TimePart(TimePart::Month, Comparison::Equal))?,
            Modifier::Year => self.set(Kind::TimePart(TimePart::Year, Comparison::Equal))?,
            Modifier::Contains => self.steps.push(Step::Contains),
            Modifier::StartsWith => self.steps.push(Step::StartsWith),
            Modifier::EndsWith => self.steps.push(Step::EndsWith),
            Modifier::Wide => self.steps.push(Step::Wide),
            Modifier::Utf16be => self.steps.push(Step::Utf16Big),
            Modifier::Utf16 => self.steps.push(Step::Utf16Marked),
            Modifier::Base64 => self.steps.push(Step::Base64),
            Modifier::Base64Offset => self.steps.push(Step::Base64Offset),
            Modifier::WindAsh => self.steps.push(Step::Windash),
            Modifier::Expand => self.steps.push(Step::Expand),
        }
        Ok(())
    }

    fn set(&mut self, kind: Kind) -> Result<(), String> {
        if self.kind != Kind::Text {
            return Err("two modifiers that say how to compare".to_owned());
        }
        self.kind = kind;
        Ok(())
    }

    fn compare(&mut self, comparison: Comparison) -> Result<(), String> {
        if let Kind::TimePart(part, Comparison::Equal) = self.kind {
            self.kind = Kind::TimePart(part, comparison);
            return Ok(());
        }
        self.set(Kind::Compare(comparison))
    }

    fn flag(&mut self, modifier: Modifier) -> Result<(), String> {
        let Kind::Regex { ignore_case, multi_line, dot_matches_new_line } = &mut self.kind else {
            return Err("`i`, `m` and `s` come after `re`".to_owned());
        };
        match modifier {
            Modifier::IgnoreCase => *ignore_case = true,
            Modifier::Multiline => *multi_line = true,
            _ => *dot_matches_new_line = true,
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let only = |allowed: &[Step], what: &str| {
            if self.steps.iter().all(|step| allowed.contains(step)) {
                Ok(())
            } else {
                Err(format!("a modifier that changes texts cannot stand beside `{what}`"))
            }
        };
        const ANCHORS: [Step; 4] = [Step::Contains, Step::StartsWith, Step::EndsWith, Step::Expand];
        if self.steps.len() > MAX_STEPS {
            return Err(format!("more than {MAX_STEPS} modifiers that change texts"));
        }
        match self.kind {
            Kind::Text => return Ok(()),
            Kind::Regex { .. } => only(&ANCHORS, "re")?,
            Kind::FieldRef => only(&ANCHORS[..3], "fieldref")?,
            Kind::Networks => only(&[Step::Expand], "cidr")?,
            Kind::Exists if self.all || self.negated || !self.steps.is_empty() => {
                return Err("`exists` takes no other modifier".to_owned());
            }
            Kind::Exists => {}
            Kind::Compare(comparison) => only(&[], comparison.as_str())?,
            Kind::TimePart(part, _) => only(&[], part.as_str())?,
        }
        if self.cased && self.kind != Kind::FieldRef {
            return Err("`cased` is for texts and `fieldref`".to_owned());
        }
        Ok(())
    }
}

/// The expression of an item.
pub(super) fn lower(item: &Item, lowering: &mut Lowering<'_>) -> Expression {
    let shape = match Shape::of(&item.modifiers) {
        Ok(shape) => shape,
        Err(reason) => {
            lowering.faults.push((item.line, reason));
            return Expression::Constant(false);
        }
    };
    let subject = match &item.field {
        None => Subject::AnyValue,
        Some(name) => {
            let name = lowering.mapping.get(&**name).map_or(&**name, String::as_str);
            match lowering.fields.intern(name) {
                Some(field) => Subject::Field(field),
                None => {
                    let reason = "more than 65,536 different fields in one set of rules".to_owned();
                    lowering.faults.push((item.line, reason));
                    return Expression::Constant(false);
                }
            }
        }
    };
    let mut lowered = Lowered { subject, shape: &shape, lowering, tests: Vec::new() };
    for (line, value) in &item.values {
        if let Err(reason) = lowered.value(value) {
            lowered.lowering.faults.push((*line, reason));
        }
    }
    let expression = lowered.finish(item.line);
    if shape.negated { expression.negate() } else { expression }
}

struct Lowered<'a, 'b> {
    subject: Subject,
    shape: &'a Shape,
    lowering: &'a mut Lowering<'b>,
    /// Per value of the item: the tests of which any will do.
    tests: Vec<Vec<Test>>,
}

impl Lowered<'_, '_> {
    fn value(&mut self, value: &Scalar) -> Result<(), String> {
        if let Subject::AnyValue = self.subject
            && !matches!(self.shape.kind, Kind::Text | Kind::Regex { .. })
        {
            return Err("this modifier needs a field".to_owned());
        }
        let tests = match (self.shape.kind, value) {
            (Kind::Text, Scalar::Null) if self.shape.steps.is_empty() => vec![Test::Null],
            (Kind::Text, Scalar::Null) => return Err("null has no text to look into".to_owned()),
            (Kind::Text, value) => {
                let patterns = self.patterns(text_of(value))?;
                vec![Test::Patterns(patterns.into())]
            }
            (Kind::Regex { .. }, value) => self.regexes(&text_of(value))?,
            (Kind::Networks, value) => self.networks(&text_of(value))?,
            (Kind::Exists, Scalar::Bool(true)) => vec![Test::Present],
            (Kind::Exists, Scalar::Bool(false)) => vec![],
            (Kind::Exists, _) => return Err("`exists` takes true or false".to_owned()),
            (Kind::FieldRef, Scalar::Text(name)) => vec![self.field_ref(name)?],
            (Kind::FieldRef, _) => return Err("`fieldref` takes the name of a field".to_owned()),
            (Kind::Compare(comparison), value) => {
                let number = number_of(value).ok_or("a comparison takes a number")?;
                vec![Test::Compare(comparison, number)]
            }
            (Kind::TimePart(part, comparison), value) => match number_of(value) {
                Some(Number::Int(number)) => {
                    let number = i64::try_from(number).map_err(|_| "the number is too large")?;
                    vec![Test::TimePart(part, comparison, number)]
                }
                _ => return Err("a part of a moment is a whole number".to_owned()),
            },
        };
        self.tests.push(tests);
        Ok(())
    }

    fn patterns(&self, text: String) -> Result<Vec<Pattern>, String> {
        let mut templates = vec![Template::parse(&text)];
        for step in &self.shape.steps {
            let mut next = Vec::with_capacity(templates.len());
            for template in templates {
                self.apply(*step, template, &mut next)?;
            }
            templates = next;
        }
        // A keyword is found anywhere in a value.
        if self.subject == Subject::AnyValue {
            for template in &mut templates {
                template.open_start();
                template.open_end();
            }
        }
        Ok(templates.into_iter().map(|template| template.into_pattern(self.shape.cased)).collect())
    }

    fn apply(
        &self,
        step: Step,
        mut template: Template,
        out: &mut Vec<Template>,
    ) -> Result<(), String> {
        match step {
            Step::Contains | Step::StartsWith | Step::EndsWith => {
                if step != Step::StartsWith {
                    template.open_start();
                }
                if step != Step::EndsWith {
                    template.open_end();
                }
                out.push(template);
            }
            Step::Wide => out.push(template.utf16(Utf16::Little)?),
            Step::Utf16Big => out.push(template.utf16(Utf16::Big)?),
            Step::Utf16Marked => out.push(template.utf16(Utf16::Marked)?),
            Step::Base64 => out.push(template.base64()?),
            Step::Base64Offset => out.extend(template.base64_offsets()?),
            Step::Windash => out.push(template.windash()),
            Step::Expand => out.extend(template.expand(self.lowering.placeholders)?),
        }
        Ok(())
    }

    /// The values that the placeholders of a text stand for, as texts.
    fn expanded(&self, text: &str) -> Result<Vec<String>, String> {
        if !self.shape.steps.contains(&Step::Expand) {
            return Ok(vec![text.to_owned()]);
        }
        let mut texts = vec![String::new()];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            let Some((name, after)) = after.split_once('%') else { break };
            let values = self.lowering.placeholders.get(name);
            let values = values
                .ok_or_else(|| format!("the placeholder `%{name}%` has no value configured"))?;
            if texts.len() * values.len() > MAX_EXPANSIONS {
                return Err(format!("it expands to more than {MAX_EXPANSIONS} values"));
            }
            texts = values
                .iter()
                .flat_map(|value| texts.iter().map(move |text| format!("{text}{before}{value}")))
                .collect();
            rest = after;
        }
        texts.iter_mut().for_each(|text| text.push_str(rest));
        Ok(texts)
    }

    fn regexes(&self, text: &str) -> Result<Vec<Test>, String> {
        let Kind::Regex { ignore_case, multi_line, dot_matches_new_line } = self.shape.kind else {
            return Ok(Vec::new());
        };
        let source = |pattern: String| RegexSource {
            pattern: pattern.into(),
            ignore_case,
            multi_line,
            dot_matches_new_line,
        };
        // An expression is searched for anywhere already: `contains` and the like add nothing to it.
        Ok(self
            .expanded(text)?
            .into_iter()
            .map(|text| Test::Regex(Box::new(source(text))))
            .collect())
    }

    fn networks(&self, text: &str) -> Result<Vec<Test>, String> {
        let networks: Result<Box<[_]>, String> = self
            .expanded(text)?
            .iter()
            .map(|text| text.parse().map_err(|reason| format!("`{text}` is no network: {reason}")))
            .collect();
        Ok(vec![Test::Networks(networks?)])
    }

    fn field_ref(&mut self, name: &str) -> Result<Test, String> {
        let name = self.lowering.mapping.get(name).map_or(name, String::as_str);
        let other = self.lowering.fields.intern(name).ok_or("more fields than can be numbered")?;
        let relation = match self.shape.steps.as_slice() {
            [] => Relation::Equals,
            [Step::Contains] => Relation::Contains,
            [Step::StartsWith] => Relation::StartsWith,
            [Step::EndsWith] => Relation::EndsWith,
            _ => return Err("`fieldref` takes one of contains, startswith, endswith".to_owned()),
        };
        Ok(Test::FieldRef { other, relation, cased: self.shape.cased })
    }

    /// Joins the tests of all values. Those of one kind become one predicate.
    fn finish(mut self, line: u32) -> Expression {
        let values = std::mem::take(&mut self.tests);
        if self.shape.kind == Kind::Exists && values.iter().any(Vec::is_empty) {
            return self.test(line, Test::Present).negate();
        }
        if self.shape.all {
            let parts = values.into_iter().map(|tests| self.any(line, tests)).collect();
            return Expression::all(parts);
        }
        let (mut patterns, mut networks, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for test in values.into_iter().flatten() {
            match test {
                Test::Patterns(more) => {
                    for pattern in more {
                        match pattern.shape {
                            // What it holds only makes it possible: each is looked at by itself.
                            pattern::Shape::Glob(_) => {
                                rest.push(Test::Patterns([pattern].into()));
                            }
                            _ => patterns.push(pattern),
                        }
                    }
                }
                Test::Networks(more) => networks.extend(more),
                other => rest.push(other),
            }
        }
        if !patterns.is_empty() {
            rest.push(Test::Patterns(patterns.into()));
        }
        if !networks.is_empty() {
            rest.push(Test::Networks(networks.into()));
        }
        self.any(line, rest)
    }

    fn any(&mut self, line: u32, tests: Vec<Test>) -> Expression {
        Expression::any(tests.into_iter().map(|test| self.test(line, test)).collect())
    }

    fn test(&mut self, line: u32, test: Test) -> Expression {
        match self.lowering.predicates.intern(Predicate { subject: self.subject, test }) {
            Ok(id) => Expression::Test(id),
            Err(reason) => {
                let reason = format!("the regular expression cannot be used: {reason}");
                self.lowering.faults.push((line, reason));
                Expression::Constant(false)
            }
        }
    }
}

fn text_of(value: &Scalar) -> String {
    match value {
        Scalar::Null => String::new(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Text(text) => text.clone(),
    }
}

fn number_of(value: &Scalar) -> Option<Number> {
    match value {
        Scalar::Int(value) => Some(Number::Int(i128::from(*value))),
        Scalar::Float(value) => Some(Number::Float(*value)),
        Scalar::Text(text) => Number::parse(text.as_bytes()),
        Scalar::Null | Scalar::Bool(_) => None,
    }
}

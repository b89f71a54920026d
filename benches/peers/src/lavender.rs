//! Lavender on the events of the comparison.

use std::ops::ControlFlow;

use lavender_detect::{
    Evaluator, FieldId, FieldValue, Fields, JsonFields, JsonLines, LogSource, Placeholders, Record,
    RuleErrors, RuleSet, RuleSetBuilder, Texts,
};

use crate::corpus::RuleTexts;
use crate::engine::Engine;
use crate::observed::{Category, FIELDS, Observed, Scalar, index_of};

/// Lavender's rule set and an evaluator per category.
#[derive(Debug)]
pub struct Lavender {
    rules: RuleSet,
    columns: Columns,
    lines: JsonLines,
    evaluators: [Evaluator; 3],
    name: &'static str,
}

/// Which rules are evaluated on structured records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keywords {
    /// Rules of keywords that name no category stay with lines of text, for which they are written: the default.
    LeftToText,
    /// They are evaluated on structured records too, as other engines do.
    Everywhere,
}

impl Lavender {
    /// Compiles rules.
    ///
    /// # Errors
    ///
    /// Every fault in them.
    pub fn new(rules: &RuleTexts, keywords: Keywords) -> Result<Self, RuleErrors> {
        let placeholders = Placeholders::new().with_values("known_cdcs", ["dc1.example.org"]);
        let mut builder = RuleSetBuilder::new().with_placeholders(placeholders);
        if keywords == Keywords::Everywhere {
            builder = builder.with_keywords_on_structured_records();
        }
        for (number, text) in rules.texts.iter().enumerate() {
            builder.add_str(&format!("rule {number}"), text);
        }
        let rules = builder.build()?.rules;
        let evaluators = Category::ALL
            .map(|category| rules.structured_evaluator(&LogSource::linux(category.name())));
        let columns = Columns::new(rules.fields());
        let name = match keywords {
            Keywords::LeftToText => "lavender",
            Keywords::Everywhere => "lavender, keywords everywhere",
        };
        let lines = JsonLines::new(&JsonFields::new(rules.fields()));
        Ok(Self { lines, rules, columns, evaluators, name })
    }

    /// What the rules' indexes take, in bytes.
    pub fn index_bytes(&self) -> usize {
        self.rules.index_bytes()
    }

    /// How many rules are asked about events of this one's category.
    pub fn routed(&self, event: &Observed) -> usize {
        self.evaluators[event.category as usize].len()
    }

    /// How many rules the event comes near to: the index alone.
    pub fn near(&mut self, event: &Observed) -> usize {
        let record = self.columns.row(event);
        self.evaluators[event.category as usize].near(&record)
    }
}

/// Which field stands where.
#[derive(Debug)]
struct Columns {
    /// By field number: where the field stands in an [`Observed`].
    of_fields: Vec<Option<usize>>,
    /// The fields that stand there.
    fields: [Option<FieldId>; FIELDS.len()],
}

impl Columns {
    fn new(fields: &Fields) -> Self {
        Self {
            of_fields: fields.iter().map(|(_, name)| index_of(name)).collect(),
            fields: FIELDS.map(|name| fields.id(name)),
        }
    }

    fn row<'a>(&'a self, event: &'a Observed) -> Row<'a> {
        Row { of_fields: &self.of_fields, fields: &self.fields, event }
    }
}

/// An event as Lavender reads it.
struct Row<'a> {
    of_fields: &'a [Option<usize>],
    fields: &'a [Option<FieldId>],
    event: &'a Observed,
}

fn value(scalar: &Scalar) -> FieldValue<'_> {
    match scalar {
        Scalar::Absent => FieldValue::Absent,
        Scalar::Text(text) => FieldValue::Text(text.as_bytes()),
        Scalar::Number(number) => FieldValue::Int(*number),
        Scalar::Flag(flag) => FieldValue::Bool(*flag),
    }
}

impl Record for Row<'_> {
    #[inline]
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        match self.of_fields.get(field.index()) {
            Some(Some(column)) => value(&self.event.values[*column]),
            _ => FieldValue::Absent,
        }
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.event.values.iter().try_for_each(|scalar| visit(value(scalar)))
    }

    #[inline]
    fn texts<'a>(&'a self, texts: &mut Texts<'a>) -> bool {
        self.event.values.iter().zip(self.fields).all(|(scalar, field)| match scalar {
            Scalar::Text(text) => texts.add(*field, text.as_bytes()),
            _ => true,
        })
    }
}

impl Engine for Lavender {
    fn name(&self) -> &'static str {
        self.name
    }

    fn rules(&self) -> usize {
        self.rules.len()
    }

    fn count(&mut self, _: usize, event: &Observed) -> usize {
        let record = self.columns.row(event);
        self.evaluators[event.category as usize].matches(&record).len()
    }

    fn ids(&mut self, _: usize, event: &Observed) -> Vec<String> {
        let record = self.columns.row(event);
        let matches = self.evaluators[event.category as usize].matches(&record);
        matches.map(|found| found.meta().id.to_string()).collect()
    }

    fn count_line(&mut self, event: &Observed, line: &[u8]) -> Option<usize> {
        let record = self.lines.parse(line).ok()?;
        Some(self.evaluators[event.category as usize].matches(&record).len())
    }
}

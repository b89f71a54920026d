//! Sigma documents: what is written, checked and with line numbers, but not yet compiled.

mod condition;
mod correlation;
mod extension;
mod novelty;
mod parse;
mod prevent;
mod response;
mod yaml;

use std::sync::Arc;

use lavender_core::{PreventionAction, RuleMeta};
use rsigma_parser::{ConditionExpr, Modifier};

pub(crate) use self::condition::{fits, names_matching};
pub use self::correlation::CorrelationKind;
pub(crate) use self::correlation::{ConditionDocument, CorrelationDocument, Operator};
pub(crate) use self::novelty::NoveltyDocument;
pub(crate) use self::parse::{Document, parse_documents, to_json};
pub(crate) use self::yaml::{Entry, Node, Value, read as read_yaml};
use crate::logsource::LogSource;

/// A detection rule.
#[derive(Debug)]
pub(crate) struct RuleDocument {
    pub(crate) meta: RuleMeta,
    /// Sigma's `name`: what correlations and filters may call it.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) logsource: LogSource,
    pub(crate) detection: Detection,
    /// Of which values only the first sight counts.
    pub(crate) novelty: Option<NoveltyDocument>,
    /// What the kernel is to do about what it finds.
    pub(crate) prevents: Option<PreventionAction>,
    /// What stands under the key `lavender`.
    pub(crate) extension: Option<serde_json::Value>,
    pub(crate) line: u32,
}

/// A filter: a condition that is added to other rules.
#[derive(Debug)]
pub(crate) struct FilterDocument {
    pub(crate) title: Arc<str>,
    /// Ids or names of the rules that it is for; `None` for all that its log source fits.
    pub(crate) rules: Option<Vec<(u32, Arc<str>)>>,
    pub(crate) logsource: LogSource,
    pub(crate) detection: Detection,
}

/// Named searches and the condition over them.
#[derive(Debug)]
pub(crate) struct Detection {
    pub(crate) searches: Vec<(Arc<str>, Search)>,
    /// Several are alternatives.
    pub(crate) conditions: Vec<ConditionExpr>,
    /// Where the condition is.
    pub(crate) line: u32,
}

/// What stands under one search identifier.
#[derive(Debug)]
pub(crate) enum Search {
    /// A mapping: all of its items.
    All(Vec<Item>),
    /// A list: any of its elements.
    Any(Vec<Search>),
}

/// One line of a search: a field with modifiers and its values, or keywords.
#[derive(Debug)]
pub(crate) struct Item {
    /// `None` for keywords.
    pub(crate) field: Option<Arc<str>>,
    pub(crate) modifiers: Vec<Modifier>,
    pub(crate) values: Vec<(u32, Scalar)>,
    pub(crate) line: u32,
}

/// A value as written.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

//! Rulesets as the API shows them.

use lavender_core::RuleMeta;
use lavender_core::ruleset::RuleFile;
use lavender_core::store::{Publication, UploadedRuleset};
use serde::Serialize;
use utoipa::ToSchema;

use super::RuleView;
use crate::extract::Time;

/// What is known of a ruleset.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RulesetView {
    /// What it is known by: the SHA-256 of its files.
    pub digest: String,
    /// How many files it has.
    pub files: u32,
    /// How many bytes their texts have together.
    pub text_bytes: u64,
    /// Who uploaded it first.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Whether it is the one that is published.
    pub published: bool,
}

impl RulesetView {
    /// A ruleset as the API shows it, beside what is published.
    pub fn of(uploaded: UploadedRuleset, published: Option<&Publication>) -> Self {
        Self {
            digest: uploaded.digest.to_string(),
            files: uploaded.files,
            text_bytes: uploaded.text_bytes,
            actor: uploaded.actor.to_string(),
            reason: uploaded.reason.map(|reason| reason.to_string()),
            at: Time(uploaded.at),
            published: published.is_some_and(|published| published.digest == uploaded.digest),
        }
    }
}

/// A file of a ruleset.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleFileView {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl From<&RuleFile> for RuleFileView {
    fn from(file: &RuleFile) -> Self {
        Self { name: file.name().to_string(), text: file.text().to_string() }
    }
}

/// A ruleset, with what is in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RulesetDetail {
    /// What is known of it.
    pub ruleset: RulesetView,
    /// Its files, in the order of their names.
    pub files: Vec<RuleFileView>,
    /// The rules in them, in the order of their ids.
    pub rules: Vec<RuleView>,
}

/// That a ruleset was published.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublicationView {
    /// The number of the publication.
    pub revision: u64,
    /// Which ruleset.
    pub digest: String,
    /// Who published it.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}

impl From<Publication> for PublicationView {
    fn from(publication: Publication) -> Self {
        Self {
            revision: publication.revision,
            digest: publication.digest.to_string(),
            actor: publication.actor.to_string(),
            reason: publication.reason.map(|reason| reason.to_string()),
            at: Time(publication.at),
        }
    }
}

/// That a ruleset was published just now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublishedView {
    /// Whether it was taken to where rules are evaluated. If not, it is tried again; where nothing is configured to take
    /// it, it is only kept.
    pub sent: bool,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The publication.
    pub publication: PublicationView,
}

/// Where a rule in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleSource {
    /// It comes with Lavender.
    Bundled,
    /// It is in a file of whoever lists it.
    File,
    /// It was published.
    Published,
}

/// A rule that is in force, and where it comes from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleInForce {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleView,
    /// Where it comes from.
    pub source: RuleSource,
    /// The revision that is published, of a rule that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

impl RuleView {
    /// A rule, or a correlation, as the API shows it.
    pub fn of(meta: &RuleMeta, correlation: bool) -> Self {
        Self {
            id: meta.id.to_string(),
            title: meta.title.to_string(),
            severity: meta.level,
            description: meta.description.as_ref().map(ToString::to_string),
            techniques: meta.techniques().collect(),
            tags: meta.tags.iter().map(ToString::to_string).collect(),
            correlation,
        }
    }
}

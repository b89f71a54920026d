//! The rulesets of a tenant: which there are, which is published, who did that and why.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{AuditAction, AuditEntry, Cursor, Page};
use crate::error::Result;
use crate::id::TenantId;
use crate::ruleset::{Ruleset, RulesetDigest};
use crate::time::Timestamp;

/// What is known of a ruleset beside its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedRuleset {
    /// What it is known by.
    pub digest: RulesetDigest,
    /// How many files it has.
    pub files: u32,
    /// How many bytes their texts have together.
    pub text_bytes: u64,
    /// Who uploaded it first.
    pub actor: Arc<str>,
    /// Why, where a reason was given.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

impl UploadedRuleset {
    /// A ruleset that somebody uploads now.
    ///
    /// ```
    /// use lavender_core::ruleset::{RuleFile, Ruleset};
    /// use lavender_core::store::UploadedRuleset;
    /// use lavender_core::Timestamp;
    ///
    /// # fn main() -> Result<(), lavender_core::ruleset::RulesetError> {
    /// let rules = Ruleset::new([RuleFile::new("a.yml", "title: A")?])?;
    /// let uploaded = UploadedRuleset::new(&rules, "ana", None, Timestamp::from_millis(0));
    /// assert_eq!((uploaded.files, uploaded.text_bytes), (1, 8));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(
        rules: &Ruleset,
        actor: impl Into<Arc<str>>,
        reason: Option<Arc<str>>,
        at: Timestamp,
    ) -> Self {
        Self {
            digest: rules.digest(),
            files: u32::try_from(rules.files().len()).unwrap_or(u32::MAX),
            text_bytes: rules.text_bytes() as u64,
            actor: actor.into(),
            reason,
            at,
        }
    }
}

/// That a ruleset was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The number of the publication: the first of a tenant is 1, and each one more than the one before.
    pub revision: u64,
    /// Which ruleset.
    pub digest: RulesetDigest,
    /// Who published it.
    pub actor: Arc<str>,
    /// Why, where a reason was given.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

impl AuditEntry {
    /// The line for a ruleset that is uploaded.
    pub fn of_ruleset(uploaded: &UploadedRuleset) -> Self {
        Self {
            at: uploaded.at,
            actor: Arc::clone(&uploaded.actor),
            action: AuditAction::RulesetUpload,
            target: uploaded.digest.to_string().into(),
            change: format!("{} files, {} bytes", uploaded.files, uploaded.text_bytes).into(),
            reason: uploaded.reason.clone(),
        }
    }

    /// The line for a ruleset that is published.
    pub fn of_publication(publication: &Publication) -> Self {
        Self {
            at: publication.at,
            actor: Arc::clone(&publication.actor),
            action: AuditAction::RulesetPublish,
            target: publication.digest.to_string().into(),
            change: format!("revision {}", publication.revision).into(),
            reason: publication.reason.clone(),
        }
    }
}

/// Which rulesets or publications to read.
#[derive(Clone, Debug)]
pub struct RulesetQuery {
    /// The most on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl Default for RulesetQuery {
    /// All of them, a hundred to the page.
    fn default() -> Self {
        Self { limit: 100, after: None }
    }
}

/// Keeps rulesets, and which of them is published.
///
/// # Contract
///
/// - Every method but [`publishing_tenants`](Self::publishing_tenants) sees and changes what is of one tenant.
/// - A ruleset is there once, whoever uploads it how often. It stays.
/// - What is changed is durable, and audited in one step with the change.
/// - The revisions of a tenant have no gap, and none is given twice.
#[async_trait]
pub trait RulesetStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps a ruleset, and says whether it is new. One that is there stays as it is, with who uploaded it first.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    async fn put_ruleset(
        &self,
        tenant: &TenantId,
        rules: &Ruleset,
        uploaded: &UploadedRuleset,
    ) -> Result<bool>;

    /// One ruleset.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn ruleset(
        &self,
        tenant: &TenantId,
        digest: RulesetDigest,
    ) -> Result<Option<(UploadedRuleset, Ruleset)>>;

    /// Reads what is known of rulesets, the newest upload first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn rulesets(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> Result<Page<UploadedRuleset>>;

    /// Publishes a ruleset, if its revision is the one that follows the last. The one that is published can be
    /// published again.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) when it is not the next, so that somebody else was first;
    /// [`NotFound`](crate::ErrorKind::NotFound) for a ruleset that the tenant does not have.
    async fn publish_ruleset(&self, tenant: &TenantId, publication: &Publication) -> Result<()>;

    /// What was published last.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn published_ruleset(&self, tenant: &TenantId) -> Result<Option<Publication>>;

    /// Reads what was published, newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn publications(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> Result<Page<Publication>>;

    /// Every tenant that has published a ruleset, in the order of their names: for who brings rulesets to where they
    /// are evaluated.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn publishing_tenants(&self) -> Result<Vec<TenantId>>;
}

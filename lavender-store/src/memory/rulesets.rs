//! Rulesets in memory.

use std::collections::BTreeMap;

use lavender_core::ruleset::{Ruleset, RulesetDigest};
use lavender_core::store::{
    AuditEntry, Page, Publication, RulesetQuery, RulesetStore, UploadedRuleset,
};
use lavender_core::{ErrorKind, Result, TenantId, async_trait};

use super::{Kept, MemoryStore, fail};
use crate::cursor::{self, Listing, Position};
use crate::rulesets::{check_revision, no_ruleset, position_of_publication};

/// How many rulesets are kept, of all tenants; beyond them uploading fails.
const KEPT: usize = 256;

/// How many publications of a tenant are kept; the oldest make room.
const PUBLICATIONS_KEPT: usize = 10_000;

#[derive(Default)]
pub(super) struct Rulesets {
    /// By the number of the upload.
    uploads: BTreeMap<u64, (TenantId, UploadedRuleset, Ruleset)>,
    /// By revision.
    published: BTreeMap<TenantId, BTreeMap<u64, Publication>>,
    last: u64,
}

impl Rulesets {
    fn get(
        &self,
        tenant: &TenantId,
        digest: RulesetDigest,
    ) -> Option<(&UploadedRuleset, &Ruleset)> {
        let known = self.uploads.values();
        let mut known = known.filter(|(of, known, _)| of == tenant && known.digest == digest);
        known.next().map(|(_, uploaded, rules)| (uploaded, rules))
    }

    fn published(&self, tenant: &TenantId) -> Option<&Publication> {
        self.published.get(tenant)?.values().next_back()
    }
}

impl Kept {
    fn put_ruleset(
        &mut self,
        tenant: &TenantId,
        rules: &Ruleset,
        uploaded: &UploadedRuleset,
    ) -> Result<bool> {
        let kept = &mut self.rulesets;
        if kept.get(tenant, rules.digest()).is_some() {
            return Ok(false);
        }
        if kept.uploads.len() >= KEPT {
            let why = format!("it has {KEPT} rulesets, and keeps no more of them in memory");
            return Err(fail(ErrorKind::Unavailable, why));
        }
        kept.last += 1;
        kept.uploads.insert(kept.last, (tenant.clone(), uploaded.clone(), rules.clone()));
        self.access.note(tenant, AuditEntry::of_ruleset(uploaded));
        Ok(true)
    }

    fn publish_ruleset(&mut self, tenant: &TenantId, publication: &Publication) -> Result<()> {
        let kept = &mut self.rulesets;
        if kept.get(tenant, publication.digest).is_none() {
            return Err(fail(ErrorKind::NotFound, no_ruleset(publication.digest)));
        }
        let last = kept.published(tenant).map_or(0, |last| last.revision);
        check_revision(last, publication.revision).map_err(|why| fail(ErrorKind::Conflict, why))?;
        let of_tenant = kept.published.entry(tenant.clone()).or_default();
        of_tenant.insert(publication.revision, publication.clone());
        if of_tenant.len() > PUBLICATIONS_KEPT {
            of_tenant.pop_first();
        }
        self.access.note(tenant, AuditEntry::of_publication(publication));
        Ok(())
    }
}

#[async_trait]
impl RulesetStore for MemoryStore {
    async fn put_ruleset(
        &self,
        tenant: &TenantId,
        rules: &Ruleset,
        uploaded: &UploadedRuleset,
    ) -> Result<bool> {
        self.kept()?.put_ruleset(tenant, rules, uploaded)
    }

    async fn ruleset(
        &self,
        tenant: &TenantId,
        digest: RulesetDigest,
    ) -> Result<Option<(UploadedRuleset, Ruleset)>> {
        let kept = self.kept()?;
        let known = kept.rulesets.get(tenant, digest);
        Ok(known.map(|(uploaded, rules)| (uploaded.clone(), rules.clone())))
    }

    async fn rulesets(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> Result<Page<UploadedRuleset>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Rulesets.position(query.after.as_ref())?;
        let kept = self.kept()?;
        let found = kept.rulesets.uploads.iter().rev().filter(|(number, (of, ..))| {
            of == tenant && after.is_none_or(|after| u128::from(**number) < after.id)
        });
        let items = found.take(limit + 1).map(|(number, (_, known, _))| (*number, known.clone()));
        let position = |(number, uploaded): &(u64, UploadedRuleset)| Position {
            time: uploaded.at,
            id: u128::from(*number),
        };
        Ok(Listing::Rulesets.page(items.collect(), limit, position).map(|(_, known)| known))
    }

    async fn publish_ruleset(&self, tenant: &TenantId, publication: &Publication) -> Result<()> {
        self.kept()?.publish_ruleset(tenant, publication)
    }

    async fn published_ruleset(&self, tenant: &TenantId) -> Result<Option<Publication>> {
        Ok(self.kept()?.rulesets.published(tenant).cloned())
    }

    async fn publications(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> Result<Page<Publication>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Publications.position(query.after.as_ref())?;
        let kept = self.kept()?;
        let all = kept.rulesets.published.get(tenant).into_iter().flat_map(BTreeMap::values).rev();
        let found = all.filter(|publication| {
            after.is_none_or(|after| u128::from(publication.revision) < after.id)
        });
        let items = found.take(limit + 1).cloned().collect();
        Ok(Listing::Publications.page(items, limit, position_of_publication))
    }

    async fn publishing_tenants(&self) -> Result<Vec<TenantId>> {
        Ok(self.kept()?.rulesets.published.keys().cloned().collect())
    }
}

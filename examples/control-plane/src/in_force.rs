//! The rules of published sets, as they are listed: compiled once for each publication, and not for each page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lavender_core::TenantId;
use lavender_core::ruleset::RulesetDigest;
use lavender_detect::RuleSet;

use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::rulesets::{compile, is_builtin};
use crate::turns::in_turn;
use crate::view::RuleView;

/// Of how many tenants they are kept, at some MiB each.
const TENANTS: usize = 16;

/// The rules of a published set.
type Published = (RulesetDigest, Arc<[RuleView]>);

/// What was published last, by tenant.
#[derive(Debug, Default)]
pub(crate) struct InForce(Mutex<HashMap<TenantId, Published>>);

impl InForce {
    fn known(&self, tenant: &TenantId, digest: RulesetDigest) -> Option<Arc<[RuleView]>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(tenant).filter(|(of, _)| *of == digest).map(|(_, rules)| Arc::clone(rules))
    }

    fn keep(&self, tenant: &TenantId, digest: RulesetDigest, rules: &Arc<[RuleView]>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TENANTS && !known.contains_key(tenant) {
            known.clear();
        }
        known.insert(tenant.clone(), (digest, Arc::clone(rules)));
    }
}

/// The rules of a compiled ruleset that do not come with Lavender, in the order of their ids.
pub(crate) fn own_rules(loaded: &RuleSet) -> Vec<RuleView> {
    let plain = loaded.iter().filter(|rule| !is_builtin(rule.file()));
    let correlations = loaded.correlations().iter().filter(|rule| !is_builtin(rule.file()));
    let mut views: Vec<RuleView> = plain
        .map(|rule| RuleView::of(rule.meta(), false))
        .chain(correlations.map(|rule| RuleView::of(rule.meta(), true)))
        .collect();
    views.sort_by(|a, b| a.id.cmp(&b.id));
    views
}

/// The rules of what a tenant has published last, and its revision. What does not compile any more, beside the rules that
/// come with this version, is in force nowhere: that is logged, and what agents say of it stands with them.
pub(crate) async fn published_rules(
    plane: &ControlPlane,
    tenant: &TenantId,
) -> Result<Option<(u64, Arc<[RuleView]>)>, Problem> {
    let Some(last) = plane.store().published_ruleset(tenant).await? else { return Ok(None) };
    if let Some(rules) = plane.in_force().known(tenant, last.digest) {
        return Ok(Some((last.revision, rules)));
    }
    let Some((_, ruleset)) = plane.store().ruleset(tenant, last.digest).await? else {
        return Ok(None);
    };
    let compiled = in_turn(plane, move || compile(&ruleset)).await?;
    let rules: Arc<[RuleView]> = match compiled {
        Ok(loaded) => own_rules(&loaded.rules).into(),
        Err(errors) => {
            let revision = last.revision;
            tracing::error!(%tenant, revision, "what is published does not compile: {errors}");
            Arc::default()
        }
    };
    plane.in_force().keep(tenant, last.digest, &rules);
    Ok(Some((last.revision, rules)))
}

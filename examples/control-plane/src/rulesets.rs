//! Rulesets: whether they compile, and how published ones get to where rules are evaluated.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lavender_core::ruleset::Ruleset;
use lavender_core::store::Publication;
use lavender_core::{ErrorKind, Result, TenantId, async_trait};
use lavender_detect::{Loaded, RuleErrors, RuleSetBuilder, builtin};

use crate::plane::ControlPlane;

/// Brings published rulesets to where rules are evaluated.
#[async_trait]
pub trait RulesetSink: fmt::Debug + Send + Sync + 'static {
    /// Hands a published ruleset over. It may be handed over again, and an older one after a newer: the highest revision
    /// counts.
    ///
    /// # Errors
    ///
    /// When it was not taken. It is handed over again in a while.
    async fn publish(
        &self,
        tenant: &TenantId,
        publication: &Publication,
        rules: &Ruleset,
    ) -> Result<()>;
}

/// Before the names of files that come with Lavender, where they stand beside those of a ruleset.
const BUILTIN: &str = "built-in:";

/// Compiles a ruleset as it is used: added to the rules that come with Lavender, those with the same id replaced.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn compile(rules: &Ruleset) -> std::result::Result<Loaded, RuleErrors> {
    let mut builder = RuleSetBuilder::new();
    for (name, text) in builtin::rules() {
        builder.add_str(&format!("{BUILTIN}{name}"), text);
    }
    builder.replace_earlier();
    for file in rules.files() {
        builder.add_file_of_set(file.name(), file.text());
    }
    builder.add_builtin_placeholders();
    builder.build()
}

/// Whether a rule's file came with Lavender.
pub(crate) fn is_builtin(file: &str) -> bool {
    file.starts_with(BUILTIN)
}

/// Which revision of each tenant was handed over last.
#[derive(Debug, Default)]
pub(crate) struct HandedOver(Mutex<HashMap<TenantId, u64>>);

impl HandedOver {
    fn has(&self, tenant: &TenantId, revision: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(tenant).is_some_and(|known| *known >= revision)
    }

    fn note(&self, tenant: &TenantId, revision: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known.entry(tenant.clone()).or_default();
        *last = revision.max(*last);
    }
}

/// Hands a published ruleset over, and says why not where it was not taken; `None` where there is nobody to take it.
pub(crate) async fn hand_over(
    plane: &ControlPlane,
    tenant: &TenantId,
    publication: &Publication,
    rules: &Ruleset,
) -> Option<Result<()>> {
    let sink: &Arc<dyn RulesetSink> = plane.options().rulesets.as_ref()?;
    let taken = sink.publish(tenant, publication, rules).await;
    match &taken {
        Ok(()) => {
            plane.handed_over().note(tenant, publication.revision);
            plane.metrics().rulesets_handed_over.inc();
        }
        Err(error) => {
            plane.metrics().ruleset_failures.inc();
            let revision = publication.revision;
            tracing::warn!(%tenant, revision, "a published ruleset was not taken: {error}");
        }
    }
    Some(taken)
}

/// Hands over what was published and is not known to have been taken: after a start, a kill in between, or a failure.
pub(crate) async fn catch_up(plane: &ControlPlane) -> Result<()> {
    if plane.options().rulesets.is_none() {
        return Ok(());
    }
    for tenant in plane.store().publishing_tenants().await? {
        let Some(last) = plane.store().published_ruleset(&tenant).await? else { continue };
        if plane.handed_over().has(&tenant, last.revision) {
            continue;
        }
        match plane.store().ruleset(&tenant, last.digest).await {
            Ok(Some((_, rules))) => {
                hand_over(plane, &tenant, &last, &rules).await;
            }
            Ok(None) => {}
            // Others are not to wait for it.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                plane.metrics().ruleset_failures.inc();
                tracing::error!(%tenant, "a published ruleset cannot be read: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

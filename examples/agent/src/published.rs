//! Rules that were published for this host: kept in its store, and added to those of its files.

use lavender_core::ruleset::Ruleset;
use lavender_core::{Error, ErrorKind, Result, TenantId};
use lavender_detect::RuleHandle;
use lavender_store::Store;

use crate::rules::RuleSource;

/// Puts a published ruleset in use. It is compiled where it holds up nobody.
///
/// # Errors
///
/// What is wrong with it; the rules in use stay then.
pub async fn put_in_use(
    source: &RuleSource,
    handle: &RuleHandle,
    revision: u64,
    rules: &Ruleset,
) -> Result<()> {
    let (source, handle, rules) = (source.clone(), handle.clone(), rules.clone());
    let taken = tokio::task::spawn_blocking(move || source.publish(&handle, revision, rules)).await;
    let fail = |kind, why: String| Err(Error::new(kind, "published rules", why));
    match taken {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => fail(ErrorKind::Invalid, failure.to_string()),
        Err(error) => fail(ErrorKind::Internal, error.to_string()),
    }
}

/// Puts in use what was published before the agent was started. Where that fails the host is watched by its other rules,
/// and it is said.
pub async fn resume(
    store: &dyn Store,
    tenant: &TenantId,
    source: &RuleSource,
    handle: &RuleHandle,
) {
    let resumed = async {
        let Some(last) = store.published_ruleset(tenant).await? else { return Ok(()) };
        match store.ruleset(tenant, last.digest).await? {
            Some((_, rules)) => put_in_use(source, handle, last.revision, &rules).await,
            None => Ok(()),
        }
    };
    if let Err(error) = resumed.await {
        tracing::error!(%error, "the published rules are not in use");
    }
}

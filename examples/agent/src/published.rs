//! Rules that were published for this host, and are added to those of its files: by its own dashboard, which has them in the
//! store, or in its fleet, from where they are kept in a folder.

use lavender_core::event::RulesetInUse;
use lavender_core::ruleset::Ruleset;
use lavender_core::{Error, ErrorKind, Result, TenantId};
use lavender_detect::RuleHandle;
use lavender_store::Store;

use crate::config::{Config, TransportUrl};
use crate::exit::Failure;
use crate::kept_rules::Kept;
use crate::plan::RuleReload;
use crate::rules::RuleSource;

/// A published ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The number of the publication: each is one more than the one before.
    pub revision: u64,
    /// Its rules.
    pub rules: Ruleset,
}

impl Published {
    /// Which it is.
    pub const fn in_use(&self) -> RulesetInUse {
        RulesetInUse { revision: self.revision, digest: self.rules.digest() }
    }
}

/// Puts a published ruleset in use. It is compiled where it holds up nobody.
///
/// # Errors
///
/// What is wrong with it; the rules in use stay then.
pub async fn put_in_use(reload: &RuleReload, published: Published) -> Result<()> {
    let reload = reload.clone();
    compiled(tokio::task::spawn_blocking(move || reload.publish(published)).await)
}

/// What was published before the agent was started: in its fleet where it follows that, else by its own dashboard.
async fn last(config: &Config, store: &dyn Store, tenant: &TenantId) -> Result<Option<Published>> {
    if follows_fleet(config) {
        let kept = Kept::new(config.rules.published_dir.as_ref(), tenant);
        let read = tokio::task::spawn_blocking(move || kept.read()).await;
        return read.map_err(|error| Error::new(ErrorKind::Internal, "published rules", error))?;
    }
    let Some(last) = store.published_ruleset(tenant).await? else { return Ok(None) };
    let stored = store.ruleset(tenant, last.digest).await?;
    Ok(stored.map(|(_, rules)| Published { revision: last.revision, rules }))
}

/// Whether rules are taken from the broker of a fleet; then its own dashboard publishes none.
pub fn follows_fleet(config: &Config) -> bool {
    config.rules.published && config.transport.url != TransportUrl::Memory
}

/// Puts in use what was published before the agent was started: before there is a sensor that would have to go by it.
/// Where that fails the host is watched by its other rules, and it is said.
pub async fn resume(
    config: &Config,
    (store, tenant): (&dyn Store, &TenantId),
    (source, handle): (&RuleSource, &RuleHandle),
) -> Option<Published> {
    let resumed = async {
        match last(config, store, tenant).await? {
            Some(published) => begin_with(source, handle, published).await.map(Some),
            None => Ok(None),
        }
    };
    resumed.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the published rules are not in use");
        None
    })
}

async fn begin_with(
    source: &RuleSource,
    handle: &RuleHandle,
    published: Published,
) -> Result<Published> {
    let (source, rules) = (source.clone(), published.rules.clone());
    let loaded = tokio::task::spawn_blocking(move || source.load_with(Some(&rules))).await;
    let loaded = compiled(loaded)?;
    let (revision, digest) = (published.revision, published.rules.digest());
    tracing::info!(revision, %digest, rules = loaded.len(), "published rules are in use");
    handle.swap(loaded);
    Ok(published)
}

/// What came of compiling rules elsewhere.
fn compiled<T>(
    result: std::result::Result<std::result::Result<T, Failure>, tokio::task::JoinError>,
) -> Result<T> {
    let fail = |kind, why: String| Err(Error::new(kind, "published rules", why));
    match result {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(failure)) => fail(ErrorKind::Invalid, failure.to_string()),
        Err(error) => fail(ErrorKind::Internal, error.to_string()),
    }
}

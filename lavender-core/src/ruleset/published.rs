//! Published rulesets where those who evaluate them find them: a bucket of the broker.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{MAX_BUNDLE_BYTES, Ruleset, RulesetDigest};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TenantId;
use crate::store::{PutMode, StateStore};

/// What stands in one value: brokers take messages of 1 MiB unless told otherwise.
const PIECE_BYTES: usize = 128 << 10;
/// The most pieces of a bundle.
const MAX_PIECES: u32 = (MAX_BUNDLE_BYTES / PIECE_BYTES + 1) as u32;
/// Before the tenant, in the key of what says which ruleset is published.
const PUBLISHED: &str = "published/";
/// How many keys are listed at once.
const PAGE: usize = 256;
/// How often it is tried again where somebody else was faster.
const TRIES: usize = 8;

/// Which ruleset of a tenant is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedRuleset {
    /// The number of the publication: each is one more than the one before.
    pub revision: u64,
    /// Which ruleset.
    pub digest: RulesetDigest,
    /// In how many pieces its bundle lies there.
    pieces: u32,
}

/// The published ruleset of each tenant, in a [`StateStore`] that those who evaluate rules can read.
///
/// A bundle is cut into pieces, and lies there before it is said that it is published; what was published before it is
/// removed then. Of several who publish at once, the latest revision stays.
///
/// Nobody need trust the store: what is [fetched](Self::fetch) has the digest that was asked for.
#[derive(Clone)]
pub struct PublishedRulesets(Arc<dyn StateStore>);

impl fmt::Debug for PublishedRulesets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublishedRulesets").field(&self.0).finish()
    }
}

fn corrupt(key: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("published rules `{key}`"), why)
}

fn read(key: &str, value: &Bytes) -> Result<PublishedRuleset> {
    let published: PublishedRuleset =
        serde_json::from_slice(value).map_err(|error| corrupt(key, error))?;
    if published.pieces > MAX_PIECES {
        return Err(corrupt(key, "it has more pieces than any ruleset"));
    }
    Ok(published)
}

fn bundle_of(tenant: &TenantId) -> String {
    format!("bundle/{tenant}/")
}

fn piece(tenant: &TenantId, revision: u64, number: u32) -> String {
    format!("{}{revision:020}/{number:04}", bundle_of(tenant))
}

impl PublishedRulesets {
    /// What lies in this store, which holds nothing else.
    pub fn new(store: Arc<dyn StateStore>) -> Self {
        Self(store)
    }

    /// Puts a ruleset there, and says whether that changed anything: not where it, or a later one, is there.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or written. It may be called again.
    pub async fn publish(&self, tenant: &TenantId, revision: u64, rules: &Ruleset) -> Result<bool> {
        let key = format!("{PUBLISHED}{tenant}");
        let mut pieces = None;
        for _ in 0..TRIES {
            let stored = self.0.get(&key).await?;
            // What cannot be read is written anew.
            let known = stored.as_ref().and_then(|(value, _)| read(&key, value).ok());
            if known.is_some_and(|known| known.revision >= revision) {
                return Ok(false);
            }
            let pieces = match pieces {
                Some(pieces) => pieces,
                None => *pieces.insert(self.put(tenant, revision, rules).await?),
            };
            let published = PublishedRuleset { revision, digest: rules.digest(), pieces };
            let value = serde_json::to_vec(&published).map_err(|error| corrupt(&key, error))?;
            let mode = stored.map_or(PutMode::Create, |(_, version)| PutMode::Update(version));
            match self.0.put(&key, value.into(), mode, None).await {
                Ok(_) => {
                    self.forget_before(tenant, revision).await?;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        let why = format!("it was changed by others {TRIES} times");
        Err(Error::new(ErrorKind::Conflict, format!("published rules `{key}`"), why))
    }

    /// Which ruleset of a tenant is published, if any.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or holds what nobody wrote here.
    pub async fn published(&self, tenant: &TenantId) -> Result<Option<PublishedRuleset>> {
        let key = format!("{PUBLISHED}{tenant}");
        let stored = self.0.get(&key).await?;
        stored.map(|(value, _)| read(&key, &value)).transpose()
    }

    /// Every tenant that has a published ruleset.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn tenants(&self) -> Result<Vec<TenantId>> {
        let mut tenants = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let keys = self.0.keys(PUBLISHED, after.as_deref(), PAGE).await?;
            let named = keys.iter().filter_map(|key| key.strip_prefix(PUBLISHED));
            tenants.extend(named.filter_map(|name| TenantId::new(name).ok()));
            match keys.len() {
                PAGE => after = keys.into_iter().next_back(),
                _ => return Ok(tenants),
            }
        }
    }

    /// Fetches what is published. [`NotFound`](ErrorKind::NotFound) where something else is by now: ask again
    /// [what is](Self::published).
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or what it holds is not that ruleset.
    pub async fn fetch(&self, tenant: &TenantId, published: &PublishedRuleset) -> Result<Ruleset> {
        let mut bundle = Vec::new();
        for number in 0..published.pieces {
            let key = piece(tenant, published.revision, number);
            let Some((value, _)) = self.0.get(&key).await? else {
                let why = "it is not there: another is published, or it was removed";
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("published rules `{key}`"),
                    why,
                ));
            };
            if bundle.len() + value.len() > MAX_BUNDLE_BYTES {
                return Err(corrupt(&key, "it is larger than any ruleset"));
            }
            bundle.extend_from_slice(&value);
        }
        let rules = Ruleset::from_bundle(&bundle, published.digest);
        rules.map_err(|error| corrupt(&bundle_of(tenant), error))
    }

    async fn put(&self, tenant: &TenantId, revision: u64, rules: &Ruleset) -> Result<u32> {
        let bundle = rules.to_bundle().map_err(|error| corrupt(&bundle_of(tenant), error))?;
        let mut count = 0;
        for value in bundle.chunks(PIECE_BYTES) {
            let key = piece(tenant, revision, count);
            self.0.put(&key, Bytes::copy_from_slice(value), PutMode::Overwrite, None).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn forget_before(&self, tenant: &TenantId, revision: u64) -> Result<()> {
        let (prefix, kept) = (bundle_of(tenant), piece(tenant, revision, 0));
        loop {
            let keys = self.0.keys(&prefix, None, PAGE).await?;
            let old: Vec<&String> = keys.iter().filter(|key| **key < kept).collect();
            for key in &old {
                self.0.delete(key).await?;
            }
            if old.len() < PAGE {
                return Ok(());
            }
        }
    }
}

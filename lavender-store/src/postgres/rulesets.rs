//! Rulesets, and which of them is published.

use std::sync::Arc;

use deadpool_postgres::{Client, GenericClient, Transaction};
use lavender_core::ruleset::{Ruleset, RulesetDigest};
use lavender_core::store::{
    AuditEntry, Page, Publication, RulesetQuery, RulesetStore, UploadedRuleset,
};
use lavender_core::{TenantId, Timestamp, async_trait};
use tokio_postgres::Row;

use super::error::{PostgresError, Result};
use super::text::{escaped, unescaped};
use super::{Held, PostgresStore, access};
use crate::cursor::{self, Listing, Position};
use crate::rulesets::{check_revision, no_ruleset, position_of_publication};

async fn put(
    client: &mut Client,
    tenant: &TenantId,
    rules: &Ruleset,
    uploaded: &UploadedRuleset,
) -> Result<bool> {
    let bundle =
        rules.to_bundle().map_err(|error| PostgresError::Other(format!("a ruleset: {error}")))?;
    let transaction = client.transaction().await?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.rulesets
                 (tenant, digest, files, text_bytes, actor, reason, uploaded_at, bundle)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .await?;
    let added = transaction
        .execute(
            &insert,
            &[
                &tenant.as_str(),
                &rules.digest().as_bytes().as_slice(),
                &i64::from(uploaded.files),
                &(uploaded.text_bytes as i64),
                &escaped(&uploaded.actor),
                &uploaded.reason.as_deref().map(escaped),
                &uploaded.at.as_nanos(),
                &bundle,
            ],
        )
        .await?;
    if added == 0 {
        return Ok(false);
    }
    access::note(&transaction, tenant, &AuditEntry::of_ruleset(uploaded)).await?;
    transaction.commit().await?;
    Ok(true)
}

const COLUMNS: &str = "upload, digest, files, text_bytes, actor, reason, uploaded_at";

fn digest(row: &Row, column: usize) -> Result<RulesetDigest> {
    let bytes: [u8; 32] = row
        .try_get::<_, &[u8]>(column)?
        .try_into()
        .map_err(|error| PostgresError::unreadable("the digest of a ruleset", &error))?;
    Ok(RulesetDigest::from_bytes(bytes))
}

fn reason(row: &Row, column: usize) -> Result<Option<Arc<str>>> {
    Ok(row.try_get::<_, Option<String>>(column)?.map(|text| unescaped(text).into()))
}

fn parse(row: &Row) -> Result<(i64, UploadedRuleset)> {
    let uploaded = UploadedRuleset {
        digest: digest(row, 1)?,
        files: u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or(u32::MAX),
        text_bytes: row.try_get::<_, i64>(3)?.cast_unsigned(),
        actor: unescaped(row.try_get(4)?).into(),
        reason: reason(row, 5)?,
        at: Timestamp::from_nanos(row.try_get(6)?),
    };
    Ok((row.try_get(0)?, uploaded))
}

async fn one(
    client: &Client,
    tenant: &TenantId,
    digest: RulesetDigest,
) -> Result<Option<(UploadedRuleset, Ruleset)>> {
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, bundle FROM lavender.rulesets WHERE tenant = $1 AND digest = $2"
        ))
        .await?;
    let key = digest.as_bytes().as_slice();
    let Some(row) = client.query_opt(&select, &[&tenant.as_str(), &key]).await? else {
        return Ok(None);
    };
    let rules = Ruleset::from_bundle(row.try_get(7)?, digest)
        .map_err(|error| PostgresError::unreadable("a ruleset", &error))?;
    Ok(Some((parse(&row)?.1, rules)))
}

/// The number behind which a page begins.
fn before(after: Option<Position>) -> i64 {
    after.and_then(|after| i64::try_from(after.id).ok()).unwrap_or(i64::MAX)
}

async fn list(
    client: &Client,
    tenant: &TenantId,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<UploadedRuleset>> {
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.rulesets WHERE tenant = $1 AND upload < $2
             ORDER BY upload DESC LIMIT $3"
        ))
        .await?;
    let rows =
        client.query(&select, &[&tenant.as_str(), &before(after), &(limit as i64 + 1)]).await?;
    let items = rows.iter().map(parse).collect::<Result<_>>()?;
    let position = |(number, uploaded): &(i64, UploadedRuleset)| Position {
        time: uploaded.at,
        id: u128::from(number.cast_unsigned()),
    };
    Ok(Listing::Rulesets.page(items, limit, position).map(|(_, uploaded)| uploaded))
}

async fn is_there(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    digest: RulesetDigest,
) -> Result<bool> {
    let select = "SELECT 1 FROM lavender.rulesets WHERE tenant = $1 AND digest = $2";
    let key = digest.as_bytes().as_slice();
    Ok(transaction.query_opt(select, &[&tenant.as_str(), &key]).await?.is_some())
}

async fn publish(client: &mut Client, tenant: &TenantId, next: &Publication) -> Result<()> {
    let transaction = client.transaction().await?;
    if !is_there(&transaction, tenant, next.digest).await? {
        return Err(PostgresError::NotFound(no_ruleset(next.digest)));
    }
    let last = publications(&transaction, tenant, 1, None).await?;
    let last = last.first().map_or(0, |last| last.revision);
    check_revision(last, next.revision).map_err(PostgresError::Conflict)?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.publications
                 (tenant, revision, digest, actor, reason, published_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .await?;
    // Of several at once, one adds the revision; the others wait for it, and add nothing.
    let added = transaction
        .execute(
            &insert,
            &[
                &tenant.as_str(),
                &next.revision.cast_signed(),
                &next.digest.as_bytes().as_slice(),
                &escaped(&next.actor),
                &next.reason.as_deref().map(escaped),
                &next.at.as_nanos(),
            ],
        )
        .await?;
    if added == 0 {
        let why = format!("revision {} was published by somebody else", next.revision);
        return Err(PostgresError::Conflict(why));
    }
    access::note(&transaction, tenant, &AuditEntry::of_publication(next)).await?;
    transaction.commit().await?;
    Ok(())
}

async fn publications(
    client: &impl GenericClient,
    tenant: &TenantId,
    count: usize,
    after: Option<Position>,
) -> Result<Vec<Publication>> {
    let select = "SELECT revision, digest, actor, reason, published_at FROM lavender.publications
         WHERE tenant = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3";
    let parse = |row: &Row| -> Result<Publication> {
        Ok(Publication {
            revision: row.try_get::<_, i64>(0)?.cast_unsigned(),
            digest: digest(row, 1)?,
            actor: unescaped(row.try_get(2)?).into(),
            reason: reason(row, 3)?,
            at: Timestamp::from_nanos(row.try_get(4)?),
        })
    };
    let rows = client.query(select, &[&tenant.as_str(), &before(after), &(count as i64)]).await?;
    rows.iter().map(parse).collect()
}

async fn published(client: &Client, tenant: &TenantId) -> Result<Option<Publication>> {
    Ok(publications(client, tenant, 1, None).await?.pop())
}

async fn page(
    client: &Client,
    tenant: &TenantId,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<Publication>> {
    let items = publications(client, tenant, limit + 1, after).await?;
    Ok(Listing::Publications.page(items, limit, position_of_publication))
}

async fn tenants(client: &Client) -> Result<Vec<TenantId>> {
    let select = "SELECT DISTINCT tenant FROM lavender.publications ORDER BY tenant";
    let rows = client.query(select, &[]).await?;
    rows.iter().map(|row| access::tenant(row.try_get(0)?)).collect()
}

#[async_trait]
impl RulesetStore for PostgresStore {
    async fn put_ruleset(
        &self,
        tenant: &TenantId,
        rules: &Ruleset,
        uploaded: &UploadedRuleset,
    ) -> lavender_core::Result<bool> {
        with!(self, |client| put(&mut client, tenant, rules, uploaded))
    }

    async fn ruleset(
        &self,
        tenant: &TenantId,
        digest: RulesetDigest,
    ) -> lavender_core::Result<Option<(UploadedRuleset, Ruleset)>> {
        with!(self, |client| one(&client, tenant, digest))
    }

    async fn rulesets(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> lavender_core::Result<Page<UploadedRuleset>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Rulesets.position(query.after.as_ref())?;
        with!(self, |client| list(&client, tenant, limit, after))
    }

    async fn publish_ruleset(
        &self,
        tenant: &TenantId,
        publication: &Publication,
    ) -> lavender_core::Result<()> {
        with!(self, |client| publish(&mut client, tenant, publication))
    }

    async fn published_ruleset(
        &self,
        tenant: &TenantId,
    ) -> lavender_core::Result<Option<Publication>> {
        with!(self, |client| published(&client, tenant))
    }

    async fn publications(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> lavender_core::Result<Page<Publication>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Publications.position(query.after.as_ref())?;
        with!(self, |client| page(&client, tenant, limit, after))
    }

    async fn publishing_tenants(&self) -> lavender_core::Result<Vec<TenantId>> {
        with!(self, |client| tenants(&client))
    }
}

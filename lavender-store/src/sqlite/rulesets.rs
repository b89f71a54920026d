//! Rulesets, and which of them is published.

use lavender_core::ruleset::{Ruleset, RulesetDigest};
use lavender_core::store::{
    AuditEntry, Page, Publication, RulesetQuery, RulesetStore, UploadedRuleset,
};
use lavender_core::{TenantId, Timestamp, async_trait};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::{Result, SqliteError};
use super::{SqliteStore, access};
use crate::cursor::{self, Listing, Position};
use crate::rulesets::{check_revision, no_ruleset, position_of_publication};

/// Behind every upload and every revision.
const LAST: u128 = i64::MAX as u128;

fn put(
    connection: &Connection,
    tenant: &TenantId,
    rules: &Ruleset,
    uploaded: &UploadedRuleset,
) -> Result<bool> {
    if row(connection, tenant, rules.digest())?.is_some() {
        return Ok(false);
    }
    let bundle =
        rules.to_bundle().map_err(|error| SqliteError::Other(format!("a ruleset: {error}")))?;
    connection
        .prepare_cached(
            "INSERT INTO rulesets
                 (tenant, digest, files, text_bytes, actor, reason, uploaded_at, bundle)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            tenant.as_str(),
            rules.digest().as_bytes(),
            uploaded.files,
            uploaded.text_bytes as i64,
            &*uploaded.actor,
            uploaded.reason.as_deref(),
            uploaded.at.as_nanos(),
            bundle,
        ])?;
    access::note(connection, tenant, &AuditEntry::of_ruleset(uploaded))?;
    Ok(true)
}

/// The number of its row.
fn row(connection: &Connection, tenant: &TenantId, digest: RulesetDigest) -> Result<Option<i64>> {
    let mut select = connection
        .prepare_cached("SELECT upload FROM rulesets WHERE tenant = ?1 AND digest = ?2")?;
    let row = select.query_row(params![tenant.as_str(), digest.as_bytes()], |row| row.get(0));
    Ok(row.optional()?)
}

const COLUMNS: &str = "upload, digest, files, text_bytes, actor, reason, uploaded_at";

fn parse(row: &Row<'_>) -> Result<(i64, UploadedRuleset)> {
    let uploaded = UploadedRuleset {
        digest: RulesetDigest::from_bytes(row.get(1)?),
        files: row.get(2)?,
        text_bytes: row.get::<_, i64>(3)?.cast_unsigned(),
        actor: row.get::<_, String>(4)?.into(),
        reason: row.get::<_, Option<String>>(5)?.map(Into::into),
        at: Timestamp::from_nanos(row.get(6)?),
    };
    Ok((row.get(0)?, uploaded))
}

fn one(
    connection: &Connection,
    tenant: &TenantId,
    digest: RulesetDigest,
) -> Result<Option<(UploadedRuleset, Ruleset)>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, bundle FROM rulesets WHERE tenant = ?1 AND digest = ?2"
    ))?;
    let mut rows = select.query(params![tenant.as_str(), digest.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let rules = Ruleset::from_bundle(&row.get::<_, Vec<u8>>(7)?, digest)
        .map_err(|error| SqliteError::unreadable("a ruleset", &error))?;
    Ok(Some((parse(row)?.1, rules)))
}

/// The number behind which a page begins.
fn before(after: Option<Position>) -> i64 {
    i64::try_from(after.map_or(LAST, |after| after.id)).unwrap_or(i64::MAX)
}

fn list(
    connection: &Connection,
    tenant: &TenantId,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<UploadedRuleset>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM rulesets WHERE tenant = ?1 AND upload < ?2
         ORDER BY upload DESC LIMIT ?3"
    ))?;
    let mut rows = select.query(params![tenant.as_str(), before(after), limit as i64 + 1])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(parse(row)?);
    }
    let position = |(number, uploaded): &(i64, UploadedRuleset)| Position {
        time: uploaded.at,
        id: u128::from(number.cast_unsigned()),
    };
    Ok(Listing::Rulesets.page(items, limit, position).map(|(_, uploaded)| uploaded))
}

fn publish(connection: &Connection, tenant: &TenantId, next: &Publication) -> Result<()> {
    if row(connection, tenant, next.digest)?.is_none() {
        return Err(SqliteError::NotFound(no_ruleset(next.digest)));
    }
    let last = published(connection, tenant)?.map_or(0, |last| last.revision);
    check_revision(last, next.revision).map_err(SqliteError::Conflict)?;
    connection
        .prepare_cached(
            "INSERT INTO publications (tenant, revision, digest, actor, reason, published_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            tenant.as_str(),
            next.revision.cast_signed(),
            next.digest.as_bytes(),
            &*next.actor,
            next.reason.as_deref(),
            next.at.as_nanos(),
        ])?;
    access::note(connection, tenant, &AuditEntry::of_publication(next))
}

fn publications(
    connection: &Connection,
    tenant: &TenantId,
    count: usize,
    after: Option<Position>,
) -> Result<Vec<Publication>> {
    let mut select = connection.prepare_cached(
        "SELECT revision, digest, actor, reason, published_at FROM publications
         WHERE tenant = ?1 AND revision < ?2 ORDER BY revision DESC LIMIT ?3",
    )?;
    let mut rows = select.query(params![tenant.as_str(), before(after), count as i64])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(Publication {
            revision: row.get::<_, i64>(0)?.cast_unsigned(),
            digest: RulesetDigest::from_bytes(row.get(1)?),
            actor: row.get::<_, String>(2)?.into(),
            reason: row.get::<_, Option<String>>(3)?.map(Into::into),
            at: Timestamp::from_nanos(row.get(4)?),
        });
    }
    Ok(items)
}

fn published(connection: &Connection, tenant: &TenantId) -> Result<Option<Publication>> {
    Ok(publications(connection, tenant, 1, None)?.pop())
}

fn tenants(connection: &Connection) -> Result<Vec<TenantId>> {
    let mut select =
        connection.prepare_cached("SELECT DISTINCT tenant FROM publications ORDER BY tenant")?;
    let mut rows = select.query([])?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next()? {
        tenants.push(access::tenant(&row.get::<_, String>(0)?)?);
    }
    Ok(tenants)
}

#[async_trait]
impl RulesetStore for SqliteStore {
    async fn put_ruleset(
        &self,
        tenant: &TenantId,
        rules: &Ruleset,
        uploaded: &UploadedRuleset,
    ) -> lavender_core::Result<bool> {
        let (tenant, rules, uploaded) = (tenant.clone(), rules.clone(), uploaded.clone());
        self.write(1, move |connection, _| put(connection, &tenant, &rules, &uploaded)).await
    }

    async fn ruleset(
        &self,
        tenant: &TenantId,
        digest: RulesetDigest,
    ) -> lavender_core::Result<Option<(UploadedRuleset, Ruleset)>> {
        let tenant = tenant.clone();
        self.read(move |connection| one(connection, &tenant, digest)).await
    }

    async fn rulesets(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> lavender_core::Result<Page<UploadedRuleset>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Rulesets.position(query.after.as_ref())?;
        let tenant = tenant.clone();
        self.read(move |connection| list(connection, &tenant, limit, after)).await
    }

    async fn publish_ruleset(
        &self,
        tenant: &TenantId,
        publication: &Publication,
    ) -> lavender_core::Result<()> {
        let (tenant, publication) = (tenant.clone(), publication.clone());
        self.write(1, move |connection, _| publish(connection, &tenant, &publication)).await
    }

    async fn published_ruleset(
        &self,
        tenant: &TenantId,
    ) -> lavender_core::Result<Option<Publication>> {
        let tenant = tenant.clone();
        self.read(move |connection| published(connection, &tenant)).await
    }

    async fn publications(
        &self,
        tenant: &TenantId,
        query: &RulesetQuery,
    ) -> lavender_core::Result<Page<Publication>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Publications.position(query.after.as_ref())?;
        let tenant = tenant.clone();
        let read =
            move |connection: &Connection| publications(connection, &tenant, limit + 1, after);
        let items = self.read(read).await?;
        Ok(Listing::Publications.page(items, limit, position_of_publication))
    }

    async fn publishing_tenants(&self) -> lavender_core::Result<Vec<TenantId>> {
        self.read(tenants).await
    }
}

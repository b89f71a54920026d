//! Tokens and the audit log.

use std::sync::Arc;

use lavender_core::store::{
    AccessStore, AccessToken, AuditEntry, AuditQuery, Page, TokenHash, TokenId, TokenQuery,
};
use lavender_core::{TenantId, Timestamp, async_trait};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::SqliteStore;
use super::error::{Result, SqliteError};
use crate::cursor::{self, Listing, Position};

/// A tenant as it is stored.
pub(super) fn tenant(name: &str) -> Result<TenantId> {
    TenantId::new(name).map_err(|error| SqliteError::unreadable("a tenant's name", &error))
}

/// Writes a line of the audit log, inside the transaction of what it tells of.
pub(super) fn note(connection: &Connection, tenant: &TenantId, entry: &AuditEntry) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO audit (at, tenant, actor, action, target, change, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            entry.at.as_nanos(),
            tenant.as_str(),
            &*entry.actor,
            entry.action.as_str(),
            &*entry.target,
            &*entry.change,
            entry.reason.as_deref(),
        ])?;
    Ok(())
}

fn create(connection: &Connection, token: &AccessToken) -> Result<()> {
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO tokens
                 (token_id, tenant, role, name, hash, created_by, created_at, expires_at, revoked_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            token.id.as_u128().to_be_bytes(),
            token.tenant.as_str(),
            token.role.as_str(),
            &*token.name,
            token.hash.expose(),
            &*token.created_by,
            token.created_at.as_nanos(),
            token.expires_at.map(Timestamp::as_nanos),
            token.revoked_at.map(Timestamp::as_nanos),
        ])?;
    if added == 0 {
        return Err(SqliteError::Conflict(format!("there is a token {}", token.id)));
    }
    note(connection, &token.tenant, &AuditEntry::of_new_token(token))
}

const COLUMNS: &str =
    "token_id, tenant, role, name, hash, created_by, created_at, expires_at, revoked_at";

fn parse(row: &Row<'_>) -> Result<AccessToken> {
    let time = |column| -> Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_nanos))
    };
    Ok(AccessToken {
        id: TokenId::from_u128(u128::from_be_bytes(row.get(0)?)),
        tenant: tenant(&row.get::<_, String>(1)?)?,
        role: row
            .get::<_, String>(2)?
            .parse()
            .map_err(|error| SqliteError::unreadable("a token's role", &error))?,
        name: row.get::<_, String>(3)?.into(),
        hash: TokenHash::new(row.get::<_, String>(4)?),
        created_by: row.get::<_, String>(5)?.into(),
        created_at: Timestamp::from_nanos(row.get(6)?),
        expires_at: time(7)?,
        revoked_at: time(8)?,
    })
}

fn token(connection: &Connection, id: TokenId) -> Result<Option<AccessToken>> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE token_id = ?1"))?;
    let mut rows = select.query([id.as_u128().to_be_bytes()])?;
    rows.next()?.map(parse).transpose()
}

/// Behind everything, where a page begins with the first: newest first.
pub(super) const NEWEST: Position =
    Position { time: Timestamp::from_nanos(i64::MAX), id: u128::MAX };

fn tokens(
    connection: &Connection,
    tenant: &TenantId,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<AccessToken>> {
    let after = after.unwrap_or(NEWEST);
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tokens WHERE tenant = ?1 AND (created_at, token_id) < (?2, ?3)
         ORDER BY created_at DESC, token_id DESC LIMIT ?4"
    ))?;
    let mut rows = select.query(params![
        tenant.as_str(),
        after.time.as_nanos(),
        after.id.to_be_bytes(),
        limit as i64 + 1
    ])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(parse(row)?);
    }
    let position =
        |token: &AccessToken| Position { time: token.created_at, id: token.id.as_u128() };
    Ok(Listing::Tokens.page(items, limit, position))
}

fn revoke(
    connection: &Connection,
    tenant: &TenantId,
    id: TokenId,
    actor: &Arc<str>,
    at: Timestamp,
) -> Result<()> {
    let known = token(connection, id)?.filter(|token| token.tenant == *tenant);
    let Some(known) = known else {
        return Err(SqliteError::NotFound(format!("there is no token {id}")));
    };
    if known.revoked_at.is_some() {
        return Ok(());
    }
    connection
        .prepare_cached("UPDATE tokens SET revoked_at = ?2 WHERE token_id = ?1")?
        .execute(params![id.as_u128().to_be_bytes(), at.as_nanos()])?;
    note(connection, tenant, &AuditEntry::of_revoked_token(&known, actor, at))
}

/// Reads a page of the audit log.
fn audit(
    connection: &Connection,
    tenant: &TenantId,
    query: &AuditQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<AuditEntry>> {
    let to = cursor::end(query.time.to, after);
    let after = after.unwrap_or(NEWEST);
    let actor = if query.actor.is_some() { "actor = ?6" } else { "?6 IS NULL" };
    let mut select = connection.prepare_cached(&format!(
        "SELECT entry, at, actor, action, target, change, reason FROM audit
         WHERE tenant = ?1 AND at >= ?2 AND at < ?3 AND (at, entry) < (?4, ?5) AND {actor}
         ORDER BY at DESC, entry DESC LIMIT ?7"
    ))?;
    let mut rows = select.query(params![
        tenant.as_str(),
        query.time.from.as_nanos(),
        to.as_nanos(),
        after.time.as_nanos(),
        i64::try_from(after.id).unwrap_or(i64::MAX),
        query.actor.as_deref(),
        limit as i64 + 1,
    ])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let entry = AuditEntry {
            at: Timestamp::from_nanos(row.get(1)?),
            actor: row.get::<_, String>(2)?.into(),
            action: row
                .get::<_, String>(3)?
                .parse()
                .map_err(|error| SqliteError::unreadable("an audited action", &error))?,
            target: row.get::<_, String>(4)?.into(),
            change: row.get::<_, String>(5)?.into(),
            reason: row.get::<_, Option<String>>(6)?.map(Into::into),
        };
        items.push((row.get::<_, i64>(0)?, entry));
    }
    let position = |(number, entry): &(i64, AuditEntry)| Position {
        time: entry.at,
        id: u128::from(number.cast_unsigned()),
    };
    Ok(Listing::Audit.page(items, limit, position).map(|(_, entry)| entry))
}

#[async_trait]
impl AccessStore for SqliteStore {
    async fn create_token(&self, token: &AccessToken) -> lavender_core::Result<()> {
        let token = token.clone();
        self.write(1, move |connection, _| create(connection, &token)).await
    }

    async fn create_first_token(&self, token: &AccessToken) -> lavender_core::Result<bool> {
        let token = token.clone();
        self.write(1, move |connection, _| {
            let known: Option<i64> = connection
                .prepare_cached("SELECT 1 FROM tokens WHERE tenant = ?1 LIMIT 1")?
                .query_row([token.tenant.as_str()], |row| row.get(0))
                .optional()?;
            if known.is_none() {
                create(connection, &token)?;
            }
            Ok(known.is_none())
        })
        .await
    }

    async fn token(&self, id: TokenId) -> lavender_core::Result<Option<AccessToken>> {
        self.read(move |connection| token(connection, id)).await
    }

    async fn tokens(
        &self,
        tenant: &TenantId,
        query: &TokenQuery,
    ) -> lavender_core::Result<Page<AccessToken>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Tokens.position(query.after.as_ref())?;
        let tenant = tenant.clone();
        self.read(move |connection| tokens(connection, &tenant, limit, after)).await
    }

    async fn revoke_token(
        &self,
        tenant: &TenantId,
        id: TokenId,
        actor: &Arc<str>,
        at: Timestamp,
    ) -> lavender_core::Result<()> {
        let (tenant, actor) = (tenant.clone(), Arc::clone(actor));
        self.write(1, move |connection, _| revoke(connection, &tenant, id, &actor, at)).await
    }

    async fn audit(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> lavender_core::Result<Page<AuditEntry>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Audit.position(query.after.as_ref())?;
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| audit(connection, &tenant, &query, limit, after)).await
    }
}

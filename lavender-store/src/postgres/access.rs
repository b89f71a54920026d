//! Tokens and the audit log.

use std::sync::Arc;

use deadpool_postgres::{Client, Transaction};
use lavender_core::store::{
    AccessStore, AccessToken, AuditEntry, AuditQuery, Page, TokenHash, TokenId, TokenQuery,
};
use lavender_core::{TenantId, Timestamp, async_trait};
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::text::{escaped, unescaped};
use super::{Held, PostgresStore};
use crate::cursor::{self, Listing, Position};

/// Held while a tenant's first token is made: `lavetokn` in bytes.
const LOCK: i64 = 0x6c61_7665_746f_6b6e;

/// A tenant as it is stored.
pub(super) fn tenant(name: &str) -> Result<TenantId> {
    TenantId::new(name).map_err(|error| PostgresError::unreadable("a tenant's name", &error))
}

/// Writes a line of the audit log, inside the transaction of what it tells of.
pub(super) async fn note(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    entry: &AuditEntry,
) -> Result<()> {
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.audit (at, tenant, actor, action, target, change, reason)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .await?;
    transaction
        .execute(
            &insert,
            &[
                &entry.at.as_nanos(),
                &tenant.as_str(),
                &escaped(&entry.actor),
                &entry.action.as_str(),
                &escaped(&entry.target),
                &escaped(&entry.change),
                &entry.reason.as_deref().map(escaped),
            ],
        )
        .await?;
    Ok(())
}

async fn create(transaction: &Transaction<'_>, token: &AccessToken) -> Result<()> {
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.tokens
                 (token_id, tenant, role, name, hash, created_by, created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
        .await?;
    let added = transaction
        .execute(
            &insert,
            &[
                &Uuid::from_u128(token.id.as_u128()),
                &token.tenant.as_str(),
                &token.role.as_str(),
                &escaped(&token.name),
                &token.hash.expose(),
                &escaped(&token.created_by),
                &token.created_at.as_nanos(),
                &token.expires_at.map(Timestamp::as_nanos),
                &token.revoked_at.map(Timestamp::as_nanos),
            ],
        )
        .await?;
    if added == 0 {
        return Err(PostgresError::Conflict(format!("there is a token {}", token.id)));
    }
    note(transaction, &token.tenant, &AuditEntry::of_new_token(token)).await
}

async fn create_token(client: &mut Client, token: &AccessToken) -> Result<()> {
    let transaction = client.transaction().await?;
    create(&transaction, token).await?;
    transaction.commit().await?;
    Ok(())
}

async fn create_first(client: &mut Client, token: &AccessToken) -> Result<bool> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let select = "SELECT 1 FROM lavender.tokens WHERE tenant = $1 LIMIT 1";
    if transaction.query_opt(select, &[&token.tenant.as_str()]).await?.is_some() {
        return Ok(false);
    }
    create(&transaction, token).await?;
    transaction.commit().await?;
    Ok(true)
}

const COLUMNS: &str =
    "token_id, tenant, role, name, hash, created_by, created_at, expires_at, revoked_at";

fn parse(row: &Row) -> Result<AccessToken> {
    let text = |column| -> Result<Arc<str>> { Ok(unescaped(row.try_get(column)?).into()) };
    let time = |column| -> Result<Option<Timestamp>> {
        Ok(row.try_get::<_, Option<i64>>(column)?.map(Timestamp::from_nanos))
    };
    Ok(AccessToken {
        id: TokenId::from_u128(row.try_get::<_, Uuid>(0)?.as_u128()),
        tenant: tenant(row.try_get(1)?)?,
        role: row
            .try_get::<_, &str>(2)?
            .parse()
            .map_err(|error| PostgresError::unreadable("a token's role", &error))?,
        name: text(3)?,
        hash: TokenHash::new(row.try_get::<_, String>(4)?),
        created_by: text(5)?,
        created_at: Timestamp::from_nanos(row.try_get(6)?),
        expires_at: time(7)?,
        revoked_at: time(8)?,
    })
}

async fn token(client: &impl GenericClient, id: TokenId) -> Result<Option<AccessToken>> {
    let select = format!("SELECT {COLUMNS} FROM lavender.tokens WHERE token_id = $1");
    let row = client.query_opt(&select, &[&Uuid::from_u128(id.as_u128())]).await?;
    row.as_ref().map(parse).transpose()
}

/// Behind everything, where a page begins with the first: newest first.
pub(super) const NEWEST: Position =
    Position { time: Timestamp::from_nanos(i64::MAX), id: u128::MAX };

async fn tokens(
    client: &Client,
    tenant: &TenantId,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<AccessToken>> {
    let after = after.unwrap_or(NEWEST);
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.tokens WHERE tenant = $1 AND (created_at, token_id) < ($2, $3)
             ORDER BY created_at DESC, token_id DESC LIMIT $4"
        ))
        .await?;
    let (at, id) = (after.time.as_nanos(), Uuid::from_u128(after.id));
    let rows = client.query(&select, &[&tenant.as_str(), &at, &id, &(limit as i64 + 1)]).await?;
    let items = rows.iter().map(parse).collect::<Result<_>>()?;
    let position =
        |token: &AccessToken| Position { time: token.created_at, id: token.id.as_u128() };
    Ok(Listing::Tokens.page(items, limit, position))
}

async fn revoke(
    client: &mut Client,
    tenant: &TenantId,
    id: TokenId,
    actor: &Arc<str>,
    at: Timestamp,
) -> Result<()> {
    let transaction = client.transaction().await?;
    let known = token(&*transaction, id).await?.filter(|token| token.tenant == *tenant);
    let Some(known) = known else {
        return Err(PostgresError::NotFound(format!("there is no token {id}")));
    };
    let update =
        "UPDATE lavender.tokens SET revoked_at = $2 WHERE token_id = $1 AND revoked_at IS NULL";
    let key = Uuid::from_u128(id.as_u128());
    if transaction.execute(update, &[&key, &at.as_nanos()]).await? == 1 {
        note(&transaction, tenant, &AuditEntry::of_revoked_token(&known, actor, at)).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn audit(
    client: &Client,
    tenant: &TenantId,
    query: &AuditQuery,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<AuditEntry>> {
    let to = cursor::end(query.time.to, after);
    let after = after.unwrap_or(NEWEST);
    let select = client
        .prepare_cached(
            "SELECT entry, at, actor, action, target, change, reason FROM lavender.audit
             WHERE tenant = $1 AND at >= $2 AND at < $3 AND (at, entry) < ($4, $5)
                 AND ($6::text IS NULL OR actor = $6)
             ORDER BY at DESC, entry DESC LIMIT $7",
        )
        .await?;
    let rows = client
        .query(
            &select,
            &[
                &tenant.as_str(),
                &query.time.from.as_nanos(),
                &to.as_nanos(),
                &after.time.as_nanos(),
                &i64::try_from(after.id).unwrap_or(i64::MAX),
                &query.actor.as_deref().map(escaped),
                &(limit as i64 + 1),
            ],
        )
        .await?;
    let text =
        |row: &Row, column| -> Result<Arc<str>> { Ok(unescaped(row.try_get(column)?).into()) };
    let line = |row: &Row| -> Result<(i64, AuditEntry)> {
        let entry = AuditEntry {
            at: Timestamp::from_nanos(row.try_get(1)?),
            actor: text(row, 2)?,
            action: row
                .try_get::<_, &str>(3)?
                .parse()
                .map_err(|error| PostgresError::unreadable("an audited action", &error))?,
            target: text(row, 4)?,
            change: text(row, 5)?,
            reason: row.try_get::<_, Option<String>>(6)?.map(|text| unescaped(text).into()),
        };
        Ok((row.try_get(0)?, entry))
    };
    let items = rows.iter().map(line).collect::<Result<_>>()?;
    let position = |(number, entry): &(i64, AuditEntry)| Position {
        time: entry.at,
        id: u128::from(number.cast_unsigned()),
    };
    Ok(Listing::Audit.page(items, limit, position).map(|(_, entry)| entry))
}

#[async_trait]
impl AccessStore for PostgresStore {
    async fn create_token(&self, token: &AccessToken) -> lavender_core::Result<()> {
        with!(self, |client| create_token(&mut client, token))
    }

    async fn create_first_token(&self, token: &AccessToken) -> lavender_core::Result<bool> {
        with!(self, |client| create_first(&mut client, token))
    }

    async fn token(&self, id: TokenId) -> lavender_core::Result<Option<AccessToken>> {
        with!(self, |client| token(&**client, id))
    }

    async fn tokens(
        &self,
        tenant: &TenantId,
        query: &TokenQuery,
    ) -> lavender_core::Result<Page<AccessToken>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Tokens.position(query.after.as_ref())?;
        with!(self, |client| tokens(&client, tenant, limit, after))
    }

    async fn revoke_token(
        &self,
        tenant: &TenantId,
        id: TokenId,
        actor: &Arc<str>,
        at: Timestamp,
    ) -> lavender_core::Result<()> {
        with!(self, |client| revoke(&mut client, tenant, id, actor, at))
    }

    async fn audit(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> lavender_core::Result<Page<AuditEntry>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Audit.position(query.after.as_ref())?;
        with!(self, |client| audit(&client, tenant, query, limit, after))
    }
}

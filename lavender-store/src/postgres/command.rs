//! Commands to agents, and what became of them.

use deadpool_postgres::Client;
use lavender_core::command::{CommandId, CommandRefusal, CommandResult, SignedCommand};
use lavender_core::store::{
    AuditEntry, CommandQuery, CommandStore, IssuedCommand, Page, PendingQuery,
};
use lavender_core::{AgentId, TenantId, Timestamp, async_trait};
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::text::{escaped, unescaped};
use super::{Held, PostgresStore, access};
use crate::cursor::{self, Listing, Position};

async fn issue(client: &mut Client, issued: &IssuedCommand) -> Result<()> {
    let transaction = client.transaction().await?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO lavender.commands
                 (command_id, tenant, agent, action, issued_at, expires_at, actor, reason, signed)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
        .await?;
    let command = issued.command();
    let added = transaction
        .execute(
            &insert,
            &[
                &Uuid::from_u128(command.id.as_u128()),
                &command.tenant.as_str(),
                &command.agent.as_str(),
                &command.action.as_str(),
                &command.issued_at.as_nanos(),
                &command.expires_at.as_nanos(),
                &escaped(&issued.actor),
                &issued.reason.as_deref().map(escaped),
                &issued.signed().to_bytes(),
            ],
        )
        .await?;
    if added == 0 {
        return Err(PostgresError::Conflict(format!("there is a command {}", command.id)));
    }
    access::note(&transaction, &command.tenant, &AuditEntry::of_command(issued)).await?;
    transaction.commit().await?;
    Ok(())
}

const COLUMNS: &str = "signed, actor, reason, outcome, finished_at";

fn parse(row: &Row) -> Result<IssuedCommand> {
    let signed = SignedCommand::from_bytes(row.try_get(0)?)
        .map_err(|error| PostgresError::unreadable("a command", &error))?;
    let reason = row.try_get::<_, Option<String>>(2)?.map(|text| unescaped(text).into());
    let mut issued = IssuedCommand::new(signed, unescaped(row.try_get(1)?), reason);
    if let Some(outcome) = row.try_get::<_, Option<&str>>(3)? {
        let outcome = serde_json::from_str(outcome)
            .map_err(|error| PostgresError::unreadable("the result of a command", &error))?;
        issued.result = Some((outcome, Timestamp::from_nanos(row.try_get(4)?)));
    }
    Ok(issued)
}

async fn one(client: &Client, tenant: &TenantId, id: CommandId) -> Result<Option<IssuedCommand>> {
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.commands WHERE command_id = $1 AND tenant = $2"
        ))
        .await?;
    let key = Uuid::from_u128(id.as_u128());
    let row = client.query_opt(&select, &[&key, &tenant.as_str()]).await?;
    row.as_ref().map(parse).transpose()
}

async fn list(
    client: &Client,
    tenant: &TenantId,
    agent: &AgentId,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<IssuedCommand>> {
    let after = after.unwrap_or(access::NEWEST);
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.commands
             WHERE tenant = $1 AND agent = $2 AND (issued_at, command_id) < ($3, $4)
             ORDER BY issued_at DESC, command_id DESC LIMIT $5"
        ))
        .await?;
    let (at, id) = (after.time.as_nanos(), Uuid::from_u128(after.id));
    let rows = client
        .query(&select, &[&tenant.as_str(), &agent.as_str(), &at, &id, &(limit as i64 + 1)])
        .await?;
    let items = rows.iter().map(parse).collect::<Result<_>>()?;
    let position = |issued: &IssuedCommand| {
        let command = issued.command();
        Position { time: command.issued_at, id: command.id.as_u128() }
    };
    Ok(Listing::Commands.page(items, limit, position))
}

async fn pending(client: &Client, after: Position, limit: usize) -> Result<Page<IssuedCommand>> {
    let select = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lavender.commands
             WHERE outcome IS NULL AND (expires_at, command_id) > ($1, $2)
             ORDER BY expires_at, command_id LIMIT $3"
        ))
        .await?;
    let (time, id) = (after.time.as_nanos(), Uuid::from_u128(after.id));
    let rows = client.query(&select, &[&time, &id, &(limit as i64 + 1)]).await?;
    let items = rows.iter().map(parse).collect::<Result<_>>()?;
    Ok(Listing::Pending.page(items, limit, expiry))
}

/// By what pending commands are ordered.
fn expiry(issued: &IssuedCommand) -> Position {
    let command = issued.command();
    Position { time: command.expires_at, id: command.id.as_u128() }
}

async fn refuse(client: &mut Client, refusal: &CommandRefusal, at: Timestamp) -> Result<()> {
    let transaction = client.transaction().await?;
    let entry = AuditEntry::of_command_refusal(refusal, at);
    access::note(&transaction, &refusal.tenant, &entry).await?;
    transaction.commit().await?;
    Ok(())
}

async fn record(client: &mut Client, result: &CommandResult, at: Timestamp) -> Result<bool> {
    let outcome = serde_json::to_string(&result.outcome)
        .map_err(|error| PostgresError::Other(format!("the result of a command: {error}")))?;
    let transaction = client.transaction().await?;
    let key = Uuid::from_u128(result.command.as_u128());
    let (tenant, agent) = (result.tenant.as_str(), result.agent.as_str());
    // Of several at once, one finds no outcome: the row is locked by whoever is first.
    let update = transaction
        .prepare_cached(
            "UPDATE lavender.commands SET outcome = $4, finished_at = $5
             WHERE command_id = $1 AND tenant = $2 AND agent = $3 AND outcome IS NULL",
        )
        .await?;
    let finished_at = result.finished_at.as_nanos();
    let changed =
        transaction.execute(&update, &[&key, &tenant, &agent, &outcome, &finished_at]).await?;
    if changed == 0 {
        let select = transaction
            .prepare_cached(
                "SELECT 1 FROM lavender.commands
                 WHERE command_id = $1 AND tenant = $2 AND agent = $3",
            )
            .await?;
        if transaction.query_opt(&select, &[&key, &tenant, &agent]).await?.is_some() {
            return Ok(false);
        }
        return Err(PostgresError::NotFound(format!(
            "there is no command {} to agent {agent}",
            result.command
        )));
    }
    let entry = AuditEntry::of_command_result(result, at);
    access::note(&transaction, &result.tenant, &entry).await?;
    transaction.commit().await?;
    Ok(true)
}

#[async_trait]
impl CommandStore for PostgresStore {
    async fn issue(&self, command: &IssuedCommand) -> lavender_core::Result<()> {
        with!(self, |client| issue(&mut client, command))
    }

    async fn command(
        &self,
        tenant: &TenantId,
        id: CommandId,
    ) -> lavender_core::Result<Option<IssuedCommand>> {
        with!(self, |client| one(&client, tenant, id))
    }

    async fn commands(
        &self,
        tenant: &TenantId,
        query: &CommandQuery,
    ) -> lavender_core::Result<Page<IssuedCommand>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Commands.position(query.after.as_ref())?;
        with!(self, |client| list(&client, tenant, &query.agent, limit, after))
    }

    async fn record_result(
        &self,
        result: &CommandResult,
        at: Timestamp,
    ) -> lavender_core::Result<bool> {
        with!(self, |client| record(&mut client, result, at))
    }

    async fn pending_commands(
        &self,
        now: Timestamp,
        query: &PendingQuery,
    ) -> lavender_core::Result<Page<IssuedCommand>> {
        let limit = cursor::limit(query.limit)?;
        let after = cursor::behind(now, Listing::Pending.position(query.after.as_ref())?);
        with!(self, |client| pending(&client, after, limit))
    }

    async fn record_refusal(
        &self,
        refusal: &CommandRefusal,
        at: Timestamp,
    ) -> lavender_core::Result<()> {
        with!(self, |client| refuse(&mut client, refusal, at))
    }
}

//! Commands to agents, and what became of them.

use lavender_core::command::{CommandId, CommandRefusal, CommandResult, SignedCommand};
use lavender_core::store::{
    AuditEntry, CommandQuery, CommandStore, IssuedCommand, Page, PendingQuery,
};
use lavender_core::{AgentId, TenantId, Timestamp, async_trait};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::{Result, SqliteError};
use super::{SqliteStore, access};
use crate::cursor::{self, Listing, Position};

fn issue(connection: &Connection, issued: &IssuedCommand) -> Result<()> {
    let command = issued.command();
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO commands
                 (command_id, tenant, agent, action, issued_at, expires_at, actor, reason, signed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            command.id.as_u128().to_be_bytes(),
            command.tenant.as_str(),
            command.agent.as_str(),
            command.action.as_str(),
            command.issued_at.as_nanos(),
            command.expires_at.as_nanos(),
            &*issued.actor,
            issued.reason.as_deref(),
            issued.signed().to_bytes(),
        ])?;
    if added == 0 {
        return Err(SqliteError::Conflict(format!("there is a command {}", command.id)));
    }
    access::note(connection, &command.tenant, &AuditEntry::of_command(issued))
}

const COLUMNS: &str = "signed, actor, reason, outcome, finished_at";

fn parse(row: &Row<'_>) -> Result<IssuedCommand> {
    let signed = SignedCommand::from_bytes(&row.get::<_, Vec<u8>>(0)?)
        .map_err(|error| SqliteError::unreadable("a command", &error))?;
    let reason = row.get::<_, Option<String>>(2)?.map(Into::into);
    let mut issued = IssuedCommand::new(signed, row.get::<_, String>(1)?, reason);
    if let Some(outcome) = row.get::<_, Option<String>>(3)? {
        let outcome = serde_json::from_str(&outcome)
            .map_err(|error| SqliteError::unreadable("the result of a command", &error))?;
        issued.result = Some((outcome, Timestamp::from_nanos(row.get(4)?)));
    }
    Ok(issued)
}

fn one(connection: &Connection, tenant: &TenantId, id: CommandId) -> Result<Option<IssuedCommand>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM commands WHERE command_id = ?1 AND tenant = ?2"
    ))?;
    let mut rows = select.query(params![id.as_u128().to_be_bytes(), tenant.as_str()])?;
    rows.next()?.map(parse).transpose()
}

fn list(
    connection: &Connection,
    tenant: &TenantId,
    agent: &AgentId,
    limit: usize,
    after: Option<Position>,
) -> Result<Page<IssuedCommand>> {
    let after = after.unwrap_or(access::NEWEST);
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM commands
         WHERE tenant = ?1 AND agent = ?2 AND (issued_at, command_id) < (?3, ?4)
         ORDER BY issued_at DESC, command_id DESC LIMIT ?5"
    ))?;
    let mut rows = select.query(params![
        tenant.as_str(),
        agent.as_str(),
        after.time.as_nanos(),
        after.id.to_be_bytes(),
        limit as i64 + 1,
    ])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(parse(row)?);
    }
    let position = |issued: &IssuedCommand| {
        let command = issued.command();
        Position { time: command.issued_at, id: command.id.as_u128() }
    };
    Ok(Listing::Commands.page(items, limit, position))
}

fn pending(connection: &Connection, after: Position, limit: usize) -> Result<Page<IssuedCommand>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM commands
         WHERE outcome IS NULL AND (expires_at, command_id) > (?1, ?2)
         ORDER BY expires_at, command_id LIMIT ?3"
    ))?;
    let (time, id) = (after.time.as_nanos(), after.id.to_be_bytes());
    let mut rows = select.query(params![time, id, limit as i64 + 1])?;
    let mut pending = Vec::new();
    while let Some(row) = rows.next()? {
        pending.push(parse(row)?);
    }
    Ok(Listing::Pending.page(pending, limit, expiry))
}

/// By what pending commands are ordered.
fn expiry(issued: &IssuedCommand) -> Position {
    let command = issued.command();
    Position { time: command.expires_at, id: command.id.as_u128() }
}

fn record(connection: &Connection, result: &CommandResult, at: Timestamp) -> Result<bool> {
    let id = result.command.as_u128().to_be_bytes();
    let is_first: Option<bool> = connection
        .prepare_cached(
            "SELECT outcome IS NULL FROM commands
             WHERE command_id = ?1 AND tenant = ?2 AND agent = ?3",
        )?
        .query_row(params![id, result.tenant.as_str(), result.agent.as_str()], |row| row.get(0))
        .optional()?;
    match is_first {
        None => Err(SqliteError::NotFound(format!(
            "there is no command {} to agent {}",
            result.command, result.agent
        ))),
        Some(false) => Ok(false),
        Some(true) => {
            let outcome = serde_json::to_string(&result.outcome)
                .map_err(|error| SqliteError::Other(format!("the result of a command: {error}")))?;
            connection
                .prepare_cached(
                    "UPDATE commands SET outcome = ?2, finished_at = ?3 WHERE command_id = ?1",
                )?
                .execute(params![id, outcome, result.finished_at.as_nanos()])?;
            let entry = AuditEntry::of_command_result(result, at);
            access::note(connection, &result.tenant, &entry)?;
            Ok(true)
        }
    }
}

#[async_trait]
impl CommandStore for SqliteStore {
    async fn issue(&self, command: &IssuedCommand) -> lavender_core::Result<()> {
        let command = command.clone();
        self.write(1, move |connection, _| issue(connection, &command)).await
    }

    async fn command(
        &self,
        tenant: &TenantId,
        id: CommandId,
    ) -> lavender_core::Result<Option<IssuedCommand>> {
        let tenant = tenant.clone();
        self.read(move |connection| one(connection, &tenant, id)).await
    }

    async fn commands(
        &self,
        tenant: &TenantId,
        query: &CommandQuery,
    ) -> lavender_core::Result<Page<IssuedCommand>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Commands.position(query.after.as_ref())?;
        let (tenant, agent) = (tenant.clone(), query.agent.clone());
        self.read(move |connection| list(connection, &tenant, &agent, limit, after)).await
    }

    async fn record_result(
        &self,
        result: &CommandResult,
        at: Timestamp,
    ) -> lavender_core::Result<bool> {
        let result = result.clone();
        self.write(1, move |connection, _| record(connection, &result, at)).await
    }

    async fn pending_commands(
        &self,
        now: Timestamp,
        query: &PendingQuery,
    ) -> lavender_core::Result<Page<IssuedCommand>> {
        let limit = cursor::limit(query.limit)?;
        let after = cursor::behind(now, Listing::Pending.position(query.after.as_ref())?);
        self.read(move |connection| pending(connection, after, limit)).await
    }

    async fn record_refusal(
        &self,
        refusal: &CommandRefusal,
        at: Timestamp,
    ) -> lavender_core::Result<()> {
        let entry = AuditEntry::of_command_refusal(refusal, at);
        let tenant = refusal.tenant.clone();
        self.write(1, move |connection, _| access::note(connection, &tenant, &entry)).await
    }
}

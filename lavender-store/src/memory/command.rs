//! Commands in memory.

use std::collections::{BTreeMap, HashMap};

use lavender_core::command::{CommandId, CommandRefusal, CommandResult};
use lavender_core::store::{
    AuditEntry, CommandQuery, CommandStore, IssuedCommand, Page, PendingQuery,
};
use lavender_core::{ErrorKind, Result, TenantId, Timestamp, async_trait};

use super::{Kept, MemoryStore, fail};
use crate::cursor::{self, Listing, Position};

/// How many commands are kept; the oldest make room.
const KEPT: usize = 100_000;

#[derive(Default)]
pub(super) struct Commands {
    by_time: BTreeMap<Position, IssuedCommand>,
    times: HashMap<CommandId, Timestamp>,
}

fn position(issued: &IssuedCommand) -> Position {
    let command = issued.command();
    Position { time: command.issued_at, id: command.id.as_u128() }
}

/// By what pending commands are ordered.
fn expiry(issued: &IssuedCommand) -> Position {
    let command = issued.command();
    Position { time: command.expires_at, id: command.id.as_u128() }
}

impl Commands {
    fn get(&self, id: CommandId) -> Option<&IssuedCommand> {
        let time = *self.times.get(&id)?;
        self.by_time.get(&Position { time, id: id.as_u128() })
    }
}

impl Kept {
    fn issue(&mut self, issued: &IssuedCommand) -> Result<()> {
        let (command, commands) = (issued.command(), &mut self.commands);
        if commands.times.contains_key(&command.id) {
            return Err(fail(ErrorKind::Conflict, format!("there is a command {}", command.id)));
        }
        commands.times.insert(command.id, command.issued_at);
        commands.by_time.insert(position(issued), issued.clone());
        if commands.by_time.len() > KEPT
            && let Some((_, oldest)) = commands.by_time.pop_first()
        {
            commands.times.remove(&oldest.command().id);
        }
        self.access.note(&command.tenant, AuditEntry::of_command(issued));
        Ok(())
    }

    fn record_result(&mut self, result: &CommandResult, at: Timestamp) -> Result<bool> {
        let (id, times) = (result.command, &self.commands.times);
        let place = times.get(&id).map(|time| Position { time: *time, id: id.as_u128() });
        let known = place.and_then(|place| self.commands.by_time.get_mut(&place)).filter(|known| {
            let command = known.command();
            command.tenant == result.tenant && command.agent == result.agent
        });
        let Some(known) = known else {
            let why = format!("there is no command {id} to agent {}", result.agent);
            return Err(fail(ErrorKind::NotFound, why));
        };
        if known.result.is_some() {
            return Ok(false);
        }
        known.result = Some((result.outcome.clone(), result.finished_at));
        self.access.note(&result.tenant, AuditEntry::of_command_result(result, at));
        Ok(true)
    }
}

#[async_trait]
impl CommandStore for MemoryStore {
    async fn issue(&self, command: &IssuedCommand) -> Result<()> {
        self.kept()?.issue(command)
    }

    async fn command(&self, tenant: &TenantId, id: CommandId) -> Result<Option<IssuedCommand>> {
        let kept = self.kept()?;
        let known = kept.commands.get(id);
        Ok(known.filter(|known| known.command().tenant == *tenant).cloned())
    }

    async fn commands(
        &self,
        tenant: &TenantId,
        query: &CommandQuery,
    ) -> Result<Page<IssuedCommand>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Commands.position(query.after.as_ref())?;
        let kept = self.kept()?;
        let found = kept.commands.by_time.iter().rev().filter(|(at, issued)| {
            let command = issued.command();
            command.tenant == *tenant
                && command.agent == query.agent
                && after.is_none_or(|after| **at < after)
        });
        let items = found.take(limit + 1).map(|(_, issued)| issued.clone()).collect();
        Ok(Listing::Commands.page(items, limit, position))
    }

    async fn record_result(&self, result: &CommandResult, at: Timestamp) -> Result<bool> {
        self.kept()?.record_result(result, at)
    }

    async fn pending_commands(
        &self,
        now: Timestamp,
        query: &PendingQuery,
    ) -> Result<Page<IssuedCommand>> {
        let limit = cursor::limit(query.limit)?;
        let after = cursor::behind(now, Listing::Pending.position(query.after.as_ref())?);
        let kept = self.kept()?;
        let pending = kept.commands.by_time.values();
        let mut pending: Vec<&IssuedCommand> =
            pending.filter(|issued| issued.result.is_none() && expiry(issued) > after).collect();
        pending.sort_by_key(|issued| expiry(issued));
        let items = pending.into_iter().take(limit + 1).cloned().collect();
        Ok(Listing::Pending.page(items, limit, expiry))
    }

    async fn record_refusal(&self, refusal: &CommandRefusal, at: Timestamp) -> Result<()> {
        let entry = AuditEntry::of_command_refusal(refusal, at);
        self.kept()?.access.note(&refusal.tenant, entry);
        Ok(())
    }
}

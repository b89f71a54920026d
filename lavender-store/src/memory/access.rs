//! Tokens and the audit log in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lavender_core::store::{
    AccessStore, AccessToken, AuditEntry, AuditQuery, Page, TokenId, TokenQuery,
};
use lavender_core::{ErrorKind, Result, TenantId, Timestamp, async_trait};

use super::{MemoryStore, fail};
use crate::cursor::{self, Listing, Position};

/// How many lines of the audit log are kept; the oldest make room.
const AUDIT_KEPT: usize = 100_000;

#[derive(Default)]
pub(super) struct Access {
    tokens: HashMap<TokenId, AccessToken>,
    audit: BTreeMap<Position, (TenantId, AuditEntry)>,
    entries: u128,
}

impl Access {
    pub(super) fn note(&mut self, tenant: &TenantId, entry: AuditEntry) {
        self.entries += 1;
        let at = Position { time: entry.at, id: self.entries };
        self.audit.insert(at, (tenant.clone(), entry));
        while self.audit.len() > AUDIT_KEPT {
            self.audit.pop_first();
        }
    }

    fn create(&mut self, token: &AccessToken) -> Result<()> {
        if self.tokens.contains_key(&token.id) {
            return Err(fail(ErrorKind::Conflict, format!("there is a token {}", token.id)));
        }
        self.tokens.insert(token.id, token.clone());
        self.note(&token.tenant, AuditEntry::of_new_token(token));
        Ok(())
    }

    fn revoke(
        &mut self,
        tenant: &TenantId,
        id: TokenId,
        actor: &Arc<str>,
        at: Timestamp,
    ) -> Result<()> {
        let known = self.tokens.get_mut(&id).filter(|token| token.tenant == *tenant);
        let Some(known) = known else {
            return Err(fail(ErrorKind::NotFound, format!("there is no token {id}")));
        };
        if known.revoked_at.is_none() {
            known.revoked_at = Some(at);
            let entry = AuditEntry::of_revoked_token(known, actor, at);
            self.note(tenant, entry);
        }
        Ok(())
    }
}

fn position(token: &AccessToken) -> Position {
    Position { time: token.created_at, id: token.id.as_u128() }
}

#[async_trait]
impl AccessStore for MemoryStore {
    async fn create_token(&self, token: &AccessToken) -> Result<()> {
        self.kept()?.access.create(token)
    }

    async fn create_first_token(&self, token: &AccessToken) -> Result<bool> {
        let mut kept = self.kept()?;
        if kept.access.tokens.values().any(|known| known.tenant == token.tenant) {
            return Ok(false);
        }
        kept.access.create(token).map(|()| true)
    }

    async fn token(&self, id: TokenId) -> Result<Option<AccessToken>> {
        Ok(self.kept()?.access.tokens.get(&id).cloned())
    }

    async fn tokens(&self, tenant: &TenantId, query: &TokenQuery) -> Result<Page<AccessToken>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Tokens.position(query.after.as_ref())?;
        let kept = self.kept()?;
        let mut found: Vec<&AccessToken> = kept
            .access
            .tokens
            .values()
            .filter(|token| token.tenant == *tenant)
            .filter(|token| after.is_none_or(|after| position(token) < after))
            .collect();
        found.sort_by_key(|token| std::cmp::Reverse(position(token)));
        let items = found.into_iter().take(limit + 1).cloned().collect();
        Ok(Listing::Tokens.page(items, limit, position))
    }

    async fn revoke_token(
        &self,
        tenant: &TenantId,
        id: TokenId,
        actor: &Arc<str>,
        at: Timestamp,
    ) -> Result<()> {
        self.kept()?.access.revoke(tenant, id, actor, at)
    }

    async fn audit(&self, tenant: &TenantId, query: &AuditQuery) -> Result<Page<AuditEntry>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Audit.position(query.after.as_ref())?;
        let kept = self.kept()?;
        let found = kept.access.audit.iter().rev().filter(|(at, (of, entry))| {
            of == tenant
                && query.time.contains(entry.at)
                && query.actor.as_ref().is_none_or(|actor| *actor == entry.actor)
                && after.is_none_or(|after| **at < after)
        });
        let items: Vec<_> =
            found.take(limit + 1).map(|(at, (_, entry))| (*at, entry.clone())).collect();
        Ok(Listing::Audit.page(items, limit, |(at, _)| *at).map(|(_, entry)| entry))
    }
}

//! What an [`AccessStore`] promises.

use std::sync::Arc;
use std::time::Duration;

use super::sample::START;
use crate::store::{
    AccessStore, AccessToken, AuditAction, AuditEntry, AuditQuery, Cursor, Role, TimeRange,
    TokenHash, TokenId, TokenQuery,
};
use crate::{ErrorKind, TenantId, Timestamp};

/// Checks that a store of tokens and of the audit log keeps what the trait promises.
///
/// # Panics
///
/// Where it does not.
pub async fn access_store(store: &(impl AccessStore + ?Sized)) {
    tokens_come_back_and_are_audited(store).await;
    only_the_first_token_is_the_first(store).await;
    a_token_is_taken_back_once_and_by_its_tenant(store).await;
    the_audit_log_comes_newest_first_by_pages(store).await;
}

fn after(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

fn token(tenant: &str, number: u64, role: Role) -> AccessToken {
    AccessToken {
        id: TokenId::from_u128(u128::from(number) << 100 | 0xfeed),
        tenant: TenantId::new(tenant).unwrap(),
        role,
        name: format!("zoë's \0 token {number}").into(),
        hash: TokenHash::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"),
        created_by: "ana".into(),
        created_at: after(number),
        expires_at: number.is_multiple_of(2).then(|| after(1_000)),
        revoked_at: None,
    }
}

async fn audit(store: &(impl AccessStore + ?Sized), tenant: &TenantId) -> Vec<AuditEntry> {
    store.audit(tenant, &AuditQuery::new(TimeRange::ALL)).await.unwrap().items
}

async fn tokens_come_back_and_are_audited(store: &(impl AccessStore + ?Sized)) {
    let mut made: Vec<AccessToken> = (1..=5)
        .map(|number| token("access-tokens", number, Role::ALL[number as usize % 3]))
        .collect();
    for token in &made {
        store.create_token(token).await.unwrap();
        assert_eq!(store.token(token.id).await.unwrap().as_ref(), Some(token));
    }
    let error = store.create_token(&made[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(store.token(TokenId::from_u128(7)).await.unwrap(), None);
    let tenant = made[0].tenant.clone();
    let lines = audit(store, &tenant).await;
    let told: Vec<AuditEntry> = made.iter().rev().map(AuditEntry::of_new_token).collect();
    assert_eq!(lines, told);
    made.reverse();
    let mut query = TokenQuery { limit: 2, after: None };
    let mut read = Vec::new();
    loop {
        let page = store.tokens(&tenant, &query).await.unwrap();
        assert!(page.items.len() <= 2);
        read.extend(page.items);
        match page.next {
            None => break,
            Some(next) => query.after = Some(next),
        }
    }
    assert_eq!(read, made);
    let stranger = TenantId::new("access-stranger").unwrap();
    let all = TokenQuery { limit: 100, after: None };
    assert!(store.tokens(&stranger, &all).await.unwrap().items.is_empty());
    assert!(audit(store, &stranger).await.is_empty());
    let foreign = TokenQuery { limit: 100, after: Some(Cursor("a.1.2".into())) };
    assert_eq!(store.tokens(&tenant, &foreign).await.unwrap_err().kind(), ErrorKind::Invalid);
}

async fn only_the_first_token_is_the_first(store: &(impl AccessStore + ?Sized)) {
    let tokens: Vec<AccessToken> =
        (11..15).map(|number| token("access-first", number, Role::Admin)).collect();
    let mut won = Vec::new();
    for token in &tokens {
        if store.create_first_token(token).await.unwrap() {
            won.push(token.id);
        }
    }
    assert_eq!(won, [tokens[0].id]);
    assert_eq!(store.token(tokens[1].id).await.unwrap(), None);
    assert_eq!(audit(store, &tokens[0].tenant).await.len(), 1);
    // One that was taken back still was the first.
    let (tenant, ana) = (&tokens[0].tenant, "ana".into());
    store.revoke_token(tenant, tokens[0].id, &ana, after(20)).await.unwrap();
    assert!(!store.create_first_token(&tokens[2]).await.unwrap());
    assert!(store.create_first_token(&token("access-second", 16, Role::Admin)).await.unwrap());
}

async fn a_token_is_taken_back_once_and_by_its_tenant(store: &(impl AccessStore + ?Sized)) {
    let token = token("access-revoke", 21, Role::Viewer);
    let bo: Arc<str> = "bo".into();
    store.create_token(&token).await.unwrap();
    let stranger = TenantId::new("access-stranger").unwrap();
    for (tenant, id) in [(&stranger, token.id), (&token.tenant, TokenId::from_u128(9))] {
        let error = store.revoke_token(tenant, id, &bo, after(30)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert!(store.token(token.id).await.unwrap().unwrap().is_good(after(30)));
    store.revoke_token(&token.tenant, token.id, &bo, after(30)).await.unwrap();
    store.revoke_token(&token.tenant, token.id, &bo, after(40)).await.unwrap();
    let revoked = store.token(token.id).await.unwrap().unwrap();
    assert_eq!(revoked, AccessToken { revoked_at: Some(after(30)), ..token.clone() });
    assert!(!revoked.is_good(after(30)));
    let lines = audit(store, &token.tenant).await;
    assert_eq!(lines[0], AuditEntry::of_revoked_token(&token, &bo, after(30)));
    assert_eq!(lines.len(), 2);
}

async fn the_audit_log_comes_newest_first_by_pages(store: &(impl AccessStore + ?Sized)) {
    let tenant = TenantId::new("access-audit").unwrap();
    for number in 31..40 {
        let mut token = token("access-audit", number, Role::Analyst);
        token.created_at = after(number / 2);
        token.created_by = if number % 3 == 0 { "bo".into() } else { "ana".into() };
        store.create_token(&token).await.unwrap();
    }
    let all = audit(store, &tenant).await;
    assert_eq!(all.len(), 9);
    assert!(all.iter().all(|entry| entry.action == AuditAction::TokenCreate));
    assert!(all.windows(2).all(|pair| pair[0].at >= pair[1].at));
    let mut query = AuditQuery { limit: 2, ..AuditQuery::new(TimeRange::ALL) };
    let mut read = Vec::new();
    loop {
        let page = store.audit(&tenant, &query).await.unwrap();
        assert!(page.items.len() <= 2);
        read.extend(page.items);
        match page.next {
            None => break,
            Some(next) => query.after = Some(next),
        }
    }
    assert_eq!(read, all);
    let query = AuditQuery { actor: Some("bo".into()), ..AuditQuery::new(TimeRange::ALL) };
    let bo = store.audit(&tenant, &query).await.unwrap().items;
    assert_eq!(bo, all.iter().filter(|e| &*e.actor == "bo").cloned().collect::<Vec<_>>());
    assert_eq!(bo.len(), 3);
    let time = TimeRange { from: after(16), to: after(18) };
    let within = store.audit(&tenant, &AuditQuery::new(time)).await.unwrap().items;
    assert_eq!(within.len(), 4);
    let error = store.audit(&tenant, &AuditQuery { limit: 1_001, ..query }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

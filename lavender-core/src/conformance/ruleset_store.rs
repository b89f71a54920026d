//! What a [`RulesetStore`] promises.

use std::sync::Arc;
use std::time::Duration;

use super::sample::START;
use crate::ruleset::{RuleFile, Ruleset, RulesetDigest};
use crate::store::{
    AccessStore, AuditEntry, AuditQuery, Cursor, Publication, RulesetQuery, RulesetStore,
    TimeRange, UploadedRuleset,
};
use crate::{ErrorKind, TenantId, Timestamp};

/// Checks that a store of rulesets keeps what the trait promises.
///
/// # Panics
///
/// Where it does not.
pub async fn ruleset_store(store: &(impl RulesetStore + AccessStore)) {
    a_ruleset_is_there_once_and_as_it_was(store).await;
    rulesets_come_newest_first(store).await;
    publications_follow_each_other(store).await;
    of_many_who_publish_at_once_one_does(store).await;
}

fn after(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn ruleset(number: u64) -> Ruleset {
    let file = |name: &str, text: String| RuleFile::new(name, text).unwrap();
    Ruleset::new([
        file("grüße/a.yml", format!("title: {number} \0 \\ ü")),
        file("b.yaml", String::new()),
    ])
    .unwrap()
}

fn uploaded(rules: &Ruleset, number: u64) -> UploadedRuleset {
    let reason: Option<Arc<str>> = number.is_multiple_of(2).then(|| "zoë's \0 \\ reason".into());
    UploadedRuleset::new(rules, "token a \0 b", reason, after(number))
}

fn publication(revision: u64, digest: RulesetDigest) -> Publication {
    let reason: Option<Arc<str>> = revision.is_multiple_of(2).then(|| "why \0".into());
    Publication { revision, digest, actor: "ana".into(), reason, at: after(revision) }
}

async fn audit(store: &impl AccessStore, tenant: &TenantId) -> Vec<AuditEntry> {
    store.audit(tenant, &AuditQuery::new(TimeRange::ALL)).await.unwrap().items
}

async fn a_ruleset_is_there_once_and_as_it_was(store: &(impl RulesetStore + AccessStore)) {
    let (of, stranger) = (tenant("ruleset-once"), tenant("ruleset-stranger"));
    let rules = ruleset(1);
    let first = uploaded(&rules, 2);
    assert_eq!((first.files, first.text_bytes), (2, rules.text_bytes() as u64));
    assert!(store.put_ruleset(&of, &rules, &first).await.unwrap());
    assert!(!store.put_ruleset(&of, &rules, &uploaded(&rules, 3)).await.unwrap());
    let known = store.ruleset(&of, rules.digest()).await.unwrap();
    assert_eq!(known, Some((first.clone(), rules.clone())));
    assert_eq!(audit(store, &of).await, [AuditEntry::of_ruleset(&first)]);

    assert_eq!(store.ruleset(&stranger, rules.digest()).await.unwrap(), None);
    assert_eq!(store.ruleset(&of, ruleset(99).digest()).await.unwrap(), None);
    assert!(audit(store, &stranger).await.is_empty());
    // What another tenant has is no reason not to keep it.
    assert!(store.put_ruleset(&stranger, &rules, &uploaded(&rules, 4)).await.unwrap());
    let none = Ruleset::new([]).unwrap();
    assert!(store.put_ruleset(&of, &none, &uploaded(&none, 5)).await.unwrap());
    assert_eq!(store.ruleset(&of, none.digest()).await.unwrap().unwrap().1, none);
}

async fn rulesets_come_newest_first(store: &impl RulesetStore) {
    let of = tenant("ruleset-list");
    let mut made = Vec::new();
    for number in 1..=7 {
        let rules = ruleset(number);
        // Some are of one moment.
        let uploaded = uploaded(&rules, number / 3);
        assert!(store.put_ruleset(&of, &rules, &uploaded).await.unwrap());
        made.push(uploaded);
    }
    made.reverse();
    for limit in [1, 3, 100] {
        let mut query = RulesetQuery { limit, ..RulesetQuery::default() };
        let mut read = Vec::new();
        loop {
            let page = store.rulesets(&of, &query).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            read.extend(page.items);
            match page.next {
                None => break,
                Some(next) => query.after = Some(next),
            }
        }
        assert_eq!(read, made, "by {limit}");
    }
    let nobody = tenant("ruleset-nobody");
    assert!(store.rulesets(&nobody, &RulesetQuery::default()).await.unwrap().items.is_empty());
    for query in [
        RulesetQuery { limit: 0, after: None },
        RulesetQuery { after: Some(Cursor("a.1.2".into())), ..RulesetQuery::default() },
    ] {
        let error = store.rulesets(&of, &query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{query:?}");
        let error = store.publications(&of, &query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{query:?}");
    }
}

async fn publications_follow_each_other(store: &(impl RulesetStore + AccessStore)) {
    let (of, stranger) = (tenant("ruleset-publish"), tenant("ruleset-other"));
    let (a, b) = (ruleset(1), ruleset(2));
    assert_eq!(store.published_ruleset(&of).await.unwrap(), None);
    for rules in [&a, &b] {
        store.put_ruleset(&of, rules, &uploaded(rules, 1)).await.unwrap();
    }
    let before = audit(store, &of).await;
    for (wrong, kind) in [
        (publication(0, a.digest()), ErrorKind::Conflict),
        (publication(2, a.digest()), ErrorKind::Conflict),
        (publication(u64::MAX, a.digest()), ErrorKind::Conflict),
        (publication(1, ruleset(99).digest()), ErrorKind::NotFound),
    ] {
        let error = store.publish_ruleset(&of, &wrong).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{wrong:?}");
    }
    let error = store.publish_ruleset(&stranger, &publication(1, a.digest())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "it is another tenant's");
    assert_eq!(audit(store, &of).await, before);

    let mut made = Vec::new();
    for (revision, rules) in [(1, &a), (2, &b), (3, &b), (4, &a)] {
        let next = publication(revision, rules.digest());
        store.publish_ruleset(&of, &next).await.unwrap();
        assert_eq!(store.published_ruleset(&of).await.unwrap().as_ref(), Some(&next));
        let error = store.publish_ruleset(&of, &next).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{next:?}");
        made.insert(0, next);
    }
    let told: Vec<_> = made.iter().map(AuditEntry::of_publication).collect();
    assert_eq!(audit(store, &of).await[..4], told);
    for limit in [1, 3, 100] {
        let mut query = RulesetQuery { limit, ..RulesetQuery::default() };
        let mut read = Vec::new();
        loop {
            let page = store.publications(&of, &query).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            read.extend(page.items);
            match page.next {
                None => break,
                Some(next) => query.after = Some(next),
            }
        }
        assert_eq!(read, made, "by {limit}");
    }
    assert_eq!(store.published_ruleset(&stranger).await.unwrap(), None);
    let tenants = store.publishing_tenants().await.unwrap();
    assert!(tenants.contains(&of) && !tenants.contains(&stranger), "{tenants:?}");
}

async fn of_many_who_publish_at_once_one_does(store: &impl RulesetStore) {
    let of = tenant("ruleset-race");
    let rules = ruleset(1);
    store.put_ruleset(&of, &rules, &uploaded(&rules, 1)).await.unwrap();
    for revision in 1..=5 {
        let next = publication(revision, rules.digest());
        let tries = (0..8).map(|_| store.publish_ruleset(&of, &next));
        let done = futures_util::future::join_all(tries).await;
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
        let lost = done.into_iter().filter_map(Result::err);
        assert!(lost.into_iter().all(|error| error.kind() == ErrorKind::Conflict));
    }
    let all = store.publications(&of, &RulesetQuery::default()).await.unwrap();
    assert_eq!(all.items.len(), 5);
}

//! Published rulesets in a bucket: pieces, revisions, and what is not what was asked for.

use std::sync::Arc;

use lavender_core::ruleset::{PublishedRulesets, RuleFile, Ruleset};
use lavender_core::store::PutMode;
use lavender_core::{ErrorKind, StateStore, TenantId};
use lavender_transport::nats::BucketOptions;

use crate::server::{Server, available};

/// A ruleset of so many bytes, which no compression makes much smaller.
fn ruleset(seed: u64, bytes: usize) -> Ruleset {
    let mut state = seed | 1;
    let digits = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    });
    let text: String = digits.take(bytes).collect();
    Ruleset::new([RuleFile::new("a.yml", text).unwrap()]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn published_rules_are_fetched_whole_and_the_latest_revision_stays() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let state = Arc::new(transport.state(BucketOptions::rules()).await.unwrap());
    let published = PublishedRulesets::new(state.clone());
    let acme = TenantId::new("acme").unwrap();
    assert_eq!(published.published(&acme).await.unwrap(), None);
    assert!(published.tenants().await.unwrap().is_empty());

    // More than the broker takes in one message.
    let large = ruleset(1, 3 << 20);
    assert!(large.to_bundle().unwrap().len() > 2 << 20);
    assert!(published.publish(&acme, 2, &large).await.unwrap());
    let first = published.published(&acme).await.unwrap().unwrap();
    assert_eq!((first.revision, first.digest), (2, large.digest()));
    assert_eq!(published.fetch(&acme, &first).await.unwrap(), large);
    let small = ruleset(2, 100);
    for revision in [1, 2] {
        assert!(!published.publish(&acme, revision, &small).await.unwrap());
    }
    assert_eq!(published.published(&acme).await.unwrap(), Some(first));

    let globex = TenantId::new("globex").unwrap();
    assert!(published.publish(&globex, 7, &small).await.unwrap());
    assert_eq!(published.tenants().await.unwrap(), [acme.clone(), globex.clone()]);
    assert!(published.publish(&acme, 3, &small).await.unwrap());
    let error = published.fetch(&acme, &first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "what is old makes room");
    assert_eq!(state.keys("bundle/acme/", None, 100).await.unwrap().len(), 1);
    let of_globex = published.published(&globex).await.unwrap().unwrap();
    assert_eq!(published.fetch(&globex, &of_globex).await.unwrap(), small);

    // Of several who publish at once, the latest stays, whole.
    let tries = (4..10).map(|revision| {
        let (published, acme) = (published.clone(), acme.clone());
        tokio::spawn(async move {
            published.publish(&acme, revision, &ruleset(revision, 300 << 10)).await
        })
    });
    for done in tries.collect::<Vec<_>>() {
        done.await.unwrap().unwrap();
    }
    let last = published.published(&acme).await.unwrap().unwrap();
    assert_eq!(last.revision, 9);
    assert_eq!(published.fetch(&acme, &last).await.unwrap(), ruleset(9, 300 << 10));

    // What somebody else has put there is not taken for it.
    let other = ruleset(10, 100).to_bundle().unwrap();
    let key = state.keys("bundle/acme/", None, 1_000).await.unwrap().pop().unwrap();
    state.put(&key, other.into(), PutMode::Overwrite, None).await.unwrap();
    let error = published.fetch(&acme, &last).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for value in ["", "{}", r#"{"revision":1,"digest":"x","pieces":1}"#] {
        state.put("published/acme", value.into(), PutMode::Overwrite, None).await.unwrap();
        let error = published.published(&acme).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{value}");
    }
    let endless = format!(r#"{{"revision":9,"digest":"{}","pieces":4294967295}}"#, last.digest);
    state.put("published/acme", endless.into(), PutMode::Overwrite, None).await.unwrap();
    assert_eq!(published.published(&acme).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(published.publish(&acme, 10, &small).await.unwrap(), "it is written anew");
}

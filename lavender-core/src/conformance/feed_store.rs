//! What a [`FeedStore`] promises.

use std::sync::Arc;

use super::sample::Sample;
use crate::store::{FeedChange, FeedItem, FeedPosition, FeedStore, TriageStore};
use crate::{Alert, ErrorKind, Severity, TenantId};

/// Checks that a store keeps what changed, in order.
///
/// # Panics
///
/// Where it does not.
pub async fn feed_store(store: &(impl FeedStore + TriageStore)) {
    what_is_raised_is_fed_once_and_in_order(store).await;
    what_many_store_at_once_is_seen_by_who_follows(store).await;
}

fn alerts(sample: &mut Sample, count: usize) -> Vec<Arc<Alert>> {
    let process = sample.process();
    (0..count)
        .map(|_| {
            let event = sample.exec(&process);
            sample.alert(&event, "r", Severity::Low)
        })
        .collect()
}

fn raised(items: &[FeedItem]) -> Vec<&Alert> {
    let raised = |item: &'_ FeedItem| matches!(item.change, FeedChange::AlertRaised(_));
    assert!(items.iter().all(raised), "{items:?}");
    items
        .iter()
        .filter_map(|item| match &item.change {
            FeedChange::AlertRaised(record) => Some(&*record.alert),
            _ => None,
        })
        .collect()
}

async fn what_is_raised_is_fed_once_and_in_order(store: &(impl FeedStore + TriageStore)) {
    let mut sample = Sample::new("feed-order", "a", 1);
    let mut other = Sample::new("feed-other", "a", 2);
    let (tenant, mine) = (sample.source().tenant.clone(), alerts(&mut sample, 5));
    let theirs = alerts(&mut other, 3);
    let start = store.feed_end().await.unwrap();
    assert!(store.feed(&tenant, start, 10).await.unwrap().is_empty());
    assert!(store.feed_start().await.unwrap() <= start);
    for (one, another) in mine.iter().zip(theirs.iter().cycle()) {
        store.insert(&[Arc::clone(one)]).await.unwrap();
        store.insert(&[Arc::clone(another)]).await.unwrap();
    }
    store.insert(&mine).await.unwrap();
    let end = store.feed_end().await.unwrap();
    let items = store.feed(&tenant, start, 10).await.unwrap();
    assert_eq!(raised(&items), mine.iter().map(|alert| &**alert).collect::<Vec<_>>());
    assert!(items.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert!(items[0].position > start && items[4].position <= end);
    // By pages, from wherever one has read up to.
    assert_eq!(store.feed(&tenant, start, 2).await.unwrap(), items[..2]);
    assert_eq!(store.feed(&tenant, items[1].position, 10).await.unwrap(), items[2..]);
    assert!(store.feed(&tenant, items[4].position, 10).await.unwrap().is_empty());
    assert!(store.feed(&tenant, FeedPosition(u64::MAX), 10).await.unwrap().is_empty());
    assert_eq!(store.feed_count(&tenant, start, end).await.unwrap(), 5);
    let (second, fourth) = (items[1].position, items[3].position);
    assert_eq!(store.feed_count(&tenant, second, fourth).await.unwrap(), 2);
    let stranger = TenantId::new("feed-stranger").unwrap();
    assert!(store.feed(&stranger, start, 10).await.unwrap().is_empty());
    assert_eq!(store.feed_count(&stranger, start, end).await.unwrap(), 0);
    let error = store.feed(&tenant, start, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Whoever reads the end, and then everything behind what they have read, misses nothing.
async fn what_many_store_at_once_is_seen_by_who_follows(store: &(impl FeedStore + TriageStore)) {
    let mut samples: Vec<Sample> =
        (0..4).map(|seed| Sample::new("feed-many", "a", seed + 9)).collect();
    let tenant = samples[0].source().tenant.clone();
    let batches: Vec<Vec<Arc<Alert>>> =
        samples.iter_mut().map(|sample| alerts(sample, 25)).collect();
    let write = |batch: usize| {
        let batch = &batches[batch];
        async move {
            for alert in batch {
                store.insert(&[Arc::clone(alert)]).await.unwrap();
            }
        }
    };
    let mut at = store.feed_end().await.unwrap();
    let follow = async {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            let end = store.feed_end().await.unwrap();
            while at < end {
                let items = store.feed(&tenant, at, 7).await.unwrap();
                at = items.last().map_or(end, |item| item.position);
                seen.extend(raised(&items).into_iter().map(|alert| alert.id));
            }
            tokio::task::yield_now().await;
        }
        seen
    };
    let whole = async { tokio::join!(write(0), write(1), write(2), write(3), follow).4 };
    let seen = tokio::time::timeout(std::time::Duration::from_secs(60), whole).await;
    let mut seen = seen.expect("something was missed");
    let mut expected: Vec<_> = batches.iter().flatten().map(|alert| alert.id).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

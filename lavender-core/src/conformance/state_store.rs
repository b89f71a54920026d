//! What a [`StateStore`] promises.

use std::time::Duration;

use crate::store::{PutMode, Version};
use crate::{Bytes, Error, ErrorKind, ManualClock, StateStore};

/// Checks that a state store keeps what the trait promises. `clock` is the one that the store goes by.
///
/// # Panics
///
/// Where it does not.
pub async fn state_store(store: &dyn StateStore, clock: &ManualClock) {
    what_is_put_is_there_until_deleted(store).await;
    a_condition_that_does_not_hold_changes_nothing(store).await;
    a_value_made_anew_has_another_version(store).await;
    who_has_the_newest_reads_nothing(store, clock).await;
    a_value_is_gone_when_its_time_is_up(store, clock).await;
    any_bytes_and_any_key_are_kept(store).await;
    of_many_who_swap_one_wins(store).await;
    keys_are_listed_page_by_page(store, clock).await;
}

fn is_conflict(result: Result<Version, Error>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::Conflict)
}

async fn value(store: &dyn StateStore, key: &str) -> Option<Bytes> {
    store.get(key).await.unwrap().map(|(value, _)| value)
}

async fn what_is_put_is_there_until_deleted(store: &dyn StateStore) {
    assert_eq!(store.get("put").await.unwrap(), None);
    let first = store.put("put", "1".into(), PutMode::Create, None).await.unwrap();
    assert_eq!(store.get("put").await.unwrap(), Some(("1".into(), first)));
    let second = store.put("put", "2".into(), PutMode::Overwrite, None).await.unwrap();
    assert_ne!(first, second, "every write changes the version");
    assert_eq!(store.get("put").await.unwrap(), Some(("2".into(), second)));
    assert_eq!(value(store, "pu").await, None);
    store.delete("put").await.unwrap();
    assert_eq!(store.get("put").await.unwrap(), None);
    store.delete("put").await.unwrap();
}

async fn a_condition_that_does_not_hold_changes_nothing(store: &dyn StateStore) {
    let missing = PutMode::Update(Version(1));
    assert!(is_conflict(store.put("cas", "x".into(), missing, None).await));
    assert_eq!(value(store, "cas").await, None);
    let first = store.put("cas", "1".into(), PutMode::Create, None).await.unwrap();
    assert!(is_conflict(store.put("cas", "x".into(), PutMode::Create, None).await));
    let second = store.put("cas", "2".into(), PutMode::Update(first), None).await.unwrap();
    assert!(is_conflict(store.put("cas", "x".into(), PutMode::Update(first), None).await));
    assert_eq!(store.get("cas").await.unwrap(), Some(("2".into(), second)));
}

async fn a_value_made_anew_has_another_version(store: &dyn StateStore) {
    let old = store.put("anew", "1".into(), PutMode::Create, None).await.unwrap();
    store.delete("anew").await.unwrap();
    assert!(is_conflict(store.put("anew", "x".into(), PutMode::Update(old), None).await));
    let new = store.put("anew", "1".into(), PutMode::Create, None).await.unwrap();
    assert_ne!(old, new, "who still holds the old version would overwrite what is not theirs");
}

async fn who_has_the_newest_reads_nothing(store: &dyn StateStore, clock: &ManualClock) {
    let old = store.put("newer", "1".into(), PutMode::Create, None).await.unwrap();
    assert_eq!(store.get_newer("newer", old).await.unwrap(), None);
    let new = store.put("newer", "2".into(), PutMode::Update(old), None).await.unwrap();
    assert_eq!(store.get_newer("newer", old).await.unwrap(), Some(("2".into(), new)));
    assert_eq!(store.get_newer("newer", new).await.unwrap(), None);
    // Others that were written later are not it.
    store.put("newest", "x".into(), PutMode::Create, None).await.unwrap();
    assert_eq!(store.get_newer("newer", new).await.unwrap(), None);
    let minute = Duration::from_secs(60);
    let short = store.put("newer", "3".into(), PutMode::Update(new), Some(minute)).await.unwrap();
    assert_eq!(store.get_newer("newer", new).await.unwrap(), Some(("3".into(), short)));
    clock.advance(minute);
    assert_eq!(store.get_newer("newer", new).await.unwrap(), None, "its time is up");
    let again = store.put("newer", "4".into(), PutMode::Create, None).await.unwrap();
    assert_eq!(store.get_newer("newer", short).await.unwrap(), Some(("4".into(), again)));
    store.delete("newer").await.unwrap();
    assert_eq!(store.get_newer("newer", again).await.unwrap(), None);
}

async fn a_value_is_gone_when_its_time_is_up(store: &dyn StateStore, clock: &ManualClock) {
    let minute = Duration::from_secs(60);
    let short = store.put("short", "1".into(), PutMode::Create, Some(minute)).await.unwrap();
    store.put("long", "1".into(), PutMode::Create, None).await.unwrap();
    clock.advance(minute - Duration::from_nanos(1));
    assert_eq!(value(store, "short").await, Some("1".into()));
    // Writing it again sets the time anew.
    let short = store.put("short", "2".into(), PutMode::Update(short), Some(minute)).await.unwrap();
    clock.advance(minute - Duration::from_nanos(1));
    assert_eq!(value(store, "short").await, Some("2".into()));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(store.get("short").await.unwrap(), None);
    assert_eq!(value(store, "long").await, Some("1".into()));
    assert!(is_conflict(store.put("short", "x".into(), PutMode::Update(short), None).await));
    let again = store.put("short", "3".into(), PutMode::Create, None).await.unwrap();
    assert_ne!(again, short);
    clock.advance(minute * 100);
    assert_eq!(value(store, "short").await, Some("3".into()), "written last without an end");
}

async fn any_bytes_and_any_key_are_kept(store: &dyn StateStore) {
    let bytes = Bytes::from((0..=u8::MAX).cycle().take(100_000).collect::<Vec<u8>>());
    for key in ["", "a/b.c-d", "schlüssel", "quote'\"", "line\nbreak", "nul\0in it", "nul"] {
        store.put(key, bytes.clone(), PutMode::Create, None).await.unwrap();
        assert_eq!(value(store, key).await, Some(bytes.clone()), "{key:?}");
    }
    store.put("empty", Bytes::new(), PutMode::Create, None).await.unwrap();
    assert_eq!(value(store, "empty").await, Some(Bytes::new()));
}

async fn keys_are_listed_page_by_page(store: &dyn StateStore, clock: &ManualClock) {
    let names = ["list/", "list/a", "list/b\0c", "list/schl\u{fc}ssel", "list/~"];
    for key in names.iter().rev() {
        store.put(key, "1".into(), PutMode::Create, None).await.unwrap();
    }
    let short = Some(Duration::from_secs(1));
    store.put("list/expired", "1".into(), PutMode::Create, short).await.unwrap();
    for other in ["list", "lisa", "lisu", "list0"] {
        store.put(other, "1".into(), PutMode::Create, None).await.unwrap();
    }
    clock.advance(Duration::from_secs(1));
    let (mut after, mut found): (Option<String>, Vec<String>) = (None, Vec::new());
    loop {
        let page = store.keys("list/", after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2, "{page:?}");
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        found.extend(page);
    }
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(store.keys("none/", None, 10).await.unwrap().is_empty());
    assert!(store.keys("", None, 3).await.unwrap().len() == 3);
}

async fn of_many_who_swap_one_wins(store: &dyn StateStore) {
    let version = store.put("race", "0".into(), PutMode::Create, None).await.unwrap();
    let mut puts: Vec<_> = (0..8_u8)
        .map(|number| {
            let value = Bytes::from(vec![number]);
            store.put("race", value, PutMode::Update(version), None)
        })
        .collect();
    let mut won = 0;
    std::future::poll_fn(|context| {
        puts.retain_mut(|put| match put.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(Ok(_)) => {
                won += 1;
                false
            }
            std::task::Poll::Ready(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Conflict);
                false
            }
        });
        if puts.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!(won, 1);
}

//! What an [`AlertStore`] promises.

use std::sync::Arc;
use std::time::Duration;

use super::sample::{START, Sample};
use crate::store::{AlertQuery, Cursor, EventQuery, Inserted, StatusChange, TimeRange};
use crate::{
    Alert, AlertId, AlertStatus, AlertStore, BootId, ErrorKind, IncidentId, ProcessId, Repeats,
    Severity, Timestamp,
};

/// Checks that an alert store keeps what the trait promises.
///
/// # Panics
///
/// Where it does not.
pub async fn alert_store(store: &dyn AlertStore) {
    alerts_come_back_as_they_went_in(store).await;
    inserting_twice_changes_nothing(store).await;
    alerts_come_newest_first_by_pages(store).await;
    queries_select(store).await;
    queries_that_cannot_be_answered_are_refused(store).await;
    alerts_of_one_incident_are_found(store).await;
    repeats_only_grow(store).await;
    a_status_changes_with_who_when_why(store).await;
    a_change_that_may_not_be_is_refused(store).await;
}

async fn collect(store: &dyn AlertStore, mut query: AlertQuery) -> Vec<Arc<Alert>> {
    let mut alerts = Vec::new();
    loop {
        let page = store.alerts(&query).await.unwrap();
        assert!(page.items.len() <= query.limit as usize, "a page is longer than asked for");
        alerts.extend(page.items);
        match page.next {
            None => return alerts,
            Some(next) => query.after = Some(next),
        }
    }
}

fn of(sample: &Sample) -> AlertQuery {
    let mut query = AlertQuery::new(TimeRange::ALL);
    query.tenant = Some(sample.source().tenant.clone());
    query
}

/// So many alerts, oldest first, two at each moment.
fn alerts(sample: &mut Sample, count: usize) -> Vec<Arc<Alert>> {
    let mut alerts: Vec<_> = (0..count)
        .map(|number| {
            let at = Duration::from_millis(number as u64 / 2 * 10);
            sample.set_now(START.saturating_add(at));
            let process = sample.process();
            let event = sample.exec(&process);
            let severity = Severity::ALL[number % 5];
            sample.alert(&event, &format!("rule-{}", number % 3), severity)
        })
        .collect();
    alerts.sort_by_key(|alert| (alert.observed_at, alert.id));
    alerts
}

async fn alerts_come_back_as_they_went_in(store: &dyn AlertStore) {
    let mut sample = Sample::new("alert-whole", "a", 1);
    let extreme = sample.extreme_process();
    let event = sample.exec(&extreme);
    let alert = sample.alert(&event, "r", Severity::Critical);
    let lone = sample.heartbeat();
    let without_process = sample.alert(&lone, "r", Severity::Informational);
    let both = [Arc::clone(&alert), Arc::clone(&without_process)];
    assert_eq!(store.insert(&[]).await.unwrap(), Inserted::default());
    assert_eq!(store.insert(&both).await.unwrap(), Inserted { new: 2, duplicate: 0 });
    assert_eq!(store.alert(alert.id).await.unwrap(), Some(Arc::clone(&alert)));
    assert_eq!(store.alert(AlertId::new("r", &[])).await.unwrap(), None);
    assert_eq!(collect(store, of(&sample)).await, [without_process, alert]);
}

async fn inserting_twice_changes_nothing(store: &dyn AlertStore) {
    let mut sample = Sample::new("alert-twice", "a", 1);
    let all = alerts(&mut sample, 4);
    assert_eq!(store.insert(&all[..3]).await.unwrap(), Inserted { new: 3, duplicate: 0 });
    let change = change(AlertStatus::Open, AlertStatus::Acknowledged);
    store.set_status(all[0].id, &change).await.unwrap();
    assert_eq!(store.insert(&all).await.unwrap(), Inserted { new: 1, duplicate: 3 });
    let alert = store.alert(all[0].id).await.unwrap().unwrap();
    assert_eq!(alert.status, AlertStatus::Acknowledged, "raised again is not open again");
    assert_eq!(store.status_history(all[0].id).await.unwrap(), [change]);
}

async fn alerts_come_newest_first_by_pages(store: &dyn AlertStore) {
    let mut sample = Sample::new("alert-pages", "a", 1);
    let mut all = alerts(&mut sample, 11);
    store.insert(&all[4..]).await.unwrap();
    store.insert(&all[..4]).await.unwrap();
    all.reverse();
    for limit in [1, 2, 5, 11, 12] {
        let query = AlertQuery { limit, ..of(&sample) };
        assert_eq!(collect(store, query).await, all, "by {limit}");
    }
    // A newer alert between two pages does not shift the second.
    let query = AlertQuery { limit: 5, ..of(&sample) };
    let page = store.alerts(&query).await.unwrap();
    sample.set_now(START.saturating_add(Duration::from_secs(60)));
    let event = sample.heartbeat();
    store.insert(&[sample.alert(&event, "late", Severity::Low)]).await.unwrap();
    let rest = collect(store, AlertQuery { after: page.next, ..query }).await;
    assert_eq!(rest, all[5..]);
}

async fn queries_select(store: &dyn AlertStore) {
    let mut sample = Sample::new("alert-select", "one", 1);
    let mut other = Sample::new("alert-select", "two", 2);
    let mut all = alerts(&mut sample, 15);
    let others = alerts(&mut other, 2);
    store.insert(&all).await.unwrap();
    store.insert(&others).await.unwrap();
    assert_eq!(collect(store, of(&sample)).await.len(), 17);
    let acknowledged = all[7].id;
    let change = change(AlertStatus::Open, AlertStatus::Acknowledged);
    store.set_status(acknowledged, &change).await.unwrap();
    all[7] = store.alert(acknowledged).await.unwrap().unwrap();
    all.reverse();

    let base = AlertQuery { agent: Some(sample.source().agent.clone()), limit: 4, ..of(&sample) };
    let expect = |keep: &dyn Fn(&Alert) -> bool| -> Vec<Arc<Alert>> {
        all.iter().filter(|alert| keep(alert)).map(Arc::clone).collect()
    };
    let query = AlertQuery { status: Some(AlertStatus::Acknowledged), ..base.clone() };
    assert_eq!(collect(store, query).await, expect(&|alert| alert.id == acknowledged));
    let query = AlertQuery { status: Some(AlertStatus::Open), ..base.clone() };
    assert_eq!(collect(store, query).await, expect(&|alert| alert.id != acknowledged));
    let query = AlertQuery { min_severity: Some(Severity::High), ..base.clone() };
    assert_eq!(collect(store, query).await, expect(&|alert| alert.severity >= Severity::High));
    let query = AlertQuery { rule: Some("rule-1".into()), ..base.clone() };
    assert_eq!(collect(store, query).await, expect(&|alert| &*alert.rule.id == "rule-1"));
    let time = TimeRange { from: all[10].observed_at, to: all[4].observed_at };
    let query = AlertQuery { time, ..base };
    assert_eq!(collect(store, query).await, expect(&|alert| time.contains(alert.observed_at)));
}

async fn alerts_of_one_incident_are_found(store: &dyn AlertStore) {
    let mut sample = Sample::new("alert-incident", "a", 1);
    let process = sample.process();
    let (first, second) = (sample.exec(&process), sample.exec(&process));
    let one = sample.alert(&first, "rule-1", Severity::Low);
    let two = sample.alert(&second, "rule-2", Severity::High);
    let alone = sample.heartbeat();
    let none = sample.alert(&alone, "rule-1", Severity::Low);
    assert!(one.incident.is_some() && one.incident == two.incident && none.incident.is_none());
    store.insert(&[Arc::clone(&one), Arc::clone(&two), none]).await.unwrap();
    let query = AlertQuery { incident: one.incident, limit: 1, ..of(&sample) };
    let mut expected = vec![one, two];
    expected.sort_by_key(|alert| std::cmp::Reverse((alert.observed_at, alert.id)));
    assert_eq!(collect(store, query).await, expected);
    let other = IncidentId::of_tree(ProcessId::new(BootId::from_u128(9), 9, 9));
    let query = AlertQuery { incident: Some(other), ..of(&sample) };
    assert!(collect(store, query).await.is_empty());
}

async fn repeats_only_grow(store: &dyn AlertStore) {
    let mut sample = Sample::new("alert-repeats", "a", 1);
    let alert = Arc::clone(&alerts(&mut sample, 1)[0]);
    store.insert(&[Arc::clone(&alert)]).await.unwrap();
    let change = change(AlertStatus::Open, AlertStatus::Acknowledged);
    store.set_status(alert.id, &change).await.unwrap();
    let report = |count, second| {
        let last_seen_at = START.saturating_add(Duration::from_secs(second));
        Some(Repeats { count, last_seen_at })
    };
    for (told, kept) in [
        (report(2, 20), report(2, 20)),
        (report(2, 20), report(2, 20)),
        (report(5, 10), report(5, 20)),
        (None, report(5, 20)),
        (report(1, 30), report(5, 30)),
    ] {
        let again = Arc::new(Alert { repeats: told, ..(*alert).clone() });
        let inserted = store.insert(&[again]).await.unwrap();
        assert_eq!(inserted, Inserted { new: 0, duplicate: 1 });
        let stored = store.alert(alert.id).await.unwrap().unwrap();
        assert_eq!((stored.repeats, stored.status), (kept, AlertStatus::Acknowledged));
        assert_eq!(collect(store, of(&sample)).await, [stored]);
    }
    // The report may come first, where the alert itself was not stored.
    let later = Arc::clone(&alerts(&mut sample, 2)[1]);
    let told = Arc::new(Alert { repeats: report(3, 3), ..(*later).clone() });
    store.insert(&[Arc::clone(&told)]).await.unwrap();
    store.insert(&[later]).await.unwrap();
    assert_eq!(store.alert(told.id).await.unwrap(), Some(told));
}

async fn queries_that_cannot_be_answered_are_refused(store: &dyn AlertStore) {
    let query = AlertQuery::new(TimeRange::ALL);
    for limit in [0, EventQuery::MAX_LIMIT + 1] {
        let error = store.alerts(&AlertQuery { limit, ..query.clone() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "a page of {limit}");
    }
    for cursor in ["", "x", "1.2.3"] {
        let after = Some(Cursor(cursor.to_owned()));
        let error = store.alerts(&AlertQuery { after, ..query.clone() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "the cursor `{cursor}`");
    }
}

fn change(from: AlertStatus, to: AlertStatus) -> StatusChange {
    StatusChange {
        from,
        to,
        actor: "ana".into(),
        reason: Some("looked".into()),
        at: Timestamp::from_millis(1_700_000_100_000),
    }
}

async fn a_status_changes_with_who_when_why(store: &dyn AlertStore) {
    let mut sample = Sample::new("alert-status", "a", 1);
    let all = alerts(&mut sample, 2);
    store.insert(&all).await.unwrap();
    let id = all[0].id;
    assert!(store.status_history(id).await.unwrap().is_empty());
    let mut changes = vec![
        change(AlertStatus::Open, AlertStatus::Acknowledged),
        change(AlertStatus::Acknowledged, AlertStatus::Dismissed),
        change(AlertStatus::Dismissed, AlertStatus::Open),
        change(AlertStatus::Open, AlertStatus::Resolved),
    ];
    changes[2].reason = None;
    changes[2].actor = "zoë; DROP TABLE".into();
    for change in &changes {
        store.set_status(id, change).await.unwrap();
        assert_eq!(store.alert(id).await.unwrap().unwrap().status, change.to);
    }
    assert_eq!(store.status_history(id).await.unwrap(), changes);
    let alert = store.alert(id).await.unwrap().unwrap();
    assert_eq!(*alert, Alert { status: AlertStatus::Resolved, ..(*all[0]).clone() });
    assert_eq!(store.alert(all[1].id).await.unwrap().unwrap(), all[1], "another alert changed");
}

async fn a_change_that_may_not_be_is_refused(store: &dyn AlertStore) {
    use AlertStatus::{Acknowledged, Dismissed, Open, Resolved};

    let mut sample = Sample::new("alert-refused", "a", 1);
    let all = alerts(&mut sample, 1);
    store.insert(&all).await.unwrap();
    let id = all[0].id;
    let nobody = AlertId::new("there is none", &[]);
    let error = store.set_status(nobody, &change(Open, Resolved)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(store.status_history(nobody).await.unwrap().is_empty());

    store.set_status(id, &change(Open, Resolved)).await.unwrap();
    let error = store.set_status(id, &change(Open, Dismissed)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "somebody else was first");
    for to in [Resolved, Acknowledged, Dismissed] {
        let error = store.set_status(id, &change(Resolved, to)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "resolved may not become {to}");
    }
    assert_eq!(store.alert(id).await.unwrap().unwrap().status, Resolved);
    assert_eq!(store.status_history(id).await.unwrap().len(), 1, "a refused change is on record");
}

//! What an [`EventStore`] promises.

use std::sync::Arc;
use std::time::Duration;

use super::sample::{START, Sample};
use crate::event::{Event, EventData, EventKind, LossStage, Process};
use crate::store::{
    AgentRecord, Cursor, EventQuery, Inserted, LossEntry, LossQuery, StoredEvent, TimeRange,
};
use crate::{
    AgentIdentity, AlertId, AlertStore, Bytes, ErrorKind, EventStore, Severity, Timestamp,
};

/// Checks that an event store keeps what the trait promises.
///
/// # Panics
///
/// Where it does not.
pub async fn event_store(store: &dyn EventStore) {
    every_kind_comes_back_as_it_went_in(store).await;
    appending_twice_is_appending_once(store).await;
    events_come_in_the_order_of_time_then_id(store).await;
    pages_join_without_gap_or_repeat(store).await;
    a_range_holds_its_start_and_not_its_end(store).await;
    queries_select(store).await;
    what_was_done_is_found_by_its_alert(store).await;
    queries_that_cannot_be_answered_are_refused(store).await;
    a_process_comes_with_its_ancestors(store).await;
    each_event_keeps_the_process_it_came_with(store).await;
    the_last_sequence_is_the_highest(store).await;
    losses_add_up(store).await;
    agents_are_known_by_what_they_say(store).await;
    many_append_at_once(store).await;
}

/// Checks that [`EventStore::last_sequence`] sees the evidence of alerts in the same store.
///
/// # Panics
///
/// Where it does not.
pub async fn last_sequence_over_alerts(events: &dyn EventStore, alerts: &dyn AlertStore) {
    let mut sample = Sample::new("sequence-alerts", "a", 1);
    let shell = sample.process();
    let (first, second) = (sample.exec(&shell), sample.exec(&shell));
    events.append(sample.source(), &[first]).await.unwrap();
    assert_eq!(events.last_sequence(sample.origin()).await.unwrap(), Some(1));
    alerts.insert(&[sample.alert(&second, "r", Severity::Low)]).await.unwrap();
    assert_eq!(
        events.last_sequence(sample.origin()).await.unwrap(),
        Some(2),
        "an alert came through whose event did not: its sequence number is taken"
    );
}

/// Everything of a tenant, by small pages.
async fn all(store: &dyn EventStore, source: &AgentIdentity, limit: u32) -> Vec<StoredEvent> {
    let mut query = EventQuery::new(TimeRange::ALL);
    query.tenant = Some(source.tenant.clone());
    query.limit = limit;
    collect(store, query).await
}

async fn collect(store: &dyn EventStore, mut query: EventQuery) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    loop {
        let page = store.events(&query).await.unwrap();
        assert!(page.items.len() <= query.limit as usize, "a page is longer than asked for");
        events.extend(page.items);
        match page.next {
            None => return events,
            Some(next) => query.after = Some(next),
        }
    }
}

fn only_events(stored: Vec<StoredEvent>) -> Vec<Arc<Event>> {
    stored.into_iter().map(|stored| stored.event).collect()
}

fn inserted(new: u64, duplicate: u64) -> Inserted {
    Inserted { new, duplicate }
}

async fn every_kind_comes_back_as_it_went_in(store: &dyn EventStore) {
    let mut sample = Sample::new("kinds", "a", 1);
    let events = sample.every_kind();
    assert_eq!(store.append(sample.source(), &[]).await.unwrap(), inserted(0, 0));
    let stored = store.append(sample.source(), &events).await.unwrap();
    assert_eq!(stored, inserted(events.len() as u64, 0));
    let back = all(store, sample.source(), 1_000).await;
    assert_eq!(back.len(), events.len());
    for (back, event) in back.iter().zip(&events) {
        assert_eq!(back.source, *sample.source());
        assert_eq!(back.event, *event);
    }
}

async fn appending_twice_is_appending_once(store: &dyn EventStore) {
    let mut sample = Sample::new("twice", "a", 1);
    let events = sample.busy(10);
    assert_eq!(store.append(sample.source(), &events[..6]).await.unwrap(), inserted(6, 0));
    assert_eq!(store.append(sample.source(), &events[3..]).await.unwrap(), inserted(4, 3));
    let again = [Arc::clone(&events[0]), Arc::clone(&events[0])];
    assert_eq!(store.append(sample.source(), &again).await.unwrap(), inserted(0, 2));
    // The same in one batch, and with other content: the id decides.
    let fresh = sample.heartbeat();
    let twice = [Arc::clone(&fresh), Arc::clone(&fresh)];
    assert_eq!(store.append(sample.source(), &twice).await.unwrap(), inserted(1, 1));
    let other = Arc::new(Event { tid: 99, ..(*fresh).clone() });
    assert_eq!(store.append(sample.source(), &[other]).await.unwrap(), inserted(0, 1));
    let mut expected = events;
    expected.push(fresh);
    assert_eq!(only_events(all(store, sample.source(), 1_000).await), expected);
}

async fn events_come_in_the_order_of_time_then_id(store: &dyn EventStore) {
    let mut sample = Sample::new("order", "a", 1);
    let mut expected = Vec::new();
    // Over two midnights, three at each moment, and the far ends of time.
    for time in [0, 40_000, 86_400_000, 90_000_000, 200_000_000] {
        for _ in 0..3 {
            sample.set_now(START.saturating_add(Duration::from_millis(time)));
            expected.push(sample.heartbeat());
        }
    }
    sample.set_now(Timestamp::from_nanos(i64::MAX - 1));
    expected.push(sample.heartbeat());
    sample.set_now(Timestamp::from_nanos(i64::MIN));
    expected.insert(0, sample.heartbeat());
    let mut shuffled = expected.clone();
    for last in (1..shuffled.len()).rev() {
        let other = (sample.random() % (last as u64 + 1)) as usize;
        shuffled.swap(last, other);
    }
    store.append(sample.source(), &shuffled[..9]).await.unwrap();
    store.append(sample.source(), &shuffled[9..]).await.unwrap();
    assert_eq!(only_events(all(store, sample.source(), 1_000).await), expected);
    assert_eq!(only_events(all(store, sample.source(), 2).await), expected);
}

async fn pages_join_without_gap_or_repeat(store: &dyn EventStore) {
    let mut sample = Sample::new("pages", "a", 1);
    let mut events = sample.busy(25);
    store.append(sample.source(), &events).await.unwrap();
    for limit in [1, 2, 7, 24, 25, 26] {
        assert_eq!(only_events(all(store, sample.source(), limit).await), events, "by {limit}");
    }
    // What comes between two pages is on a later page, or was before: never twice, never in between.
    let mut query = EventQuery::new(TimeRange::ALL);
    query.tenant = Some(sample.source().tenant.clone());
    query.limit = 10;
    let page = store.events(&query).await.unwrap();
    let late = sample.heartbeat();
    store.append(sample.source(), &[Arc::clone(&late)]).await.unwrap();
    events.push(late);
    query.after = page.next;
    let mut seen = only_events(page.items);
    seen.extend(only_events(collect(store, query).await));
    assert_eq!(seen, events);
}

async fn a_range_holds_its_start_and_not_its_end(store: &dyn EventStore) {
    let mut sample = Sample::new("range", "a", 1);
    let events = sample.busy(10);
    store.append(sample.source(), &events).await.unwrap();
    let range = TimeRange { from: events[2].observed_at, to: events[5].observed_at };
    let mut query = EventQuery::new(range);
    query.tenant = Some(sample.source().tenant.clone());
    assert_eq!(only_events(collect(store, query.clone()).await), events[2..5]);
    query.time = TimeRange { from: range.to, to: range.from };
    assert!(collect(store, query.clone()).await.is_empty(), "a range that ends before it begins");
    query.time = TimeRange { from: range.from, to: range.from };
    assert!(collect(store, query).await.is_empty(), "a range of no length");
}

async fn queries_select(store: &dyn EventStore) {
    let mut one = Sample::new("select", "one", 1);
    let mut two = Sample::new("select", "two", 2);
    let mut foreign = Sample::new("select-other", "one", 3);
    let shell = one.process();
    let events = one.every_kind();
    let of_shell = [one.file_open(&shell, "/a"), one.exec(&shell)];
    store.append(one.source(), &events).await.unwrap();
    store.append(one.source(), &of_shell).await.unwrap();
    let others = two.busy(5);
    store.append(two.source(), &others).await.unwrap();
    let elsewhere = foreign.busy(5);
    store.append(foreign.source(), &elsewhere).await.unwrap();

    let mut base = EventQuery::new(TimeRange::ALL);
    base.tenant = Some(one.source().tenant.clone());
    base.limit = 3;
    let expected = events.len() + of_shell.len() + others.len();
    assert_eq!(collect(store, base.clone()).await.len(), expected);
    base.agent = Some(two.source().agent.clone());
    assert_eq!(only_events(collect(store, base.clone()).await), others);
    base.agent = Some(one.source().agent.clone());
    for kind in EventKind::ALL.into_iter().chain([EventKind::Unknown]) {
        let expected: Vec<Arc<Event>> = events
            .iter()
            .chain(&of_shell)
            .filter(|event| event.kind() == kind)
            .map(Arc::clone)
            .collect();
        assert!(!expected.is_empty(), "the sample lacks {kind}");
        let query = EventQuery { kind: Some(kind), ..base.clone() };
        assert_eq!(only_events(collect(store, query).await), expected, "of kind {kind}");
    }
    let query = EventQuery { process: Some(shell.id()), ..base.clone() };
    assert_eq!(only_events(collect(store, query).await), of_shell);
    base.agent = Some(crate::AgentId::new("nobody").unwrap());
    assert!(collect(store, base).await.is_empty());
}

async fn what_was_done_is_found_by_its_alert(store: &dyn EventStore) {
    let mut sample = Sample::new("responses", "a", 1);
    let shell = sample.process();
    let alert = |name| AlertId::new(name, &[sample.origin().event(1)]);
    let (one, two, unanswered) = (alert("one"), alert("two"), alert("three"));
    let to_one = sample.responses(&shell, one);
    let to_two = sample.responses(&shell, two);
    let body = Bytes::from_static(br#"{"alert":5,"of":"another version"}"#);
    let odd = sample.event(None, EventData::Unknown { kind: "response".into(), body });
    let events: Vec<Arc<Event>> =
        to_one.iter().chain(&to_two).map(Arc::clone).chain([sample.exec(&shell), odd]).collect();
    store.append(sample.source(), &events).await.unwrap();
    let mut query = EventQuery::new(TimeRange::ALL);
    query.limit = 2;
    for (alert, expected) in [(one, &to_one[..]), (two, &to_two[..]), (unanswered, &[])] {
        query.response_to = Some(alert);
        assert_eq!(only_events(collect(store, query.clone()).await), expected);
    }
    query.response_to = Some(one);
    query.kind = Some(EventKind::Exec);
    assert!(collect(store, query).await.is_empty(), "an exec answers no alert");
}

async fn queries_that_cannot_be_answered_are_refused(store: &dyn EventStore) {
    let query = EventQuery::new(TimeRange::ALL);
    for limit in [0, EventQuery::MAX_LIMIT + 1, u32::MAX] {
        let error = store.events(&EventQuery { limit, ..query.clone() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "a page of {limit}");
    }
    for cursor in ["", "x", "';--", "1.2.3", "99999999999999999999"] {
        let after = Some(Cursor(cursor.to_owned()));
        let error = store.events(&EventQuery { after, ..query.clone() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "the cursor `{cursor}`");
    }
}

async fn a_process_comes_with_its_ancestors(store: &dyn EventStore) {
    let mut sample = Sample::new("ancestry", "a", 0xa9ce);
    let mut deepest = sample.process();
    for depth in 0..Process::MAX_ANCESTORS * 2 {
        let argument = depth.to_string();
        deepest = sample.child(&deepest, "/usr/bin/bash", &["bash", &argument]);
    }
    assert_eq!(store.process(deepest.exec_id).await.unwrap(), None);
    let event = sample.exec(&deepest);
    store.append(sample.source(), &[Arc::clone(&event)]).await.unwrap();
    assert_eq!(store.process(deepest.exec_id).await.unwrap(), Some(Arc::clone(&deepest)));
    // Ancestors of which there is no event are stored too.
    let parent = deepest.parent.as_ref().unwrap();
    assert_eq!(store.process(parent.exec_id).await.unwrap().as_ref(), Some(parent));
    assert_eq!(only_events(all(store, sample.source(), 10).await), [event]);
}

async fn each_event_keeps_the_process_it_came_with(store: &dyn EventStore) {
    let mut sample = Sample::new("changes", "a", 0xc4a9);
    let before = sample.process();
    let mut changed = (*before).clone();
    changed.credentials.euid = 0;
    let after = Arc::new(changed);
    let events =
        [sample.exec(&before), sample.file_open(&after, "/root/x"), sample.file_open(&before, "/")];
    store.append(sample.source(), &events).await.unwrap();
    assert_eq!(only_events(all(store, sample.source(), 10).await), events);
}

async fn the_last_sequence_is_the_highest(store: &dyn EventStore) {
    let mut sample = Sample::new("sequence", "a", 1);
    let events = sample.busy(9);
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), None);
    store.append(sample.source(), &events[5..7]).await.unwrap();
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(7));
    store.append(sample.source(), &events[..3]).await.unwrap();
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(7));
    let other_boot = Sample::new("sequence", "a", 2);
    assert_eq!(store.last_sequence(other_boot.origin()).await.unwrap(), None);
}

async fn losses_add_up(store: &dyn EventStore) {
    let mut one = Sample::new("losses", "one", 1);
    let mut two = Sample::new("losses", "two", 2);
    let events = [
        one.lost(LossStage::KernelRing, EventKind::FileOpen, 5),
        one.lost(LossStage::KernelRing, EventKind::FileOpen, 7),
        one.lost(LossStage::KernelRing, EventKind::Exec, 1),
        one.lost(LossStage::Queue, EventKind::FileOpen, u64::MAX - 1),
        one.lost(LossStage::Queue, EventKind::FileOpen, 5),
    ];
    store.append(one.source(), &events).await.unwrap();
    store.append(one.source(), &events[..2]).await.unwrap();
    let other = [two.lost(LossStage::Spool, EventKind::Unknown, 3)];
    store.append(two.source(), &other).await.unwrap();

    let entry = |sample: &Sample, kind, stage, count| LossEntry {
        source: sample.source().clone(),
        kind,
        stage,
        count,
    };
    let agent =
        |sample: &Sample| Some((sample.source().tenant.clone(), sample.source().agent.clone()));
    let query = LossQuery { time: TimeRange::ALL, agent: agent(&one) };
    let mut losses = store.losses(&query).await.unwrap();
    losses.sort_by_key(|entry| (entry.kind, entry.stage));
    let expected = [
        entry(&one, EventKind::Exec, LossStage::KernelRing, 1),
        entry(&one, EventKind::FileOpen, LossStage::KernelRing, 12),
        entry(&one, EventKind::FileOpen, LossStage::Queue, u64::MAX),
    ];
    assert_eq!(losses, expected);
    // The first of them only: the end is not in the range.
    let time = TimeRange { from: events[0].observed_at, to: events[1].observed_at };
    let losses = store.losses(&LossQuery { time, agent: agent(&one) }).await.unwrap();
    assert_eq!(losses, [entry(&one, EventKind::FileOpen, LossStage::KernelRing, 5)]);
    let everyone = store.losses(&LossQuery { time: TimeRange::ALL, agent: None }).await.unwrap();
    assert!(everyone.contains(&entry(&two, EventKind::Unknown, LossStage::Spool, 3)));
    assert!(everyone.contains(&expected[1]));
}

async fn record(store: &dyn EventStore, source: &AgentIdentity) -> Option<AgentRecord> {
    let agents = store.agents().await.unwrap();
    let mut found = agents.into_iter().filter(|record| {
        record.source.tenant == source.tenant && record.source.agent == source.agent
    });
    let record = found.next();
    assert!(found.next().is_none(), "an agent is there twice");
    record
}

async fn agents_are_known_by_what_they_say(store: &dyn EventStore) {
    let mut sample = Sample::new("agents", "a", 1);
    assert_eq!(record(store, sample.source()).await, None);
    let beat = sample.heartbeat();
    store.append(sample.source(), &[Arc::clone(&beat)]).await.unwrap();
    let first = record(store, sample.source()).await.unwrap();
    assert_eq!(first.source, *sample.source());
    assert_eq!((first.first_seen, first.last_seen), (beat.observed_at, beat.observed_at));
    assert_eq!((first.version, first.kernel_release, first.stopped), (None, None, false));

    let (start, stop) = (sample.agent_start("0.1.0"), sample.agent_stop());
    // The end is heard of first; the start before it does not undo it.
    store.append(sample.source(), &[Arc::clone(&stop)]).await.unwrap();
    store.append(sample.source(), &[start]).await.unwrap();
    let stopped = record(store, sample.source()).await.unwrap();
    assert!(stopped.stopped, "it said that it stops, and has not started again");
    assert_eq!((stopped.first_seen, stopped.last_seen), (beat.observed_at, stop.observed_at));

    let again = sample.agent_start("0.2.0");
    let renamed = AgentIdentity { host: "renamed.example".into(), ..sample.source().clone() };
    store.append(&renamed, &[Arc::clone(&again)]).await.unwrap();
    store.append(sample.source(), &[stop]).await.unwrap();
    let started = record(store, sample.source()).await.unwrap();
    assert!(!started.stopped, "an old end that comes again is not a new one");
    assert_eq!(started.version.as_deref(), Some("0.2.0"));
    assert_eq!(started.kernel_release.as_deref(), Some("6.1.0-test"));
    assert_eq!((started.last_seen, started.source), (again.observed_at, renamed));
}

async fn many_append_at_once(store: &dyn EventStore) {
    let mut samples: Vec<Sample> =
        (0..6).map(|number| Sample::new("many", &format!("a{number}"), number + 1)).collect();
    let batches: Vec<_> = samples.iter_mut().map(|s| (s.source().clone(), s.busy(50))).collect();
    let mut appends: Vec<_> =
        batches.iter().map(|(source, events)| store.append(source, events)).collect();
    // Polled side by side, without a runtime's help.
    std::future::poll_fn(|context| {
        appends.retain_mut(|append| match append.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(stored) => {
                assert_eq!(stored.unwrap(), inserted(50, 0));
                false
            }
        });
        if appends.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    for (source, events) in &batches {
        let mut query = EventQuery::new(TimeRange::ALL);
        (query.tenant, query.agent) = (Some(source.tenant.clone()), Some(source.agent.clone()));
        assert_eq!(only_events(collect(store, query).await), *events);
    }
}

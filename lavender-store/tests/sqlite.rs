//! The SQLite store keeps what the traits promise, over restarts, days and concurrent use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance;
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::{EventKind, LossStage};
use lavender_core::store::{
    AlertQuery, EventQuery, Inserted, LossQuery, PutMode, Revision, StatisticsQuery, StatusChange,
    TechniqueCount, TimeRange, TriageStore as _,
};
use lavender_core::{
    Alert, AlertStatus, AlertStore as _, ErrorKind, EventStore as _, IncidentId, ManualClock,
    Repeats, Severity, StateStore as _,
};
use lavender_store::{SqliteOptions, SqliteStore, Store as _};
use rusqlite::Connection;
use tempfile::TempDir;

fn open(directory: &TempDir) -> SqliteStore {
    SqliteStore::open(directory.path().join("lavender.db"), SqliteOptions::default()).unwrap()
}

fn look(path: &Path) -> Connection {
    Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_version_is_brought_to_this_one() {
    let directory = TempDir::new().unwrap();
    let mut sample = Sample::new("first", "a", 1);
    let process = sample.process();
    let event = sample.exec(&process);
    let old = sample.alert(&event, "r", Severity::High);
    let change = StatusChange {
        from: AlertStatus::Open,
        to: AlertStatus::Acknowledged,
        actor: "ana".into(),
        reason: None,
        at: START,
    };
    let store = open(&directory);
    store.insert(&[Arc::clone(&old)]).await.unwrap();
    store.set_status(old.id, &change).await.unwrap();
    let old = store.alert(old.id).await.unwrap().unwrap();
    store.close().await.unwrap();
    drop(store);
    let first = Connection::open(directory.path().join("lavender.db")).unwrap();
    first
        .execute_batch(
            "DROP INDEX alerts_tenant; DROP INDEX alerts_tenant_agent; DROP INDEX alerts_tenant_rule;
             DROP INDEX alerts_tenant_severity; DROP TABLE alert_techniques; DROP TABLE agent_transitions;
             DROP TABLE tokens; DROP TABLE audit; DROP TABLE feed; DROP TABLE commands;
             DROP TABLE rulesets; DROP TABLE publications;
             DROP TABLE alert_slots; DROP TABLE alert_days;
             ALTER TABLE alerts DROP COLUMN revision;
             ALTER TABLE alerts DROP COLUMN updated_at;
             ALTER TABLE agents DROP COLUMN last_lost_at;
             ALTER TABLE agents DROP COLUMN rules;
             ALTER TABLE agents DROP COLUMN kinds;
             ALTER TABLE agents DROP COLUMN liveness;
             ALTER TABLE agents DROP COLUMN liveness_at;
             ALTER TABLE agents DROP COLUMN heartbeat;
             ALTER TABLE agents DROP COLUMN heartbeat_at;
             DROP INDEX alerts_incident;
             ALTER TABLE alerts DROP COLUMN incident;
             ALTER TABLE alerts DROP COLUMN score;
             ALTER TABLE alerts DROP COLUMN repeats;
             ALTER TABLE alerts DROP COLUMN last_seen_at;
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(first);

    let store = open(&directory);
    assert_eq!(store.alert(old.id).await.unwrap(), Some(Arc::clone(&old)));
    let tenant = old.source.tenant.clone();
    for technique in ["T1059", "T1059.004"] {
        let mut query = AlertQuery::new(TimeRange::ALL);
        query.technique = Some(technique.into());
        let found = store.triage(&tenant, &query).await.unwrap().items;
        assert_eq!(found[0].alert, old, "{technique}");
        assert_eq!((found[0].revision, found[0].updated_at), (Revision(1), Some(START)));
    }
    let hour = TimeRange { from: START, to: START.saturating_add(Duration::from_secs(3_600)) };
    let query = StatisticsQuery::new(hour, Duration::from_secs(60));
    let found = store.statistics(&tenant, &query).await.unwrap();
    assert_eq!(found.techniques, [TechniqueCount { technique: "T1059.004".into(), count: 1 }]);
    // What is counted by whole slots and days has them, too.
    let from = START.saturating_sub(Duration::from_secs(2 * 86_400));
    let week = TimeRange { from, to: START.saturating_add(Duration::from_secs(5 * 86_400)) };
    let query = StatisticsQuery::new(week, Duration::from_secs(86_400));
    let found = store.statistics(&tenant, &query).await.unwrap();
    assert_eq!((found.by_status, found.by_severity), ([0, 1, 0, 0], [0, 0, 0, 1, 0]));
    assert_eq!((found.techniques[0].count, found.rules[0].count, found.agents[0].count), (1, 1, 1));
    let repeats = Some(Repeats { count: 2, last_seen_at: old.observed_at });
    let again = Arc::new(Alert { repeats, ..(*old).clone() });
    store.insert(&[Arc::clone(&again)]).await.unwrap();
    assert_eq!(store.alert(old.id).await.unwrap(), Some(again));
    let other = sample.process();
    let event = sample.exec(&other);
    let mut new = (*sample.alert(&event, "r", Severity::High)).clone();
    new.incident = Some(IncidentId::of_tree(other.id()));
    store.insert(&[Arc::new(new.clone())]).await.unwrap();
    let mut query = AlertQuery::new(TimeRange::ALL);
    query.incident = new.incident;
    assert_eq!(store.alerts(&query).await.unwrap().items, [Arc::new(new)]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let mut options = SqliteOptions::default();
    options.clock = clock.clone();
    let path = directory.path().join("lavender.db");
    let store = SqliteStore::open(&path, options.clone()).unwrap();
    conformance::event_store(&store).await;
    conformance::alert_store(&store).await;
    conformance::last_sequence_over_alerts(&store, &store).await;
    conformance::state_store(&store, &clock).await;
    store.close().await.unwrap();
    let check: String =
        look(&path).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_within_tenants() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    conformance::fleet_store(&store).await;
    conformance::triage_store(&store).await;
    conformance::access_store(&store).await;
    conformance::command_store(&store).await;
    conformance::ruleset_store(&store).await;
    conformance::feed_store(&store).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.every_kind();
    let alert = sample.alert(&events[1], "r", Severity::High);
    let change = StatusChange {
        from: AlertStatus::Open,
        to: AlertStatus::Acknowledged,
        actor: "ana".into(),
        reason: None,
        at: START,
    };
    let store = open(&directory);
    store.append(sample.source(), &events).await.unwrap();
    store.insert(&[Arc::clone(&alert)]).await.unwrap();
    store.set_status(alert.id, &change).await.unwrap();
    let version = store.put("k", "v".into(), PutMode::Create, None).await.unwrap();
    let agents = store.agents().await.unwrap();
    // Dropped and not closed: what was acknowledged is there all the same.
    drop(store);

    let store = open(&directory);
    let again = store.append(sample.source(), &events).await.unwrap();
    assert_eq!(again, Inserted { new: 0, duplicate: events.len() as u64 });
    let back = store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap().items;
    let back: Vec<_> = back.into_iter().map(|stored| stored.event).collect();
    assert_eq!(back, events);
    let shell = back[1].process.as_ref().unwrap();
    assert_eq!(store.process(shell.exec_id).await.unwrap().as_ref(), Some(shell));
    assert_eq!(store.agents().await.unwrap(), agents);
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(events.len() as u64));
    assert_eq!(store.alert(alert.id).await.unwrap().unwrap().status, AlertStatus::Acknowledged);
    assert_eq!(store.status_history(alert.id).await.unwrap(), [change]);
    assert_eq!(store.get("k").await.unwrap(), Some(("v".into(), version)));
    store.delete("k").await.unwrap();
    let anew = store.put("k", "v".into(), PutMode::Create, None).await.unwrap();
    assert_ne!(anew, version, "versions go on counting over a restart");
    store.close().await.unwrap();
}

#[tokio::test]
async fn retention_drops_whole_days_and_keeps_alerts() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut sample = Sample::new("acme", "web-1", 1);
    let day = Duration::from_secs(86_400);
    let mut events = Vec::new();
    for number in 0..4 {
        sample.set_now(START.saturating_add(day * number));
        let mut of_the_day = sample.busy(20);
        of_the_day.push(sample.lost(LossStage::Queue, EventKind::FileOpen, 10));
        store.append(sample.source(), &of_the_day).await.unwrap();
        events.push(of_the_day);
    }
    let alert = sample.alert(&events[0][0], "r", Severity::High);
    store.insert(&[Arc::clone(&alert)]).await.unwrap();
    let span = TimeRange { from: START, to: START.saturating_add(day * 4) };
    let query = StatisticsQuery::new(span, day);
    let counted = store.statistics(&sample.source().tenant, &query).await.unwrap();
    assert_eq!(counted.agents.len(), 1);

    // In the middle of the third day: the two before it were over.
    assert_eq!(store.retain(START.saturating_add(day * 2)).await.unwrap(), 2);
    assert_eq!(store.retain(START.saturating_add(day * 2)).await.unwrap(), 0);
    let kept = store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap().items;
    let kept: Vec<_> = kept.into_iter().map(|stored| stored.event).collect();
    assert_eq!(kept, events[2..].concat());
    let losses = LossQuery { time: TimeRange::ALL, agent: None };
    assert_eq!(store.losses(&losses).await.unwrap()[0].count, 20);
    assert_eq!(store.alert(alert.id).await.unwrap(), Some(alert), "it holds its process itself");
    // Alerts are kept, and so are their counts.
    let still = store.statistics(&sample.source().tenant, &query).await.unwrap();
    assert_eq!(still, counted);
    let gone = events[0][0].process.as_ref().unwrap().exec_id;
    assert_eq!(store.process(gone).await.unwrap(), None);
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(84));

    // The writer has not kept in mind what is gone: the days are made again.
    store.append(sample.source(), &events[0]).await.unwrap();
    let first = store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap().items.remove(0);
    assert_eq!(first.event, events[0][0]);
    assert_eq!(store.retain(lavender_core::Timestamp::from_nanos(i64::MAX)).await.unwrap(), 3);
    assert!(store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_batch_over_midnight_is_stored_whole() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut sample = Sample::new("acme", "web-1", 1);
    sample.set_now(lavender_core::Timestamp::from_millis(1_700_006_399_990));
    let events = sample.busy(30);
    let days: std::collections::BTreeSet<String> =
        events.iter().map(|event| event.observed_at.to_string()[..10].to_owned()).collect();
    assert_eq!(days.len(), 2);
    store.append(sample.source(), &events).await.unwrap();
    let mut query = EventQuery::new(TimeRange::ALL);
    query.limit = 7;
    let mut back = Vec::new();
    loop {
        let page = store.events(&query).await.unwrap();
        back.extend(page.items.into_iter().map(|stored| stored.event));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(back, events);
}

#[tokio::test]
async fn one_bad_request_of_a_group_does_not_fail_the_others() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(40);
    let source = sample.source().clone();
    let version = store.put("k", "0".into(), PutMode::Create, None).await.unwrap();
    // All of them wait in the queue before the writer sees the first.
    let (a, b, c, d, e) = tokio::join!(
        store.append(&source, &events[..20]),
        store.put("k", "1".into(), PutMode::Create, None),
        store.append(&source, &events[20..]),
        store.put("k", "2".into(), PutMode::Update(version), None),
        store.put("k", "3".into(), PutMode::Update(version), None),
    );
    assert_eq!((a.unwrap().new, c.unwrap().new), (20, 20));
    assert_eq!(b.unwrap_err().kind(), ErrorKind::Conflict);
    let won = d.unwrap();
    assert_eq!(e.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.get("k").await.unwrap(), Some(("2".into(), won)));
    let back = store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap().items;
    assert_eq!(back.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_while_much_is_written() {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(open(&directory));
    let mut sample = Sample::new("acme", "web-1", 1);
    let source = sample.source().clone();
    let batches: Vec<_> = (0..20).map(|_| sample.busy(500)).collect();
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for batch in batches {
                assert_eq!(store.append(&source, &batch).await.unwrap().new, 500);
            }
        })
    };
    let mut seen = 0;
    let mut reads = 0;
    while seen < 10_000 {
        // A page is one state of the store: whole batches, in order.
        let mut query = EventQuery::new(TimeRange::ALL);
        (query.limit, seen, reads) = (1_000, 0, reads + 1);
        loop {
            let page = store.events(&query).await.unwrap();
            for stored in &page.items {
                seen += 1;
                assert_eq!(stored.event.id.sequence(), seen, "a gap");
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(seen % 500, 0, "half of a batch was seen");
    }
    writing.await.unwrap();
    assert!(reads > 0);
}

#[tokio::test]
async fn state_is_bounded_and_a_refused_write_is_taken_back() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let mut options = SqliteOptions::default();
    (options.state_bytes_max, options.clock) = (100, clock.clone());
    let store = SqliteStore::open(directory.path().join("lavender.db"), options).unwrap();
    let value = || vec![7; 40].into();
    store.put("a", value(), PutMode::Create, None).await.unwrap();
    store.put("b", value(), PutMode::Create, Some(Duration::from_secs(1))).await.unwrap();
    let error = store.put("c", value(), PutMode::Create, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("of 100 bytes"), "{error}");
    assert_eq!(store.get("c").await.unwrap(), None);
    store.put("a", value(), PutMode::Overwrite, None).await.unwrap();
    clock.advance(Duration::from_secs(1));
    store.put("c", value(), PutMode::Create, None).await.unwrap();
}

#[tokio::test]
async fn a_person_can_read_it_with_sql() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut sample = Sample::new("acme", "web-1", 1);
    let shell = sample.process();
    let child = sample.child(&shell, "/usr/bin/curl", &["curl", "-fsS", "http://x/"]);
    let mut events = vec![sample.exec(&child)];
    sample.set_now(START.saturating_add(Duration::from_secs(86_400)));
    events.push(sample.file_open(&shell, "/etc/shadow"));
    store.append(sample.source(), &events).await.unwrap();
    let database = look(&directory.path().join("lavender.db"));
    let mut select = database
        .prepare(
            "SELECT concat_ws('|', agent, sequence, kind, executable, command_line, user, uid,
                 data ->> 'path') FROM events ORDER BY observed_at",
        )
        .unwrap();
    let rows: Vec<String> =
        select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let expected = [
        "web-1|1|exec|/usr/bin/curl|curl -fsS http://x/|dev|1000",
        "web-1|2|file_open|/usr/bin/bash|-bash|dev|1000|/etc/shadow",
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn after_the_close_nothing_is_taken_and_the_file_is_free() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut sample = Sample::new("acme", "web-1", 1);
    let beat = sample.heartbeat();
    store.append(sample.source(), &[beat]).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.agents().await.unwrap_err().kind(), ErrorKind::Invalid);
    let error = store.insert(&[]).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(!directory.path().join("lavender.db-wal").exists(), "the log is in the file");
    let again = open(&directory);
    assert_eq!(again.alerts(&AlertQuery::new(TimeRange::ALL)).await.unwrap().items, []);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("made/lavender.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(3);
    store.append(sample.source(), &events).await.unwrap();
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.file_name());
    }
    let mode = std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

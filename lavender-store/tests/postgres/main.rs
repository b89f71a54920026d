//! The PostgreSQL store keeps what the traits promise, for many writers at once, over days and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod grants;
mod kill;
mod plans;
mod support;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance;
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::{Event, EventData, EventKind, FileOpen, LossStage, Process};
use lavender_core::store::{
    AlertQuery, EventQuery, Inserted, LossQuery, PutMode, Revision, StatisticsQuery, StatusChange,
    TechniqueCount, TimeRange, TriageStore as _,
};
use lavender_core::{
    Alert, AlertStatus, AlertStore as _, Captured, ErrorKind, EventStore as _, ManualClock,
    RuleMeta, Severity, StateStore as _, Timestamp,
};
use lavender_store::{PostgresOptions, PostgresStore, Store as _};

use support::{Server, connect};

fn open(url: &str) -> PostgresStore {
    PostgresStore::open(url, PostgresOptions::default()).unwrap()
}

async fn all(store: &PostgresStore) -> Vec<Arc<Event>> {
    let mut query = EventQuery::new(TimeRange::ALL);
    query.limit = EventQuery::MAX_LIMIT;
    let mut events = Vec::new();
    loop {
        let page = store.events(&query).await.unwrap();
        events.extend(page.items.into_iter().map(|stored| stored.event));
        query.after = page.next;
        if query.after.is_none() {
            return events;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let Some(mut server) = Server::start() else { return };
    let clock = Arc::new(ManualClock::new(START));
    let mut options = PostgresOptions::default();
    options.clock = clock.clone();
    let store = PostgresStore::open(&server.database().await, options).unwrap();
    conformance::event_store(&store).await;
    conformance::alert_store(&store).await;
    conformance::last_sequence_over_alerts(&store, &store).await;
    conformance::state_store(&store, &clock).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    let error = store.agents().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("closed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_within_tenants() {
    let Some(mut server) = Server::start() else { return };
    let store = open(&server.database().await);
    conformance::fleet_store(&store).await;
    conformance::triage_store(&store).await;
    conformance::access_store(&store).await;
    conformance::command_store(&store).await;
    conformance::ruleset_store(&store).await;
    conformance::feed_store(&store).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_version_is_brought_to_this_one() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let mut sample = Sample::new("first", "a", 1);
    let process = sample.process();
    let event = sample.exec(&process);
    let alert = sample.alert(&event, "r", Severity::High);
    let change = StatusChange {
        from: AlertStatus::Open,
        to: AlertStatus::Acknowledged,
        actor: "ana".into(),
        reason: None,
        at: START,
    };
    let store = open(&url);
    store.insert(&[Arc::clone(&alert)]).await.unwrap();
    store.set_status(alert.id, &change).await.unwrap();
    let alert = store.alert(alert.id).await.unwrap().unwrap();
    store.close().await.unwrap();
    connect(&url)
        .await
        .batch_execute(
            "DROP TABLE lavender.alert_techniques, lavender.agent_transitions, lavender.tokens,
                 lavender.audit, lavender.feed, lavender.alert_slots, lavender.alert_days,
                 lavender.commands, lavender.rulesets, lavender.publications;
             DROP INDEX lavender.alerts_tenant_agent, lavender.alerts_tenant_rule,
                 lavender.alerts_tenant_observed_at_severity_status_agent_idx,
                 lavender.alerts_tenant_status_severity_observed_at_alert_id_idx;
             ALTER TABLE lavender.alerts DROP COLUMN revision, DROP COLUMN updated_at;
             ALTER TABLE lavender.agents DROP COLUMN last_lost_at, DROP COLUMN rules,
                 DROP COLUMN kinds, DROP COLUMN liveness, DROP COLUMN liveness_at,
                 DROP COLUMN heartbeat, DROP COLUMN heartbeat_at;
             UPDATE lavender.schema_version SET version = 1;",
        )
        .await
        .unwrap();
    let store = open(&url);
    let tenant = &sample.source().tenant;
    for technique in ["T1059", "T1059.004"] {
        let mut query = AlertQuery::new(TimeRange::ALL);
        query.technique = Some(technique.into());
        let found = store.triage(tenant, &query).await.unwrap().items;
        assert_eq!(found[0].alert, alert, "{technique}");
        assert_eq!((found[0].revision, found[0].updated_at), (Revision(1), Some(START)));
    }
    let hour = TimeRange { from: START, to: START.saturating_add(Duration::from_secs(3_600)) };
    let query = StatisticsQuery::new(hour, Duration::from_secs(60));
    let found = store.statistics(tenant, &query).await.unwrap();
    assert_eq!(found.techniques, [TechniqueCount { technique: "T1059.004".into(), count: 1 }]);
    // What is counted by whole slots and days has them, too.
    let from = START.saturating_sub(Duration::from_secs(2 * 86_400));
    let week = TimeRange { from, to: START.saturating_add(Duration::from_secs(5 * 86_400)) };
    let query = StatisticsQuery::new(week, Duration::from_secs(86_400));
    let found = store.statistics(tenant, &query).await.unwrap();
    assert_eq!((found.by_status, found.by_severity), ([0, 1, 0, 0], [0, 0, 0, 1, 0]));
    assert_eq!((found.techniques[0].count, found.rules[0].count, found.agents[0].count), (1, 1, 1));
}

/// TimescaleDB comes with no distribution's packages, so its path is checked where somebody has it: on an empty
/// database that has the extension.
#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_on_timescale() {
    let Ok(url) = std::env::var("LAVENDER_TEST_TIMESCALE_URL") else {
        println!("skipped: no database with TimescaleDB is named by LAVENDER_TEST_TIMESCALE_URL");
        return;
    };
    let clock = Arc::new(ManualClock::new(START));
    let mut options = PostgresOptions::default();
    options.clock = clock.clone();
    let store = PostgresStore::open(&url, options).unwrap();
    conformance::event_store(&store).await;
    conformance::alert_store(&store).await;
    conformance::state_store(&store, &clock).await;
    clock.advance(Duration::from_secs(86_400 * 30));
    store.retain(START).await.unwrap();
    let before = all(&store).await.len();
    assert!(store.retain(START.saturating_add(Duration::from_secs(86_400))).await.unwrap() > 0);
    assert!(all(&store).await.len() < before, "its chunk was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_four_write_at_once_is_there_once() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let source = sample.source().clone();
    let events = sample.busy(4_000);
    let alerts: Vec<Arc<Alert>> =
        events[..200].iter().map(|event| sample.alert(event, "r", Severity::High)).collect();
    // Each writer is a store of its own, as in a process of its own; batches overlap by half, and one goes backwards.
    let mut writers = Vec::new();
    for writer in 0..4_usize {
        let (url, source, events) = (url.clone(), source.clone(), events.clone());
        let mut alerts = alerts.clone();
        writers.push(tokio::spawn(async move {
            let store = tokio::task::spawn_blocking(move || open(&url)).await.unwrap();
            let mut starts: Vec<usize> = (0..events.len()).step_by(100).collect();
            starts.rotate_left(writer * 3);
            if writer % 2 == 1 {
                starts.reverse();
                alerts.reverse();
            }
            let mut new = 0;
            for start in starts {
                let mut batch = events[start..(start + 200).min(events.len())].to_vec();
                if writer % 2 == 1 {
                    batch.reverse();
                }
                new += store.append(&source, &batch).await.unwrap().new;
            }
            (new, store.insert(&alerts).await.unwrap().new)
        }));
    }
    let (mut new, mut raised) = (0, 0);
    for writer in writers {
        let (events, alerts) = writer.await.unwrap();
        (new, raised) = (new + events, raised + alerts);
    }
    assert_eq!((new, raised), (4_000, 200), "each was new to one of them");
    let store = open(&url);
    assert_eq!(all(&store).await, events);
    let mut query = AlertQuery::new(TimeRange::ALL);
    query.limit = 1_000;
    assert_eq!(store.alerts(&query).await.unwrap().items.len(), 200);
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(4_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hostile_comes_back_as_it_went_in() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let store = open(&url);
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut source = sample.source().clone();
    source.host = "nul\0 and \\0 and 'quote'".into();
    let big = vec![b'A'; 1 << 20];
    let mut strange = (*sample.extreme_process()).clone();
    strange.user = Some("nul\0user\\".into());
    strange.executable.path = Captured::complete(big.clone().into());
    strange.parent = None;
    let strange = Arc::new(strange);
    let extreme = sample.extreme_process();
    let mut events = Vec::new();
    for path in [&b"\0"[..], b"\xff\xfe\0\xc3\x28", &big, b"'; DROP SCHEMA lavender; --"] {
        let data = FileOpen {
            path: Captured::complete(path.to_vec().into()),
            inode: u64::MAX,
            device: u32::MAX,
            ..opened(&mut sample, &extreme)
        };
        events.push(sample.event(Some(&strange), EventData::FileOpen(data)));
    }
    let kind = "odd\0kind\\0".into();
    events
        .push(sample.event(None, EventData::Unknown { kind, body: "{\"a\":\"\\u0000\"}".into() }));
    events.push(sample.lost(LossStage::Spool, EventKind::Exec, u64::MAX));
    let mut last = (*sample.heartbeat()).clone();
    (last.tid, last.boot_time) = (u32::MAX, lavender_core::BootTime::from_nanos(u64::MAX));
    events.push(Arc::new(last));
    let stored = store.append(&source, &events).await.unwrap();
    assert_eq!(stored, Inserted { new: events.len() as u64, duplicate: 0 });
    assert_eq!(all(&store).await, events);
    let page = store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap();
    assert!(page.items.iter().all(|stored| stored.source == source));
    assert_eq!(store.agents().await.unwrap()[0].source, source);
    let query = LossQuery { time: TimeRange::ALL, agent: None };
    assert_eq!(store.losses(&query).await.unwrap()[0].count, u64::MAX);

    let raised = sample.alert(&events[0], "rule", Severity::High);
    let rule =
        Arc::new(RuleMeta { id: "r\0\\\"".repeat(200_000).into(), ..(*raised.rule).clone() });
    let alert = Arc::new(Alert { source, rule: rule.clone(), ..(*raised).clone() });
    store.insert(std::slice::from_ref(&alert)).await.unwrap();
    let mut query = AlertQuery::new(TimeRange::ALL);
    query.rule = Some(rule.id.clone());
    assert_eq!(store.alerts(&query).await.unwrap().items, std::slice::from_ref(&alert));
    let change = StatusChange {
        from: AlertStatus::Open,
        to: AlertStatus::Resolved,
        actor: "CORP\\ana\0".into(),
        reason: Some("\0".into()),
        at: Timestamp::from_nanos(i64::MIN),
    };
    store.set_status(alert.id, &change).await.unwrap();
    assert_eq!(store.status_history(alert.id).await.unwrap(), [change]);
    let key: String = (0..3_000_u32).map(|n| char::from_u32(n * 7 % 5_000 + 1).unwrap()).collect();
    let error = store.put(&key, "v".into(), PutMode::Create, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "longer than what an index takes: {error}");
    // The view reads all of it too.
    let client = connect(&url).await;
    let rows = client.query("SELECT executable FROM lavender.readable_events", &[]).await.unwrap();
    assert_eq!(rows.len(), events.len());
}

fn opened(sample: &mut Sample, process: &Arc<Process>) -> FileOpen {
    match &sample.file_open(process, "/").data {
        EventData::FileOpen(data) => data.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_is_told_from_a_bad_moment() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let store = open(&url);
    let mut sample = Sample::new("acme", "web-1", 1);
    let source = sample.source().clone();
    let good = sample.busy(10);
    let bad = EventData::Unknown { kind: "k".into(), body: "raw \0 NUL".into() };
    let mut batch = good.clone();
    batch.push(sample.event(None, bad));
    let error = store.append(&source, &batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(&batch[10].id.to_string()), "it names the event: {error}");
    // A kind too long for the index over kinds: the server refuses it, for good.
    let long: String = (0..6_000_u32).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
    let noise: String = long.chars().enumerate().map(|(n, c)| format!("{c}{}", n * 7919)).collect();
    batch[10] = sample.event(None, EventData::Unknown { kind: noise.into(), body: "{}".into() });
    let error = store.append(&source, &batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(all(&store).await.is_empty(), "all or none");
    assert_eq!(store.append(&source, &good).await.unwrap().new, 10);

    server.kill();
    for _ in 0..10 {
        let error = store.append(&source, &good).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    server.run();
    let mut tries = 0;
    let again = loop {
        match store.append(&source, &good).await {
            Ok(inserted) => break inserted,
            Err(error) => assert!(error.is_retryable() && tries < 20, "{error}"),
        }
        tries += 1;
    };
    assert_eq!(again, Inserted { new: 0, duplicate: 10 });
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_drops_whole_days_and_others_notice() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let clock = Arc::new(ManualClock::new(START));
    let mut options = PostgresOptions::default();
    options.clock = clock.clone();
    let store = PostgresStore::open(&url, options).unwrap();
    let other = open(&url);
    let mut sample = Sample::new("acme", "web-1", 1);
    let source = sample.source().clone();
    let day = Duration::from_secs(86_400);
    let mut events = Vec::new();
    for number in 0..4 {
        sample.set_now(START.saturating_add(day * number));
        let mut of_the_day = sample.busy(20);
        of_the_day.push(sample.lost(LossStage::Queue, EventKind::FileOpen, 10));
        other.append(&source, &of_the_day).await.unwrap();
        events.push(of_the_day);
    }
    let alert = sample.alert(&events[0][0], "r", Severity::High);
    store.insert(&[Arc::clone(&alert)]).await.unwrap();
    let span = TimeRange { from: START, to: START.saturating_add(day * 4) };
    let query = StatisticsQuery::new(span, day);
    let counted = store.statistics(&source.tenant, &query).await.unwrap();
    assert_eq!(counted.agents.len(), 1);
    assert_eq!(store.retain(START.saturating_add(day * 2)).await.unwrap(), 2);
    assert_eq!(store.retain(START.saturating_add(day * 2)).await.unwrap(), 0);
    assert_eq!(all(&store).await, events[2..].concat());
    let losses = LossQuery { time: TimeRange::ALL, agent: None };
    assert_eq!(store.losses(&losses).await.unwrap()[0].count, 20);
    assert_eq!(store.alert(alert.id).await.unwrap(), Some(alert));
    // Alerts are kept, and so are their counts.
    assert_eq!(store.statistics(&source.tenant, &query).await.unwrap(), counted);
    let gone = events[0][0].process.as_ref().unwrap().exec_id;
    assert_eq!(store.process(gone).await.unwrap(), None);
    assert_eq!(store.last_sequence(sample.origin()).await.unwrap(), Some(84));

    // The other still remembers the days and their processes: it makes them anew, processes and all.
    assert_eq!(other.append(&source, &events[0]).await.unwrap().new, 21);
    assert_eq!(all(&store).await, [&events[0][..], &events[2..].concat()].concat());
    // Dropped, and made again by somebody else, with none of the processes in them.
    assert_eq!(store.retain(START.saturating_add(day)).await.unwrap(), 1);
    store.append(&source, &events[0][20..]).await.unwrap();
    assert_eq!(
        other.append(&source, &events[0]).await.unwrap(),
        Inserted { new: 20, duplicate: 1 }
    );
    assert_eq!(all(&other).await, [&events[0][..], &events[2..].concat()].concat());

    // The days to come are there before their events.
    clock.advance(day * 30);
    store.retain(START).await.unwrap();
    let client = connect(&url).await;
    let ahead = client
        .query_one("SELECT to_regclass('lavender.events_20231216') IS NOT NULL", &[])
        .await
        .unwrap();
    assert!(ahead.get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_bounded_and_a_refused_write_changes_nothing() {
    let Some(mut server) = Server::start() else { return };
    let clock = Arc::new(ManualClock::new(START));
    let mut options = PostgresOptions::default();
    (options.state_bytes_max, options.clock) = (100, clock.clone());
    let store = PostgresStore::open(&server.database().await, options).unwrap();
    let value = || vec![7; 40].into();
    store.put("a", value(), PutMode::Create, None).await.unwrap();
    let second = Some(Duration::from_secs(1));
    store.put("b", value(), PutMode::Create, second).await.unwrap();
    let error = store.put("c", value(), PutMode::Create, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("of 100 bytes"), "{error}");
    assert_eq!(store.get("c").await.unwrap(), None);
    store.put("a", value(), PutMode::Overwrite, None).await.unwrap();
    clock.advance(Duration::from_secs(1));
    store.put("c", value(), PutMode::Create, None).await.unwrap();
    store.delete("a").await.unwrap();
    store.put("d", value(), PutMode::Create, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_start_at_once_and_a_later_schema_is_refused() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || lavender_store::open(&url).map(|_| ()))
        })
        .collect();
    for start in starts {
        start.join().unwrap().unwrap();
    }
    let client = connect(&url).await;
    client.execute("UPDATE lavender.schema_version SET version = 99", &[]).await.unwrap();
    let error = PostgresStore::open(&url, PostgresOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 99, made by a later Lavender"), "{error}");

    let foreign = server.database().await;
    let client = connect(&foreign).await;
    client.batch_execute("CREATE SCHEMA lavender CREATE TABLE tea (cups int)").await.unwrap();
    let error = PostgresStore::open(&foreign, PostgresOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("not of Lavender's making"), "{error}");
    client
        .batch_execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        .await
        .unwrap();
    let latin = server.socket("latin");
    let error = PostgresStore::open(&latin, PostgresOptions::default()).unwrap_err();
    assert!(error.to_string().contains("encoding is LATIN1"), "{error}");
}

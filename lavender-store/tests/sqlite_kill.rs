//! Killed at any moment, the store has everything that it acknowledged, once.
//!
//! The test starts itself again as the process that appends and is killed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use lavender_core::conformance::sample::Sample;
use lavender_core::store::{AlertQuery, EventQuery, TimeRange};
use lavender_core::{AlertStore as _, EventStore as _, Severity};
use lavender_store::{SqliteOptions, SqliteStore, Store as _};
use tempfile::TempDir;

/// Says to the process that it is the one that appends, and where.
const PATH: &str = "LAVENDER_TEST_APPEND_TO";

const ROUNDS: u64 = 12;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).unwrap()
}

/// Appends for ever, and prints the highest sequence number that was acknowledged.
async fn append_until_killed(path: &Path) {
    let store = Arc::new(open(path));
    let mut sample = Sample::new("acme", "web-1", 1);
    // As an agent does it: on from the highest that is durable.
    let from = store.last_sequence(sample.origin()).await.unwrap().unwrap_or(0) as usize;
    let _ = sample.busy(from);
    let source = sample.source().clone();
    loop {
        let mut events = sample.busy(300);
        let alert = sample.alert(&events[0], "r", Severity::High);
        let last = events.split_off(200);
        // Two appends and an alert at once, so that transactions hold several requests.
        let (first, second, raised) = tokio::join!(
            store.append(&source, &events),
            store.append(&source, &last),
            store.insert(std::slice::from_ref(&alert))
        );
        assert_eq!((first.unwrap().new, second.unwrap().new, raised.unwrap().new), (200, 100, 1));
        let sequence = last[99].id.sequence();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "acknowledged {sequence}").unwrap();
        stdout.flush().unwrap();
    }
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["killed_at_any_moment", "--exact", "--nocapture", "--test-threads=1"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets it append for a while, kills it, and returns the highest sequence number that it said it had.
fn run_and_kill(path: &Path, round: u64) -> u64 {
    let mut child = spawn(path);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    let mut times = 0;
    let mut note = |line: String| {
        // What the test's own frame prints may stand before it.
        if let Some((_, sequence)) = line.split_once("acknowledged ") {
            acknowledged = sequence.parse().unwrap();
            times += 1;
        }
        times
    };
    while note(lines.next().expect("it ended by itself").unwrap()) < round % 5 + 1 {}
    // Somewhere inside one of the next transactions.
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let delay = std::time::Duration::from_micros(round * 2_654_435_761 % 20_000);
    let _ = wait.recv_timeout(delay);
    drop(done);
    child.kill().unwrap();
    // What it had said before it died.
    for line in lines {
        note(line.unwrap());
    }
    child.wait().unwrap();
    acknowledged
}

#[tokio::test]
async fn killed_at_any_moment() {
    if let Some(path) = std::env::var_os(PATH) {
        append_until_killed(Path::new(&path)).await;
    }
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let mut before = 0;
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(&path, round);
        assert!(acknowledged > before, "round {round} got nowhere");
        let store = open(&path);
        let sample = Sample::new("acme", "web-1", 1);
        let last = store.last_sequence(sample.origin()).await.unwrap().unwrap();
        assert!(last >= acknowledged, "round {round}: {acknowledged} was acknowledged, not {last}");
        store.close().await.unwrap();
        before = acknowledged;
    }

    let store = open(&path);
    let mut query = EventQuery::new(TimeRange::ALL);
    query.limit = 1_000;
    let mut sequences = BTreeSet::new();
    loop {
        let page = store.events(&query).await.unwrap();
        for stored in &page.items {
            assert!(sequences.insert(stored.event.id.sequence()), "an event is there twice");
            assert!(stored.event.process.as_ref().unwrap().ancestors().count() >= 1);
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let missing: Vec<u64> = (1..=before).filter(|number| !sequences.contains(number)).collect();
    assert!(missing.is_empty(), "acknowledged, and not there: {missing:?}");
    let alerts = store.alerts(&AlertQuery::new(TimeRange::ALL)).await.unwrap();
    assert!(!alerts.items.is_empty());
    store.close().await.unwrap();
    let check: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

//! What goes wrong with a file is said clearly, and what was stored stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::Event;
use lavender_core::store::{EventQuery, TimeRange};
use lavender_core::{Error, ErrorKind, EventStore as _};
use lavender_store::{SqliteOptions, SqliteStore, Store as _};
use rusqlite::Connection;
use tempfile::TempDir;

fn refusal(path: &Path) -> Error {
    SqliteStore::open(path, SqliteOptions::default()).map(|_| ()).unwrap_err()
}

async fn stored(store: &SqliteStore) -> Vec<Arc<Event>> {
    let mut query = EventQuery::new(TimeRange::ALL);
    query.limit = 1_000;
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

/// Appends batches until the store is full. Returns what it acknowledged, and the batch that it did not.
async fn fill(store: &SqliteStore, sample: &mut Sample) -> (Vec<Arc<Event>>, Vec<Arc<Event>>) {
    let mut acknowledged = Vec::new();
    loop {
        let batch = sample.busy(100);
        match store.append(sample.source(), &batch).await {
            Ok(inserted) => {
                assert_eq!(inserted.new, 100);
                acknowledged.extend(batch);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                assert!(error.is_retryable());
                assert!(error.to_string().contains("no room is left"), "{error}");
                return (acknowledged, batch);
            }
        }
        assert!(acknowledged.len() < 1_000_000, "it never gets full");
    }
}

#[tokio::test]
async fn a_full_store_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let directory = TempDir::new().unwrap();
    let mut options = SqliteOptions::default();
    options.bytes_max = Some(2 << 20);
    let store = SqliteStore::open(directory.path().join("lavender.db"), options).unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let first = sample.busy(200);
    store.append(sample.source(), &first).await.unwrap();
    sample.set_now(START.saturating_add(Duration::from_secs(86_400)));
    let (acknowledged, refused) = fill(&store, &mut sample).await;
    assert!(acknowledged.len() > 1_000);
    assert_eq!(stored(&store).await, [first, acknowledged.clone()].concat());
    // Full is full, until the first day makes room.
    store.append(sample.source(), &refused).await.unwrap_err();
    assert_eq!(store.retain(START.saturating_add(Duration::from_secs(86_400))).await.unwrap(), 1);
    assert_eq!(store.append(sample.source(), &refused).await.unwrap().new, 100);
    assert_eq!(stored(&store).await, [acknowledged, refused].concat());
}

/// A small file system in memory, gone with the test.
#[cfg(target_os = "linux")]
struct SmallDisk(TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let directory = TempDir::new().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "lavender-test"])
            .arg(directory.path())
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if mount.status.success() {
            Ok(Self(directory))
        } else {
            Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned())
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmount = std::process::Command::new("umount").arg(self.0.path()).status();
        assert!(unmount.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_stored() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: a small disk cannot be mounted: {why}");
            return;
        }
    };
    let path = disk.0.path().join("lavender.db");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let (mut acknowledged, refused) = fill(&store, &mut sample).await;
    assert_eq!(stored(&store).await, acknowledged);
    store.append(sample.source(), &refused).await.unwrap_err();

    fs::remove_file(&ballast).unwrap();
    assert_eq!(store.append(sample.source(), &refused).await.unwrap().new, 100);
    acknowledged.extend(refused);
    assert_eq!(stored(&store).await, acknowledged);

    // Full again, and the process ends without any room: what is stored is there at the next start.
    let (more, _) = fill(&store, &mut sample).await;
    acknowledged.extend(more);
    drop(store);
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    assert_eq!(stored(&store).await, acknowledged);
    store.close().await.unwrap();
    let check: String = Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn one_process_at_a_time() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let error = refusal(&path);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("another process uses it"), "{error}");
    // Who was first is not harmed.
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(3);
    store.append(sample.source(), &events).await.unwrap();
    drop(store);
    let again = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    assert_eq!(stored(&again).await, events);
}

#[test]
fn what_is_no_database_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes.txt");
    let text = "no database, but somebody's notes\n".repeat(1_000);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("damaged") && error.to_string().contains("notes.txt"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let path = directory.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('x')").unwrap();
    drop(other);
    let error = refusal(&path);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("not a database of Lavender's"), "{error}");
    let count: u32 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1, "tables were made in somebody else's database");
}

#[tokio::test]
async fn a_database_from_the_future_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    SqliteStore::open(&path, SqliteOptions::default()).unwrap().close().await.unwrap();
    let database = Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let error = refusal(&path);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("version 99") && text.contains("later Lavender"), "{text}");
    assert!(error.source().is_none() || !error.source().unwrap().to_string().is_empty());
}

#[tokio::test]
async fn damage_is_found_and_said() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(2_000);
    store.append(sample.source(), &events).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Everything behind the schema.
    let from = 80 * 4_096;
    assert!(bytes.len() > from * 2);
    bytes[from..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let mut query = EventQuery::new(TimeRange::ALL);
    query.limit = 1_000;
    let error = store.events(&query).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let more = sample.busy(2_000);
    let error = store.append(sample.source(), &more).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
}

#[test]
fn a_path_that_cannot_be_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    // A directory where the file should be, and a file where the directory should be.
    let error = refusal(directory.path());
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refusal(&file.join("lavender.db"));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("check the path"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_said_at_the_start() {
    // The kernel's own: nobody makes files there, not even root.
    let error = refusal(Path::new("/proc/lavender.db"));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("/proc/lavender.db"), "{error}");
}

#[tokio::test]
async fn another_programs_lock_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(10);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let append = store.append(sample.source(), &events);
    tokio::pin!(append);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut append).await;
    assert!(early.is_err(), "written past another's lock");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(append.await.unwrap().new, 10);
}

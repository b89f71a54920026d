//! The SQLite store beside bare batched inserts of the same events, a row each, and of the same rows of processes.

use std::path::Path;
use std::sync::Arc;

use lavender_benches::identity;
use lavender_core::codec;
use lavender_core::event::Event;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tokio::runtime::Runtime;

use super::cost::{cost_of, middle};
use super::{Effort, median, postgres};

/// What an agent's store takes at once.
const BATCH: usize = 1_000;

/// What a table of events needs at the least: each once, and found by its time.
const BARE_EVENTS: &str = "CREATE TABLE events (
        event_id BLOB NOT NULL UNIQUE, observed_at INTEGER NOT NULL, boot_time INTEGER NOT NULL, kind TEXT NOT NULL,
        tid INTEGER NOT NULL, process BLOB, data TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_time ON events (observed_at);";

/// Of each day's table of processes, the rows behind those of before.
struct Reader {
    connection: Connection,
    last: Vec<(String, i64)>,
}

type Rows = Vec<(String, Vec<Vec<Value>>)>;

impl Reader {
    fn open(path: &Path) -> Self {
        Self { connection: Connection::open(path).unwrap(), last: Vec::new() }
    }

    /// What makes the tables of processes, with their indexes.
    fn tables(&self) -> Vec<String> {
        let sql =
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name GLOB 'processes_2*'
             ORDER BY type DESC";
        let mut select = self.connection.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn rows(&mut self) -> Rows {
        if self.last.is_empty() {
            let sql =
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'processes_2*'";
            let mut select = self.connection.prepare(sql).unwrap();
            let names = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap);
            self.last = names.map(|name| (name, 0)).collect();
        }
        let mut all = Vec::new();
        for (table, last) in &mut self.last {
            let sql = format!("SELECT rowid, * FROM {table} WHERE rowid > {last} ORDER BY rowid");
            let mut select = self.connection.prepare(&sql).unwrap();
            let columns = select.column_count();
            let mut found = select.query([]).unwrap();
            let mut rows = Vec::new();
            while let Some(row) = found.next().unwrap() {
                *last = row.get(0).unwrap();
                rows.push((1..columns).map(|column| row.get(column).unwrap()).collect());
            }
            all.push((table.clone(), rows));
        }
        all
    }
}

fn bare_rows(events: &[Arc<Event>]) -> Vec<Vec<Value>> {
    let row = |event: &Arc<Event>| {
        let process =
            event.process.as_ref().map(|process| process.id().as_u128().to_be_bytes().to_vec());
        vec![
            Value::Blob(event.id.as_u128().to_be_bytes().to_vec()),
            Value::Integer(event.observed_at.as_nanos()),
            Value::Integer(event.boot_time.as_nanos().cast_signed()),
            Value::Text(event.kind().as_str().to_owned()),
            Value::Integer(event.tid.into()),
            process.map_or(Value::Null, Value::Blob),
            Value::Text(codec::data_to_json(&event.data).unwrap()),
        ]
    };
    events.iter().map(row).collect()
}

fn insert(connection: &mut Connection, batches: &[Rows]) {
    for batch in batches {
        let transaction = connection.transaction().unwrap();
        for (table, rows) in batch {
            let Some(columns) = rows.first().map(Vec::len) else { continue };
            let places = vec!["?"; columns].join(",");
            let sql = format!("INSERT INTO {table} VALUES ({places})");
            let mut insert = transaction.prepare_cached(&sql).unwrap();
            for row in rows {
                insert.execute(params_from_iter(row)).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

pub fn ratios(runtime: &Runtime, effort: Effort) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lavender.db");
    let store = lavender_store::open(&format!("sqlite:{}", path.display())).unwrap();
    let mut reader = Reader::open(&path);
    let mut bare = Connection::open(folder.path().join("bare.db")).unwrap();
    bare.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
         PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;",
    )
    .unwrap();
    let who = identity().unwrap();
    let (mut ours, mut alone, mut each) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..=effort.rounds {
        let batches = postgres::batches(BATCH, effort.messages_each, turn as u64 + 1);
        let mut rows = Vec::new();
        let mut took = 0.0;
        let (mut own, mut wall) = (0.0, 0.0);
        for batch in &batches {
            let cost = runtime.block_on(cost_of(&[], async {
                store.append(&who, batch).await.unwrap();
            }));
            (own, wall) = (own + cost.own, wall + cost.wall);
            took += cost.wall;
            let mut of_batch = reader.rows();
            of_batch.push(("events".to_owned(), bare_rows(batch)));
            rows.push(of_batch);
        }
        if turn == 0 {
            reader.tables().iter().for_each(|sql| bare.execute_batch(sql).unwrap());
            bare.execute_batch(BARE_EVENTS).unwrap();
        }
        let floor = runtime.block_on(cost_of(&[], async { insert(&mut bare, &rows) }));
        if turn > 0 {
            each.push(floor.wall / took);
            ours.push(super::cost::Cost { wall, own, servers: 0.0 });
            alone.push(floor);
        }
    }
    runtime.block_on(store.close()).unwrap();
    let events = BATCH * effort.messages_each;
    println!("SQLite, batches of {BATCH}, the store:     {}", middle(&ours).per_event(events));
    println!("SQLite, batches of {BATCH}, bare inserts:  {}", middle(&alone).per_event(events));
    vec![format!("SQLite/bare inserts, batches of {BATCH}: {:.2}", median(each))]
}

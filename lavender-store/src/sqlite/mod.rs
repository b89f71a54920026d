//! A store in one SQLite file.

mod access;
mod agents;
mod alerts;
mod blocks;
mod command;
mod connection;
mod convert;
mod counts;
mod error;
mod event_reader;
mod events;
mod feed;
mod fleet;
mod process;
mod reader;
mod rulesets;
mod schema;
mod state;
mod triage;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lavender_core::event::{Event, Process};
use lavender_core::store::{
    AgentRecord, AlertQuery, EventQuery, Inserted, LossEntry, LossQuery, Page, PutMode,
    StatusChange, StoredEvent, Version,
};
use lavender_core::{
    AgentIdentity, Alert, AlertId, AlertStore, Bytes, Clock, Error, EventStore, ExecId, Origin,
    Result, StateStore, SystemClock, Timestamp, async_trait,
};

pub use self::error::SqliteError;
use self::reader::Readers;
use self::writer::Writer;
use crate::cursor::Listing;
use crate::{Store, cursor};

/// How a [`SqliteStore`] is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The most bytes that the file may have, its log not among them; when it has them, writing fails
    /// until [`retain`](Store::retain) makes room. Unbounded unless said.
    pub bytes_max: Option<u64>,
    /// The most bytes of state, keys and values together. 256 MiB unless said.
    pub state_bytes_max: u64,
    /// How many threads read, each over a connection of its own. 2 unless said.
    pub readers: usize,
    /// By what the time of state is up.
    pub clock: Arc<dyn Clock>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            bytes_max: None,
            state_bytes_max: 256 << 20,
            readers: 2,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Keeps events, alerts, agents, losses and state in one SQLite file.
///
/// - What is acknowledged is on the disk: WAL with `synchronous=FULL`. One thread writes; what several
///   callers ask for at once becomes one transaction, and each gets its own answer.
/// - Each UTC day has tables of its own in the one file, so that an append is atomic even over midnight
///   and forgetting a day is dropping its tables. The space is used again by the days that follow; the
///   file does not shrink.
/// - Events of an agent that come together lie in one row, up to 512 of them: storing one costs 0.5 µs of CPU
///   time, where a row and its indexes for each took 2.5. A query parses the blocks that can have what it asks
///   for, whole ones.
/// - An event is known by its id among the events of its day: a redelivery carries the same bytes, so it
///   has the same `observed_at` and falls on the same day.
/// - Every state in which events showed a process is kept, each once a day; events get back the process
///   that they came with. [`process`](EventStore::process) gives the newest.
/// - One process at a time may open it (`PATH.lock` says so); `sqlite3 -readonly` may look on. For that
///   there are the view `events` and the table `alerts`.
///
/// Dropping it waits until what was handed over is written; [`close`](Store::close) does so without
/// blocking a thread, and says whether it went well.
///
/// ```
/// use lavender_core::EventStore;
/// use lavender_store::{SqliteOptions, SqliteStore, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let store = SqliteStore::open(directory.path().join("lavender.db"), SqliteOptions::default())?;
/// assert!(store.agents().await?.is_empty());
/// store.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    options: SqliteOptions,
    /// `None` once it is closed.
    running: Mutex<Option<Running>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The ways to the threads.
type Running = (Writer, Readers);

impl SqliteStore {
    /// Opens a database file, and makes it and its directory where there is none, for its owner alone.
    ///
    /// Blocks for as long as recovery and migration take: milliseconds, as a rule.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what to do about it: a [`SqliteError`] stands behind it.
    pub fn open(path: impl Into<PathBuf>, options: SqliteOptions) -> Result<Self> {
        let path = path.into();
        match Self::start(&path, &options) {
            Ok((running, threads)) => Ok(Self {
                path,
                options,
                running: Mutex::new(Some(running)),
                threads: Mutex::new(threads),
            }),
            Err(error) => Err(error.at(&path)),
        }
    }

    fn start(
        path: &Path,
        options: &SqliteOptions,
    ) -> error::Result<(Running, Vec<JoinHandle<()>>)> {
        let no_thread = |error: std::io::Error| SqliteError::Other(format!("no thread: {error}"));
        let lock = connection::lock(path)?;
        let writing = connection::open_writer(path, options)?;
        let reading = (0..options.readers.max(1))
            .map(|_| connection::open_reader(path))
            .collect::<error::Result<Vec<_>>>()?;
        let (alive, readers_gone) = std::sync::mpsc::channel();
        let (readers, mut threads) = Readers::start(reading, &alive).map_err(no_thread)?;
        let (writer, thread) = Writer::start(writing, lock, readers_gone).map_err(no_thread)?;
        threads.push(thread);
        Ok(((writer, readers), threads))
    }

    fn running(&self) -> error::Result<Running> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.clone().ok_or(SqliteError::Closed)
    }

    async fn write<T: Send + 'static>(
        &self,
        rows: usize,
        work: impl FnOnce(&rusqlite::Connection, &mut events::Remembered) -> error::Result<T>
        + Send
        + 'static,
    ) -> Result<T> {
        let written = match self.running() {
            Ok((writer, _)) => writer.write(rows, Box::new(work)).await,
            Err(error) => Err(error),
        };
        written.map_err(|error| self.error(error))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> error::Result<T> + Send + 'static,
    ) -> Result<T> {
        let read = match self.running() {
            Ok((_, readers)) => readers.read(work).await,
            Err(error) => Err(error),
        };
        read.map_err(|error| self.error(error))
    }

    fn error(&self, error: SqliteError) -> Error {
        error.at(&self.path)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A thread that panicked has answered nobody; there is nothing more to say here.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn append(&self, source: &AgentIdentity, events: &[Arc<Event>]) -> Result<Inserted> {
        let (source, events) = (source.clone(), events.to_vec());
        self.write(events.len(), move |connection, remembered| {
            events::append(connection, remembered, &source, &events)
        })
        .await
    }

    async fn events(&self, query: &EventQuery) -> Result<Page<StoredEvent>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Events.position(query.after.as_ref())?;
        let query = query.clone();
        self.read(move |connection| event_reader::read(connection, &query, limit, after)).await
    }

    async fn process(&self, id: ExecId) -> Result<Option<Arc<Process>>> {
        self.read(move |connection| events::process(connection, id)).await
    }

    async fn last_sequence(&self, origin: Origin) -> Result<Option<u64>> {
        self.read(move |connection| events::last_sequence(connection, origin)).await
    }

    async fn agents(&self) -> Result<Vec<AgentRecord>> {
        self.read(agents::agents).await
    }

    async fn losses(&self, query: &LossQuery) -> Result<Vec<LossEntry>> {
        let LossQuery { time, agent } = query.clone();
        let (tenant, agent) = agent.unzip();
        self.read(move |connection| {
            agents::losses(connection, tenant.as_ref(), agent.as_ref(), time)
        })
        .await
    }
}

#[async_trait]
impl AlertStore for SqliteStore {
    async fn insert(&self, alerts: &[Arc<Alert>]) -> Result<Inserted> {
        let alerts = alerts.to_vec();
        self.write(alerts.len(), move |connection, _| alerts::insert(connection, &alerts)).await
    }

    async fn alerts(&self, query: &AlertQuery) -> Result<Page<Arc<Alert>>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Alerts.position(query.after.as_ref())?;
        let query = query.clone();
        let page = self.read(move |connection| alerts::read(connection, &query, limit, after));
        Ok(page.await?.map(|record| record.alert))
    }

    async fn alert(&self, id: AlertId) -> Result<Option<Arc<Alert>>> {
        let record = self.read(move |connection| alerts::record(connection, None, id)).await?;
        Ok(record.map(|record| record.alert))
    }

    async fn set_status(&self, id: AlertId, change: &StatusChange) -> Result<()> {
        let change = change.clone();
        self.write(1, move |connection, _| alerts::set_status(connection, id, &change)).await
    }

    async fn status_history(&self, id: AlertId) -> Result<Vec<StatusChange>> {
        self.read(move |connection| alerts::history(connection, id, None)).await
    }
}

#[async_trait]
impl StateStore for SqliteStore {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        let (key, now) = (key.to_owned(), self.options.clock.now());
        self.read(move |connection| state::get(connection, &key, now)).await
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<Duration>,
    ) -> Result<Version> {
        let now = self.options.clock.now();
        let expires_at = ttl.map(|ttl| now.saturating_add(ttl));
        let put = state::Put { key: key.to_owned(), value, mode, expires_at, now };
        let bytes_max = self.options.state_bytes_max;
        self.write(1, move |connection, _| state::put(connection, &put, bytes_max)).await
    }

    async fn put_all(&self, changes: Vec<(String, Option<Bytes>)>) -> Result<()> {
        let (now, bytes_max) = (self.options.clock.now(), self.options.state_bytes_max);
        self.write(changes.len(), move |connection, _| {
            for (key, value) in changes {
                let Some(value) = value else {
                    state::delete(connection, &key)?;
                    continue;
                };
                let put =
                    state::Put { key, value, mode: PutMode::Overwrite, expires_at: None, now };
                state::put(connection, &put, bytes_max)?;
            }
            Ok(())
        })
        .await
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let now = self.options.clock.now();
        self.read(move |connection| state::keys(connection, &prefix, after.as_deref(), limit, now))
            .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.write(1, move |connection, _| state::delete(connection, &key)).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn retain(&self, before: Timestamp) -> Result<u64> {
        self.write(1, move |connection, remembered| events::retain(connection, remembered, before))
            .await
    }

    async fn close(&self) -> Result<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((writer, readers)) = running else { return Ok(()) };
        drop(readers);
        writer.close().await.map_err(|error| self.error(error))
    }
}

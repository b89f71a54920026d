//! A store in a PostgreSQL database.

/// Does something with a connection, and names the store where it fails.
macro_rules! with {
    ($store:expr, |$client:ident| $work:expr) => {{
        let work = async {
            #[allow(unused_mut, reason = "some work needs the connection for itself")]
            let Held { client: mut $client, _open } = $store.client().await?;
            $work.await
        };
        work.await.map_err(|error| $store.error(error))
    }};
}

/// The same inside a transaction that only reads, so that what it sees is not dropped before its end.
macro_rules! reading {
    ($store:expr, |$transaction:ident| $work:expr) => {
        with!($store, |client| async {
            let $transaction = client.build_transaction().read_only(true).start().await?;
            let result = $work.await?;
            $transaction.commit().await?;
            Ok(result)
        })
    };
}

mod access;
mod agents;
mod alerts;
mod columns;
mod command;
mod connection;
mod counts;
mod error;
mod events;
mod feed;
mod fleet;
mod grants;
mod layout;
mod process;
mod query;
mod read;
mod rulesets;
mod schema;
mod state;
mod text;
mod tls;
mod triage;
mod url;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use lavender_core::event::{Event, Process};
use lavender_core::store::{
    AgentRecord, AlertQuery, EventQuery, Inserted, LossEntry, LossQuery, Page, PutMode,
    StatusChange, StoredEvent, Version,
};
use lavender_core::{
    AgentIdentity, Alert, AlertId, AlertStore, Bytes, Clock, Error, EventStore, ExecId, Origin,
    Result, StateStore, SystemClock, Timestamp, async_trait,
};
use tokio::sync::{RwLock, RwLockReadGuard};

pub use self::error::PostgresError;
use self::events::Remembered;
use self::layout::Layout;
use self::url::Target;
use crate::cursor::Listing;
use crate::day::Day;
use crate::{Store, cursor};

/// After so many writes of state, what has expired is deleted.
const WRITES_TO_SWEEP: u64 = 1_024;

/// How a [`PostgresStore`] is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The most connections. 8 unless said.
    pub connections: usize,
    /// The most bytes of state, keys and values together. 1 GiB unless said.
    pub state_bytes_max: u64,
    /// By what the time of state is up, and what day it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { connections: 8, state_bytes_max: 1 << 30, clock: Arc::new(SystemClock) }
    }
}

/// Keeps events, alerts, agents, losses and state in the schema `lavender` of a PostgreSQL database, 14 or newer.
/// Any number of processes may have it open.
///
/// - What is acknowledged is on the server's disk. A batch is one transaction, whose statements take whole columns;
///   what is there already is passed over.
/// - Each UTC day has partitions of its own. They are made ahead, or when the first event of theirs comes;
///   forgetting a day is dropping them. Where the database has the extension TimescaleDB when the tables are made,
///   they are hypertables with a chunk a day, compressed after a week if its licence allows that.
/// - An event is known by its id and its `observed_at`: a redelivery carries the same bytes, so it has the same.
/// - Every state in which events showed a process is kept, each once a day, known by a digest of itself and its
///   ancestors. [`process`](EventStore::process) gives the newest.
/// - For a person with `psql` there are the view `lavender.readable_events` and the table `lavender.alerts`.
///
/// # URL
///
/// `postgres://USER@HOST:PORT/DATABASE?NAME=VALUE&…`, as libpq has it, with `%2F` for the slashes of a socket's
/// directory. How the connection is kept safe:
///
/// | parameter | meaning |
/// |---|---|
/// | `sslmode` | Unless the server is on this host, the connection is encrypted and the server's certificate and name are checked: with `require`, `verify-ca` and `verify-full` alike. `disable` is refused there; `prefer` and `allow` always |
/// | `sslrootcert` | whose certificates are trusted, a PEM file; the system's own without it |
/// | `sslcert`, `sslkey` | the client's certificate and key, PEM files |
///
/// ```no_run
/// use lavender_core::EventStore;
/// use lavender_store::{PostgresOptions, PostgresStore, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://lavender@db.example/lavender?sslrootcert=/etc/lavender/ca.pem";
/// let store = PostgresStore::open(url, PostgresOptions::default())?;
/// assert!(store.agents().await?.is_empty());
/// store.close().await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    place: String,
    pool: Pool,
    layout: Layout,
    options: PostgresOptions,
    remembered: Mutex<Remembered>,
    state_writes: AtomicU64,
    /// Whether it is open. Who works holds it; who closes waits for them.
    open: RwLock<bool>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("place", &self.place)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A connection, and the word that the store stays open for it.
struct Held<'a> {
    client: Client,
    _open: RwLockReadGuard<'a, bool>,
}

impl PostgresStore {
    /// Opens a database, and brings its tables to this version. It must exist; its user must be allowed to make the
    /// schema `lavender`, or own it. One that may only use the tables, by
    /// [`control_plane_grants`](Self::control_plane_grants), opens what an owner has brought to this version.
    ///
    /// Blocks for as long as connecting and migrating take.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL or the server, and what to do about it: a [`PostgresError`] stands behind it.
    pub fn open(url: &str, options: PostgresOptions) -> Result<Self> {
        let target = match Target::parse(url) {
            Ok(target) => target,
            Err(error) => return Err(error.at_opening("postgres://…")),
        };
        let place = target.to_string();
        let start = || -> error::Result<(Pool, Layout)> {
            let tls = target.tls.as_ref().map(tls::connector).transpose()?;
            let layout = connection::prepare(&target, tls.as_ref(), &options)?;
            Ok((connection::pool(&target, tls, &options)?, layout))
        };
        match start() {
            Ok((pool, layout)) => Ok(Self {
                place,
                pool,
                layout,
                options,
                remembered: Mutex::default(),
                state_writes: AtomicU64::new(0),
                open: RwLock::new(true),
            }),
            Err(error) => Err(error.at_opening(&place)),
        }
    }

    async fn client(&self) -> error::Result<Held<'_>> {
        let open = self.open.read().await;
        if !*open {
            return Err(PostgresError::Closed);
        }
        Ok(Held { client: self.pool.get().await?, _open: open })
    }

    fn error(&self, error: PostgresError) -> Error {
        error.at(&self.place)
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, source: &AgentIdentity, events: &[Arc<Event>]) -> Result<Inserted> {
        with!(self, |client| events::append(
            &mut client,
            self.layout,
            &self.remembered,
            source,
            events
        ))
    }

    async fn events(&self, query: &EventQuery) -> Result<Page<StoredEvent>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Events.position(query.after.as_ref())?;
        reading!(self, |transaction| read::read(&transaction, query, limit, after))
    }

    async fn process(&self, id: ExecId) -> Result<Option<Arc<Process>>> {
        reading!(self, |transaction| process::newest(&transaction, id))
    }

    async fn last_sequence(&self, origin: Origin) -> Result<Option<u64>> {
        with!(self, |client| events::last_sequence(&client, origin))
    }

    async fn agents(&self) -> Result<Vec<AgentRecord>> {
        with!(self, |client| agents::agents(&client))
    }

    async fn losses(&self, query: &LossQuery) -> Result<Vec<LossEntry>> {
        let (tenant, agent) = query.agent.as_ref().map(|(tenant, agent)| (tenant, agent)).unzip();
        with!(self, |client| agents::losses(&client, tenant, agent, query.time))
    }
}

#[async_trait]
impl AlertStore for PostgresStore {
    async fn insert(&self, alerts: &[Arc<Alert>]) -> Result<Inserted> {
        with!(self, |client| alerts::insert(&mut client, alerts))
    }

    async fn alerts(&self, query: &AlertQuery) -> Result<Page<Arc<Alert>>> {
        let limit = cursor::limit(query.limit)?;
        let after = Listing::Alerts.position(query.after.as_ref())?;
        let page = reading!(self, |transaction| alerts::read(&transaction, query, limit, after))?;
        Ok(page.map(|record| record.alert))
    }

    async fn alert(&self, id: AlertId) -> Result<Option<Arc<Alert>>> {
        let record = reading!(self, |transaction| alerts::record(&transaction, None, id, false))?;
        Ok(record.map(|record| record.alert))
    }

    async fn set_status(&self, id: AlertId, change: &StatusChange) -> Result<()> {
        with!(self, |client| alerts::set_status(&mut client, id, change))
    }

    async fn status_history(&self, id: AlertId) -> Result<Vec<StatusChange>> {
        with!(self, |client| alerts::history(&client, None, id, None))
    }
}

#[async_trait]
impl StateStore for PostgresStore {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        let now = self.options.clock.now();
        with!(self, |client| state::get(&client, key, now))
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
        let bytes_max = self.options.state_bytes_max;
        let put = state::Put { key, value: &value, mode, expires_at, now, bytes_max };
        let writes = self.state_writes.fetch_add(1, Ordering::Relaxed) + 1;
        with!(self, |client| async {
            if writes.is_multiple_of(WRITES_TO_SWEEP) {
                state::sweep(&client, now).await?;
            }
            state::put(&client, &put).await
        })
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let now = self.options.clock.now();
        with!(self, |client| state::keys(&client, prefix, after, limit, now))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        with!(self, |client| state::delete(&client, key))
    }
}

#[async_trait]
impl Store for PostgresStore {
    /// Also makes the partitions of the days to come, and deletes state that has expired. Calling it once an hour does.
    async fn retain(&self, before: Timestamp) -> Result<u64> {
        let now = self.options.clock.now();
        let (layout, today) = (self.layout, Day::of(now));
        with!(self, |client| async {
            let dropped = events::retain(&mut client, layout, &self.remembered, before).await?;
            // Not those that were to go just now.
            connection::make_ahead(&mut client, layout, today, Day::of(before)).await?;
            if let Some(compress) = layout.compress(today) {
                let transaction = client.transaction().await?;
                let patient = format!("SET LOCAL statement_timeout = 0; {compress}");
                transaction.batch_execute(&patient).await?;
                transaction.commit().await?;
            }
            state::sweep(&client, now).await?;
            Ok(dropped)
        })
    }

    async fn close(&self) -> Result<()> {
        let mut open = self.open.write().await;
        *open = false;
        self.pool.close();
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

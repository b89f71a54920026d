//! Stores of [Lavender](https://github.com/lavender-edr/lavender): events, alerts, agents, losses and
//! state, behind the traits of `lavender-core`.
//!
//! ```
//! use std::sync::Arc;
//! use lavender_core::store::{AlertQuery, TimeRange};
//! use lavender_core::{AlertStore, EventStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> lavender_core::Result<()> {
//! let store = lavender_store::open("memory:")?;
//! let events: Arc<dyn EventStore> = store.clone();
//! let alerts: Arc<dyn AlertStore> = store.clone();
//! assert!(alerts.alerts(&AlertQuery::new(TimeRange::ALL)).await?.items.is_empty());
//! store.close().await
//! # }
//! ```
//!
//! # Concepts
//!
//! - A store is opened from a URL: see [`open`]. One object is an `EventStore`, an `AlertStore` and a
//!   `StateStore`, and what a control plane needs within a tenant: a `TriageStore`, a `FleetStore`, an `AccessStore`,
//!   a `CommandStore`, a `RulesetStore` and a `FeedStore`. [`Store`] joins them and adds [retention](Store::retain) and an orderly [end](Store::close).
//! - Events are kept by the UTC day of their `observed_at`; retention forgets whole days at once.
//! - What is written twice is there once: events and alerts are known by their ids.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `sqlite` | | [`SqliteStore`]; SQLite is compiled in, a C compiler is needed |
//! | `postgres` | | [`PostgresStore`]: a PostgreSQL database for many hosts, over connections encrypted by rustls |
//!
//! [`MemoryStore`] is always there.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod counts;
mod cursor;
mod day;
mod feed;
mod heartbeat;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod process;
mod rulesets;
mod sequence;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod severity;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use lavender_core::store::{
    AccessStore, CommandStore, FeedStore, FleetStore, RulesetStore, TriageStore,
};
use lavender_core::{
    AlertStore, Error, ErrorKind, EventStore, Result, StateStore, Timestamp, async_trait,
};

pub use crate::memory::{MemoryOptions, MemoryStore};
#[cfg(feature = "postgres")]
pub use crate::postgres::{PostgresError, PostgresOptions, PostgresStore};
#[cfg(feature = "sqlite")]
pub use crate::sqlite::{SqliteError, SqliteOptions, SqliteStore};

/// A store of everything: what [`open`] returns.
#[async_trait]
pub trait Store:
    EventStore
    + AlertStore
    + StateStore
    + TriageStore
    + FleetStore
    + AccessStore
    + CommandStore
    + RulesetStore
    + FeedStore
{
    /// Forgets the events and the losses of every UTC day that was over at `before`. Alerts and their
    /// history stay, with the processes inside them. Returns how many days were dropped.
    ///
    /// # Errors
    ///
    /// When the store cannot be written; it may be called again.
    async fn retain(&self, before: Timestamp) -> Result<u64>;

    /// Waits until everything that was handed over is stored, then lets go of files and threads. Every
    /// later call fails; closing again does nothing.
    ///
    /// # Errors
    ///
    /// When the end could not be orderly. What was acknowledged is stored all the same.
    async fn close(&self) -> Result<()>;
}

/// Opens a store, and makes it where there is none.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | [`MemoryStore`]: gone with the process |
/// | `sqlite:PATH` | [`SqliteStore`] (feature `sqlite`): one file, with `PATH-wal`, `PATH-shm` and `PATH.lock` beside it |
/// | `postgres://…` | [`PostgresStore`] (feature `postgres`): the schema `lavender` of a database that exists |
///
/// Blocks for as long as recovery and migration take: milliseconds, as a rule.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) for a URL that is none of these, [`Unsupported`](ErrorKind::Unsupported)
/// for a store that was not built in, and whatever the store says.
///
/// ```
/// let error = lavender_store::open("postgres://db.example/x?sslmode=disable").map(|_| ()).unwrap_err();
/// assert!(!error.is_retryable());
/// ```
pub fn open(url: &str) -> Result<Arc<dyn Store>> {
    let fail = |kind, why: &str| Err(Error::new(kind, format!("store {}", shown(url)), why));
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        Some(("sqlite", rest)) => open_sqlite(url, rest.strip_prefix("//").unwrap_or(rest)),
        Some(("postgres" | "postgresql", _)) => open_postgres(url),
        _ => fail(
            ErrorKind::Invalid,
            "not a store's URL; use sqlite:PATH, postgres://HOST/DATABASE or memory:",
        ),
    }
}

/// A URL as errors show it: without what may be a password, in front of the host or among the parameters.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (base, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    match base.rsplit_once('@') {
        // Where the `?` stands inside a password, what is before it is not for showing either.
        _ if parameters.contains('@') => format!("{scheme}://…"),
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => format!("{scheme}://{base}"),
    }
}

#[cfg(feature = "sqlite")]
fn open_sqlite(url: &str, path: &str) -> Result<Arc<dyn Store>> {
    if path.is_empty() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("store {url}"),
            "the path is missing; use sqlite:PATH",
        ));
    }
    Ok(Arc::new(SqliteStore::open(path, SqliteOptions::default())?))
}

#[cfg(not(feature = "sqlite"))]
fn open_sqlite(url: &str, _path: &str) -> Result<Arc<dyn Store>> {
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("store {url}"),
        "SQLite is not built in; build lavender-store with the feature `sqlite`",
    ))
}

#[cfg(feature = "postgres")]
fn open_postgres(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(PostgresStore::open(url, PostgresOptions::default())?))
}

#[cfg(not(feature = "postgres"))]
fn open_postgres(url: &str) -> Result<Arc<dyn Store>> {
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("store {}", shown(url)),
        "PostgreSQL is not built in; build lavender-store with the feature `postgres`, or use sqlite:PATH",
    ))
}

//! Connections: how they are made, and what the first of them does.

use std::time::Duration;

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresOptions;
use super::error::{PostgresError, Result};
use super::layout::Layout;
use super::schema;
use super::url::Target;
use crate::day::Day;

/// How long a caller waits for a connection that is free.
const WAIT: Duration = Duration::from_secs(30);

/// What each connection is told. A commit is on the disk once it is acknowledged, whatever the server's default; a
/// plan is made for the days that a query is about; and what is waited for comes to an end.
const SESSION: &str = "SET jit = off;
    SET plan_cache_mode = force_custom_plan;
    SET statement_timeout = '60s';
    SET idle_in_transaction_session_timeout = '60s';
    SET client_min_messages = warning;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// So many days from today on have partitions before events of theirs come.
const DAYS_AHEAD: i64 = 2;

/// Migrates, and makes today's partitions. In a thread with a runtime of its own, so that it may be called from
/// anywhere; what it connects does not outlive it.
pub(super) fn prepare(
    target: &Target,
    tls: Option<&MakeRustlsConnect>,
    options: &PostgresOptions,
) -> Result<Layout> {
    let gone = |why: String| PostgresError::Other(format!("no thread to open it: {why}"));
    let one = PostgresOptions { connections: 1, ..options.clone() };
    let pool = pool(target, tls.cloned(), &one)?;
    let today = Day::of(options.clock.now());
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| gone(error.to_string()))?;
        runtime.block_on(async {
            let mut client = pool.get().await?;
            let layout = schema::migrate(&mut client).await?;
            // Others may use the tables and not make any.
            if schema::is_owned(&client).await? {
                make_ahead(&mut client, layout, today, today).await?;
            }
            Ok(layout)
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("lavender-postgres-open".into())
            .spawn_scoped(scope, work)
            .map_err(|error| gone(error.to_string()))?;
        thread.join().map_err(|_| gone("it ended before its time".into()))?
    })
}

/// Makes the partitions of today and of the days to come, from a first one on.
pub(super) async fn make_ahead(
    client: &mut Client,
    layout: Layout,
    today: Day,
    first: Day,
) -> Result<()> {
    let ahead = (0..=DAYS_AHEAD).map(|ahead| Day(today.0 + ahead));
    let days: Vec<Day> = ahead.filter(|day| *day >= first).collect();
    schema::make_days(client, layout, &days).await
}

/// The connections of a store: made when they are needed.
pub(super) fn pool(
    target: &Target,
    tls: Option<MakeRustlsConnect>,
    options: &PostgresOptions,
) -> Result<Pool> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match tls {
        Some(tls) => Manager::from_config(target.config.clone(), tls, config),
        None => Manager::from_config(target.config.clone(), NoTls, config),
    };
    Pool::builder(manager)
        .max_size(options.connections.max(1))
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(WAIT))
        .runtime(Runtime::Tokio1)
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        }))
        .build()
        .map_err(|error| PostgresError::Other(error.to_string()))
}

//! The store: opened, kept in bounds, closed.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::{Clock, ErrorKind, SystemClock};
use lavender_store::Store;

use crate::config::StoreConfig;
use crate::exit::{Exit, Failure};

/// How often days that are over are forgotten.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(86_400);

/// Opens the store of a URL, and makes it where there is none.
///
/// # Errors
///
/// [`Exit::Configuration`] for a URL that is none, [`Exit::Store`] when the store cannot be used.
pub fn open(url: &str) -> Result<Arc<dyn Store>, Failure> {
    let is_url = matches!(url.split_once(':'), Some(("memory" | "sqlite", _)));
    lavender_store::open(url).map_err(|error| {
        let exit = match error.kind() {
            ErrorKind::Invalid | ErrorKind::Unsupported if !is_url => Exit::Configuration,
            _ => Exit::Store,
        };
        Failure::new(exit, error)
    })
}

/// Forgets days that are over, at once and from then on every hour, until it is dropped.
pub async fn retain(store: Arc<dyn Store>, config: StoreConfig) {
    let kept = DAY * config.retention_days.get();
    let mut interval = tokio::time::interval(RETENTION_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        match store.retain(SystemClock.now().saturating_sub(kept)).await {
            Ok(0) => {}
            Ok(days) => tracing::info!(days, "forgot the events of days that are over"),
            Err(error) => tracing::error!(%error, "could not forget old events, will try again"),
        }
    }
}

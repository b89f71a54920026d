//! Connecting to what a role needs. What is away when a worker starts is waited for.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::{Error, ErrorKind, Result};
use lavender_store::Store;
use lavender_transport::nats::{JetStream, JetStreamOptions};

use crate::config::{ConfigError, TransportConfig};
use crate::exit::{Exit, Failure};
use crate::shutdown::Stop;

/// The wait after a first failure, doubled up to the second.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What the connection is told, by the configuration.
///
/// # Errors
///
/// [`Exit::Configuration`] for a URL or a durable that is none.
pub fn options(config: &TransportConfig) -> Result<JetStreamOptions, Failure> {
    let mut options = JetStreamOptions::from_url(&config.url)
        .map_err(|error| Failure::of(Exit::Configuration, &error))?;
    options.streams.telemetry_bytes_max = config.telemetry_bytes_max;
    options.streams.other_bytes_max = config.other_bytes_max;
    options.consumer.in_flight = config.in_flight.get();
    options.consumer.ack_wait = Duration::from_secs(config.ack_wait_secs.get().into());
    let known = |name: &String| options.durables.iter().any(|durable| *durable.durable == **name);
    if let Some(name) = config.durables.iter().find(|name| !known(name)) {
        let known: Vec<&str> = options.durables.iter().map(|durable| &*durable.durable).collect();
        return Err(ConfigError::Durable { name: name.clone(), known: known.join(", ") }.into());
    }
    options
        .durables
        .retain(|durable| config.durables.iter().any(|name| **name == *durable.durable));
    Ok(options)
}

/// Connects to the broker.
///
/// # Errors
///
/// What trying again does not mend; [`Exit::Transport`] when the worker is to stop before it is connected.
pub async fn transport(config: &TransportConfig, stop: &Stop) -> Result<JetStream, Failure> {
    let options = options(config)?;
    retry(Exit::Transport, stop, || JetStream::open(options.clone())).await
}

/// Opens the store, which makes or migrates its schema.
///
/// # Errors
///
/// What trying again does not mend; [`Exit::Store`] when the worker is to stop before it is open.
pub async fn store(url: &str, stop: &Stop) -> Result<Arc<dyn Store>, Failure> {
    let open = || async {
        let url = url.to_owned();
        let opened = tokio::task::spawn_blocking(move || lavender_store::open(&url)).await;
        opened.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "store", error)))
    };
    retry(Exit::Store, stop, open).await
}

/// Tries until it is open. The broker and the database may go away again while a worker starts.
///
/// # Errors
///
/// What trying again does not mend, and the last error when the worker is to stop before it is open.
pub async fn retry<T>(
    exit: Exit,
    stop: &Stop,
    mut open: impl AsyncFnMut() -> Result<T>,
) -> Result<T, Failure> {
    let (mut delay, longest) = RETRY_DELAY;
    loop {
        let error = match open().await {
            Ok(opened) => return Ok(opened),
            Err(error) if error.is_retryable() => error,
            Err(error) => return Err(Failure::of(exit, &error)),
        };
        tracing::error!(%error, "cannot start yet, will try again");
        tokio::select! {
            () = stop.asked() => return Err(Failure::new(exit, error)),
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_worker_had_waits_as_long_as_is_configured() {
        let mut config = TransportConfig::default();
        let ack_wait = |config: &TransportConfig| options(config).map(|to| to.consumer.ack_wait);
        assert_eq!(ack_wait(&config).ok(), Some(Duration::from_secs(30)));
        config.ack_wait_secs = std::num::NonZeroU32::MIN.saturating_add(2);
        assert_eq!(ack_wait(&config).ok(), Some(Duration::from_secs(3)));
    }
}

//! When to stop, and how long stopping may take.

use std::time::Duration;

use lavender_core::pipeline::signal;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::exit::{Exit, Failure};

/// How long it may take to store what was seen before the end.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells when the end was asked for.
#[derive(Clone, Debug)]
pub struct Asked(watch::Receiver<Option<Instant>>);

impl Asked {
    /// By when everything must be flushed: [`FLUSH_TIMEOUT`] after the end was asked for, or after now when
    /// it was not.
    pub fn deadline(&self) -> Instant {
        self.0.borrow().unwrap_or_else(Instant::now) + FLUSH_TIMEOUT
    }

    /// Resolves at the deadline, once the end was asked for.
    pub async fn overdue(mut self) {
        // The sender goes once it has said so; gone without a word, the pipeline ended by itself.
        if self.0.wait_for(Option::is_some).await.is_err() && self.0.borrow().is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.deadline()).await;
    }
}

/// Resolves on the first SIGINT or SIGTERM, after `duration` when there is one, and when `over` resolves.
///
/// # Errors
///
/// When the process may not listen to signals.
pub fn shutdown(
    duration: Option<Duration>,
    over: impl Future<Output = ()> + Send,
) -> Result<(impl Future<Output = ()> + Send, Asked), Failure> {
    let signal = signal().map_err(|error| Failure::new(Exit::Failure, error))?;
    let (asked, receiver) = watch::channel(None);
    let future = async move {
        let elapsed = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            name = signal => tracing::info!("{name}: stopping"),
            () = elapsed => tracing::info!("the time is up: stopping"),
            () = over => tracing::info!("stopping"),
        }
        asked.send_replace(Some(Instant::now()));
    };
    Ok((future, Asked(receiver)))
}

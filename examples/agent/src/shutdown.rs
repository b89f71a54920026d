//! When to stop, and how long stopping may take.

use std::time::Duration;

use lavender_core::pipeline::signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::exit::{Exit, Failure};

/// For how long the end waits for more to be stored. As long as more is, it goes on: what waits is bounded, and a slow disk
/// is no reason to lose it.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells when the end was asked for.
#[derive(Clone, Debug)]
pub struct Asked(watch::Receiver<Option<Instant>>);

/// For how long the end goes on waiting for what was seen to be stored.
#[derive(Debug)]
pub struct Patience<F> {
    asked: Asked,
    stored: F,
    /// How much was stored when it was last looked, and when it is looked again; once there is an end.
    next: Option<(u64, Instant)>,
}

impl<F: Fn() -> u64> Patience<F> {
    /// It begins to run out when the end is asked for, and lasts as long as `stored` tells of more at the end of each
    /// [`FLUSH_TIMEOUT`] than at its beginning.
    pub const fn new(asked: Asked, stored: F) -> Self {
        Self { asked, stored, next: None }
    }

    /// It runs out from now on, unless the end was asked for before: nothing more comes.
    pub fn begin(&mut self) {
        if self.next.is_none() {
            let begun = self.asked.0.borrow().unwrap_or_else(Instant::now);
            self.next = Some(((self.stored)(), begun + FLUSH_TIMEOUT));
        }
    }

    /// Resolves when it has run out. May be dropped and asked again.
    pub async fn runs_out(&mut self) {
        if self.next.is_none() {
            // The sender goes once it has said so; gone without a word, the pipeline ended by itself.
            let asked = &mut self.asked.0;
            if asked.wait_for(Option::is_some).await.is_err() && asked.borrow().is_none() {
                std::future::pending::<()>().await;
            }
            self.begin();
        }
        while let Some((stored, look)) = self.next {
            sleep_until(look).await;
            let now = (self.stored)();
            if now == stored {
                break;
            }
            self.next = Some((now, Instant::now() + FLUSH_TIMEOUT));
        }
    }

    /// How long it lasts if nothing more is stored.
    pub fn left(&self) -> Duration {
        let look = self.next.map(|(_, look)| look);
        look.map_or(FLUSH_TIMEOUT, |look| look.saturating_duration_since(Instant::now()))
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

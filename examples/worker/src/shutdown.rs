//! When to stop, and how long stopping may take.

use std::time::Duration;

use lavender_core::pipeline::signal;
use tokio::sync::watch;

use crate::exit::{Exit, Failure};

/// How long it may take to be done with what was taken.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells when the end was asked for. Clones tell of the same end.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves once the end was asked for: at once when it was already.
    pub async fn asked(&self) {
        let mut asked = self.0.clone();
        if asked.wait_for(|asked| *asked).await.is_err() {
            // Nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }

    /// Resolves [`STOP_TIMEOUT`] after the end was asked for.
    pub async fn overdue(&self) {
        self.asked().await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    }

    /// An end that `future` asks for when it resolves.
    pub fn when(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let (asked, receiver) = watch::channel(false);
        tokio::spawn(async move {
            future.await;
            asked.send_replace(true);
            // Whoever looks later is told too.
            asked.closed().await;
        });
        Self(receiver)
    }
}

/// The end that the first SIGINT or SIGTERM asks for.
///
/// # Errors
///
/// When the process may not listen to signals.
pub fn on_signal() -> Result<Stop, Failure> {
    let signal = signal().map_err(|error| Failure::new(Exit::Failure, error))?;
    Ok(Stop::when(async move {
        let name = signal.await;
        tracing::info!("{name}: stopping");
    }))
}

//! When to stop.

use crate::error::{Error, ErrorKind, Result};

/// Resolves on the first SIGINT or SIGTERM (off Unix: on Ctrl+C). A second signal then kills the process
/// as usual, so that a shutdown that hangs can be cut short.
///
/// Handed to [`Pipeline::run`](super::Pipeline::run) as any future would be: tests hand in their own.
///
/// # Errors
///
/// When the process may not listen to signals.
#[cfg(unix)]
pub fn signal() -> Result<impl Future<Output = &'static str> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let listen = |kind| {
        signal(kind).map_err(|error| Error::new(ErrorKind::Internal, "signal listener", error))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

/// Resolves on Ctrl+C.
///
/// # Errors
///
/// Never here; on Unix when the process may not listen to signals.
#[cfg(not(unix))]
pub fn signal() -> Result<impl Future<Output = &'static str> + Send> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen to Ctrl+C");
            std::future::pending::<()>().await;
        }
        "Ctrl+C"
    })
}

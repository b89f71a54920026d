//! Commands from a transport to who carries them out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::command::{CommandDelivery, CommandExecutor, CommandReport, CommandSource};
use crate::error::{Error, ErrorKind, Result};
use crate::response::ResponseOutcome;

/// How long it waits after a report that was not taken: at first, doubled up to the second.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Who carries out what comes from several sources.
pub type SharedExecutor = Arc<Mutex<dyn CommandExecutor>>;

/// Takes what comes for an agent, one after the other, until the source ends: has it carried out, hands what was done to
/// the [pipeline](super::Pipeline::with_responses), which makes events of it, and then reports. What could not be
/// reported comes again, and is not carried out again.
///
/// # Errors
///
/// When the source cannot go on.
pub async fn run_commands(
    mut source: impl CommandSource,
    executor: SharedExecutor,
    responses: mpsc::Sender<ResponseOutcome>,
) -> Result<()> {
    let (mut delay, longest) = AGAIN_AFTER;
    while let Some(CommandDelivery { signed, attempt, reply }) = source.next().await? {
        let taker = Arc::clone(&executor);
        let take = move || {
            let mut responses = Vec::new();
            let mut taker = taker.lock().unwrap_or_else(PoisonError::into_inner);
            let reports = taker.take(&signed, attempt, &mut responses);
            (reports, responses)
        };
        // It reads and writes files, and waits for processes to stop.
        let taken = tokio::task::spawn_blocking(take).await;
        let (reports, done): (Vec<CommandReport>, Vec<ResponseOutcome>) =
            taken.map_err(|error| Error::new(ErrorKind::Internal, "command", error))?;
        for outcome in done {
            if let Err(unsent) = responses.send(outcome).await {
                tracing::error!(outcome = ?unsent.0, "no event of this is made: the agent ends");
            }
        }
        match reply.report(reports.clone()).await {
            Ok(()) => {
                delay = AGAIN_AFTER.0;
                executor.lock().unwrap_or_else(PoisonError::into_inner).reported(&reports);
            }
            Err(error) => {
                tracing::warn!(%error, "what became of a command is not reported yet");
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(longest);
            }
        }
    }
    Ok(())
}

//! Releases by `lavender-agent release`: another process than the one that stores, so it leaves a note.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::{
    Clock as _, Outcome, ResponseAction, ResponseCause, ResponseOrder, ResponseOutcome,
    ResponseTarget, SystemClock, Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// How often the agent looks for a note.
const LOOK: Duration = Duration::from_millis(500);

/// Who released the host, and when.
#[derive(Debug, Deserialize, Serialize)]
struct Release {
    operator: Arc<str>,
    at: Timestamp,
}

/// The note beside the file that keeps that the host is isolated.
fn note(state_file: &Path) -> PathBuf {
    state_file.with_extension("released.json")
}

/// Leaves a note for the agent, which makes an event of it: the one that runs, or the next.
///
/// # Errors
///
/// When it cannot be written.
pub fn leave(state_file: &Path) -> io::Result<()> {
    let operator = format!("uid {}", rustix::process::getuid().as_raw()).into();
    let text = serde_json::to_vec(&Release { operator, at: SystemClock.now() })?;
    let path = note(state_file);
    let part = path.with_extension("part");
    fs::write(&part, text)?;
    fs::File::open(&part)?.sync_all()?;
    fs::rename(&part, &path)
}

/// Tells of releases, for ever.
pub async fn tell(state_file: PathBuf, responses: mpsc::Sender<ResponseOutcome>) {
    let path = note(&state_file);
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let Ok(text) = fs::read(&path) else { continue };
        let release = serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, "{}: it does not say who released", path.display());
            Release { operator: "unknown".into(), at: SystemClock.now() }
        });
        if responses.send(outcome(release)).await.is_err() {
            return;
        }
        // After it: whoever is killed in between tells twice rather than not at all.
        if let Err(error) = fs::remove_file(&path) {
            tracing::error!(%error, "{}: the release is told once, and never again", path.display());
            return;
        }
    }
}

fn outcome(Release { operator, at }: Release) -> ResponseOutcome {
    let order = ResponseOrder {
        cause: ResponseCause::Operator(operator),
        action: ResponseAction::Release,
        target: ResponseTarget::Host,
        decided_by: format!("lavender-agent release at {at}").into(),
    };
    ResponseOutcome::new(order, Outcome::Done)
}

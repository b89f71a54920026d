//! Work that takes a core, such as compiling rules: in a thread of its own, one at a time.

use std::sync::Arc;

use crate::plane::ControlPlane;
use crate::problem::Problem;

/// Does work that takes a core, in a thread of its own. Its turn lasts as long as it does, whoever still waits for it.
pub(crate) async fn in_turn<T: Send + 'static>(
    plane: &ControlPlane,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let turn = Arc::clone(plane.rule_tests()).acquire_owned().await;
    let Ok(turn) = turn else { return Err(Problem::internal()) };
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    done.await.map_err(|error| {
        tracing::error!("work on rules did not end well: {error}");
        Problem::internal()
    })
}

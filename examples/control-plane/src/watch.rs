//! What goes on without anybody asking: agents are looked at, and the end of the feed; commands are brought, and published
//! rules handed over.

use tokio::time::{MissedTickBehavior, interval};

use crate::delivery::resend;
use crate::plane::ControlPlane;
use crate::rulesets::catch_up;

/// Looks at agents and at the feed, and hands over commands and published rules that were not taken yet, for ever.
pub async fn watch(plane: ControlPlane) {
    tokio::join!(sweep(&plane), follow(&plane), resend(&plane), bring(&plane));
}

async fn sweep(plane: &ControlPlane) {
    let mut ticks = interval(plane.options().sweep_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match plane.store().sweep_liveness(&plane.options().liveness, plane.now()).await {
            Ok(changed) => {
                plane.metrics().transitions.inc_by(changed);
            }
            Err(error) => {
                plane.metrics().sweep_failures.inc();
                tracing::warn!("agents could not be looked at: {error}");
            }
        }
    }
}

/// Hands published rules over that were not taken when they were published.
async fn bring(plane: &ControlPlane) {
    let mut ticks = interval(plane.options().sweep_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = catch_up(plane).await {
            plane.metrics().ruleset_failures.inc();
            tracing::warn!("published rules could not be looked at: {error}");
        }
    }
}

async fn follow(plane: &ControlPlane) {
    let mut ticks = interval(plane.options().feed_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match plane.store().feed_end().await {
            Ok(end) => {
                plane.feed_end().send_if_modified(|known| std::mem::replace(known, end) != end);
            }
            Err(error) => {
                plane.metrics().sweep_failures.inc();
                tracing::warn!("the feed could not be looked at: {error}");
            }
        }
    }
}

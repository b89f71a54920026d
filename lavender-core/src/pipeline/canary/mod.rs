//! The canary: a harmless act of the agent's own, which its sensor must see.

mod alert;
mod watch;

use std::time::Duration;

pub use self::alert::CANARY_RULE;
pub(super) use self::alert::detection;
pub use self::watch::CanaryWatch;
pub(super) use self::watch::Sight;
use super::stage::{Found, Stage};
use crate::event::{EventData, EventKind, Heartbeat};

/// What is expected of each act of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryOptions {
    /// The kinds of events that each act must give: one of each ring, so that every one is seen to work.
    pub kinds: Vec<EventKind>,
    /// How often there is an act.
    pub interval: Duration,
    /// How long after its begin an act must have been seen, at most half of the interval. It is told a quarter of that later,
    /// so that a pipeline which was held up has time for events that are waiting.
    pub deadline: Duration,
}

impl CanaryOptions {
    /// How often it is looked whether an act is overdue.
    fn look_every(&self) -> Duration {
        (self.deadline / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

impl Stage {
    /// What has changed about the canary since the last look.
    pub(super) fn look_for_canary(&self) -> Option<Sight> {
        self.canary.as_ref()?.look(self.clock.now())
    }

    /// Tells, by a heartbeat, that the canary is not seen any more, which is an alert, or that it is again.
    pub(super) async fn tell_sight(&mut self, sight: Sight, beat: Heartbeat) {
        let beat = self.own_event(EventData::Heartbeat(Box::new(beat)));
        let mut found = Found::default();
        match sight {
            Sight::Lost(missing) => {
                let (kinds, fault) = (&missing.kinds, &missing.fault);
                tracing::error!(?kinds, ?fault, "the sensor does not see the canary");
                self.detections.push(detection(&missing, &beat));
                self.egress.push_kept(vec![beat]).await;
                self.raise(&mut found);
            }
            Sight::Regained => {
                tracing::info!("the sensor sees the canary again");
                self.egress.push_kept(vec![beat]).await;
            }
        }
        self.send(found).await;
    }
}

/// How often a pipeline looks for its canary. Without one the answer is not used.
pub(super) fn look_every(canary: Option<&CanaryWatch>) -> Duration {
    canary.map_or(Duration::from_secs(3600), |canary| canary.options().look_every())
}

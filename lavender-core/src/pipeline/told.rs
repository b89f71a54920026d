//! What others have done to this host, such as commands: each becomes an event.

use tokio::sync::mpsc;

use super::stage::Stage;
use crate::event::EventData;
use crate::response::ResponseOutcome;

impl Stage {
    /// Makes an event of what another has done.
    pub(super) async fn tell(&mut self, outcome: ResponseOutcome) {
        let event = self.own_event(EventData::Response(outcome));
        self.egress.push_kept(vec![event]).await;
    }

    /// Takes no more of what others have done, and makes events of what they have told.
    pub(super) async fn close_responses(&mut self) {
        let Some(mut responses) = self.responses.take() else { return };
        responses.close();
        while let Some(outcome) = responses.recv().await {
            self.tell(outcome).await;
        }
    }
}

/// What another has done next; never where nobody tells.
pub(super) async fn next_response(
    responses: &mut Option<mpsc::Receiver<ResponseOutcome>>,
) -> ResponseOutcome {
    if let Some(told) = responses {
        match told.recv().await {
            Some(outcome) => return outcome,
            None => *responses = None,
        }
    }
    std::future::pending().await
}

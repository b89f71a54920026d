//! In which order the broker gets what agents send.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Message;
use lavender_core::envelope::{Content, Envelope};
use lavender_core::event::EventKind;
use lavender_core::transport::Payload;
use tokio::task::AbortHandle;

use super::queues::Queues;
use super::verify::Totals;
use crate::error::{FleetError, Result};
use crate::site::TENANT;

/// What was seen of the messages of all agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many messages came.
    pub messages: u64,
    /// How many came for the first time behind others that have higher numbers.
    pub disordered: u64,
    /// By agent: the highest number.
    highest: BTreeMap<String, u64>,
    /// What came, so that one that comes again is known.
    known: HashSet<String>,
}

impl Seen {
    /// What does not hold of a run in which the broker was away.
    pub fn faults(&self, totals: &Totals) -> Vec<String> {
        let mut faults = Vec::new();
        if self.messages == 0 {
            faults.push("nothing was heard of what agents publish".to_owned());
        }
        if self.disordered > 0 {
            faults.push(format!("{} messages came behind later ones", self.disordered));
        }
        if totals.while_away == 0 {
            faults.push("agents found nothing while the broker was away".to_owned());
        }
        faults
    }

    /// The figures of it.
    pub fn told(&self, totals: &Totals) -> String {
        let (messages, found) = (self.messages, totals.while_away);
        format!("; {found} found while the broker was away, {messages} messages in order")
    }

    fn add(&mut self, agent: &str, id: &str, first: u64) {
        if !self.known.insert(id.to_owned()) {
            return;
        }
        self.messages += 1;
        let highest = self.highest.entry(agent.to_owned()).or_default();
        self.disordered += u64::from(first < *highest);
        *highest = first.max(*highest);
    }

    fn take(&mut self, message: &Message) {
        let header = |name: &'static str| {
            let headers = message.headers.as_ref()?;
            headers.get(name).map(|value| value.as_str())
        };
        let body = message.payload.clone();
        let Ok(envelope) = Envelope::read(&message.subject, header, body) else { return };
        if let Content::Events { first, .. } = envelope.content()
            && !is_report(&envelope)
        {
            self.add(&message.subject, envelope.id(), first);
        }
    }
}

/// The most events of a report of the spool's.
const REPORT_MAX: u32 = 16;

/// Whether it only tells what the spool gave up: that stands in the place of what it gave up, and is younger.
fn is_report(envelope: &Envelope) -> bool {
    if envelope.count() > REPORT_MAX {
        return false;
    }
    let Ok(message) = envelope.decode() else { return false };
    let Payload::Events(events) = message.payload else { return false };
    events.iter().all(|event| event.kind() == EventKind::Lost)
}

/// Listens to what agents publish, for as long as it is there. It hears nothing while the broker is away, and misses
/// what comes before it is connected again.
#[derive(Debug)]
pub struct Order {
    seen: Arc<Mutex<Seen>>,
    listening: AbortHandle,
}

impl Order {
    /// Listens.
    ///
    /// # Errors
    ///
    /// When the broker does not let it.
    pub async fn watch(queues: &Queues) -> Result<Self> {
        use futures_util::StreamExt as _;

        let subject = format!("telemetry.raw.{TENANT}.>");
        let messages = queues.client().subscribe(subject).await;
        let mut messages = messages.map_err(|error| FleetError::Broken(error.to_string()))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let to = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                to.lock().unwrap_or_else(PoisonError::into_inner).take(&message);
            }
        });
        Ok(Self { seen, listening: listening.abort_handle() })
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_in_order_and_what_comes_late_is_not() {
        let mut seen = Seen::default();
        for (id, first) in [("a", 1), ("b", 5), ("a", 1), ("b", 5), ("c", 9)] {
            seen.add("sim-1", id, first);
        }
        seen.add("sim-2", "d", 2);
        assert_eq!((seen.messages, seen.disordered), (4, 0));
        seen.add("sim-1", "e", 7);
        assert_eq!((seen.messages, seen.disordered), (5, 1));
    }
}

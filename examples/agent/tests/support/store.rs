//! What lies in the store after a run.

use std::path::Path;
use std::sync::Arc;

use lavender_core::event::{EventData, EventKind, LossStage};
use lavender_core::store::{AlertQuery, EventQuery, LossQuery, StoredEvent, TimeRange};
use lavender_core::{Alert, AlertId, IncidentId, ResponseOutcome};
use lavender_store::Store;

/// A store that a test reads. The agent must have ended: a store belongs to one process at a time.
pub struct Stored {
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn Store>,
}

impl Stored {
    pub fn open(database: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = lavender_store::open(&format!("sqlite:{}", database.display())).unwrap();
        Self { runtime, store }
    }

    pub fn alerts(&self) -> Vec<Arc<Alert>> {
        let mut query = AlertQuery { limit: 1_000, ..AlertQuery::new(TimeRange::ALL) };
        let mut all = Vec::new();
        loop {
            let page = self.runtime.block_on(self.store.alerts(&query)).unwrap();
            all.extend(page.items);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return all,
            }
        }
    }

    /// The alerts of an incident.
    pub fn alerts_of(&self, incident: IncidentId) -> Vec<Arc<Alert>> {
        let mut query = AlertQuery { limit: 1_000, ..AlertQuery::new(TimeRange::ALL) };
        query.incident = Some(incident);
        self.runtime.block_on(self.store.alerts(&query)).unwrap().items
    }

    /// Every event of a kind, or of all, in order.
    pub fn events(&self, kind: Option<EventKind>) -> Vec<StoredEvent> {
        let mut query =
            EventQuery { kind, limit: EventQuery::MAX_LIMIT, ..EventQuery::new(TimeRange::ALL) };
        let mut all = Vec::new();
        loop {
            let page = self.runtime.block_on(self.store.events(&query)).unwrap();
            all.extend(page.items);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return all,
            }
        }
    }

    /// What was done about an alert, in order.
    pub fn responses_to(&self, alert: AlertId) -> Vec<ResponseOutcome> {
        let mut query = EventQuery { limit: 1, ..EventQuery::new(TimeRange::ALL) };
        query.response_to = Some(alert);
        let mut all = Vec::new();
        loop {
            let page = self.runtime.block_on(self.store.events(&query)).unwrap();
            all.extend(page.items.iter().map(|stored| match &stored.event.data {
                EventData::Response(response) => response.clone(),
                other => panic!("not a response: {other:?}"),
            }));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return all,
            }
        }
    }

    /// How many events of a kind are stored.
    pub fn count(&self, kind: EventKind) -> u64 {
        let mut query = EventQuery {
            kind: Some(kind),
            limit: EventQuery::MAX_LIMIT,
            ..EventQuery::new(TimeRange::ALL)
        };
        let mut count = 0;
        loop {
            let page = self.runtime.block_on(self.store.events(&query)).unwrap();
            count += page.items.len() as u64;
            match page.next {
                Some(next) => query.after = Some(next),
                None => return count,
            }
        }
    }

    /// How many events of a kind were lost, by the ledger. The stage `stored` does not count.
    pub fn lost(&self, kind: EventKind) -> u64 {
        let query = LossQuery { time: TimeRange::ALL, agent: None };
        let ledger = self.runtime.block_on(self.store.losses(&query)).unwrap();
        ledger
            .iter()
            .filter(|entry| entry.kind == kind && entry.stage != LossStage::KernelRead)
            .map(|entry| entry.count)
            .sum()
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.store.close());
    }
}

//! Pages of the feed, read and written out once for all who follow it.
//!
//! What lies behind a place stays behind it, so a page that has something on it is as good for whoever asks next. An
//! empty one is not: it is kept for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lavender_core::store::{FeedChange, FeedItem, FeedPosition};
use lavender_core::{Error, TenantId};
use lavender_store::Store;
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::view::{AlertSummary, TransitionView};

/// How many changes are read at once.
const PAGE: u32 = 100;

/// How many pages are kept.
const PAGES: usize = 64;

/// Of more bytes than this, a page is not kept.
const PAGE_BYTES_MAX: usize = 256 << 10;

/// A change as it is sent.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) position: FeedPosition,
    /// What the message is named, and what it says as JSON; `None` where that cannot be written.
    pub(super) message: Option<(&'static str, Box<str>)>,
}

type Page = Arc<[Change]>;

/// The pages that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<VecDeque<Slot>>);

#[derive(Clone, Debug)]
struct Slot {
    tenant: TenantId,
    after: FeedPosition,
    page: Arc<OnceCell<Page>>,
}

/// Why there is no page.
enum NoPage {
    Nothing,
    Failed(Error),
}

impl Pages {
    /// What a tenant's feed has behind a place: some of it, or nothing.
    pub(super) async fn read(
        &self,
        store: &dyn Store,
        tenant: &TenantId,
        after: FeedPosition,
    ) -> Result<Page, Error> {
        let slot = self.slot(tenant, after);
        let reading = slot.page.get_or_try_init(async || {
            let items = store.feed(tenant, after, PAGE).await.map_err(NoPage::Failed)?;
            if items.is_empty() {
                return Err(NoPage::Nothing);
            }
            Ok(items.iter().map(Change::of).collect())
        });
        match reading.await {
            Ok(page) => {
                let page = Arc::clone(page);
                if bytes(&page) > PAGE_BYTES_MAX {
                    self.forget(&slot);
                }
                Ok(page)
            }
            Err(NoPage::Nothing) => Ok(Arc::default()),
            Err(NoPage::Failed(error)) => Err(error),
        }
    }

    fn slot(&self, tenant: &TenantId, after: FeedPosition) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().find(|slot| slot.after == after && slot.tenant == *tenant);
        if let Some(slot) = known {
            return slot.clone();
        }
        if slots.len() >= PAGES {
            slots.pop_front();
        }
        let slot = Slot { tenant: tenant.clone(), after, page: Arc::default() };
        slots.push_back(slot.clone());
        slot
    }

    fn forget(&self, slot: &Slot) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|kept| !Arc::ptr_eq(&kept.page, &slot.page));
    }
}

fn bytes(page: &[Change]) -> usize {
    page.iter().filter_map(|change| Some(change.message.as_ref()?.1.len())).sum()
}

impl Change {
    fn of(FeedItem { position, change }: &FeedItem) -> Self {
        let message = match change {
            FeedChange::AlertRaised(record) => written("alert_raised", &AlertSummary::from(record)),
            FeedChange::AlertStatus(record) => written("alert_status", &AlertSummary::from(record)),
            FeedChange::AgentLiveness(transition) => {
                written("agent_liveness", &TransitionView::from(transition.clone()))
            }
        };
        Self { position: *position, message }
    }
}

fn written(name: &'static str, data: &impl Serialize) -> Option<(&'static str, Box<str>)> {
    match serde_json::to_string(data) {
        Ok(json) => Some((name, json.into())),
        Err(error) => {
            tracing::error!("a message of the live stream: {error}");
            None
        }
    }
}

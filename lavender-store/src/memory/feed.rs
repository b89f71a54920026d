//! The feed in memory.

use std::collections::VecDeque;

use lavender_core::store::{FeedChange, FeedItem, FeedPosition, FeedStore, LivenessTransition};
use lavender_core::{AlertId, Result, TenantId, async_trait};

use super::MemoryStore;
use super::alerts::Alerts;
use crate::cursor;
use crate::feed::KEPT;

#[derive(Default)]
pub(super) struct Feed {
    changes: VecDeque<(TenantId, Noted)>,
    /// How many were forgotten: the position of the one before the first.
    start: u64,
}

pub(super) enum Noted {
    Raised(AlertId),
    Status(AlertId),
    Liveness(LivenessTransition),
}

impl Noted {
    /// The change as it is to be seen now; `None` where its alert has been forgotten.
    fn change(&self, alerts: &Alerts) -> Option<FeedChange> {
        Some(match self {
            Self::Raised(id) => FeedChange::AlertRaised(alerts.record(*id)?),
            Self::Status(id) => FeedChange::AlertStatus(alerts.record(*id)?),
            Self::Liveness(transition) => FeedChange::AgentLiveness(transition.clone()),
        })
    }
}

impl Feed {
    pub(super) fn note(&mut self, tenant: &TenantId, noted: Noted) {
        self.changes.push_back((tenant.clone(), noted));
        while self.changes.len() as u64 > KEPT {
            self.changes.pop_front();
            self.start += 1;
        }
    }

    fn end(&self) -> FeedPosition {
        FeedPosition(self.start + self.changes.len() as u64)
    }

    /// Those of a tenant behind a place, with their positions.
    fn behind<'a>(
        &'a self,
        tenant: &'a TenantId,
        after: FeedPosition,
    ) -> impl Iterator<Item = (FeedPosition, &'a Noted)> {
        let skip = after.0.saturating_sub(self.start).min(self.changes.len() as u64);
        let first = self.start + skip + 1;
        (first..)
            .zip(self.changes.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)))
            .filter(move |(_, (of, _))| of == tenant)
            .map(|(position, (_, noted))| (FeedPosition(position), noted))
    }
}

#[async_trait]
impl FeedStore for MemoryStore {
    async fn feed_end(&self) -> Result<FeedPosition> {
        Ok(self.kept()?.feed.end())
    }

    async fn feed_start(&self) -> Result<FeedPosition> {
        Ok(FeedPosition(self.kept()?.feed.start))
    }

    async fn feed(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        limit: u32,
    ) -> Result<Vec<FeedItem>> {
        let limit = cursor::limit(limit)?;
        let kept = self.kept()?;
        let items = kept.feed.behind(tenant, after).filter_map(|(position, noted)| {
            Some(FeedItem { position, change: noted.change(&kept.alerts)? })
        });
        Ok(items.take(limit).collect())
    }

    async fn feed_count(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        until: FeedPosition,
    ) -> Result<u64> {
        let kept = self.kept()?;
        Ok(kept.feed.behind(tenant, after).take_while(|(at, _)| *at <= until).count() as u64)
    }
}

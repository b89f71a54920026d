//! What changed, in the order in which it was stored: what a live view follows.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{AlertRecord, LivenessTransition};
use crate::error::Result;
use crate::id::TenantId;

/// A place in the feed: everything up to it has been seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FeedPosition(pub u64);

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedChange {
    /// An alert was raised. It is shown as it is by now.
    AlertRaised(AlertRecord),
    /// The status of an alert was changed. It is shown as it is by now.
    AlertStatus(AlertRecord),
    /// An agent came, went, or fares otherwise than before.
    AgentLiveness(LivenessTransition),
}

/// One change, and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedItem {
    /// The place right behind it.
    pub position: FeedPosition,
    /// What changed.
    pub change: FeedChange,
}

/// Keeps what changed.
///
/// # Contract
///
/// - A change is in the feed in one step with what it tells of. Whoever has read up to a position will find
///   everything that is stored from then on behind it, whoever stores it.
/// - What is forgotten is forgotten from the oldest; [`feed_start`](Self::feed_start) tells up to where.
#[async_trait]
pub trait FeedStore: fmt::Debug + Send + Sync + 'static {
    /// The place behind the last change of all tenants: cheap, to be asked again and again.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn feed_end(&self) -> Result<FeedPosition>;

    /// The place up to which changes are forgotten.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn feed_start(&self) -> Result<FeedPosition>;

    /// Reads changes of a tenant behind a place, oldest first, at most so many (1 to 1,000).
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn feed(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        limit: u32,
    ) -> Result<Vec<FeedItem>>;

    /// How many changes of a tenant are behind a place and not behind another.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn feed_count(
        &self,
        tenant: &TenantId,
        after: FeedPosition,
        until: FeedPosition,
    ) -> Result<u64>;
}

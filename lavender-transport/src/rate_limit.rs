//! How much of an agent's telemetry is let through.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{NotUntil, Quota, RateLimiter};
use lavender_core::transport::{Message, Publisher};
use lavender_core::{AgentId, Clock, Error, ErrorKind, Result, TenantId, async_trait};

/// The limiter's time is ours.
#[derive(Clone, Debug)]
struct ByClock(Arc<dyn Clock>);

impl GovernorClock for ByClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.boot_time().as_nanos())
    }
}

type Key = (TenantId, AgentId);
type Limiter = RateLimiter<Key, HashMapStateStore<Key>, ByClock, NoOpMiddleware<Nanos>>;

/// Lets each agent have so many events a second, and a burst at once; one that floods takes nothing from the others.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::sync::Arc;
/// use std::time::Duration;
/// use lavender_core::{AgentId, ManualClock, TenantId};
/// use lavender_transport::AgentLimits;
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let clock = Arc::new(ManualClock::default());
/// let ten = NonZeroU32::MIN.saturating_add(9);
/// let limits = AgentLimits::new(ten, ten, clock.clone());
/// let (tenant, agent) = (TenantId::new("acme")?, AgentId::new("web-1")?);
/// assert_eq!(limits.check(&tenant, &agent, 10), Ok(()));
/// assert_eq!(limits.check(&tenant, &agent, 1), Err(Duration::from_millis(100)));
/// clock.advance(Duration::from_millis(100));
/// assert_eq!(limits.check(&tenant, &agent, 1), Ok(()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AgentLimits {
    limiter: Limiter,
    clock: ByClock,
    burst: NonZeroU32,
}

impl AgentLimits {
    /// So many items a second, and so many at once.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let clock = ByClock(clock);
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Self { limiter, clock, burst }
    }

    /// Whether so many items of an agent may pass. More than a burst counts as a burst: it passes, and what follows
    /// waits.
    ///
    /// # Errors
    ///
    /// How long it is until they may.
    pub fn check(&self, tenant: &TenantId, agent: &AgentId, items: usize) -> Result<(), Duration> {
        let items = u32::try_from(items).unwrap_or(u32::MAX).min(self.burst.get());
        let Some(items) = NonZeroU32::new(items) else { return Ok(()) };
        let key = (tenant.clone(), agent.clone());
        match self.limiter.check_key_n(&key, items) {
            // It is never more than the burst.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => Err(wait(&not_until, &self.clock)),
        }
    }

    /// Forgets agents that have been quiet: those whose limit is whole again. Call it now and then, where agents come
    /// and go.
    pub fn forget_quiet(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

fn wait(not_until: &NotUntil<Nanos>, clock: &ByClock) -> Duration {
    not_until.wait_time_from(clock.now())
}

/// A publisher that refuses what an agent sends beyond its [limit](AgentLimits), as
/// [`Unavailable`](ErrorKind::Unavailable): it may come later, and [`Retry`](crate::Retry) around it lets it.
#[derive(Debug)]
pub struct RateLimited<P> {
    inner: P,
    limits: AgentLimits,
}

impl<P> RateLimited<P> {
    /// Wraps a publisher.
    pub const fn new(inner: P, limits: AgentLimits) -> Self {
        Self { inner, limits }
    }
}

#[async_trait]
impl<P: Publisher> Publisher for RateLimited<P> {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        // Each agent's all at once, so that none or all of them pass.
        let mut items = std::collections::BTreeMap::new();
        for message in &messages {
            let source = &message.source;
            *items.entry((&source.tenant, &source.agent)).or_insert(0) += message.payload.len();
        }
        for ((tenant, agent), items) in items {
            if let Err(wait) = self.limits.check(tenant, agent, items) {
                let why = format!("{tenant}/{agent} sends more than it may; again in {wait:?}");
                return Err(Error::new(ErrorKind::Unavailable, "rate limit", why));
            }
        }
        self.inner.publish(messages).await
    }
}

//! What every route shares.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::store::{FeedPosition, LivenessTimes};
use lavender_core::{Clock, SystemClock, Timestamp};
use lavender_detect::{RuleHandle, RuleSet};
use lavender_store::Store;
use tokio::sync::{Semaphore, watch};

use crate::access::Gate;
use crate::broker::Broker;
use crate::command::Commanding;
use crate::in_force::InForce;
use crate::limit::Limits;
use crate::live::Pages;
use crate::metrics::Metrics;
use crate::rulesets::{HandedOver, RulesetSink};
use crate::sent::Sent;

/// How a control plane behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// After how long without a word an agent is late, and gone.
    pub liveness: LivenessTimes,
    /// How often agents are looked at.
    pub sweep_every: Duration,
    /// How often the end of the feed is looked at, for the live stream.
    pub feed_every: Duration,
    /// How often commands are handed over that were not taken yet.
    pub resend_every: Duration,
    /// How many requests a second each peer may make.
    pub requests_per_second: NonZeroU32,
    /// How long a request may take, the live stream aside.
    pub request_timeout: Duration,
    /// The most clients of the live stream at once.
    pub live_clients: usize,
    /// The rules that are listed beside those that a tenant has published: those that are in use at that moment.
    pub rules: RuleHandle,
    /// By what commands are signed, and brought to agents.
    pub commanding: Commanding,
    /// Who takes published rulesets to where rules are evaluated. Without it they are only kept.
    pub rulesets: Option<Arc<dyn RulesetSink>>,
    /// The broker that both go by, where there is one: whether it is connected is a part of health.
    pub broker: Option<Broker>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            liveness: LivenessTimes::default(),
            sweep_every: Duration::from_secs(5),
            feed_every: Duration::from_millis(250),
            resend_every: Duration::from_secs(5),
            requests_per_second: NonZeroU32::MIN.saturating_add(99),
            request_timeout: Duration::from_secs(30),
            live_clients: 1_024,
            rules: RuleHandle::new(RuleSet::empty()),
            commanding: Commanding::default(),
            rulesets: None,
            broker: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A store, and what is needed to show it to those who may see it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct ControlPlane(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Arc<dyn Store>,
    options: Options,
    gate: Gate,
    limits: Limits,
    metrics: Metrics,
    feed_end: watch::Sender<FeedPosition>,
    sent: Sent,
    feed_pages: Pages,
    live: Arc<Semaphore>,
    tests: Arc<Semaphore>,
    handed_over: HandedOver,
    in_force: InForce,
}

impl ControlPlane {
    /// A control plane over a store.
    pub fn new(store: Arc<dyn Store>, options: Options) -> Self {
        Self(Arc::new(Parts {
            store,
            gate: Gate::default(),
            limits: Limits::new(options.requests_per_second),
            metrics: Metrics::default(),
            feed_end: watch::Sender::default(),
            sent: Sent::default(),
            feed_pages: Pages::default(),
            live: Arc::new(Semaphore::new(options.live_clients)),
            tests: Arc::new(Semaphore::new(1)),
            handed_over: HandedOver::default(),
            in_force: InForce::default(),
            options,
        }))
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// How it behaves.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.0.options.clock.now()
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Where the feed ends, as was seen last.
    pub(crate) fn feed_end(&self) -> &watch::Sender<FeedPosition> {
        &self.0.feed_end
    }

    /// Which commands were handed over.
    pub(crate) fn sent(&self) -> &Sent {
        &self.0.sent
    }

    /// What those who follow the feed read of it.
    pub(crate) fn feed_pages(&self) -> &Pages {
        &self.0.feed_pages
    }

    /// The seats of the live stream.
    pub(crate) fn live(&self) -> &Arc<Semaphore> {
        &self.0.live
    }

    /// The turns for testing and compiling rules: each takes a core.
    pub(crate) fn rule_tests(&self) -> &Arc<Semaphore> {
        &self.0.tests
    }

    /// The rules of what was published last.
    pub(crate) fn in_force(&self) -> &InForce {
        &self.0.in_force
    }

    /// Which published rulesets were handed over.
    pub(crate) fn handed_over(&self) -> &HandedOver {
        &self.0.handed_over
    }
}

//! The process around a role: configuration, the end, the broker, what is asked for over HTTP.

use std::sync::Arc;

use lavender_core::store::StateStore;
use lavender_core::transport::{Consumer, Subscriber as _, Subscription};
use lavender_core::{ErrorKind, Result as CoreResult};
use lavender_store::Store;
use lavender_transport::nats::{BucketOptions, JetStream};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::cli::{StoreArgs, WorkerArgs};
use crate::config::Config;
use crate::consumer::RoleConsumer;
use crate::exit::{Exit, Failure};
use crate::health::{Broker, Health};
use crate::metrics::Consumed;
use crate::shutdown::Stop;
use crate::{connect, listener, shutdown};

/// A worker that is connected, and has no role yet. A role takes what it needs from it, registers what it counts
/// and depends on, and [runs](Self::run).
#[derive(Debug)]
pub struct Worker {
    /// The configuration in effect.
    pub config: Config,
    /// Tells when to stop.
    pub stop: Stop,
    /// The broker.
    pub transport: JetStream,
    /// What `/metrics` shows.
    pub registry: Registry,
    /// What `/healthz` asks.
    pub health: Health,
    listener: TcpListener,
}

impl Worker {
    /// Reads the configuration, listens to signals, and connects to the broker.
    ///
    /// # Errors
    ///
    /// When the configuration is wrong, or the broker cannot be used.
    pub async fn start(args: &WorkerArgs) -> Result<Self, Failure> {
        let config = Config::load(args)?;
        let stop = shutdown::on_signal()?;
        let listener = listener::bind(config.listener.address).await?;
        let transport = connect::transport(&config.transport, &stop).await?;
        let (registry, health) = Default::default();
        Ok(Self { config, stop, transport, registry, health, listener })
    }

    /// The same for a role with a store, and opens that.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), and when the store cannot be used.
    pub async fn start_with_store(args: &StoreArgs) -> Result<(Self, Arc<dyn Store>), Failure> {
        let mut worker = Self::start(&args.worker).await?;
        let url = args.store.as_ref().unwrap_or(&worker.config.store.url);
        let store = connect::store(url, &worker.stop).await?;
        worker.health.depend_on(Arc::clone(&store));
        Ok((worker, store))
    }

    /// Reads a durable until the worker is to stop. What is read is counted; the broker is a dependency from now on.
    ///
    /// # Errors
    ///
    /// When the broker does not let it.
    pub async fn consume(
        &mut self,
        subscription: Subscription,
    ) -> Result<Box<dyn Consumer>, Failure> {
        let subscribe = || self.transport.subscribe(subscription.clone());
        let consumer = connect::retry(Exit::Transport, &self.stop, subscribe).await?;
        Ok(self.reads(subscription, consumer))
    }

    /// The same, where the workers of a role share out the agents among them.
    ///
    /// # Errors
    ///
    /// When the broker does not let it.
    pub async fn consume_by_agent(
        &mut self,
        subscription: Subscription,
    ) -> Result<Box<dyn Consumer>, Failure> {
        let subscribe = || self.transport.subscribe_by_agent(subscription.clone());
        let consumer = connect::retry(Exit::Transport, &self.stop, subscribe).await?;
        Ok(self.reads(subscription, consumer))
    }

    fn reads(
        &mut self,
        subscription: Subscription,
        consumer: Box<dyn Consumer>,
    ) -> Box<dyn Consumer> {
        self.health.depend_on(Broker { transport: self.transport.clone(), subscription });
        let consumed = Consumed::register(&mut self.registry);
        Box::new(RoleConsumer::new(consumer, consumed, self.stop.clone()))
    }

    /// Opens a bucket that workers share.
    ///
    /// # Errors
    ///
    /// When the broker does not let it.
    pub async fn state(&self, options: BucketOptions) -> Result<Arc<dyn StateStore>, Failure> {
        let open = || self.transport.state(options.clone());
        Ok(Arc::new(connect::retry(Exit::Transport, &self.stop, open).await?))
    }

    /// Does the role's work, and answers over HTTP meanwhile. `work` ends by itself when its consumer does; where a
    /// dependency is away, it is given up [`STOP_TIMEOUT`](shutdown::STOP_TIMEOUT) after the end was asked for, and
    /// what is not acknowledged comes again.
    ///
    /// # Errors
    ///
    /// When the work fails (`exit`, unless only the configuration can mend it), or had to be given up.
    pub async fn run<T>(
        self,
        exit: Exit,
        work: impl Future<Output = CoreResult<T>>,
    ) -> Result<T, Failure> {
        let Self { stop, registry, health, listener, .. } = self;
        let served = listener::serve(listener, Arc::new(health), Arc::new(registry));
        tokio::select! {
            biased;
            result = work => result.map_err(|error| match error.kind() {
                ErrorKind::Invalid => Failure::new(exit, error),
                _ => Failure::of(exit, &error),
            }),
            () = stop.overdue() => {
                let why = "had to stop before it was done with what it had taken; that comes again";
                Err(Failure::new(exit, why))
            }
            failed = served => match failed {
                Ok(()) => Err(Failure::new(Exit::Failure, "the listener has ended")),
                Err(failure) => Err(failure),
            },
        }
    }
}

//! Whether what a worker depends on is there, found by asking it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::transport::Subscription;
use lavender_core::{Error, ErrorKind, Result, async_trait};
use lavender_store::Store;
use lavender_transport::nats::JetStream;

/// How long each may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Something that a role cannot do without.
#[async_trait]
pub trait Dependency: fmt::Debug + Send + Sync + 'static {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Asks it something that only succeeds when it works.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    async fn check(&self) -> Result<()>;
}

/// The broker, by the durable that the role reads.
#[derive(Debug)]
pub struct Broker {
    /// The connection.
    pub transport: JetStream,
    /// What is read.
    pub subscription: Subscription,
}

#[async_trait]
impl Dependency for Broker {
    fn name(&self) -> &'static str {
        "broker"
    }

    async fn check(&self) -> Result<()> {
        self.transport.check(&self.subscription).await
    }
}

#[async_trait]
impl Dependency for Arc<dyn Store> {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn check(&self) -> Result<()> {
        self.get("health").await.map(|_| ())
    }
}

/// All that a role depends on.
#[derive(Debug, Default)]
pub struct Health(Vec<Box<dyn Dependency>>);

impl Health {
    /// One more.
    pub fn depend_on(&mut self, dependency: impl Dependency) {
        self.0.push(Box::new(dependency));
    }

    /// Asks each: name, and what is wrong with it.
    pub async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        let mut report = Vec::with_capacity(self.0.len());
        for dependency in &self.0 {
            let name = dependency.name();
            let result = tokio::time::timeout(TIMEOUT, dependency.check()).await;
            let late = |_| Err(Error::new(ErrorKind::Timeout, name, "it does not answer"));
            report.push((name, result.unwrap_or_else(late)));
        }
        report
    }
}

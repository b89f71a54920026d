//! Rulesets that tenants have published: looked for in the broker, compiled, and put in use.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use lavender_core::ruleset::{PublishedRulesets, Ruleset};
use lavender_core::{ErrorKind, Result, TenantId};
use lavender_detect::{RuleHandle, TenantRules};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::time::{MissedTickBehavior, interval};

use super::rules::{Hangups, Rules};

/// How often the broker is asked what is published: a request for each tenant that has published something.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What came of published rulesets: `lavender_rulesets_…_total`.
#[derive(Clone, Debug, Default)]
struct Counts {
    taken: Counter,
    refused: Counter,
    failures: Counter,
}

/// A ruleset of a tenant.
#[derive(Clone, Debug)]
struct Published {
    revision: u64,
    rules: Ruleset,
}

/// The rules of a worker: those of its own files for every tenant, and beside them what a tenant has published.
#[derive(Debug)]
pub(super) struct Following {
    own: Rules,
    everybody: RuleHandle,
    tenants: TenantRules,
    /// `None` where none are followed.
    source: Option<PublishedRulesets>,
    published: BTreeMap<TenantId, Published>,
    counts: Counts,
}

impl Following {
    pub(super) fn new(own: Rules, everybody: RuleHandle, registry: &mut Registry) -> Self {
        let counts = Counts::default();
        for (name, help, counter) in [
            ("taken", "Published rulesets that were put in use", &counts.taken),
            ("refused", "Published rulesets that do not compile here", &counts.refused),
            ("failures", "Looks at what is published that failed", &counts.failures),
        ] {
            registry.register(format!("lavender_rulesets_{name}"), help, counter.clone());
        }
        let tenants = TenantRules::default();
        Self { own, everybody, tenants, source: None, published: BTreeMap::new(), counts }
    }

    /// The rules of those tenants that have published some.
    pub(super) fn tenants(&self) -> &TenantRules {
        &self.tenants
    }

    /// Follows what is published, and takes it in for the first time.
    ///
    /// # Errors
    ///
    /// When the broker cannot be asked.
    pub(super) async fn follow(&mut self, source: PublishedRulesets) -> Result<()> {
        self.source = Some(source);
        self.look().await
    }

    /// Takes in what was published since this was last called.
    async fn look(&mut self) -> Result<()> {
        let Some(source) = self.source.clone() else { return Ok(()) };
        for tenant in source.tenants().await? {
            let known = self.published.get(&tenant).map_or(0, |known| known.revision);
            let Some(last) = source.published(&tenant).await? else { continue };
            if last.revision <= known {
                continue;
            }
            match source.fetch(&tenant, &last).await {
                Ok(rules) => {
                    let published = Published { revision: last.revision, rules };
                    self.put_in_use(&tenant, &published).await;
                    // What does not compile is not tried again until something else is published.
                    self.published.insert(tenant, published);
                }
                // Where another was published meanwhile, that comes next. Others are not to wait for it.
                Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
                    self.counts.failures.inc();
                    tracing::error!(%tenant, %error, "a published ruleset cannot be read, will try again");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn put_in_use(&self, tenant: &TenantId, published: &Published) {
        let Published { revision, rules } = published.clone();
        let (own, digest) = (self.own.clone(), rules.digest());
        let compiled = tokio::task::spawn_blocking(move || own.load(Some(&rules))).await;
        match compiled {
            Ok(Ok(rules)) => {
                let count = rules.len();
                self.tenants.set(tenant, rules);
                self.counts.taken.inc();
                tracing::info!(%tenant, revision, %digest, rules = count, "published rules are in use");
            }
            Ok(Err(error)) => {
                self.counts.refused.inc();
                tracing::error!(%tenant, revision, %digest, %error, "published rules are not taken, those in use stay");
            }
            Err(error) => {
                self.counts.refused.inc();
                tracing::error!(%tenant, revision, %digest, %error, "published rules could not be compiled, those in use stay");
            }
        }
    }

    /// Loads the files again, for everybody and for those who have published something. When anything is wrong those
    /// in use stay, and what is wrong is logged.
    async fn reload(&self) {
        let (own, everybody) = (self.own.clone(), self.everybody.clone());
        // Reads and compiles files; the worker goes on meanwhile.
        let reload = tokio::task::spawn_blocking(move || own.reload(&everybody));
        if let Err(error) = reload.await {
            tracing::error!(%error, "the rules could not be loaded again, those in use stay");
        }
        for (tenant, published) in &self.published {
            self.put_in_use(tenant, published).await;
        }
    }

    /// Takes in what is published, and the files at every hang-up, for as long as it is polled.
    pub(super) async fn run(mut self, mut hangups: Hangups) -> Infallible {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = hangups.next() => self.reload().await,
                _ = ticks.tick() => {
                    if let Err(error) = self.look().await {
                        self.counts.failures.inc();
                        tracing::warn!(%error, "what is published cannot be looked at, will try again");
                    }
                }
            }
        }
    }
}

//! Rules that are published in the fleet: looked for at the broker, put in use, and kept on disk.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::ruleset::PublishedRulesets;
use lavender_core::{Error, ErrorKind, Result, TenantId};
use lavender_transport::nats::JetStream;
use tokio::sync::watch;

use crate::kept_rules::Kept;
use crate::plan::RuleReload;
use crate::published::{Published, put_in_use};

/// How often the broker is asked what is published: a request that any of its servers answers.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The wait after what is not permitted: permissions are changed by people.
const DENIED_DELAY: Duration = Duration::from_secs(300);

/// Follows what is published for a tenant.
pub(super) struct Following {
    connected: watch::Receiver<Option<JetStream>>,
    tenant: TenantId,
    reload: RuleReload,
    kept: Kept,
    /// The last revision that was tried: what does not compile is not tried again until something else is published.
    seen: u64,
    /// Why that is not in use, or not kept.
    fault: Option<String>,
}

impl Following {
    pub(super) fn new(
        connected: watch::Receiver<Option<JetStream>>,
        tenant: TenantId,
        (reload, kept): (RuleReload, Kept),
    ) -> Self {
        let seen = reload.revision().unwrap_or(0);
        Self { connected, tenant, reload, kept, seen, fault: None }
    }

    /// Puts in use what is published, for as long as it is polled.
    pub(super) async fn run(mut self) -> Infallible {
        // The same failure is said once, and not every time.
        let mut failure: Option<String> = None;
        loop {
            let mut wait = LOOK_EVERY;
            match self.look().await {
                Ok(()) if failure.take().is_some() => self.reload.tell(self.fault.as_deref()),
                Ok(()) => {}
                Err(error) => {
                    let text = error.to_string();
                    if error.kind() == ErrorKind::Denied {
                        wait = DENIED_DELAY;
                    }
                    if failure.as_ref() != Some(&text) {
                        tracing::warn!(%error, "published rules cannot be had, will try again; those in use stay");
                        self.reload.tell(Some(&text));
                        failure = Some(text);
                    }
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes in what was published since it last looked.
    async fn look(&mut self) -> Result<()> {
        let known = self.connected.wait_for(Option::is_some).await;
        let Some(transport) = known.ok().and_then(|transport| transport.clone()) else {
            // Nobody connects any more: the agent ends.
            return std::future::pending().await;
        };
        let source = PublishedRulesets::new(Arc::new(transport.published_rules().await?));
        let Some(last) = source.published(&self.tenant).await? else { return Ok(()) };
        if last.revision < self.seen {
            let (revision, seen) = (last.revision, self.seen);
            let why = format!("revision {revision} is published, and {seen} was before");
            return Err(Error::new(ErrorKind::Conflict, "published rules", why));
        }
        if last.revision == self.seen {
            return Ok(());
        }
        let rules = source.fetch(&self.tenant, &last).await?;
        let published = Published { revision: last.revision, rules };
        self.seen = last.revision;
        // Whoever puts them in use says why not.
        self.fault = match put_in_use(&self.reload, published.clone()).await {
            Ok(()) => self.keep(published).await,
            Err(error) => Some(error.to_string()),
        };
        self.reload.tell(self.fault.as_deref());
        Ok(())
    }

    /// Keeps it on disk, or says why not.
    async fn keep(&self, published: Published) -> Option<String> {
        let (kept, revision) = (self.kept.clone(), published.revision);
        let written = tokio::task::spawn_blocking(move || kept.write(&published)).await;
        let why = match written {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(
            revision,
            "published rules are in use, and not kept for the next start: {why}"
        );
        Some(format!("not kept for the next start: {why}"))
    }
}

//! Published rulesets as an agent may read them: those of its own tenant, and nothing else of the broker.
//!
//! An agent may publish on its own subjects and no more, and so cannot open a bucket as others do. It asks for single
//! values, each by a subject of its own, so that the broker's permissions can tell tenants apart. Any server that has the
//! bucket answers; one that is behind the others says what was published before.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use lavender_core::async_trait;
use lavender_core::store::{PutMode, Version};
use lavender_core::{Bytes, Clock as _, ErrorKind, Result, StateStore, SystemClock, TenantId};

use super::JetStream;
use super::connection::Connection;
use super::state::{BucketOptions, entry, push_tokens, subject};

/// What an agent's user must be permitted to publish, to take the published rules of its tenant: requests for what is
/// published and for its pieces. The answers come to its inbox.
///
/// ```
/// use lavender_core::TenantId;
/// use lavender_transport::nats::ruleset_permissions;
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let publish = ruleset_permissions(&TenantId::new("acme")?);
/// assert_eq!(
///     publish[0],
///     "$JS.API.DIRECT.GET.KV_lavender-rules.$KV.lavender-rules._published._acme"
/// );
/// # Ok(())
/// # }
/// ```
pub fn ruleset_permissions(tenant: &TenantId) -> [String; 2] {
    let name = BucketOptions::rules().name;
    let request = |key: &str| {
        let mut subject = format!("$JS.API.DIRECT.GET.KV_{name}.$KV.{name}.");
        push_tokens(&mut subject, key);
        subject
    };
    [request(&format!("published/{tenant}")), request(&format!("bundle/{tenant}")) + ".>"]
}

/// The bucket of published rulesets, for reading by key and nothing else. Made by
/// [`JetStream::published_rules`].
pub struct JetStreamRules {
    connection: Connection,
    stream: Stream<()>,
    prefix: String,
}

impl fmt::Debug for JetStreamRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamRules").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl JetStream {
    /// The bucket of published rulesets, to read what these [permissions](ruleset_permissions) allow. Asks the server
    /// nothing.
    ///
    /// # Errors
    ///
    /// Never, as long as the bucket has a name that streams may have.
    pub async fn published_rules(&self) -> Result<JetStreamRules> {
        let connection = self.shared.connection.clone();
        let name = BucketOptions::rules().name;
        let stream = connection.context.get_stream_no_info(format!("KV_{name}")).await;
        let stream = stream.map_err(|error| connection.error(ErrorKind::Invalid, error))?;
        Ok(JetStreamRules { connection, stream, prefix: format!("$KV.{name}.") })
    }
}

impl JetStreamRules {
    fn read_only<T>(&self) -> Result<T> {
        Err(self.connection.error(ErrorKind::Unsupported, "it is for reading by key only"))
    }
}

#[async_trait]
impl StateStore for JetStreamRules {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        let subject = subject(&self.connection, &self.prefix, key)?;
        let found = tokio::select! {
            biased;
            denied = self.connection.denied(|refused| refused.ends_with(&subject)) => {
                return Err(denied);
            }
            found = self.stream.direct_get_last_for_subject(&*subject) => found,
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let kind = match error.kind() {
                    DirectGetErrorKind::NotFound => return Ok(None),
                    DirectGetErrorKind::TimedOut => {
                        if let Some(inbox) = self.connection.notices.refused_inbox() {
                            let why = format!(
                                "the server does not let this client hear answers on `{inbox}`"
                            );
                            return Err(self.connection.error(ErrorKind::Denied, why));
                        }
                        ErrorKind::Timeout
                    }
                    _ => ErrorKind::Unavailable,
                };
                return Err(self.connection.error(kind, format!("{subject}: {error}")));
            }
        };
        let entry = entry(&self.connection, &subject, found)?;
        let entry = entry.filter(|entry| entry.is_there(SystemClock.now()));
        Ok(entry.map(|entry| (entry.value, entry.version)))
    }

    async fn put(
        &self,
        _key: &str,
        _value: Bytes,
        _mode: PutMode,
        _ttl: Option<Duration>,
    ) -> Result<Version> {
        self.read_only()
    }

    async fn keys(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>> {
        self.read_only()
    }

    async fn delete(&self, _key: &str) -> Result<()> {
        self.read_only()
    }
}

//! The connection: how it is made, and what the server says beside the answers.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError};
use lavender_core::{Error, ErrorKind, Result};
use tokio::sync::{broadcast, watch};

use super::{Credentials, JetStreamOptions};

/// Older servers drop settings that they do not know without a word, and their buckets cannot be opened.
const SERVER_MIN: (i64, i64, i64) = (2, 11, 0);

/// The longest wait between two tries to connect again.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// How many refusals are remembered for a publisher that is slow to look; it then waits for its timeout.
const DENIALS: usize = 256;

/// What was refused: the server says so beside the answers, and the call itself only times out.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    /// The subject.
    pub(super) subject: Arc<str>,
}

/// What the server has said beside the answers.
#[derive(Debug)]
pub(super) struct Notices {
    denials: broadcast::Sender<Denial>,
    /// A subscription that was refused: answers will not come.
    refused_inbox: Mutex<Option<Arc<str>>>,
    /// Counts connections, so that what was asked of an earlier one is asked again.
    connections: watch::Sender<u64>,
}

impl Notices {
    fn new() -> Self {
        Self {
            denials: broadcast::Sender::new(DENIALS),
            refused_inbox: Mutex::default(),
            connections: watch::Sender::new(0),
        }
    }

    pub(super) fn denials(&self) -> broadcast::Receiver<Denial> {
        self.denials.subscribe()
    }

    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        self.connections.subscribe()
    }

    /// The subject of answers that the server refused to deliver.
    pub(super) fn refused_inbox(&self) -> Option<Arc<str>> {
        self.refused_inbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_refused_inbox(&self, subject: Option<Arc<str>>) {
        *self.refused_inbox.lock().unwrap_or_else(PoisonError::into_inner) = subject;
    }

    fn take(&self, component: &str, event: &Event) {
        match event {
            Event::Connected => {
                self.set_refused_inbox(None);
                self.connections.send_modify(|count| *count += 1);
                tracing::info!("{component}: connected");
            }
            Event::Disconnected => {
                tracing::warn!("{component}: disconnected, will connect again");
            }
            Event::ServerError(ServerError::Other(text)) => {
                tracing::error!("{component}: the server says: {text}");
                if let Some(subject) = quoted_after(text, "Publish to ") {
                    // Nobody may be waiting just now.
                    let _ = self.denials.send(Denial { subject: subject.into() });
                } else if let Some(subject) = quoted_after(text, "Subscription to ") {
                    self.set_refused_inbox(Some(subject.into()));
                }
            }
            other => tracing::warn!("{component}: {other}"),
        }
    }
}

/// The subject in `Permissions Violation for Publish to "telemetry.raw.acme.web-1"`.
fn quoted_after<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once("Permissions Violation for ")?;
    rest.strip_prefix(what)?.split('"').nth(1)
}

/// A connection to a server that is new enough.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) notices: Arc<Notices>,
    pub(super) component: Arc<str>,
    pub(super) timeout: Duration,
}

impl Connection {
    pub(super) async fn open(options: &JetStreamOptions) -> Result<Self> {
        let component: Arc<str> = options.component().into();
        let notices = Arc::new(Notices::new());
        let (for_events, called) = (Arc::clone(&notices), Arc::clone(&component));
        let connect = connect_options(options, &component).await?.event_callback(move |event| {
            for_events.take(&called, &event);
            std::future::ready(())
        });
        let client = connect.connect(options.servers.clone()).await.map_err(|error| {
            let kind = match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    ErrorKind::Denied
                }
                ConnectErrorKind::ServerParse => ErrorKind::Invalid,
                ConnectErrorKind::TimedOut => ErrorKind::Timeout,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, &*component, error)
        })?;
        let (major, minor, patch) = SERVER_MIN;
        if !client.is_server_compatible(major, minor, patch) {
            let found = client.server_info().version;
            let why = format!(
                "this is nats-server {found}, and Lavender needs {major}.{minor} or newer: older ones drop settings without a word"
            );
            return Err(Error::new(ErrorKind::Unsupported, &*component, why));
        }
        // The first word of the connection may come later than the connection; it must not be taken for another.
        let mut connections = notices.connections();
        let _ =
            tokio::time::timeout(options.timeout, connections.wait_for(|count| *count > 0)).await;
        let context = ContextBuilder::new()
            .timeout(options.timeout)
            .max_ack_inflight(options.in_flight.saturating_mul(4).max(1_024))
            .build(client.clone());
        Ok(Self { client, context, notices, component, timeout: options.timeout })
    }

    /// Waits until the server refuses what is published on such a subject: it says so beside the answers, and the call
    /// itself only times out.
    pub(super) async fn denied(&self, is_it: impl Fn(&str) -> bool) -> Error {
        let mut denials = self.notices.denials();
        loop {
            match denials.recv().await {
                Ok(denial) if is_it(&denial.subject) => {
                    let why = format!(
                        "the server does not let this client publish on `{}`",
                        denial.subject
                    );
                    return self.error(ErrorKind::Denied, why);
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Checks a name that becomes one token of a subject.
    pub(super) fn check_name(&self, what: &str, name: &str) -> Result<()> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(token) {
            return Ok(());
        }
        let why = format!("{what} `{name}` is not 1 to 64 of a-z A-Z 0-9 _ -");
        Err(self.error(ErrorKind::Invalid, why))
    }

    pub(super) fn error(
        &self,
        kind: ErrorKind,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::new(kind, &*self.component, why)
    }
}

async fn connect_options(options: &JetStreamOptions, component: &str) -> Result<ConnectOptions> {
    let unreadable = |path: &Path, error: std::io::Error| {
        let why = format!("{} cannot be read: {error}", path.display());
        Error::new(ErrorKind::Invalid, component, why)
    };
    let mut connect = match &options.credentials {
        Credentials::None => ConnectOptions::new(),
        Credentials::Nkey(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
            ConnectOptions::with_nkey(text.lines().next().unwrap_or_default().trim().to_owned())
        }
        Credentials::File(path) => ConnectOptions::with_credentials_file(path)
            .await
            .map_err(|error| unreadable(path, error))?,
    };
    if let Some(prefix) = &options.inbox_prefix {
        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if prefix.is_empty() || !prefix.bytes().all(token) {
            let why = format!("the inbox prefix `{prefix}` holds more than a-z A-Z 0-9 _ - .");
            return Err(Error::new(ErrorKind::Invalid, component, why));
        }
        connect = connect.custom_inbox_prefix(prefix);
    }
    if let Some(ca) = &options.tls.ca {
        connect = connect.add_root_certificates(ca.clone());
    }
    if let Some((cert, key)) = &options.tls.identity {
        connect = connect.add_client_certificate(cert.clone(), key.clone());
    }
    let tls = options.tls.required || options.tls.ca.is_some() || options.tls.identity.is_some();
    Ok(connect
        .name(&options.name)
        .require_tls(tls)
        .connection_timeout(options.timeout)
        .request_timeout(Some(options.timeout))
        .reconnect_delay_callback(|attempts| {
            let doubled = 1_u64.checked_shl(u32::try_from(attempts).unwrap_or(u32::MAX));
            RECONNECT_DELAY_MAX.min(Duration::from_millis(doubled.unwrap_or(u64::MAX)))
        }))
}

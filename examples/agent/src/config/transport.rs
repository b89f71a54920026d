//! `[transport]`: how telemetry and alerts reach the fleet, where there is one.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[transport]`: how telemetry and alerts reach the fleet, where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// Where to: `memory:`, inside this process, or the broker of a fleet, `nats://` or `tls://`.
    pub url: TransportUrl,
    /// Where what is published waits for the broker.
    pub spool_dir: PathBuf,
    /// The most bytes that wait there; at least 1 MiB. Beyond them the least important telemetry is shed, and counted.
    pub spool_bytes_max: u64,
    /// Who may vouch for the broker, as PEM; the system's authorities when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The agent's certificate chain, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The seed of the agent's nkey, in the first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey_file: Option<PathBuf>,
    /// What the subjects begin with on which the broker answers; `_INBOX.<tenant>.<agent>` unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox_prefix: Option<String>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            url: TransportUrl::Memory,
            spool_dir: "/var/lib/lavender/spool".into(),
            spool_bytes_max: 512 << 20,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            nkey_file: None,
            inbox_prefix: None,
        }
    }
}

/// A transport that this build has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum TransportUrl {
    /// `memory:`: within the process.
    #[default]
    Memory,
    /// `nats://…` or `tls://…`: the broker of a fleet. Holds no secret: such URLs are refused.
    #[cfg(feature = "fleet")]
    Broker(String),
}

impl TryFrom<String> for TransportUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        // What stands behind it is not shown: it may hold what was meant as a secret.
        match url.split_once(':').map_or(&*url, |(scheme, _)| scheme) {
            "memory" if url == "memory:" => Ok(Self::Memory),
            #[cfg(feature = "fleet")]
            "nats" | "tls" => {
                lavender_transport::nats::JetStreamOptions::from_url(&url)
                    .map_err(|error| error.to_string())?;
                Ok(Self::Broker(url))
            }
            #[cfg(not(feature = "fleet"))]
            "nats" | "tls" => {
                Err("this agent was built without the feature `fleet`: it has `memory:`".to_owned())
            }
            scheme => {
                let scheme: String = scheme.chars().take(40).collect();
                Err(format!("transport `{scheme}` is none of memory:, nats://, tls://"))
            }
        }
    }
}

impl TransportUrl {
    /// The broker's servers, each as `host:port`.
    pub fn servers(&self) -> Vec<String> {
        match self {
            Self::Memory => Vec::new(),
            #[cfg(feature = "fleet")]
            Self::Broker(url) => {
                let options = lavender_transport::nats::JetStreamOptions::from_url(url);
                let servers = options.map(|options| options.servers).unwrap_or_default();
                servers.iter().map(|url| url.trim_start_matches("nats://").to_owned()).collect()
            }
        }
    }
}

impl From<TransportUrl> for String {
    fn from(url: TransportUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for TransportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            #[cfg(feature = "fleet")]
            Self::Broker(url) => f.write_str(url),
        }
    }
}

//! `[control_plane]`: the dashboard and its API, of this one host.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// `[control_plane]`: the dashboard and its API, of this one host, served by `run`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlPlaneConfig {
    /// Whether there is one; unless it is set, where the agent is in no fleet, which has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Where it listens: on the loopback, unless `behind_tls_proxy`.
    pub listen: SocketAddr,
    /// Whether it may listen where others can reach it, since a proxy in front of it speaks TLS.
    pub behind_tls_proxy: bool,
}

impl Default for ControlPlaneConfig {
    fn default() -> Self {
        Self {
            enabled: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            behind_tls_proxy: false,
        }
    }
}

impl ControlPlaneConfig {
    /// Whether it may listen there.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`] where others could read tokens on their way.
    pub fn check(&self) -> Result<(), Failure> {
        if self.listen.ip().is_loopback() || self.behind_tls_proxy {
            return Ok(());
        }
        let message = format!(
            "[control_plane] listens on {}, where others could read tokens on their way: listen on 127.0.0.1 behind a \
             proxy that speaks TLS, or set `behind_tls_proxy = true` where such a proxy is elsewhere",
            self.listen
        );
        Err(Failure::new(Exit::Configuration, message))
    }
}

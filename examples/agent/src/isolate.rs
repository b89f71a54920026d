//! Isolation of this host: as the last order said, from the start on.

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lavender_bpf::{IsolationConfig, Isolator};

use crate::cli::ReleaseArgs;
use crate::config::{self, Config, TransportConfig};
use crate::exit::{Exit, Failure};
use crate::released;

/// How long looking up the brokers' names may keep the agent from watching.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(5);

/// What isolates as configured. Brokers with a name are still to come ([`with_brokers`]).
pub fn isolator(config: &Config) -> Isolator {
    let options = &config.response.isolate;
    let mut isolation = IsolationConfig::host();
    isolation.cgroup = options.cgroup.as_ref().map(|path| PathBuf::from(path.as_ref()));
    let servers = config.transport.url.servers();
    let brokers = servers.iter().filter_map(|server| server.parse::<SocketAddr>().ok());
    let isolation = isolation.with_allowed(options.allow.iter().copied().chain(brokers));
    Isolator::new(isolation, options.state_file.as_ref())
}

/// Isolates if that was the last order. An agent that cannot goes on watching, and says so.
pub fn restore(config: &Config) -> Isolator {
    let isolator = isolator(config);
    match isolator.restore() {
        Ok(true) => tracing::warn!("isolated, as it was: `lavender-agent release` lifts it"),
        Ok(false) => {}
        Err(error) => {
            tracing::error!(%error, "whether this host is isolated is not as it should be")
        }
    }
    isolator
}

/// With the brokers that have names, as these are looked up now. One that is not found is not reached while isolated.
pub async fn with_brokers(isolator: Isolator, transport: &TransportConfig) -> Isolator {
    let mut servers = transport.url.servers();
    servers.retain(|server| server.parse::<SocketAddr>().is_err());
    if servers.is_empty() {
        return isolator;
    }
    let look_up = move || {
        let mut found = Vec::new();
        for server in servers {
            match server.to_socket_addrs() {
                Ok(addresses) => found.extend(addresses),
                Err(error) => {
                    tracing::warn!(%error, server, "not found: it will not be reached while isolated");
                }
            }
        }
        found
    };
    match tokio::time::timeout(LOOKED_UP_WITHIN, tokio::task::spawn_blocking(look_up)).await {
        Ok(Ok(found)) => isolator.with_allowed(found),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(
                "the brokers' names are not found: they will not be reached while isolated"
            );
            isolator
        }
    }
}

/// Lifts isolation, and says whether there was any.
///
/// # Errors
///
/// [`Exit::Host`] when it cannot be lifted.
pub fn release(args: &ReleaseArgs) -> Result<(), Failure> {
    let (config, _) = config::load(args.config.config.as_deref())?;
    let was_isolated =
        isolator(&config).release().map_err(|error| Failure::new(Exit::Host, error))?;
    if was_isolated {
        let state_file = Path::new(config.response.isolate.state_file.as_ref());
        released::leave(state_file).map_err(|error| {
            let why =
                format!("released, and no event of it is made: {}: {error}", state_file.display());
            Failure::new(Exit::Store, why)
        })?;
    }
    let said = if was_isolated { "released" } else { "it was not isolated" };
    let _ = writeln!(std::io::stderr(), "{said}");
    Ok(())
}

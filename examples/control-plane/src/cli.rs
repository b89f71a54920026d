//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use lavender_core::TenantId;
use lavender_core::command::KeyId;
use lavender_core::store::LivenessTimes;

/// Shows what agents saw and raised, and lets people work on it: an HTTP API and a live stream.
#[derive(Clone, Debug, Parser)]
#[command(name = "lavender-control-plane", version, subcommand_negates_reqs = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub task: Option<Task>,
    /// The store: `sqlite:PATH`, `postgres://HOST/DATABASE` or `memory:`.
    #[arg(
        long,
        value_name = "URL",
        env = "LAVENDER_STORE",
        hide_env_values = true,
        required = true
    )]
    pub store: Option<String>,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Listens on an address that others can reach, since a proxy in front of it speaks TLS and nobody else reaches
    /// it.
    #[arg(long)]
    pub behind_tls_proxy: bool,
    /// A tenant that gets its first admin token, printed once, if it has never had a token. Can be given again.
    #[arg(long = "tenant", value_name = "NAME", default_value = "default")]
    pub tenants: Vec<TenantId>,
    /// After how many seconds without a word an agent is degraded.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub degraded_after_s: u64,
    /// After how many seconds without a word an agent is offline.
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    pub offline_after_s: u64,
    /// How many requests a second each address may make.
    #[arg(long, value_name = "NUMBER", default_value = "100")]
    pub requests_per_second: NonZeroU32,
    /// A file or directory of rules to list, beside the built-in ones. Can be given again.
    #[arg(long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// The file with the key by which commands are signed, as `keys generate` makes it. Without it, no commands are
    /// given.
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// The broker that brings commands to agents and published rulesets to workers: `nats://HOST:PORT` or
    /// `tls://HOST:PORT`, with `?ca=…&cert=…&key=…&nkey=…` by file, as workers take it. Without it, both stay where they are.
    #[arg(long, value_name = "URL", env = "LAVENDER_TRANSPORT", hide_env_values = true)]
    pub transport: Option<String>,
}

/// What can be done instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// The keys by which commands are signed.
    #[command(subcommand)]
    Keys(KeysTask),
    /// Prints the SQL by which the owner of a PostgreSQL database gives a user what a control plane needs, and no more.
    #[cfg(feature = "postgres")]
    Grants {
        /// The user, who is there already.
        #[arg(value_name = "USER")]
        user: String,
    },
}

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysTask {
    /// Makes a signing key and prints what the agents' configuration has to say to take its commands.
    Generate {
        /// The name of the key: agents may pin several.
        #[arg(long, value_name = "ID")]
        id: KeyId,
        /// The file to keep it in, readable for its owner alone. It must not be there yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Cli {
    /// After how long an agent is degraded, and offline.
    ///
    /// # Errors
    ///
    /// When it would be offline before it is degraded.
    pub fn liveness(&self) -> Result<LivenessTimes, String> {
        let (degraded, offline) = (self.degraded_after_s, self.offline_after_s);
        if degraded == 0 || degraded > offline {
            return Err(format!(
                "--degraded-after-s {degraded} and --offline-after-s {offline}: the first can be 1 to the second"
            ));
        }
        Ok(LivenessTimes {
            degraded_after: Duration::from_secs(degraded),
            offline_after: Duration::from_secs(offline),
        })
    }

    /// Whether it may listen there.
    ///
    /// # Errors
    ///
    /// Where others could read tokens on their way.
    pub fn check_listen(&self) -> Result<(), String> {
        if self.listen.ip().is_loopback() || self.behind_tls_proxy {
            return Ok(());
        }
        Err(format!(
            "--listen {}: others could read tokens on their way; listen on 127.0.0.1 behind a proxy that speaks TLS, \
             or say --behind-tls-proxy where such a proxy is elsewhere",
            self.listen
        ))
    }
}

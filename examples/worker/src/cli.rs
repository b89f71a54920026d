//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::exit::Exit;

/// The backend's stages of Lavender, over NATS JetStream. Any number of each may run.
///
/// What a worker says of itself goes to stderr; set LAVENDER_LOG to `debug`, or to any filter of the `tracing`
/// crate, to hear more. SIGINT and SIGTERM stop it: what it has taken is done with first.
#[derive(Debug, Parser)]
#[command(name = "lavender-worker", version, after_help = Exit::help())]
pub struct Cli {
    /// Which role.
    #[command(subcommand)]
    pub command: Command,
}

/// The roles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check what agents send, and pass it on.
    Ingest(WorkerArgs),
    /// Store telemetry that ingest has accepted.
    TelemetryWriter(StoreArgs),
    /// Store alerts.
    AlertWriter(StoreArgs),
    /// Evaluate rules on telemetry that ingest has accepted, and publish alerts. SIGHUP loads the rules again.
    Detect(DetectArgs),
    /// Print the events and alerts of messages from stdin (`nats sub 'telemetry.raw.>' --raw`) as JSON lines.
    Decode,
}

/// What every role takes. A flag goes before the configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct WorkerArgs {
    /// The configuration; else $LAVENDER_WORKER_CONFIG, else what holds without one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The broker: `nats://host:port[,host:port…][?name=value&…]`, or `tls://…`.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Where `/healthz` and `/metrics` are: an address of the loopback. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// What a role with a store takes.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArgs {
    /// What every role takes.
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// The store: `postgres://…` or `sqlite:PATH`.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// What the role with rules takes.
#[derive(Args, Clone, Debug, Default)]
pub struct DetectArgs {
    /// What every role takes.
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// A folder with more rules. May be given several times.
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}

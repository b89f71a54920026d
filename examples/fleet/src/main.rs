//! `lavender-fleet`: see the README beside it.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lavender_fleet::chaos::{ChaosOptions, Simulate, chaos};
use lavender_fleet::check::check;
use lavender_fleet::error::{FleetError, Result};
use lavender_fleet::fleet::{Fleet, Programs};
use lavender_fleet::up::up;

/// Any free port of the loopback.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A whole fleet of Lavender on one machine: nats-server, PostgreSQL, every worker, the control plane, and an agent on the
/// live kernel.
/// Everything is in one temporary directory, listens on the loopback only, and is gone at the end.
#[derive(Debug, Parser)]
#[command(name = "lavender-fleet", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start it, say where its dashboard is and the token for it, act like an attacker once, and show alerts as they are
    /// stored, until SIGINT or SIGTERM.
    Up {
        #[command(flatten)]
        place: Where,
        /// Where the dashboard is; a free port of the loopback unless said.
        #[arg(long, value_name = "ADDR", default_value_t = LOOPBACK)]
        listen: SocketAddr,
    },
    /// Show that it does what it should; the last line is the figures. Fails when something does not hold.
    Check {
        #[command(flatten)]
        place: Where,
        /// How many acts to time.
        #[arg(long, default_value_t = 50)]
        acts: usize,
    },
    /// Kill every process and server in turn under load, and show that nothing is missing and nothing comes twice; the
    /// last line is the figures. Fails when something does not hold.
    Chaos {
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// The process of simulated agents, which `chaos` starts.
    #[command(hide = true)]
    Simulate(Simulate),
}

#[derive(Args, Debug)]
struct Where {
    /// The nats-server, 2.11 or newer.
    #[arg(long, value_name = "FILE", default_value = "nats-server")]
    nats_server: PathBuf,
}

impl Where {
    /// The fleet's other programs are built into the folder that this one is in.
    fn programs(self) -> Result<Programs> {
        let own = std::env::current_exe().map_err(FleetError::io("the own program"))?;
        let folder = own.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Programs { folder, nats_server: self.nats_server })
    }
}

fn main() -> ExitCode {
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(FleetError::io("starting"))
        .and_then(|runtime| runtime.block_on(run(Cli::parse().command)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(FleetError::io("stdout"))
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Up { place, listen } => up(&place.programs()?, listen, say).await,
        Command::Check { place, acts } => {
            let programs = place.programs()?;
            let checked = until_told_to_stop(async {
                let mut fleet = Fleet::start(&programs, LOOPBACK).await?;
                let checked = check(&mut fleet, acts).await?;
                fleet.stop().await?;
                Ok(checked)
            });
            say(format!("fleet-check: {}", checked.await?))
        }
        Command::Chaos { place, options } => {
            let programs = place.programs()?;
            let figures = until_told_to_stop(chaos(&programs, &options, say)).await?;
            say(format!("chaos: {figures}"))
        }
        Command::Simulate(told) => told.run().await,
    }
}

/// Does this, unless SIGINT or SIGTERM comes before it is done: then all that it has started is killed.
async fn until_told_to_stop<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let stop = lavender_core::pipeline::signal()?;
    tokio::select! {
        name = stop => Err(FleetError::Stopped(name)),
        done = work => done,
    }
}

//! `lavender-worker`: see the README beside it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use lavender_worker::cli::{Cli, Command};
use lavender_worker::exit::{Exit, Failure};
use lavender_worker::{alert_writer, decode, detect, ingest, logging, telemetry_writer};

fn main() -> ExitCode {
    // Ends the process by itself when the command line is wrong, with `Exit::Usage`.
    let cli = Cli::parse();
    match start(cli.command) {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            failure.exit().into()
        }
    }
}

fn start(command: Command) -> Result<(), Failure> {
    logging::init()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot start: {error}")))?;
    let result = runtime.block_on(execute(command));
    // What is still running has had its time: what is not acknowledged comes again.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Ingest(args) => ingest::run(&args).await,
        Command::TelemetryWriter(args) => telemetry_writer::run(&args).await,
        Command::Decode => decode::run(std::io::stdin().lock(), std::io::stdout().lock()),
        Command::AlertWriter(args) => alert_writer::run(&args).await,
        Command::Detect(args) => detect::run(&args).await,
    }
}

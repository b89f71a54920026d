//! `lavender-control-plane`: see the README beside it.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use lavender_control_plane::cli::Cli;
use lavender_control_plane::logging;
use lavender_control_plane::run::{RunError, run};

fn main() -> ExitCode {
    // Ends the process by itself when the command line is wrong.
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(if matches!(error, RunError::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn start(cli: Cli) -> Result<(), RunError> {
    logging::init().map_err(RunError::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::Usage(format!("cannot start: {error}")))?;
    runtime.block_on(run(cli))
}

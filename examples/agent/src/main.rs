//! `lavender-agent`: see the README beside it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use lavender_agent::cli::{Cli, Command};
use lavender_agent::exit::{Exit, Failure};
use lavender_agent::{check_config, logging, replay};

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
    // Before anything is set up: it does nothing else than what it must be seen to do.
    #[cfg(feature = "live")]
    if let Command::Canary(args) = &command {
        return lavender_agent::canary::perform(args);
    }
    logging::init()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot start: {error}")))?;
    let result = runtime.block_on(execute(command));
    // What is still running has had its time: `run` waits for what must be stored by itself.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Replay(args) => replay::replay(args).await,
        Command::CheckConfig(args) => check_config::check_config(&args),
        #[cfg(feature = "live")]
        Command::Run(args) => lavender_agent::run::run(args).await,
        #[cfg(feature = "live")]
        Command::Record(args) => lavender_agent::record::record(args).await,
        #[cfg(feature = "live")]
        Command::Doctor(args) => lavender_agent::doctor::doctor(&args),
        #[cfg(feature = "live")]
        Command::Release(args) => lavender_agent::isolate::release(&args),
        // With the live kernel it does not come here.
        Command::Canary(_) => Err(not_built_in("canary")),
        #[cfg(not(feature = "live"))]
        Command::Run(_) => Err(not_built_in("run")),
        #[cfg(not(feature = "live"))]
        Command::Record(_) => Err(not_built_in("record")),
        #[cfg(not(feature = "live"))]
        Command::Doctor(_) => Err(not_built_in("doctor")),
        #[cfg(not(feature = "live"))]
        Command::Release(_) => Err(not_built_in("release")),
    }
}

fn not_built_in(command: &str) -> Failure {
    Failure::new(
        Exit::Host,
        format!(
            "`{command}` is not built in: this agent was built without the feature `live`; \
             `lavender-agent replay` shows alerts from the capture that it brings along"
        ),
    )
}

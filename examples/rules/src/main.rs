//! `lavender-rules`: see the README beside it.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use lavender_rules::cli::{Cli, Command};
use lavender_rules::exit::{Exit, Failure};
use lavender_rules::problems::Problems;
use lavender_rules::{check, coverage, eval, explain, lint, test_cases};

fn main() -> ExitCode {
    // Ends the process by itself when the command line is wrong, with `Exit::Usage`.
    let cli = Cli::parse();
    match execute(cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if let Some(message) = failure.message() {
                let _ = writeln!(io::stderr(), "error: {message}");
            }
            failure.exit().into()
        }
    }
}

fn execute(command: Command) -> Result<Exit, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut problems = Problems(io::stderr().lock());
    let exit = match command {
        Command::Check(args) => check::check(&args, &mut out),
        Command::Lint(args) => lint::lint(&args, &mut out, &mut problems),
        Command::Test(args) => test_cases::test(&args, &mut out, &mut problems),
        Command::Eval(args) => eval::eval(&args, io::stdin().lock(), &mut out, &mut problems),
        Command::Explain(args) => explain::explain(&args, io::stdin().lock(), &mut out),
        Command::Coverage(args) => coverage::coverage(&args, &mut out, &mut problems),
    }?;
    out.flush()?;
    Ok(exit)
}

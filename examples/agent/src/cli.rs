//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::exit::Exit;

/// Watches a Linux host: what its processes run, open and connect to; raises alerts by Sigma rules;
/// stores both.
///
/// stdout carries JSON lines only, one for each alert (and event, with --events). What the agent says of
/// itself goes to stderr; set LAVENDER_LOG to `debug`, or to any filter of the `tracing` crate, to hear
/// more.
#[derive(Debug, Parser)]
#[command(name = "lavender-agent", version, after_help = Exit::help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this host until it is told to stop (SIGINT, SIGTERM); SIGHUP reads the rules again.
    Run(RunArgs),
    /// Say what this host's kernel and this process's privileges allow.
    Doctor(DoctorArgs),
    /// Write what the kernel reports to a file, to be looked at later by `replay`.
    Record(RecordArgs),
    /// Give an isolated host its network back, when the control plane cannot be reached to do so. Also while the agent
    /// runs, which goes on.
    Release(ReleaseArgs),
    /// Run everything behind the kernel from a recorded capture. No root, no kernel features needed.
    Replay(ReplayArgs),
    /// Check a configuration and its rules, and print the configuration in effect.
    CheckConfig(CheckConfigArgs),
    /// Do what the agent's own sensor must see. The agent starts it by itself.
    #[command(hide = true)]
    Canary(CanaryArgs),
}

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration; else $LAVENDER_CONFIG, else /etc/lavender/lavender.toml if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `lavender-agent run`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A folder with Sigma rules, beside those configured. May be repeated.
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
    /// Where events and alerts are stored: `sqlite:PATH`.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The broker of a fleet: `nats://HOST:PORT`, `tls://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    pub transport: Option<String>,
    /// Where the dashboard and its API listen, 127.0.0.1:8080 unless configured.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Serve no dashboard and no API.
    #[arg(long, conflicts_with = "listen")]
    pub no_control_plane: bool,
    /// See only what happens in this control group (v2) and below it. May be repeated.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,
    /// Print events too, not only alerts.
    #[arg(long)]
    pub events: bool,
    /// Stop by itself after this time: `500ms`, `30s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Write what the kernel reports to this file as well.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// `lavender-agent doctor`.
#[derive(Args, Clone, Debug, Default)]
pub struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Watch the whole host for this time, and say what each program of the probes took meanwhile: `5s`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "plan")]
    pub measure: Option<Duration>,
    /// Say instead which events leave the kernel as it is configured, which rules need them, and which rules cannot match
    /// on this host.
    #[arg(long)]
    pub plan: bool,
    /// Which configuration `--plan` is about.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A folder with Sigma rules, beside those configured. May be repeated.
    #[arg(long, value_name = "DIR", requires = "plan")]
    pub rules: Vec<PathBuf>,
}

/// `lavender-agent release`.
#[derive(Args, Clone, Debug, Default)]
pub struct ReleaseArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `lavender-agent record`.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    /// The file to write; it must not exist.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Record only what happens in this control group (v2) and below it. May be repeated.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,
    /// Stop by itself after this time: `500ms`, `30s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
}

/// `lavender-agent replay`.
#[derive(Args, Clone, Debug, Default)]
pub struct ReplayArgs {
    /// The capture; without it, a small one that the agent brings along.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A folder with Sigma rules, beside those configured. May be repeated.
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
    /// Store what comes out of it: `sqlite:PATH`. Without it, nothing is stored.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print events too, not only alerts.
    #[arg(long)]
    pub events: bool,
}

/// `lavender-agent check-config`.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckConfigArgs {
    /// The configuration; else the one that `run` would use.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `lavender-agent canary`.
#[derive(Args, Clone, Debug, Default)]
pub struct CanaryArgs {
    /// What is to be done, as the agent says it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Reads a span of time: a whole number and its unit.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 =
        digits.parse().map_err(|_| "give a whole number and its unit: 500ms, 30s, 5m, 1h")?;
    let seconds = |per: u64| {
        number
            .checked_mul(per)
            .map(Duration::from_secs)
            .ok_or_else(|| "that is too long".to_owned())
    };
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "" => Err(format!("give the unit: `{number}s` for seconds")),
        other => Err(format!("`{other}` is not a unit of time: use ms, s, m or h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in ["30", "s", "", "-1s", "1.5s", "1d", "18446744073709551615h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_tells_every_exit_code() {
        let help = Exit::help();
        for (exit, meaning) in Exit::ALL {
            assert!(help.contains(&format!("{}  {meaning}", exit.code())), "{help}");
        }
    }
}

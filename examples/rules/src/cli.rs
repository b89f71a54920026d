//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lavender_detect::LogSource;

use crate::exit::Exit;

/// Works with Sigma rules: checks that they load, looks for what smells, runs their tests, evaluates them on
/// recorded events, explains how they come out, shows what they cover.
///
/// stdout carries results only; problems go to stderr.
#[derive(Debug, Parser)]
#[command(name = "lavender-rules", version, after_help = Exit::help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load rules; say how many there are, and of each refusal the file, the line and the reason.
    Check(CheckArgs),
    /// Find what loads and yet smells.
    Lint(LintArgs),
    /// Hold each rule against the events of its `.test.yml`.
    Test(TestArgs),
    /// Evaluate rules on JSON lines from stdin, and print a JSON line for each detection.
    Eval(EvalArgs),
    /// Show how a rule's condition comes out on the one event on stdin, part by part.
    Explain(ExplainArgs),
    /// Print the ATT&CK techniques that rules are for, as a layer for the ATT&CK Navigator.
    Coverage(CoverageArgs),
}

/// Which rules, where they are all that a command works on.
#[derive(Args, Clone, Debug, Default)]
pub struct RulesArgs {
    /// Folders with rules (every .yml and .yaml file in them and below), or rule files.
    #[arg(value_name = "DIR", required_unless_present = "builtin")]
    pub paths: Vec<PathBuf>,
    /// Also the rules that come with Lavender.
    #[arg(long)]
    pub builtin: bool,
    /// How they are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// How rules are read.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadingArgs {
    /// Values of placeholders: a YAML mapping of names to lists. They come before those of a folder's
    /// placeholders.yml, and before those that come with Lavender.
    #[arg(long, value_name = "FILE")]
    pub placeholders: Option<PathBuf>,
    /// Which fields of the events the rules' fields stand for: a YAML mapping of names to names or dotted paths.
    #[arg(long, value_name = "FILE")]
    pub field_mapping: Option<PathBuf>,
}

/// `lavender-rules check`.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckArgs {
    /// Which rules.
    #[command(flatten)]
    pub rules: RulesArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `lavender-rules lint`.
#[derive(Args, Clone, Debug, Default)]
pub struct LintArgs {
    /// Which rules.
    #[command(flatten)]
    pub rules: RulesArgs,
    /// End with 1 when there are findings.
    #[arg(long)]
    pub deny: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `lavender-rules test`.
#[derive(Args, Clone, Debug, Default)]
pub struct TestArgs {
    /// Which rules.
    #[command(flatten)]
    pub rules: RulesArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `lavender-rules eval`.
///
/// The events of `lavender-agent --events` are known by their shape and evaluated by their kind. Any other JSON
/// object is evaluated by the rules of --logsource, or by all of them; its fields are found by name or by dotted
/// path.
#[derive(Args, Clone, Debug, Default)]
pub struct EvalArgs {
    /// Folders with rules, or rule files.
    #[arg(long, value_name = "DIR", num_args = 1.., required_unless_present = "builtin")]
    pub rules: Vec<PathBuf>,
    /// Also the rules that come with Lavender.
    #[arg(long)]
    pub builtin: bool,
    /// Where the events come from: `product=linux,category=process_creation`.
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub logsource: Option<LogSource>,
    /// Put the event into its detections.
    #[arg(long)]
    pub events: bool,
    /// At the end, write to a file what each rule did and took: a JSON array.
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// The field that holds an event's time, for correlations and novelty: RFC 3339, or a number of seconds, milliseconds,
    /// microseconds or nanoseconds since 1970. Without it, the first that is there of @timestamp, timestamp, UtcTime,
    /// time, ts, EventTime and _time.
    #[arg(long, value_name = "NAME")]
    pub time_field: Option<String>,
    /// Let rules with novelty raise from the first event on, instead of after what they take to learn.
    #[arg(long)]
    pub no_baseline: bool,
    /// How the rules are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// `lavender-rules explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// A rule's id or name among the rules of --rules, or among those that come with Lavender; or a rule file.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// Folders with rules, or rule files.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// Where the event comes from: says whether the rule is for it at all.
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub logsource: Option<LogSource>,
    /// How the rules are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Print one JSON object for each rule.
    #[arg(long)]
    pub json: bool,
}

/// `lavender-rules coverage`.
#[derive(Args, Clone, Debug, Default)]
pub struct CoverageArgs {
    /// Which rules.
    #[command(flatten)]
    pub rules: RulesArgs,
    /// What a host can do, as `lavender-agent doctor --json` says; lists the rules that cannot fire there.
    #[arg(long, value_name = "FILE")]
    pub capabilities: Option<PathBuf>,
    /// Print one JSON object: the layer, and the rules that cannot fire.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

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

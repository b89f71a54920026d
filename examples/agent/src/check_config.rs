//! `lavender-agent check-config`.

use std::io::Write as _;

use crate::cli::CheckConfigArgs;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::rules::RuleSource;

/// Checks the configuration and its rules, and prints the configuration in effect.
///
/// # Errors
///
/// [`Exit::Configuration`], with everything that is wrong.
pub fn check_config(args: &CheckConfigArgs) -> Result<(), Failure> {
    let (config, path) = config::load(args.file.as_deref())?;
    config.transport.check()?;
    config.control_plane.check()?;
    let rules = RuleSource::new(&config, &[]).load()?;
    let text = toml::to_string(&config).map_err(|error| Failure::new(Exit::Failure, error))?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(Exit::Failure, format!("stdout: {error}")))?;
    match path {
        Some(path) => tracing::info!(rules = rules.len(), "{} is right", path.display()),
        None => tracing::info!(rules = rules.len(), "there is no file: these are the defaults"),
    }
    Ok(())
}

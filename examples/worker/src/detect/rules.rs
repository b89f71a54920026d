//! The rules: which are loaded, from where, and how they are loaded again.

use std::path::PathBuf;

use lavender_core::ruleset::Ruleset;
use lavender_detect::{RuleHandle, RuleSet, RuleSetBuilder, builtin};

use super::RulesConfig;
use crate::exit::{Exit, Failure};

/// Where the rules come from.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    builtin: bool,
    dirs: Vec<PathBuf>,
}

impl Rules {
    /// As configured, with further folders from the command line.
    pub(super) fn new(config: &RulesConfig, more_dirs: &[PathBuf]) -> Self {
        Self { builtin: config.builtin, dirs: [&config.dirs[..], more_dirs].concat() }
    }

    /// Loads the rules: all of them, or none and everything that is wrong. Those of a published ruleset take the place of
    /// those with the same id.
    pub(super) fn load(&self, published: Option<&Ruleset>) -> Result<RuleSet, Failure> {
        let mut builder = RuleSetBuilder::new().with_placeholders(builtin::placeholders());
        if self.builtin {
            builder.add_builtin();
        }
        for folder in &self.dirs {
            if !folder.is_dir() {
                let why = format!("{}: not a folder with rules", folder.display());
                return Err(Failure::new(Exit::Configuration, why));
            }
            builder.add_dir(folder);
        }
        builder.replace_earlier();
        for file in published.into_iter().flat_map(Ruleset::files) {
            builder.add_file_of_set(file.name(), file.text());
        }
        let loaded = builder.build().map_err(|error| Failure::new(Exit::Configuration, error))?;
        if loaded.rules.is_empty() {
            tracing::warn!("no rules are loaded: nothing raises an alert");
        }
        Ok(loaded.rules)
    }

    /// Loads the rules and puts them in use.
    pub(super) fn open(&self) -> Result<RuleHandle, Failure> {
        let rules = self.load(None)?;
        tracing::info!(rules = rules.len(), "the rules are loaded");
        Ok(RuleHandle::new(rules))
    }

    /// When anything is wrong with the rules those in use stay, and what is wrong is logged.
    pub(super) fn reload(&self, handle: &RuleHandle) {
        match self.load(None) {
            Ok(rules) => {
                let count = rules.len();
                handle.swap(rules);
                tracing::info!(rules = count, "the rules are loaded again");
            }
            Err(error) => {
                tracing::error!(%error, "the rules are not taken, those in use stay");
            }
        }
    }
}

/// The hang-ups that ask for the rules to be loaded again.
#[derive(Debug)]
pub(super) struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Listens to SIGHUP from now on. Off Unix there is none.
    pub(super) fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};

            let signal = signal(SignalKind::hangup());
            Ok(Self { signal: signal.map_err(|error| Failure::new(Exit::Failure, error))? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

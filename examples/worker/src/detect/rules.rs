//! The rules: which are loaded, from where, and how they are loaded again.

use std::convert::Infallible;
use std::path::PathBuf;

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

    /// Loads the rules: all of them, or none and everything that is wrong.
    fn load(&self) -> Result<RuleSet, Failure> {
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
        let loaded = builder.build().map_err(|error| Failure::new(Exit::Configuration, error))?;
        if loaded.rules.is_empty() {
            tracing::warn!("no rules are loaded: nothing raises an alert");
        }
        Ok(loaded.rules)
    }

    /// Loads the rules and puts them in use.
    pub(super) fn open(&self) -> Result<RuleHandle, Failure> {
        let rules = self.load()?;
        tracing::info!(rules = rules.len(), "the rules are loaded");
        Ok(RuleHandle::new(rules))
    }

    /// Loads the rules again at every SIGHUP, for as long as it is polled.
    #[cfg(unix)]
    pub(super) fn reload_on_hangup(
        self,
        handle: RuleHandle,
    ) -> Result<impl Future<Output = Infallible>, Failure> {
        use tokio::signal::unix::{SignalKind, signal};

        let mut hangup =
            signal(SignalKind::hangup()).map_err(|error| Failure::new(Exit::Failure, error))?;
        Ok(async move {
            while hangup.recv().await.is_some() {
                let (rules, handle) = (self.clone(), handle.clone());
                // Reads and compiles files; the worker goes on meanwhile.
                let reload = tokio::task::spawn_blocking(move || rules.reload(&handle));
                if let Err(error) = reload.await {
                    tracing::error!(%error, "the rules could not be loaded again, those in use stay");
                }
            }
            std::future::pending().await
        })
    }

    /// Off Unix nobody asks for it.
    #[cfg(not(unix))]
    pub(super) fn reload_on_hangup(
        self,
        _: RuleHandle,
    ) -> Result<impl Future<Output = Infallible>, Failure> {
        Ok(std::future::pending())
    }

    /// When anything is wrong with the rules those in use stay, and what is wrong is logged.
    fn reload(&self, handle: &RuleHandle) {
        match self.load() {
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

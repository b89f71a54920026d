//! The rules: which are loaded, from where, and how they are loaded again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lavender_core::Detector;
use lavender_core::ruleset::Ruleset;
use lavender_detect::correlate::{CorrelatingDetector, CorrelatorOptions};
use lavender_detect::novelty::NoveltyOptions;
use lavender_detect::{
    Budget, Placeholders, RuleHandle, RuleSet, RuleSetBuilder, SigmaDetector, StatsOptions,
};

use crate::config::{
    Config, CorrelationConfig, OverBudget, ProgramPath, RulesConfig, UndeterminedPolicy,
};
use crate::exceptions::WithExceptions;
use crate::exit::{Exit, Failure};
use crate::trust;

/// Where the rules come from.
#[derive(Clone, Debug)]
pub struct RuleSource {
    builtin: bool,
    dirs: Vec<PathBuf>,
    placeholders: Placeholders,
    undetermined: lavender_detect::UndeterminedPolicy,
    ignored: Vec<ProgramPath>,
    budget: Option<Budget>,
    novelty: NoveltyOptions,
    correlation: CorrelatorOptions,
}

impl RuleSource {
    /// As configured, with further folders from the command line.
    pub fn new(config: &Config, more_dirs: &[PathBuf]) -> Self {
        let mut placeholders = lavender_detect::builtin::placeholders();
        for (name, values) in config.filters.placeholders() {
            placeholders = placeholders.with_values(name, values);
        }
        Self {
            builtin: config.rules.builtin,
            dirs: [&config.rules.dirs[..], more_dirs].concat(),
            placeholders,
            undetermined: match config.rules.undetermined {
                UndeterminedPolicy::Report => lavender_detect::UndeterminedPolicy::Report,
                UndeterminedPolicy::Count => lavender_detect::UndeterminedPolicy::Count,
            },
            ignored: config.filters.ignored_executables.clone(),
            budget: budget(&config.rules),
            novelty: novelty(&config.rules),
            correlation: correlation(&config.correlation),
        }
    }

    /// Loads the rules: all of them, or none and everything that is wrong.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`], with every fault by file and line.
    pub fn load(&self) -> Result<RuleSet, Failure> {
        self.load_with(None)
    }

    /// The same with a published ruleset, whose rules take the place of those with the same id.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_with(&self, published: Option<&Ruleset>) -> Result<RuleSet, Failure> {
        let mut builder = RuleSetBuilder::new().with_placeholders(self.placeholders.clone());
        if self.builtin {
            builder.add_builtin();
        }
        for folder in &self.dirs {
            check_folder(folder)?;
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

    /// Loads the rules and puts them in use, each held to the budget that is configured.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn open(&self) -> Result<RuleHandle, Failure> {
        let options = StatsOptions { budget: self.budget, ..StatsOptions::default() };
        Ok(RuleHandle::with_stats(self.load()?, options))
    }

    /// A detector that goes by the rules of the handle.
    pub fn detector(&self, handle: &RuleHandle) -> impl Detector + use<> {
        let sigma = SigmaDetector::new(handle, self.undetermined);
        let detector = CorrelatingDetector::new(sigma, self.correlation.clone())
            .with_novelty(self.novelty.clone());
        WithExceptions::new(detector, &self.ignored)
    }
}

fn correlation(config: &CorrelationConfig) -> CorrelatorOptions {
    let mut options = CorrelatorOptions::default();
    options.lateness = Duration::from_millis(config.lateness_ms.into());
    options.state_bytes_max = usize::try_from(config.state_bytes_max.get()).unwrap_or(usize::MAX);
    options
}

fn budget(config: &RulesConfig) -> Option<Budget> {
    let over = match config.over_budget {
        OverBudget::Sample => lavender_detect::OverBudget::Sample,
        OverBudget::Disable => lavender_detect::OverBudget::Disable,
    };
    config.budget_ns.map(|ns| Budget::new(ns, over))
}

fn novelty(config: &RulesConfig) -> NoveltyOptions {
    let mut options = NoveltyOptions::default();
    options.state_bytes_max = config.novelty_bytes_max.get() as usize;
    options.baseline = config.novelty_baseline_secs.map(|secs| Duration::from_secs(secs.into()));
    options
}

/// Logs which rules their budget made be evaluated less since this was last called.
pub fn log_budget_notices(rules: &RuleHandle) {
    for notice in rules.take_budget_notices() {
        tracing::warn!("{notice}");
    }
}

/// How often it is looked whether a rule went over its budget.
const BUDGET_INTERVAL: Duration = Duration::from_secs(5);

/// Logs, for as long as it is polled, which rules their budget makes be evaluated less, and that values had to be
/// forgotten of which only the first sight counts.
pub async fn watch_budget(rules: RuleHandle) {
    let mut interval = tokio::time::interval(BUDGET_INTERVAL);
    let mut before = 0;
    loop {
        interval.tick().await;
        log_budget_notices(&rules);
        let forgotten = rules.forgotten();
        if forgotten > before {
            tracing::warn!(
                values = forgotten - before,
                "no room for what rules with novelty have seen: see `novelty_bytes_max` under [rules], `bytes_max` in the rules"
            );
            before = forgotten;
        }
    }
}

/// A folder of rules must be there, and root's own where root uses it: rules decide what is seen.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(Exit::Configuration, message));
    if !folder.is_dir() {
        return fail(format!("{}: not a folder with rules", folder.display()));
    }
    trust::check(folder).or_else(|error| fail(error.to_string()))
}

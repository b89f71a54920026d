//! `[rules]`: which rules.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::AbsolutePath;

/// `[rules]`: which rules are loaded, and what becomes of those that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Load the rules that the agent brings along.
    pub builtin: bool,
    /// Folders with Sigma rules: every `.yml` and `.yaml` file in them and below.
    pub dirs: Vec<PathBuf>,
    /// Take the rules that are published for the agent's tenant, from the broker of its fleet, and add them to the others.
    pub published: bool,
    /// Where those are kept that were taken last: the agent starts with them while the broker is away.
    pub published_dir: AbsolutePath,
    /// What becomes of a rule that depends on a field which was cut or could not be read.
    pub undetermined: UndeterminedPolicy,
    /// What a rule may take per event of its log source, in ns; nothing: as long as it likes.
    pub budget_ns: Option<NonZeroU64>,
    /// What becomes of a rule that takes longer. Without a budget it says nothing.
    pub over_budget: OverBudget,
    /// How long rules with novelty learn before they raise anything, in seconds, instead of what each of them says: for
    /// hosts that do not live that long. Nothing: what each says.
    pub novelty_baseline_secs: Option<u32>,
    /// The most bytes that what they learn takes.
    pub novelty_bytes_max: NonZeroU32,
}

/// What the library has unless told otherwise: 64 MiB.
const NOVELTY_BYTES_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add((64 << 20) - 1);

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            builtin: true,
            dirs: Vec::new(),
            published: true,
            published_dir: AbsolutePath::known("/var/lib/lavender/rules"),
            undetermined: UndeterminedPolicy::default(),
            budget_ns: None,
            over_budget: OverBudget::default(),
            novelty_baseline_secs: None,
            novelty_bytes_max: NOVELTY_BYTES_MAX,
        }
    }
}

/// What becomes of a rule that could not be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UndeterminedPolicy {
    /// It is counted, and the count is logged.
    #[default]
    Count,
    /// It raises an alert, too, that says so.
    Report,
}

/// What becomes of a rule that is over its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OverBudget {
    /// It is evaluated for some of its candidates only, so few that it keeps to its budget.
    #[default]
    Sample,
    /// It is not evaluated any more.
    Disable,
}

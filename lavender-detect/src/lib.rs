//! Sigma detection for Linux endpoint telemetry: rules compiled once, evaluated in well under a microsecond per
//! event.
//!
//! Rules are [Sigma](https://sigmahq.io) files, unmodified. They are compiled into a [`RuleSet`]; an [`Evaluator`]
//! per thread says which of them match a [`Record`]; a [`SigmaDetector`] does so for Lavender's own events.
//!
//! ```
//! use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSet};
//!
//! # fn main() -> Result<(), lavender_detect::RuleErrors> {
//! let rules = RuleSet::from_yaml(
//!     "title: Shell started by a web server
//! logsource: {category: process_creation, product: linux}
//! detection:
//!   server: {ParentImage|endswith: [/nginx, /apache2]}
//!   shell: {Image|endswith: [/sh, /bash, /dash]}
//!   condition: server and shell
//! level: high
//! ",
//! )?;
//! let record = FlatRecord::new(
//!     rules.fields(),
//!     [
//!         ("Image", FieldValue::from("/usr/bin/dash")),
//!         ("ParentImage", FieldValue::from("/usr/sbin/nginx")),
//!     ],
//! );
//! let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
//! for found in evaluator.matches(&record) {
//!     assert_eq!(&*found.meta().title, "Shell started by a web server");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! Tests are interned across rules, and every rule waits on a *witness*: a set of tests of which it needs one. The
//! texts of all witnesses of a field stand in one matcher, so a record costs one pass over the fields that any rule
//! waits on, and then only the few rules whose witness was seen. Rules of other log sources cost nothing. What that
//! comes to beside other engines is shown by `make bench-peers` in the repository.
//! Evaluation is three-valued ([`Truth`]): what depends on a truncated or unreadable value is undetermined, and
//! neither a match nor none.
//!
//! What rules find is correlated over time by [`correlate`]: Sigma's correlations, exact, in any order. Of rules with
//! [`novelty`], only the first sight of a value counts. What it comes to for a process tree is [`risk`]; what repeats is
//! held back by a [`SuppressionStage`].
//! What to do about it is decided by a [`ResponsePolicy`]; doing it is not of this crate.
//!
//! # Records
//!
//! Anything with fields can be a [`Record`]: Lavender's events ([`EventRecord`]; [`EventField`] lists their fields),
//! the records that audit would have written for them ([`AuditRecord`]; [`AuditField`]), lines of JSON ([`JsonLines`]),
//! JSON that is parsed already ([`JsonFields`]), names and values ([`FlatRecord`]), or a struct of your own
//! ([`Binding`]).

#![cfg_attr(docsrs, feature(doc_cfg))]

mod ahead;
pub mod attack;
mod builder;
pub mod builtin;
mod compile;
pub mod correlate;
mod coverage;
mod detector;
mod error;
mod evaluate;
mod event;
mod explain;
mod fleet;
mod index;
mod lint;
mod logsource;
mod mapping;
mod matcher;
pub mod novelty;
mod outlook;
mod prevention;
mod record;
mod response;
pub mod risk;
mod rule;
mod ruleset;
mod schema;
mod sensor_plan;
mod stats;
mod suppress;
mod tenant;
mod testing;
mod truth;

pub use crate::builder::{Loaded, RuleSetBuilder};
pub use crate::compile::Placeholders;
pub use crate::coverage::{
    BlockReason, BlockedRule, Coverage, CoveredTactic, CoveredTechnique, HostCapabilities,
    blocked_rules,
};
pub use crate::detector::{RuleHandle, SigmaDetector, UndeterminedPolicy};
pub use crate::error::{Fault, RuleErrors};
pub use crate::evaluate::{Evaluator, Match};
pub use crate::event::{
    AuditField, AuditRecord, AuditView, EventField, EventRecord, Route, ValueKind,
};
pub use crate::explain::Explanation;
pub use crate::fleet::{FleetOptions, SigmaFleetDetector};
pub use crate::lint::{Finding, Smell, lint};
pub use crate::logsource::LogSource;
pub use crate::mapping::FieldMapping;
pub use crate::prevention::{Preventions, Undecidable};
pub use crate::record::{
    Binding, Bound, FieldValue, FlatRecord, JsonFault, JsonFields, JsonLine, JsonLineError,
    JsonLines, JsonRecord, Kept, Record, ShortText, Texts,
};
pub use crate::response::{
    ClauseFault, PolicyError, ResponseClause, ResponseDecision, ResponsePolicy,
};
pub use crate::ruleset::{Rule, RuleSet};
pub use crate::schema::{FieldId, Fields};
pub use crate::stats::{
    Budget, BudgetNotice, Excess, OverBudget, RuleState, RuleStats, StatsOptions,
};
pub use crate::suppress::{
    SuppressionAnchor, SuppressionCounters, SuppressionKey, SuppressionOptions, SuppressionStage,
};
pub use crate::tenant::TenantRules;
pub use crate::testing::{Failure, RuleTest, read_tests, run_tests};
pub use crate::truth::Truth;

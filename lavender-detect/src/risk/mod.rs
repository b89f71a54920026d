//! Risk: what gathers against a process tree, from rule to rule, until it is an alert of its own.
//!
//! A [`RiskStage`] sees every alert. Each tells of the score of its process's tree and of what that is made of
//! ([`Alert::risk`](lavender_core::Alert::risk)), and where the score reaches a threshold, an alert of the built-in rule
//! [`lavender-risk`](lavender_core::RISK_RULE) is raised.
//!
//! # The score
//!
//! - A rule adds the points that it says (`risk` under its key `lavender`), else those of its level: **once per tree**,
//!   however often it matches. Points fade by half every [`half_life`](RiskOptions::half_life); a match when they have
//!   faded brings them back to what they were, and never to more: so a rule re-arms by as much as it has faded.
//! - Deep in the tree it adds more: [`depth_points`](RiskOptions::depth_points) for each generation.
//! - A rule that is rare on this host adds more: up to [`rarity_points`](RiskOptions::rarity_points), by the share of the
//!   last 30 days without a match, once a week has passed since the first match of any rule.
//! - Tactics that follow on each other in the order of ATT&CK's matrix add
//!   [`sequence_points`](RiskOptions::sequence_points) for each but the first, and fade as the rest does.
//!
//! A correlation adds to the tree of the process that completed it. So that its order makes no difference, one that is
//! not of one tree by its group (`ProcessTreeGuid`, `ProcessGuid`, `descendants_of`) and decides at once adds nothing;
//! where it says its points itself, it decides when nothing can come before it any more, and adds them.
//!
//! What could not be decided ([`Certainty`](lavender_core::Certainty)) adds nothing. What is worth less than half a point
//! is worth nothing.
//!
//! The tree is the process's ([`Process::tree_id`](lavender_core::event::Process::tree_id)): a fork, an exec or a double
//! fork leaves it no more than it leaves the login session.
//!
//! # The alerts
//!
//! An alert is raised for each threshold that the score reaches with a match, where at least
//! [`rules_min`](RiskOptions::rules_min) rules add to it (what one rule found is told by its own alert): once per tree,
//! threshold and *episode*. Episodes are cells of event time, from multiples of [`episode`](RiskOptions::episode) on;
//! that is how the alert re-arms. Its id is the digest of tree, threshold and episode.
//!
//! Time is that of events. Whatever the order in which matches come, within the [`lateness`](RiskOptions::lateness), and
//! however often, the same alerts come out: the score at a match counts what happened up to it, another match never
//! makes it less, and each match is looked at again when an earlier one comes late. What comes later than that is counted
//! ([`RiskCounters::late`]) and adds nothing. What an alert tells of the score is what was known when it was raised.
//!
//! # State
//!
//! State is kept per tree, and a tree's state depends on its own matches only, and on how rare rules are. It is bounded
//! in bytes: the trees with the least on them, as it would be today, are forgotten first, and counted. What was not found
//! costs nothing. It is saved and restored in parts ([`Stateful`](lavender_core::Stateful)).

mod encode;
mod folded;
mod options;
mod rarity;
mod stage;
mod tree;

pub use self::options::{RiskOptions, RiskOptionsError, RiskPoints, RiskThreshold};
pub use self::stage::{RiskCounters, RiskStage};

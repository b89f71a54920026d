//! The API over a real store: who may what, what it answers, what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod access;
mod alerts;
mod commands;
mod delivery;
mod fleet;
mod guard;
mod live;
mod plane;
#[allow(dead_code, reason = "shared with the tests of the stores, which use more of it")]
#[path = "../../../../lavender-store/tests/postgres/support.rs"]
mod postgres;
mod rules;
mod rulesets;
mod tokens;

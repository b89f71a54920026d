//! JetStream on real servers, each started by its test on a free port of the loopback, with a directory of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

mod allowed;
mod cluster;
mod commands;
mod conforms;
mod ingest;
mod killed;
mod load;
mod poison;
mod rulesets;
mod server;
mod settings;
mod share;

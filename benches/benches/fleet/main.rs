//! What a fleet's stages take beside the bare things below them, in turns and in one run: publishing, ingest, detection
//! by one and more workers, both stores, and all of it end to end. The last line is the ratios.
//!
//! Broker and database are servers of its own on the loopback, on the same cores. Beside each rate stands what an event
//! costs in CPU time, here and in the servers: on a busy machine that is the sturdier figure, and what 100,000 events
//! a second take is read off it. `make bench-fleet`; rounds are medians: `make bench-fleet ARGS=11`.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

mod broker;
mod corpus;
mod cost;
mod postgres;
mod publish;
mod sqlite;
mod stages;
#[allow(dead_code, reason = "of the tests' server, what a benchmark needs")]
#[path = "../../../lavender-store/tests/postgres/support.rs"]
mod support;

use tokio::runtime::Runtime;

/// How much is done: in earnest, or once and little of it to see that it works.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub messages_each: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| {
        let parts = ["publish", "postgres", "sqlite", "detection", "stages"];
        let mut named =
            arguments.iter().filter(|argument| parts.contains(&&***argument)).peekable();
        named.peek().is_none() || named.any(|name| name == part)
    };
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    // Without it, as `cargo test --benches` starts it.
    let effort = match arguments.iter().any(|argument| argument == "--bench") {
        true => Effort { rounds, messages_each: 16 },
        false => Effort { rounds: 1, messages_each: 1 },
    };
    let runtime = Runtime::new().unwrap();
    let mut ratios = Vec::new();
    if wanted("publish") {
        ratios.extend(runtime.block_on(publish::ratios(effort)));
    }
    if wanted("postgres") {
        ratios.extend(postgres::ratios(&runtime, effort));
    }
    if wanted("sqlite") {
        ratios.extend(sqlite::ratios(&runtime, effort));
    }
    if wanted("detection") {
        ratios.extend(runtime.block_on(stages::detection(effort)));
    }
    if wanted("stages") {
        ratios.extend(stages::ratios(&runtime, effort));
    }
    println!("{}", ratios.join("; "));
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! The spool: what it has taken is there after whatever happens, and what it gives up is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

mod broker;
mod crash;
mod damage;
mod delivers;
mod full;

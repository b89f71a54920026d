//! The program itself: how it starts and ends, and that it keeps to its own document.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod contract;
mod server;
mod start;

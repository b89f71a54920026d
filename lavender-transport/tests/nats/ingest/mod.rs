//! Ingest workers between agents and everyone else, on real servers.

mod away;
mod flood;
mod gaps;
mod passes;
mod refuses;
mod support;

//! A whole fleet on one machine, of real parts: nats-server, PostgreSQL, every worker, the control plane, and an agent on
//! the live kernel.
//!
//! Everything is in one temporary directory, listens on the loopback only, and is gone at the end. Every connection to
//! the broker is encrypted both ways, and the agent's user may publish what is the agent's and nothing else.

pub mod acts;
pub mod broker;
pub mod chaos;
pub mod check;
pub mod commands;
pub mod control_plane;
pub mod database;
pub mod error;
pub mod fleet;
pub mod process;
pub mod published;
pub mod scratch;
pub mod site;
pub mod up;

//! The control plane of Lavender: an HTTP API and a live stream over a store.
//!
//! ```
//! use lavender_control_plane::{ControlPlane, Options, api};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> lavender_core::Result<()> {
//! let store = lavender_store::open("memory:")?;
//! let plane = ControlPlane::new(store, Options::default());
//! assert!(api::document(&plane).paths.paths.contains_key("/api/v1/alerts"));
//! let service = api::router(plane);
//! # let _ = service;
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! - A request comes with a [token](access::Secret), which is for one tenant and one role. A route takes a
//!   [`Viewer`](access::Viewer), an [`Analyst`](access::Analyst) or an [`Admin`](access::Admin), and asks the store for
//!   what is of their tenant.
//! - Whatever goes wrong is a [`Problem`](problem::Problem).
//! - The [live stream](live) reads the store's feed, so that it can go on behind any place in it.

pub mod access;
mod agent_metrics;
pub mod api;
#[cfg_attr(not(feature = "nats"), path = "no_broker.rs")]
mod broker;
pub mod cli;
mod command;
pub mod dashboard;
mod delivery;
pub mod extract;
mod in_force;
pub mod keys;
pub mod limit;
pub mod live;
pub mod logging;
pub mod metrics;
mod plane;
pub mod problem;
mod routes;
mod rulesets;
pub mod run;
mod sent;
mod serve;
mod turns;
pub mod view;
mod watch;

pub use crate::broker::Broker;
pub use crate::command::Commanding;
pub use crate::delivery::take_reports;
pub use crate::plane::{ControlPlane, Options};
pub use crate::rulesets::RulesetSink;
pub use crate::serve::{WelcomeError, serve, welcome};
pub use crate::watch::watch;

//! Suites that every implementation of a trait must pass, and the data that they are fed.
//!
//! Each suite is an async function over `&dyn Trait` that panics where the contract is broken. It takes a
//! store with nothing in it, of its own. Not API-stable: a later version asks for more.
//!
//! ```
//! use lavender_core::EventStore;
//! use lavender_core::conformance;
//!
//! async fn my_store_keeps_its_promises(store: &dyn EventStore) {
//!     conformance::event_store(store).await;
//! }
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "suites speak by panicking, as tests do; nothing but tests calls them"
)]

mod access_store;
mod alert_store;
#[cfg(feature = "command")]
mod command_delivery;
#[cfg(feature = "command")]
mod command_store;
mod event_store;
mod feed_store;
mod fleet_store;
mod kernel_sample;
mod program_sample;
#[cfg(feature = "ruleset")]
mod ruleset_store;
pub mod sample;
mod state_store;
mod statistics;
mod transport;
mod triage_store;

pub use self::access_store::access_store;
pub use self::alert_store::alert_store;
#[cfg(feature = "command")]
pub use self::command_delivery::command_delivery;
#[cfg(feature = "command")]
pub use self::command_store::command_store;
pub use self::event_store::{event_store, last_sequence_over_alerts};
pub use self::feed_store::feed_store;
pub use self::fleet_store::fleet_store;
#[cfg(feature = "ruleset")]
pub use self::ruleset_store::ruleset_store;
pub use self::state_store::state_store;
pub use self::transport::{TransportFixture, transport};
pub use self::triage_store::triage_store;

//! The parts of `lavender-agent`, the bundled agent of Lavender: command line, configuration, identity,
//! output, and the commands, which compose the library crates.
//!
//! A library beside the binary so that tests and embedders can use the parts; the binary is wiring.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `live` | yes | the live kernel: `run`, `record`, `doctor`, `release`; needs clang and libelf to build |
//! | `fleet` | yes | joining a fleet: a disk spool, and a broker behind it |
//! | `control-plane` | yes | the dashboard and its API, of this host, in the same process |

pub mod backend;
#[cfg(feature = "live")]
pub mod canary;
pub mod check_config;
pub mod cli;
#[cfg(feature = "live")]
pub mod commands;
pub mod config;
#[cfg(feature = "live")]
#[cfg_attr(not(feature = "control-plane"), path = "no_control_plane.rs")]
pub mod control_plane;
#[cfg(feature = "live")]
pub mod doctor;
#[cfg(feature = "live")]
pub mod doctor_plan;
#[cfg(feature = "live")]
pub mod evidence;
pub mod exceptions;
pub mod exit;
#[cfg_attr(not(feature = "fleet"), path = "no_fleet.rs")]
pub mod fleet;
pub mod identity;
#[cfg(feature = "live")]
pub mod isolate;
#[cfg(feature = "live")]
pub mod kept_rules;
#[cfg(feature = "live")]
pub mod live;
pub mod logging;
#[cfg(feature = "live")]
mod measure;
pub mod output;
#[cfg(feature = "live")]
mod own_files;
#[cfg(feature = "live")]
pub mod plan;
#[cfg(feature = "live")]
pub mod prevent;
#[cfg(feature = "live")]
pub mod published;
#[cfg(feature = "live")]
pub mod record;
#[cfg(feature = "live")]
pub mod released;
pub mod replay;
#[cfg(feature = "live")]
pub mod respond;
pub mod rules;
#[cfg(feature = "live")]
pub mod run;
pub mod shutdown;
pub mod stages;
pub mod store;
pub mod tally;
pub mod trust;

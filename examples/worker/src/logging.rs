//! What the worker says of itself: plain lines on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure};

/// The variable that says how much.
pub const VARIABLE: &str = "LAVENDER_LOG";

/// Sends what is logged to stderr: `info` and worse, unless [`VARIABLE`] says otherwise.
///
/// # Errors
///
/// [`Exit::Usage`] for a filter that cannot be understood.
pub fn init() -> Result<(), Failure> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) => EnvFilter::try_new(&text).map_err(|error| {
            Failure::new(Exit::Usage, format!("{VARIABLE}=`{text}` is not a filter: {error}"))
        })?,
        Err(_) => EnvFilter::new("info"),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Failure::new(Exit::Failure, error))
}

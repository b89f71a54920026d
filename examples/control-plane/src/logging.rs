//! What the control plane says of itself: plain lines on stderr.

use tracing_subscriber::EnvFilter;

/// The variable that says how much.
pub const VARIABLE: &str = "LAVENDER_LOG";

/// Sends what is logged to stderr: `info` and worse, unless [`VARIABLE`] says otherwise.
///
/// # Errors
///
/// For a filter that cannot be understood.
pub fn init() -> Result<(), String> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| format!("{VARIABLE}=`{text}` is not a filter: {error}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())
}

//! The last heartbeat of an agent, as it is kept beside what else is known of the agent.

use lavender_core::event::Heartbeat;

/// The longest heartbeat that is kept beside an agent, in bytes of JSON: one that counts every kind of event takes a tenth.
/// What is longer is an event like any other, and the one before stays.
const BYTES_MAX: usize = 16 * 1_024;

/// A heartbeat as it is kept.
pub(crate) fn kept(heartbeat: &Heartbeat) -> Option<String> {
    serde_json::to_string(heartbeat).ok().filter(|json| json.len() <= BYTES_MAX)
}

//! The last heartbeat of an agent, as it is kept beside what else is known of the agent.

use lavender_core::event::Heartbeat;

/// The longest heartbeat that is kept beside an agent, in bytes of JSON: one that counts every kind of event takes a tenth.
/// What is longer is an event like any other, and the one before stays.
const BYTES_MAX: usize = 16 * 1_024;

/// What stands in a heartbeat, as it is kept, whose agent does not see its canary. It is a key: in a text its quotes would
/// be escaped.
pub(crate) const MISSING_KEY: &str = r#""missing":"#;

/// Whether an agent says that it does not see its canary.
pub(crate) fn is_blind(heartbeat: &Heartbeat) -> bool {
    heartbeat.canary.as_ref().is_some_and(|canary| canary.missing.is_some())
}

/// The same of a heartbeat as it is kept. One that cannot be read says nothing.
pub(crate) fn says_blind(kept: Option<&str>) -> bool {
    let heartbeat = kept.and_then(|json| serde_json::from_str(json).ok());
    heartbeat.is_some_and(|heartbeat| is_blind(&heartbeat))
}

/// A heartbeat as it is kept.
pub(crate) fn kept(heartbeat: &Heartbeat) -> Option<String> {
    serde_json::to_string(heartbeat).ok().filter(|json| json.len() <= BYTES_MAX)
}

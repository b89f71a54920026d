//! `[sensor.hash]`: how the files of programs are hashed.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// `[sensor.hash]`: the SHA-256 of the files of programs, each once for as long as it is not changed. What is not set is as
/// the sensor has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HashConfig {
    /// Whether there are hashes at all.
    pub enabled: bool,
    /// What is larger is not hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes_max: Option<u64>,
    /// How many bytes are read in a second, over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<NonZeroU64>,
    /// For how long the exec of a program that was not seen before waits for its hash at the most, where a rule asks for
    /// hashes; 0: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u32>,
}

impl Default for HashConfig {
    fn default() -> Self {
        Self { enabled: true, file_bytes_max: None, bytes_per_s: None, wait_ms: None }
    }
}

#[cfg(all(feature = "live", target_os = "linux"))]
impl HashConfig {
    /// The options, as the sensor takes them.
    pub fn options(&self) -> Option<lavender_bpf::HashOptions> {
        use std::time::Duration;

        let lavender_bpf::HashOptions { file_bytes_max, bytes_per_s, wait } =
            lavender_bpf::HashOptions::default();
        self.enabled.then(|| lavender_bpf::HashOptions {
            file_bytes_max: self.file_bytes_max.unwrap_or(file_bytes_max),
            bytes_per_s: self.bytes_per_s.unwrap_or(bytes_per_s),
            wait: self.wait_ms.map_or(wait, |ms| Duration::from_millis(ms.into())),
        })
    }
}

//! `[sensor.throttle]`: how many acts a second are told one by one, of a process and of a control group.

use serde::{Deserialize, Serialize};

/// `[sensor.throttle]`: what one process, or control group, does beyond a rate is counted, and told as counts. A rate that
/// is not set is as the sensor has it; 0 stands for no limit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Whether there are limits at all.
    pub enabled: bool,
    /// Acts on files, of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_files_per_s: Option<u32>,
    /// Acts on the network, of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_network_per_s: Option<u32>,
    /// All other acts that have a limit, of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_acts_per_s: Option<u32>,
    /// Acts on files, of one control group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_files_per_s: Option<u32>,
    /// Acts on the network, of one control group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_network_per_s: Option<u32>,
    /// All other acts that have a limit, of one control group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_acts_per_s: Option<u32>,
    /// How many seconds' worth may come at once, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_s: Option<std::num::NonZeroU32>,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            process_files_per_s: None,
            process_network_per_s: None,
            process_acts_per_s: None,
            cgroup_files_per_s: None,
            cgroup_network_per_s: None,
            cgroup_acts_per_s: None,
            burst_s: None,
        }
    }
}

#[cfg(all(feature = "live", target_os = "linux"))]
impl ThrottleConfig {
    /// The limits, as the sensor takes them.
    pub fn limits(&self) -> lavender_bpf::Limits {
        use lavender_bpf::{Limits, Rates};

        if !self.enabled {
            return Limits::OFF;
        }
        let Limits { process, cgroup, burst } = Limits::default();
        Limits {
            process: Rates {
                files_per_s: self.process_files_per_s.unwrap_or(process.files_per_s),
                network_per_s: self.process_network_per_s.unwrap_or(process.network_per_s),
                acts_per_s: self.process_acts_per_s.unwrap_or(process.acts_per_s),
            },
            cgroup: Rates {
                files_per_s: self.cgroup_files_per_s.unwrap_or(cgroup.files_per_s),
                network_per_s: self.cgroup_network_per_s.unwrap_or(cgroup.network_per_s),
                acts_per_s: self.cgroup_acts_per_s.unwrap_or(cgroup.acts_per_s),
            },
            burst: self.burst_s.map_or(burst, |s| std::time::Duration::from_secs(s.get().into())),
        }
    }
}

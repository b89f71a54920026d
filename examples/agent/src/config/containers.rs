//! `[sensor.containers]`: where the container runtimes keep what they write of their containers.

use serde::{Deserialize, Serialize};

use super::AbsolutePath;

/// `[sensor.containers]`: names of containers, their images and pods, as the files of the runtimes tell them. What is not set
/// is as the sensor has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainersConfig {
    /// Whether they are read at all.
    pub enabled: bool,
    /// Where the host's root is, where the agent runs in a container itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_root: Option<AbsolutePath>,
    /// Docker's containers: folders on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_dirs: Option<Vec<AbsolutePath>>,
    /// Containerd's bundles: folders on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containerd_dirs: Option<Vec<AbsolutePath>>,
    /// The containers of CRI-O and Podman: folders on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_dirs: Option<Vec<AbsolutePath>>,
    /// What is larger is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes_max: Option<u64>,
}

impl Default for ContainersConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            host_root: None,
            docker_dirs: None,
            containerd_dirs: None,
            storage_dirs: None,
            file_bytes_max: None,
        }
    }
}

#[cfg(all(feature = "live", target_os = "linux"))]
impl ContainersConfig {
    /// The files, as the sensor takes them.
    pub fn files(&self) -> Option<lavender_bpf::ContainerFiles> {
        use std::path::PathBuf;

        let path = |path: &AbsolutePath| PathBuf::from(path.as_ref());
        let set = |dirs: &Option<Vec<AbsolutePath>>, default: Vec<PathBuf>| match dirs {
            Some(dirs) => dirs.iter().map(path).collect(),
            None => default,
        };
        let default = lavender_bpf::ContainerFiles::default();
        self.enabled.then(|| lavender_bpf::ContainerFiles {
            host_root: self.host_root.as_ref().map_or(default.host_root, path),
            docker_dirs: set(&self.docker_dirs, default.docker_dirs),
            containerd_dirs: set(&self.containerd_dirs, default.containerd_dirs),
            storage_dirs: set(&self.storage_dirs, default.storage_dirs),
            file_bytes_max: self.file_bytes_max.unwrap_or(default.file_bytes_max),
            retries: default.retries,
        })
    }
}

//! Which file of which runtime is about a container.

use std::path::PathBuf;

use lavender_core::event::Container;

use super::ContainerFiles;
use super::file::HostRoot;
use super::format::ContainerFile;
use crate::host::container::is_container_id;

/// Docker: `containers` in its `data-root`, by default `/var/lib/docker` (`docs.docker.com/engine/daemon`). Each has a folder
/// there, with the file that `configFileName` of moby's `container/container.go` names.
pub(super) const DOCKER_DIRS: [&str; 1] = ["/var/lib/docker/containers"];

/// Containerd: the runtime plugin's folder in its `state`, by default `/run/containerd` (`defaults/defaults_unix.go`), which
/// holds a bundle for each container that has a task: `NAMESPACE/ID/config.json` (`runtime/v2/bundle.go`). K3s and RKE2 start
/// theirs with the state in `/run/k3s/containerd`.
pub(super) const CONTAINERD_DIRS: [&str; 2] = [
    "/run/containerd/io.containerd.runtime.v2.task",
    "/run/k3s/containerd/io.containerd.runtime.v2.task",
];

/// `containers/storage`, which CRI-O and Podman keep their containers with: `DRIVER-containers` in its `runroot` and
/// `graphroot` (`containers-storage.conf(5)`; `store.go`). The driver of both is `overlay` unless they were told otherwise.
pub(super) const STORAGE_DIRS: [&str; 2] = [
    "/run/containers/storage/overlay-containers",
    "/var/lib/containers/storage/overlay-containers",
];

/// The lists of `containers/storage` (`newContainerStore` of its `containers.go`): the second is of containers that are gone
/// with the next boot.
const STORAGE_LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// The most namespaces of containerd that are looked into. Three are common: `default`, `k8s.io` and `moby`.
const NAMESPACES_MAX: usize = 64;

/// A runtime that writes of its containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runtime {
    Containerd,
    CriO,
    Docker,
    Podman,
}

impl Runtime {
    /// Those that may have made a container. The kubelet's own folders do not tell which it was.
    pub(super) fn of(container: &Container) -> &'static [Self] {
        if !is_container_id(&container.id) {
            return &[];
        }
        match container.runtime.as_deref() {
            Some("containerd") => &[Self::Containerd],
            Some("cri-o") => &[Self::CriO],
            Some("docker") => &[Self::Docker],
            Some("podman") => &[Self::Podman],
            Some(_) => &[],
            None => &[Self::Containerd, Self::CriO, Self::Docker, Self::Podman],
        }
    }

    /// The files that may be about a container, where this runtime made it.
    pub(super) fn places(
        self,
        files: &ContainerFiles,
        root: &HostRoot,
        id: &str,
    ) -> Vec<(PathBuf, ContainerFile)> {
        match self {
            Self::Docker => {
                let paths = files.docker_dirs.iter().map(|dir| dir.join(id).join("config.v2.json"));
                paths.map(|path| (path, ContainerFile::Docker)).collect()
            }
            Self::Containerd => {
                let dirs = files.containerd_dirs.iter();
                let namespaces = dirs.flat_map(|dir| {
                    root.folders(dir, NAMESPACES_MAX).into_iter().map(|name| dir.join(name))
                });
                let paths = namespaces.map(|namespace| namespace.join(id).join("config.json"));
                paths.map(|path| (path, ContainerFile::Bundle)).collect()
            }
            Self::CriO => {
                let dirs = files.storage_dirs.iter();
                let paths = dirs.map(|dir| dir.join(id).join("userdata/config.json"));
                paths.map(|path| (path, ContainerFile::Bundle)).collect()
            }
            Self::Podman => {
                let dirs = files.storage_dirs.iter();
                let paths = dirs.flat_map(|dir| STORAGE_LISTS.map(|list| dir.join(list)));
                paths.map(|path| (path, ContainerFile::StorageList)).collect()
            }
        }
    }
}

//! What the runtimes write of their containers. Whoever may have written a file, reading it ends and does not panic.

use std::fmt;
use std::sync::Arc;

use lavender_core::event::Undescribed;
use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::host::ContainerDescription;

/// The longest text that is taken of a file, in bytes. The parts of an image's name have 255, 128 and some 140 at the most
/// (`distribution/reference`), the names of pods 253.
const TEXT_BYTES_MAX: usize = 1_024;

/// A file that a runtime writes of its containers.
///
/// ```
/// use lavender_bpf::host::ContainerFile;
///
/// let file = br#"{"ID":"c0ffee","Name":"/web","Config":{"Image":"nginx:1.27","Labels":{}}}"#;
/// let found = ContainerFile::Docker.read(file, "c0ffee").unwrap();
/// assert_eq!((found.name.as_deref(), found.image.as_deref()), (Some("web"), Some("nginx:1.27")));
/// assert!(ContainerFile::Docker.read(b"{", "c0ffee").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerFile {
    /// `config.v2.json` of Docker.
    Docker,
    /// `config.json` of a bundle, as the OCI's runtime specification has it, with the annotations of the runtime that made
    /// it.
    Bundle,
    /// `containers.json` or `volatile-containers.json` of `containers/storage`, with what Podman notes there.
    StorageList,
}

impl ContainerFile {
    /// What it says of the container with this id.
    ///
    /// # Errors
    ///
    /// When it is not what a runtime writes, or says nothing of the container.
    pub fn read(self, content: &[u8], id: &str) -> Result<ContainerDescription, Undescribed> {
        match self {
            Self::Docker => docker(content, id),
            Self::Bundle => bundle(content),
            Self::StorageList => storage_list(content, id),
        }
    }
}

fn json<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, Undescribed> {
    serde_json::from_slice(content).map_err(|_| Undescribed::Malformed)
}

/// A text of a file: not too long, and without characters that move a terminal. An empty one is none.
#[derive(Debug, Default)]
struct Text(Option<Arc<str>>);

impl Text {
    fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Short;

        impl Visitor<'_> for Short {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a short text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                if text.len() > TEXT_BYTES_MAX || text.contains(char::is_control) {
                    return Err(E::custom("a text that no runtime writes"));
                }
                Ok(Text((!text.is_empty()).then(|| text.into())))
            }
        }

        deserializer.deserialize_str(Short)
    }
}

/// Moby's `container.Container` (`container/container.go`), as `toDisk` writes it.
#[derive(Deserialize)]
struct DockerContainer {
    #[serde(rename = "ID")]
    id: Text,
    /// With a slash before it.
    #[serde(rename = "Name", default)]
    name: Text,
    #[serde(rename = "Config", default)]
    config: Option<DockerConfig>,
}

/// Moby's `container.Config` (`api/types/container/config.go`).
#[derive(Default, Deserialize)]
struct DockerConfig {
    /// "Name of the image as it was passed by the operator (e.g. could be symbolic)".
    #[serde(rename = "Image", default)]
    image: Text,
    #[serde(rename = "Labels", default)]
    labels: Option<KubernetesLabels>,
}

/// The kubelet's labels (`k8s.io/kubelet/pkg/types/labels.go`), which `cri-dockerd` gives Docker's containers and CRI-O its
/// own as annotations.
#[derive(Default, Deserialize)]
struct KubernetesLabels {
    #[serde(rename = "io.kubernetes.container.name", default)]
    container_name: Text,
    #[serde(rename = "io.kubernetes.pod.name", default)]
    pod_name: Text,
    #[serde(rename = "io.kubernetes.pod.namespace", default)]
    pod_namespace: Text,
}

fn docker(content: &[u8], id: &str) -> Result<ContainerDescription, Undescribed> {
    let container: DockerContainer = json(content)?;
    if container.id.0.as_deref() != Some(id) {
        return Err(Undescribed::Malformed);
    }
    let name = container.name.0.map(|name| match name.strip_prefix('/') {
        Some(name) => name.into(),
        None => name,
    });
    let config = container.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    Ok(ContainerDescription {
        name: labels.container_name.or(Text(name)).0,
        image: config.image.0,
        pod_name: labels.pod_name.0,
        pod_namespace: labels.pod_namespace.0,
    })
}

/// The specification of a container (`config.md` of the OCI's runtime specification).
#[derive(Deserialize)]
struct Bundle {
    /// "The version of the Open Container Initiative Runtime Specification with which the bundle complies": required.
    #[serde(rename = "ociVersion")]
    _version: Text,
    #[serde(default)]
    annotations: Option<Annotations>,
}

/// Those of containerd's CRI plugin (`pkg/cri/annotations/annotations.go`), of CRI-O (`pkg/annotations/internal.go`) and of
/// nerdctl (`pkg/labels/labels.go`), which notes no image.
#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.container-name", default)]
    container_name: Text,
    #[serde(rename = "io.kubernetes.cri.image-name", default)]
    image: Text,
    /// Of the container that holds a pod's namespaces; since containerd 2.
    #[serde(rename = "io.kubernetes.cri.podsandbox.image-name", default)]
    sandbox_image: Text,
    #[serde(rename = "io.kubernetes.cri.sandbox-name", default)]
    pod_name: Text,
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace", default)]
    pod_namespace: Text,
    /// A name of the image; none where it was asked for by id.
    #[serde(rename = "io.kubernetes.cri-o.ImageName", default)]
    crio_image: Text,
    /// What the kubelet asked for: mostly an id.
    #[serde(rename = "io.kubernetes.cri-o.Image", default)]
    crio_asked_image: Text,
    #[serde(rename = "nerdctl/name", default)]
    nerdctl_name: Text,
    #[serde(rename = "io.kubernetes.container.name", default)]
    kubernetes_container_name: Text,
    #[serde(rename = "io.kubernetes.pod.name", default)]
    kubernetes_pod_name: Text,
    #[serde(rename = "io.kubernetes.pod.namespace", default)]
    kubernetes_pod_namespace: Text,
}

fn bundle(content: &[u8]) -> Result<ContainerDescription, Undescribed> {
    let noted = json::<Bundle>(content)?.annotations.unwrap_or_default();
    let name = noted.container_name.or(noted.kubernetes_container_name).or(noted.nerdctl_name);
    let image = noted.image.or(noted.sandbox_image).or(noted.crio_image);
    Ok(ContainerDescription {
        name: name.0,
        image: image.or(noted.crio_asked_image).0,
        pod_name: noted.pod_name.or(noted.kubernetes_pod_name).0,
        pod_namespace: noted.pod_namespace.or(noted.kubernetes_pod_namespace).0,
    })
}

/// `storage.Container` (`containers.go` of `containers/storage`).
#[derive(Deserialize)]
struct StoredContainer {
    id: Text,
    #[serde(default)]
    metadata: String,
}

/// `RuntimeContainerMetadata` of Podman's `libpod/storage.go`, as JSON in a text.
#[derive(Deserialize)]
struct PodmanMetadata {
    #[serde(rename = "image-name", default)]
    image: Text,
    #[serde(default)]
    name: Text,
}

/// The entry of one container in a list, of which nothing else is kept.
struct Entry<'a>(&'a str);

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = Option<StoredContainer>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while let Some(container) = list.next_element::<StoredContainer>()? {
            if container.id.0.as_deref() == Some(self.0) {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Some(container));
            }
        }
        Ok(None)
    }
}

fn storage_list(content: &[u8], id: &str) -> Result<ContainerDescription, Undescribed> {
    let mut reader = serde_json::Deserializer::from_slice(content);
    let found = reader.deserialize_seq(Entry(id)).and_then(|found| reader.end().map(|()| found));
    let container = found.map_err(|_| Undescribed::Malformed)?.ok_or(Undescribed::NotFound)?;
    let noted: PodmanMetadata = json(container.metadata.as_bytes())?;
    Ok(ContainerDescription {
        name: noted.name.0,
        image: noted.image.0,
        ..ContainerDescription::default()
    })
}

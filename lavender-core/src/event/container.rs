//! Containers: what a process runs in, and what the container's runtime says of it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The container that a process runs in: by its control group, and by the files of its runtime.
///
/// ```
/// use lavender_core::event::{Container, Undescribed};
///
/// let started = Container::new("c0ffee", Some("docker"));
/// assert_eq!(started.image, None);
/// // Its files are not read yet, and later they are.
/// let asked = Container { undescribed: Some(Undescribed::Pending), ..started.clone() };
/// let read = Container { name: Some("web".into()), image: Some("nginx:1.27".into()), ..started };
/// assert_ne!(asked, read);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Container {
    /// Its id, as its runtime names it.
    pub id: Arc<str>,
    /// The runtime, where the control group tells: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Arc<str>>,
    /// Its name in its pod, or else at its runtime, where the runtime's files tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// The image that it was made of, as the runtime's files name it: `nginx:1.27`,
    /// `registry.example/app@sha256:…`. A name is what somebody called the image, and no proof of what is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Arc<str>>,
    /// The Kubernetes pod that it is in, where the control group tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// Why its runtime's files say nothing of it. `None` where they were read, and where nobody reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undescribed: Option<Undescribed>,
}

impl Container {
    /// A container of which no more than this is known.
    pub fn new(id: impl Into<Arc<str>>, runtime: Option<&str>) -> Self {
        Self {
            id: id.into(),
            runtime: runtime.map(Into::into),
            name: None,
            image: None,
            pod: None,
            undescribed: None,
        }
    }
}

/// Why it is not known what a container's runtime says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undescribed {
    /// The files were not read yet when the event was told. What happens later in the container tells it.
    Pending,
    /// So many containers waited for their files to be read that this one was left out for now.
    QueueFull,
    /// No runtime had a file about it, however often it was looked for.
    NotFound,
    /// The file is larger than what is read.
    TooLarge,
    /// The file is not what its runtime writes.
    Malformed,
    /// The file could not be read, or is no regular file.
    Unreadable,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

impl Undescribed {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::QueueFull => "queue_full",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Unreadable => "unreadable",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Undescribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pod {
    /// Its uid: `metadata.uid`. Of a static pod, a hash of 32 digits.
    pub uid: Arc<str>,
    /// Its class: `status.qosClass`.
    pub qos_class: QosClass,
    /// Its name: `metadata.name`, where the container's runtime tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Its namespace: `metadata.namespace`, where the container's runtime tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
}

impl Pod {
    /// A pod of which no more than this is known.
    pub fn new(uid: impl Into<Arc<str>>, qos_class: QosClass) -> Self {
        Self { uid: uid.into(), qos_class, name: None, namespace: None }
    }
}

/// What Kubernetes promises a pod of processor and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QosClass {
    /// All that it asks for.
    Guaranteed,
    /// Some of it.
    Burstable,
    /// Nothing.
    BestEffort,
}

impl QosClass {
    /// The name: `guaranteed`, `burstable` or `best_effort`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "best_effort",
        }
    }
}

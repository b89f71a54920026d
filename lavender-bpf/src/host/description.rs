//! What a container's runtime says of it, and the questions for it.

use std::sync::Arc;

use lavender_core::event::{Container, Pod, Undescribed};
use serde::{Deserialize, Serialize};

/// What the files of a container's runtime say of it: each where they do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDescription {
    /// Its name in its pod, or else at its runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// The image that it was made of, as the runtime names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Arc<str>>,
    /// The name of the Kubernetes pod that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<Arc<str>>,
    /// The namespace of that pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<Arc<str>>,
}

/// What a host says when it is asked for the description of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DescribeAnswer {
    /// Nobody reads files of containers, or none of such a container.
    Off,
    /// They are being read.
    Coming,
    /// Too many containers wait for theirs.
    QueueFull,
}

impl DescribeAnswer {
    /// What is known of the container meanwhile.
    pub(crate) const fn undescribed(self) -> Option<Undescribed> {
        match self {
            Self::Off => None,
            Self::Coming => Some(Undescribed::Pending),
            Self::QueueFull => Some(Undescribed::QueueFull),
        }
    }
}

/// A container with what came of the question for its description.
pub(crate) fn described(
    container: &Container,
    description: &Result<ContainerDescription, Undescribed>,
) -> Container {
    let container = container.clone();
    match description {
        Err(why) => Container { undescribed: Some(*why), ..container },
        Ok(description) => Container {
            name: description.name.clone(),
            image: description.image.clone(),
            pod: container.pod.map(|pod| Pod {
                name: description.pod_name.clone(),
                namespace: description.pod_namespace.clone(),
                ..pod
            }),
            undescribed: None,
            ..container
        },
    }
}

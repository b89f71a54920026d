//! Events about what programs are.

use std::sync::Arc;

use super::sample::Sample;
use crate::event::{
    Container, Event, Executable, ExecutableHash, Pod, Process, QosClass, Sha256Digest,
    Undescribed, Unhashed,
};

impl Sample {
    /// Programs begin: of known content, and of content that is not known for every reason.
    pub fn hashed_execs(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        let reasons = [
            Unhashed::Pending,
            Unhashed::TooLarge,
            Unhashed::QueueFull,
            Unhashed::Gone,
            Unhashed::Changed,
            Unhashed::Unreadable,
        ];
        let digest = Sha256Digest::from_bytes(&[0xab; 32]);
        let known = std::iter::once(ExecutableHash::Sha256(digest));
        known
            .chain(reasons.map(ExecutableHash::Missing))
            .map(|hash| {
                let path = format!("/usr/bin/{}", hash.sha256().map_or("unknown", |_| "known"));
                let child = self.child(process, &path, &["x"]);
                let executable = Executable {
                    changed_at: Some(self.now()),
                    hash: Some(hash),
                    ..child.executable.clone()
                };
                let child = Arc::new(Process { executable, ..(*child).clone() });
                self.exec(&child)
            })
            .collect()
    }

    /// Programs begin in containers: one that its runtime describes, one that is of no pod, and those of which it is not
    /// known what their runtime says, for every reason.
    pub fn container_execs(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        let id = |at: usize| format!("{at:064x}");
        let pod = Pod {
            name: Some("web-0".into()),
            namespace: Some("shop".into()),
            ..Pod::new("8cbb7bc8-9a4b-4ee2-9ac8-7d3a0f3c6e11", QosClass::Burstable)
        };
        let of_pod = Container {
            name: Some("web".into()),
            image: Some("docker.io/library/nginx:1.27".into()),
            pod: Some(pod),
            ..Container::new(id(0), Some("containerd"))
        };
        let alone = Container {
            name: Some("proxy".into()),
            image: Some("nginx:1.27".into()),
            ..Container::new(id(1), Some("docker"))
        };
        let reasons = [
            Undescribed::Pending,
            Undescribed::QueueFull,
            Undescribed::NotFound,
            Undescribed::TooLarge,
            Undescribed::Malformed,
            Undescribed::Unreadable,
        ];
        let missing = reasons.into_iter().enumerate().map(|(at, why)| Container {
            undescribed: Some(why),
            ..Container::new(id(at + 2), Some("podman"))
        });
        let containers: Vec<_> = [of_pod, alone].into_iter().chain(missing).collect();
        containers
            .into_iter()
            .map(|container| {
                let child = self.child(process, "/usr/sbin/nginx", &["nginx"]);
                let container = Some(Arc::new(container));
                self.exec(&Arc::new(Process { container, ..(*child).clone() }))
            })
            .collect()
    }
}

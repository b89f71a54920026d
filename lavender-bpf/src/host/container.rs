//! Containers, by the paths of their control groups.

use lavender_core::event::{Container, Pod, QosClass};

/// The container that a control group's path names, by the habits of the common runtimes:
/// `docker-ID.scope` and `docker/ID`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`,
/// `machine.slice/machine-NAME.scope` (systemd-nspawn), `lxc.payload.NAME` and `lxc/NAME`, `kubepods/…/ID`,
/// `SLICE:cri-containerd:ID`. With it the Kubernetes pod, by the folders of the kubelet.
///
/// ```
/// use lavender_bpf::host::container;
///
/// let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// let found = container(&format!("/system.slice/docker-{id}.scope")).unwrap();
/// assert_eq!((&*found.id, found.runtime.as_deref()), (id, Some("docker")));
/// assert_eq!(container("/user.slice/user-0.slice"), None);
/// ```
pub fn container(path: &str) -> Option<Container> {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty()).flat_map(pieces).collect();
    // The innermost: a container may hold others.
    (0..parts.len()).rev().find_map(|at| {
        let container = one(&parts, at)?;
        Some(Container { pod: pod(&parts[..at]), ..container })
    })
}

/// `SLICE:PREFIX:ID` is a folder's name where a runtime was told to use systemd's names and does not; it is taken as
/// three. Any other is itself.
fn pieces(part: &str) -> Vec<&str> {
    match part.split(':').collect::<Vec<_>>() {
        pieces if pieces.len() == 3 && is_container_id(pieces[2]) => pieces,
        _ => vec![part],
    }
}

const BY_PREFIX: [(&str, &str); 6] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nerdctl-", "containerd"),
    ("containerd-", "containerd"),
];

fn one(parts: &[&str], at: usize) -> Option<Container> {
    let part = parts[at];
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in BY_PREFIX {
        if let Some(id) = scope.strip_prefix(prefix).filter(|id| is_container_id(id)) {
            return Some(Container::new(id, Some(runtime)));
        }
    }
    if let Some(name) = part.strip_prefix("lxc.payload.").filter(|name| !name.is_empty()) {
        return Some(Container::new(name, Some("lxc")));
    }
    let above = at.checked_sub(1).map(|above| parts[above]);
    if above == Some("lxc") {
        return Some(Container::new(part, Some("lxc")));
    }
    if above == Some("machine.slice")
        && let Some(name) = nspawn_name(part)
    {
        return Some(Container::new(name, Some("systemd-nspawn")));
    }
    if is_container_id(scope) {
        // Not one further up: that may hold the runtime of this one.
        let runtime = above.and_then(|above| match above {
            "docker" => Some("docker"),
            "libpod_parent" => Some("podman"),
            "cri-containerd" => Some("containerd"),
            "crio" => Some("cri-o"),
            _ => None,
        });
        return Some(Container::new(scope, runtime));
    }
    None
}

/// The machine that systemd-nspawn runs in this unit. Machines of libvirt are registered in the same slice, as
/// `machine-qemu\x2dN\x2dNAME.scope` and `machine-lxc\x2d…`: the former are virtual machines, not containers.
fn nspawn_name(unit: &str) -> Option<String> {
    let name = unit
        .strip_prefix("machine-")
        .and_then(|unit| unit.strip_suffix(".scope"))
        .or_else(|| unit.strip_prefix("systemd-nspawn@")?.strip_suffix(".service"))?;
    let of_libvirt = ["qemu\\x2d", "lxc\\x2d"].iter().any(|driver| name.starts_with(driver));
    (!name.is_empty() && !of_libvirt).then(|| unescape(name)).flatten()
}

/// Undoes systemd's escape: `\xHH` is a byte. `None` where that makes no text.
fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut parts = name.split("\\x");
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let digits =
            part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// The pod whose folder is the innermost: `kubepods-burstable-podUID.slice`, with `_` for `-`, or `burstable/podUID` below
/// `kubepods`. A kubelet in a container puts a prefix in front.
fn pod(above: &[&str]) -> Option<Pod> {
    above.iter().enumerate().rev().find_map(|(at, part)| {
        if let Some(slice) = part.strip_suffix(".slice") {
            let (class, uid) = slice.rsplit_once("-pod")?;
            let qos_class = qos_class(class.rsplit('-').next()?)?;
            return pod_uid(&uid.replace('_', "-"), qos_class);
        }
        pod_uid(part.strip_prefix("pod")?, qos_class(above.get(at.checked_sub(1)?)?)?)
    })
}

/// The class by the folder above a pod's. Pods that have all that they ask for have none of their own.
fn qos_class(folder: &str) -> Option<QosClass> {
    match folder {
        "kubepods" => Some(QosClass::Guaranteed),
        "burstable" => Some(QosClass::Burstable),
        "besteffort" => Some(QosClass::BestEffort),
        _ => None,
    }
}

/// A UUID, or of a static pod 32 hexadecimal digits.
fn pod_uid(uid: &str, qos_class: QosClass) -> Option<Pod> {
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|byte| *byte == b'-').count();
    let right = digits == 32 && (dashes == 0 || dashes == 4) && uid.len() == digits + dashes;
    right.then(|| Pod::new(uid, qos_class))
}

/// 64 hexadecimal digits: what all the runtimes give.
pub(super) fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, Option<&str>)>) {
        let container = container(&path.replace("ID", ID));
        let found = container.as_ref().map(|found| (&*found.id, found.runtime.as_deref()));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn every_runtime_is_known_by_its_paths() {
        check("/docker/ID", Some((ID, Some("docker"))));
        check("/system.slice/docker-ID.scope", Some((ID, Some("docker"))));
        check(
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-ID.scope",
            Some((ID, Some("containerd"))),
        );
        check("/kubepods/besteffort/pod1/ID", Some((ID, None)));
        check("/kubepods.slice/x.slice/crio-ID.scope", Some((ID, Some("cri-o"))));
        check("/machine.slice/libpod-ID.scope/container", Some((ID, Some("podman"))));
        check("/machine.slice/machine-web.scope/payload", Some(("web", Some("systemd-nspawn"))));
        check(r"/machine.slice/machine-web\x2d1.scope", Some(("web-1", Some("systemd-nspawn"))));
        check(
            "/machine.slice/systemd-nspawn@web.service/payload",
            Some(("web", Some("systemd-nspawn"))),
        );
        check(
            "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope",
            Some((ID, Some("podman"))),
        );
        check("/docker/ID/docker/ID/init.scope", Some((ID, Some("docker"))));
        check("/lxc.payload.web/system.slice", Some(("web", Some("lxc"))));
        check("/lxc/web", Some(("web", Some("lxc"))));
    }

    const UID: &str = "8cbb7bc8-9a4b-4ee2-9ac8-7d3a0f3c6e11";

    /// `UID` stands for a pod's, `U_ID` for it as systemd writes it.
    #[track_caller]
    fn check_pod(path: &str, runtime: Option<&str>, expected: Option<(&str, QosClass)>) {
        let path = path.replace("UID", UID).replace("U_ID", &UID.replace('-', "_"));
        let container = container(&path.replace("ID", ID)).unwrap();
        assert_eq!((&*container.id, container.runtime.as_deref()), (ID, runtime), "{path}");
        let pod = container.pod.as_ref().map(|pod| (&*pod.uid, pod.qos_class));
        assert_eq!(pod, expected, "{path}");
    }

    #[test]
    fn a_pod_is_known_by_the_folders_of_the_kubelet() {
        use QosClass::{BestEffort, Burstable, Guaranteed};
        let containerd = Some("containerd");
        check_pod(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope",
            containerd,
            Some((UID, Burstable)),
        );
        check_pod(
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/crio-ID.scope/container",
            Some("cri-o"),
            Some((UID, BestEffort)),
        );
        check_pod(
            "/kubepods.slice/kubepods-podU_ID.slice/docker-ID.scope",
            Some("docker"),
            Some((UID, Guaranteed)),
        );
        check_pod("/kubepods/burstable/podUID/ID", None, Some((UID, Burstable)));
        check_pod("/kubepods/podUID/ID", None, Some((UID, Guaranteed)));
        check_pod("/kubepods/besteffort/podUID/crio-ID", Some("cri-o"), Some((UID, BestEffort)));
        check_pod(
            "/system.slice/containerd.service/kubepods-burstable-podU_ID.slice:cri-containerd:ID",
            containerd,
            Some((UID, Burstable)),
        );
        // A static pod, and a node that is a container itself.
        check_pod(
            "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/ID",
            None,
            Some(("0123456789abcdef0123456789abcdef", Burstable)),
        );
        check_pod(
            "/docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_ID.slice/cri-containerd-ID.scope",
            containerd,
            Some((UID, Guaranteed)),
        );
        check_pod(
            "/docker/ID/kubelet/kubepods/besteffort/podUID/ID",
            None,
            Some((UID, BestEffort)),
        );
        // Of no pod.
        check_pod("/docker/ID", Some("docker"), None);
        check_pod("/custom.slice/app-podU_ID.slice/docker-ID.scope", Some("docker"), None);
        check_pod("/kubepods/burstable/podcast/ID", None, None);
        check_pod(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            Some("podman"),
            None,
        );
        check_pod("/a:b/x:nerdctl-y:ID", None, None);
    }

    proptest::proptest! {
        /// Whatever a folder is called, what is found is in the path, and the innermost counts.
        #[test]
        fn any_path_is_read(parts in proptest::collection::vec(r"(kubepods|burstable|docker|lxc|machine\.slice|pod[0-9a-f-]{0,40}|[^/]{0,80}|[a-z:-]{0,20}[0-9a-f]{64}(\.scope)?)", 0..8)) {
            let path = format!("/{}", parts.join("/"));
            if let Some(found) = container(&path) {
                proptest::prop_assert!(!found.id.is_empty());
                let escaped = path.contains("\\x");
                proptest::prop_assert!(escaped || path.contains(&*found.id), "{path}: {found:?}");
                if let Some(pod) = found.pod {
                    proptest::prop_assert!(path.replace('_', "-").contains(&*pod.uid), "{path}");
                }
            }
            let inner = container(&format!("{path}/docker-{ID}.scope")).unwrap();
            proptest::prop_assert_eq!((&*inner.id, inner.runtime.as_deref()), (ID, Some("docker")));
        }
    }

    #[test]
    fn what_is_no_container_is_none() {
        check("/", None);
        check("/user.slice/user-1000.slice/session-1.scope", None);
        check("/system.slice/docker.service", None);
        check("/docker-cafe.scope", None);
        check("/machine.slice/libpod-conmon-ID.scope", None);
        check("/kubepods.slice/crio-conmon-ID.scope", None);
        check("/lxc.monitor.web", None);
        check("/system.slice/containerd.service", None);
        check("/machine.slice/machine.slice", None);
        check(r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator", None);
        check(r"/machine.slice/machine-web\x2.scope", None);
        check("/machine.slice/machine-.scope", None);
    }
}

//! Containers, by the paths of their control groups.

use lavender_core::event::Container;

/// The container that a control group's path names, by the habits of the common runtimes:
/// `docker-ID.scope` and `docker/ID`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`,
/// `machine.slice/machine-NAME.scope` (systemd-nspawn), `lxc.payload.NAME` and `lxc/NAME`, `kubepods/…/ID`.
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
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // The innermost: a container may hold others.
    (0..parts.len()).rev().find_map(|at| one(&parts, at))
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
            return Some(found(id, Some(runtime)));
        }
    }
    if let Some(name) = part.strip_prefix("lxc.payload.").filter(|name| !name.is_empty()) {
        return Some(found(name, Some("lxc")));
    }
    let above = at.checked_sub(1).map(|above| parts[above]);
    if above == Some("lxc") {
        return Some(found(part, Some("lxc")));
    }
    if above == Some("machine.slice")
        && let Some(name) = nspawn_name(part)
    {
        return Some(found(&name, Some("systemd-nspawn")));
    }
    if is_container_id(scope) {
        let runtime = parts[..at].iter().rev().find_map(|part| match *part {
            "docker" => Some("docker"),
            "libpod_parent" => Some("podman"),
            _ => None,
        });
        return Some(found(scope, runtime));
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

/// 64 hexadecimal digits: what all the runtimes give.
fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn found(id: &str, runtime: Option<&str>) -> Container {
    Container { id: id.into(), runtime: runtime.map(Into::into) }
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

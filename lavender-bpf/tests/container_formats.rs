//! Files of container runtimes: each as its runtime writes it, and whatever else may stand there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "the thread that reads files is a real one")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use lavender_bpf::ContainerFiles;
use lavender_bpf::host::{
    ContainerDescription, ContainerFile, DescribeAnswer, Host as _, LiveHost,
};
use lavender_core::SystemClock;
use lavender_core::event::{Container, Undescribed};
use proptest::prelude::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const DOCKER: &str = include_str!("testdata/containers/docker.json");
const CRI_DOCKERD: &str = include_str!("testdata/containers/cri-dockerd.json");
const CONTAINERD_CRI: &str = include_str!("testdata/containers/containerd-cri.json");
const CONTAINERD_SANDBOX: &str = include_str!("testdata/containers/containerd-sandbox.json");
const NERDCTL: &str = include_str!("testdata/containers/nerdctl.json");
const CRIO: &str = include_str!("testdata/containers/crio.json");
const PODMAN: &str = include_str!("testdata/containers/podman.json");

const FILES: [(ContainerFile, &str); 7] = [
    (ContainerFile::Docker, DOCKER),
    (ContainerFile::Docker, CRI_DOCKERD),
    (ContainerFile::Bundle, CONTAINERD_CRI),
    (ContainerFile::Bundle, CONTAINERD_SANDBOX),
    (ContainerFile::Bundle, NERDCTL),
    (ContainerFile::Bundle, CRIO),
    (ContainerFile::StorageList, PODMAN),
];

fn read(file: ContainerFile, content: &str) -> Result<ContainerDescription, Undescribed> {
    file.read(content.replace("CONTAINER_ID", ID).as_bytes(), ID)
}

#[track_caller]
fn check(
    (file, content): (ContainerFile, &str),
    (name, image): (Option<&str>, Option<&str>),
    pod: Option<(&str, &str)>,
) {
    let found = read(file, content).unwrap();
    assert_eq!((found.name.as_deref(), found.image.as_deref()), (name, image));
    assert_eq!(found.pod_name.as_deref().zip(found.pod_namespace.as_deref()), pod);
}

#[test]
fn what_every_runtime_writes_is_understood() {
    let pod = Some(("web-0", "shop"));
    let digest = "nginx@sha256:09369da6b10306312cd908661320086bf87fbae1b6b0c49a1f50ba531fef2eab";
    let named = (Some("web"), Some("docker.io/library/nginx:1.27"));
    let [docker, cri_dockerd, containerd_cri, sandbox, nerdctl, crio, podman] = FILES;
    check(docker, (Some("web"), Some("nginx:1.27")), None);
    check(cri_dockerd, (Some("web"), Some(digest)), pod);
    check(containerd_cri, named, pod);
    check(sandbox, (None, Some("registry.k8s.io/pause:3.10")), pod);
    // It notes no image there.
    check(nerdctl, (Some("web"), None), None);
    check(crio, named, pod);
    check(podman, named, None);
}

#[test]
fn an_image_of_cri_o_without_a_name_is_told_by_its_id() {
    let by_id = CRIO.replace(r#""docker.io/library/nginx:1.27""#, r#""""#);
    let found = read(ContainerFile::Bundle, &by_id).unwrap();
    let id = "b52e0b094bc0e26c9eddc9e4ab7a64ce0033c3360d8b7ad4ff4132c4e03e8f7b";
    assert_eq!(found.image.as_deref(), Some(id));
}

#[test]
fn what_is_no_such_file_is_malformed_and_what_is_of_another_container_says_nothing() {
    let malformed = Err(Undescribed::Malformed);
    for (file, content) in FILES {
        for content in ["", "null", "[[]]", "{}", "7", "\u{feff}{}", &content[1..]] {
            assert_eq!(read(file, content), malformed, "{file:?}: {content:?}");
        }
        // A half, as of a file that is being written.
        assert_eq!(read(file, &content[..content.len() / 2]), malformed);
        assert_eq!(read(file, &format!("{content}x")), malformed);
    }
    let other = "f".repeat(64);
    let content = |text: &str| text.replace("CONTAINER_ID", ID).into_bytes();
    assert_eq!(ContainerFile::Docker.read(&content(DOCKER), &other), malformed);
    let found = ContainerFile::StorageList.read(&content(PODMAN), &other);
    assert_eq!(found, Err(Undescribed::NotFound));
    // CRI-O notes other things in the same list.
    let of_others = format!(r#"[{{"id":"{ID}","metadata":"none of podman's"}}]"#);
    assert_eq!(read(ContainerFile::StorageList, &of_others), malformed);
}

#[test]
fn texts_that_no_runtime_writes_are_refused() {
    let with = |name: &str| DOCKER.replace(r#""/web""#, name);
    let is_read = |name: &str| read(ContainerFile::Docker, &with(name)).is_ok();
    assert!(is_read(r#""""#) && is_read(&format!("\"{}\"", "x".repeat(1_024))));
    let refused = ["7", "null", "[]", r#""a\u0000""#, r#""\u001b[2J""#, r#""a\nb""#];
    for name in refused {
        assert!(!is_read(name), "{name}");
    }
    assert!(!is_read(&format!("\"{}\"", "x".repeat(1_025))));
    let twice = DOCKER.replace(r#""Name":"/web""#, r#""Name":"/web","Name":"/other""#);
    assert_eq!(read(ContainerFile::Docker, &twice), Err(Undescribed::Malformed));
    let deep = format!(r#"{{"ociVersion":"1","annotations":{}"#, "[".repeat(1 << 20));
    assert_eq!(read(ContainerFile::Bundle, &deep), Err(Undescribed::Malformed));
    let deep = format!(r#"{{"ociVersion":"1","ignored":{}"#, "[".repeat(1 << 20));
    assert_eq!(read(ContainerFile::Bundle, &deep), Err(Undescribed::Malformed));
}

proptest! {
    /// A real file with anything in place of a part: it is read or refused, and texts stay short.
    #[test]
    fn any_file_is_read_or_refused(
        which in 0..FILES.len(),
        at: prop::sample::Index,
        length in 0_usize..64,
        instead in prop_oneof![
            "[\\[\\]{}\",:0-9a-z\\\\]{0,40}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ],
    ) {
        let (file, content) = FILES[which];
        let mut content = content.replace("CONTAINER_ID", ID).into_bytes();
        let from = at.index(content.len());
        let to = (from + length).min(content.len());
        content.splice(from..to, instead);
        if let Ok(found) = file.read(&content, ID) {
            let texts = [found.name, found.image, found.pod_name, found.pod_namespace];
            for text in texts.iter().flatten() {
                prop_assert!(!text.contains(char::is_control) && text.len() <= 1_024);
            }
        }
    }
}

/// Containers that no runtime knows, as anyone makes who may make control groups.
#[test]
fn containers_that_are_not_there_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let files = ContainerFiles {
        host_root: folder.path().into(),
        retries: vec![Duration::from_secs(3_600)],
        ..ContainerFiles::default()
    };
    let mut host = LiveHost::new(Arc::new(SystemClock)).with_container_files(files).unwrap();
    let container = |at: usize| Container::new(format!("{at:064x}"), Some("docker"));
    // As many as may be asked for wait, and the next one has no room.
    let mut asked = 0;
    while host.describe(&container(asked)) == DescribeAnswer::Coming {
        asked += 1;
        assert!(asked <= 1_024, "what is asked for is not bounded");
    }
    assert_eq!(host.describe(&container(asked)), DescribeAnswer::QueueFull);
    assert_eq!(host.describe(&container(0)), DescribeAnswer::Coming, "it is asked for already");
    // Those that have waited longest are given up, hours before they are looked for again.
    let start = Instant::now();
    let mut given_up = Vec::new();
    while given_up.len() < asked / 2 {
        assert!(start.elapsed() < Duration::from_secs(60), "{} of {asked}", given_up.len());
        given_up.extend(host.take_descriptions());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(given_up.iter().all(|(_, found)| *found == Err(Undescribed::NotFound)));
    assert_eq!(host.describe(&container(asked)), DescribeAnswer::Coming);
}

#[test]
fn what_no_runtime_writes_files_of_is_not_asked_for() {
    let files = ContainerFiles::default();
    let mut host = LiveHost::new(Arc::new(SystemClock)).with_container_files(files).unwrap();
    for (id, runtime) in [("web", "lxc"), ("../../etc", "docker"), (ID, "another")] {
        assert_eq!(host.describe(&Container::new(id, Some(runtime))), DescribeAnswer::Off);
    }
    let mut without = LiveHost::new(Arc::new(SystemClock));
    assert_eq!(without.describe(&Container::new(ID, Some("docker"))), DescribeAnswer::Off);
}

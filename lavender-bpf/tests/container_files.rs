//! What runtimes write of their containers, on the live kernel: control groups that are called as a runtime calls them, and
//! its files below a root of the test's own.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{
    CaptureWriter, ContainerFiles, EvidenceOptions, EvidenceRing, EvidenceStage, Replay,
    SensorBuilder,
};
use lavender_core::event::{Container, Event, EventKind, Undescribed};
use lavender_core::{
    Alert, AlertStage as _, Certainty, Detection, RuleMeta, Severity, SystemClock, Timestamp,
};

use support::{Group, Watch, builder, can_run, identity, process, temporary};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

const DOCKER: &str = include_str!("testdata/containers/docker.json");
const CONTAINERD: &str = include_str!("testdata/containers/containerd-cri.json");
const CRIO: &str = include_str!("testdata/containers/crio.json");
const PODMAN: &str = include_str!("testdata/containers/podman.json");

const DOCKER_FILE: &str = "var/lib/docker/containers/ID/config.v2.json";
const CONTAINERD_FILE: &str = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
const K3S_FILE: &str = "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
const CRIO_FILE: &str = "run/containers/storage/overlay-containers/ID/userdata/config.json";
const PODMAN_FILE: &str = "var/lib/containers/storage/overlay-containers/containers.json";
const TRANSIENT_FILE: &str = "run/containers/storage/overlay-containers/volatile-containers.json";

const POD: &str = "kubepods-burstable-pod8cbb7bc8_9a4b_4ee2_9ac8_7d3a0f3c6e11.slice";

/// Writes a runtime's file of a container.
fn write(root: &Path, file: &str, id: &str, content: &str) {
    let path = root.join(file.replace("ID", id));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // As the runtimes do: whole or not at all.
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, content.replace("CONTAINER_ID", id)).unwrap();
    fs::rename(unfinished, path).unwrap();
}

/// What is not there is looked for again for longer than a test has patience.
fn files(root: &Path) -> ContainerFiles {
    ContainerFiles {
        host_root: root.into(),
        retries: vec![Duration::from_millis(50); 2_000],
        ..ContainerFiles::default()
    }
}

/// It is given up soon.
fn impatient(root: &Path) -> ContainerFiles {
    ContainerFiles { retries: vec![Duration::from_millis(1); 2], ..files(root) }
}

fn watched(group: &Group, files: ContainerFiles) -> SensorBuilder {
    builder().with_included_cgroup(&group.folder).with_container_files(Some(files))
}

/// The control group of a container, below one of the test's own.
fn inside(group: &Group, path: &str) -> Group {
    let folder = group.folder.join(path);
    fs::create_dir_all(&folder).unwrap();
    Group { folder }
}

/// Those in between are removed with the test's own.
fn remove(group: &Group, path: &str) {
    for folder in Path::new(path).ancestors().filter(|path| !path.as_os_str().is_empty()) {
        let _ = fs::remove_dir(group.folder.join(folder));
    }
}

fn container(event: &Event) -> &Container {
    process(event).container.as_deref().unwrap()
}

fn execs(events: &[Arc<Event>]) -> impl Iterator<Item = &Arc<Event>> {
    let named = |event: &&Arc<Event>| process(event).name == "true";
    support::of_kind(events, EventKind::Exec).filter(named)
}

/// Runs a program in a container again and again, until one is told with what has come of it.
fn until_known(watch: &mut Watch, inner: &Group) -> Arc<Event> {
    watch.until("a described container", |events| {
        let known = |event: &&Arc<Event>| {
            container(event)
                .undescribed
                .is_none_or(|why| !matches!(why, Undescribed::Pending | Undescribed::QueueFull))
        };
        let found = execs(events).find(known).cloned();
        if found.is_none() {
            assert!(inner.command("/bin/true").status().unwrap().success());
        }
        found
    })
}

/// Ends the test's own child, whatever became of the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn check(
    (cgroup, runtime): (&str, Option<&str>),
    (file, content): (&str, &str),
    (name, image): (Option<&str>, Option<&str>),
    pod: Option<(&str, &str)>,
) {
    let (group, root) = (Group::new(), temporary());
    write(root.path(), file, ID, content);
    let cgroup = cgroup.replace("ID", ID);
    let inner = inside(&group, &cgroup);
    let mut watch = Watch::with(watched(&group, files(root.path())));
    let exec = until_known(&mut watch, &inner);
    let found = container(&exec);
    assert_eq!((&*found.id, found.runtime.as_deref()), (ID, runtime));
    assert_eq!((found.name.as_deref(), found.image.as_deref()), (name, image));
    assert_eq!(found.undescribed, None);
    let found = found.pod.as_ref().map(|pod| (pod.name.as_deref(), pod.namespace.as_deref()));
    assert_eq!(found, pod.map(|(name, namespace)| (Some(name), Some(namespace))));
    assert_eq!(watch.sensor.undescribed(), [].into());
    // The very first process of it was told without, and had not to wait.
    let first = execs(&watch.seen.events).next().unwrap();
    assert_eq!(container(first).undescribed, Some(Undescribed::Pending));
    drop(inner);
    remove(&group, &cgroup);
}

#[test]
fn each_runtime_s_containers_are_told_with_what_it_wrote() {
    if !can_run() {
        return;
    }
    let named = (Some("web"), Some("docker.io/library/nginx:1.27"));
    let pod = Some(("web-0", "shop"));
    check(
        ("docker-ID.scope", Some("docker")),
        (DOCKER_FILE, DOCKER),
        (Some("web"), Some("nginx:1.27")),
        None,
    );
    let of_pod = |scope: &str| format!("{POD}/{scope}");
    for file in [CONTAINERD_FILE, K3S_FILE] {
        let scope = of_pod("cri-containerd-ID.scope");
        check((&scope, Some("containerd")), (file, CONTAINERD), named, pod);
    }
    check((&of_pod("crio-ID.scope"), Some("cri-o")), (CRIO_FILE, CRIO), named, pod);
    for file in [PODMAN_FILE, TRANSIENT_FILE] {
        check(("libpod-ID.scope/container", Some("podman")), (file, PODMAN), named, None);
    }
    // The folders of a kubelet that uses no slices do not tell which runtime it was.
    let folders = "kubepods/burstable/pod8cbb7bc8-9a4b-4ee2-9ac8-7d3a0f3c6e11/ID";
    for (file, content) in [(CONTAINERD_FILE, CONTAINERD), (CRIO_FILE, CRIO)] {
        check((folders, None), (file, content), named, pod);
    }
}

#[test]
fn what_ran_before_the_file_was_there_has_it_in_what_it_does_later() {
    if !can_run() {
        return;
    }
    let (group, root) = (Group::new(), temporary());
    let inner = inside(&group, &format!("docker-{ID}.scope"));
    let mut watch = Watch::with(watched(&group, files(root.path())));
    let mut command = inner.command("/bin/cat");
    let cat = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut cat = Ends(cat);
    let exec = watch.exec_of("cat");
    assert_eq!(container(&exec).undescribed, Some(Undescribed::Pending));
    assert_eq!((&container(&exec).name, &container(&exec).image), (&None, &None));
    write(root.path(), DOCKER_FILE, ID, DOCKER);
    let known = until_known(&mut watch, &inner);
    drop(cat.0.stdin.take());
    let exit = watch.event("the exit of the first", |event| {
        event.kind() == EventKind::Exit && process(event).id() == process(&exec).id()
    });
    assert_eq!(container(&exit).image.as_deref(), Some("nginx:1.27"));
    let (of_exit, of_exec) = (&process(&exit).container, &process(&known).container);
    let shared = of_exit.as_ref().zip(of_exec.as_ref());
    assert!(shared.is_some_and(|(one, other)| Arc::ptr_eq(one, other)), "it is not shared");
    assert_eq!(watch.sensor.undescribed(), [].into());
}

/// Puts something there that is no file as Docker writes it.
fn put(what: &str, path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    match what {
        "nothing" => {}
        "a half" => fs::write(path, "{\"ID\":").unwrap(),
        "too much" => fs::File::create(path).unwrap().set_len((4 << 20) + 1).unwrap(),
        "a link" => {
            let real = path.with_extension("real");
            fs::write(&real, DOCKER.replace("CONTAINER_ID", ID)).unwrap();
            symlink(real, path).unwrap();
        }
        "a pipe" => mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap(),
        "a folder" => fs::create_dir(path).unwrap(),
        what => panic!("{what}"),
    }
}

#[test]
fn what_is_no_file_of_a_runtime_is_given_up_with_its_reason_and_counted() {
    if !can_run() {
        return;
    }
    for (what, why) in [
        ("nothing", Undescribed::NotFound),
        ("a half", Undescribed::Malformed),
        ("too much", Undescribed::TooLarge),
        ("a link", Undescribed::Unreadable),
        ("a pipe", Undescribed::Unreadable),
        ("a folder", Undescribed::Unreadable),
    ] {
        let (group, root) = (Group::new(), temporary());
        let path = root.path().join(DOCKER_FILE.replace("ID", ID));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        put(what, &path);
        let inner = inside(&group, &format!("docker-{ID}.scope"));
        let mut watch = Watch::with(watched(&group, impatient(root.path())));
        let exec = until_known(&mut watch, &inner);
        assert_eq!(container(&exec).undescribed, Some(why), "{what}");
        assert_eq!(container(&exec).image, None, "{what}");
        assert_eq!(watch.sensor.undescribed(), [(why, 1)].into(), "{what}");
    }
}

#[test]
fn links_on_the_host_lead_to_where_they_lead_there() {
    if !can_run() {
        return;
    }
    let (group, root) = (Group::new(), temporary());
    // As where Docker's state lies on another disk, and the agent sees the host in a folder.
    fs::create_dir_all(root.path().join("var/lib")).unwrap();
    fs::create_dir_all(root.path().join("data/docker")).unwrap();
    symlink("/data/docker", root.path().join("var/lib/docker")).unwrap();
    write(root.path(), &DOCKER_FILE.replace("var/lib", "data"), ID, DOCKER);
    let inner = inside(&group, &format!("docker-{ID}.scope"));
    let mut watch = Watch::with(watched(&group, impatient(root.path())));
    let exec = until_known(&mut watch, &inner);
    assert_eq!(container(&exec).image.as_deref(), Some("nginx:1.27"));
}

#[test]
fn who_does_not_want_it_has_the_control_group_s_word_only() {
    if !can_run() {
        return;
    }
    let (group, root) = (Group::new(), temporary());
    write(root.path(), DOCKER_FILE, ID, DOCKER);
    let inner = inside(&group, &format!("docker-{ID}.scope"));
    let with = watched(&group, files(root.path())).with_container_files(None);
    let mut watch = Watch::with(with);
    let exec = until_known(&mut watch, &inner);
    assert_eq!(*container(&exec), Container::new(ID, Some("docker")));
}

fn replayed(path: &Path) -> Vec<Arc<Event>> {
    let mut replay = Replay::open(path).unwrap();
    let mut events = Vec::new();
    while let Some(batch) = replay.read_batch().unwrap() {
        events.extend(batch.events);
    }
    events
}

#[test]
fn a_replay_has_the_containers_of_the_live_run() {
    if !can_run() {
        return;
    }
    let (group, root) = (Group::new(), temporary());
    let path = root.path().join("capture");
    let capture = CaptureWriter::create(&path, 64 << 20).unwrap();
    let docker = inside(&group, &format!("docker-{ID}.scope"));
    let missing = inside(&group, &format!("docker-{OTHER_ID}.scope"));
    let with = watched(&group, impatient(root.path())).with_capture(capture);
    write(root.path(), DOCKER_FILE, ID, DOCKER);
    let mut watch = Watch::with(with);
    until_known(&mut watch, &docker);
    assert!(watch.run(&mut missing.command("/bin/true")).1);
    watch.until("both containers", |events| {
        let known = |id: &str, image: Option<&str>, why| {
            execs(events).map(|event| container(event)).any(|found| {
                &*found.id == id && found.image.as_deref() == image && found.undescribed == why
            })
        };
        let both = known(ID, Some("nginx:1.27"), None)
            && known(OTHER_ID, None, Some(Undescribed::NotFound));
        if !both {
            assert!(missing.command("/bin/true").status().unwrap().success());
        }
        both.then_some(())
    });
    let live = watch.finish();
    assert_eq!(live.lost, []);
    assert_eq!(replayed(&path), live.events);
}

#[test]
fn evidence_that_begins_after_the_files_were_read_has_what_they_said() {
    if !can_run() {
        return;
    }
    let (group, root) = (Group::new(), temporary());
    write(root.path(), DOCKER_FILE, ID, DOCKER);
    let inner = inside(&group, &format!("docker-{ID}.scope"));
    let pending = inside(&group, &format!("docker-{OTHER_ID}.scope"));
    let ring = EvidenceRing::new(256 << 10);
    let with = watched(&group, files(root.path())).with_evidence(ring.clone());
    let mut watch = Watch::with(with);
    // Of one container it is known long before what the ring keeps, of the other not yet.
    until_known(&mut watch, &inner);
    for _ in 0..60 {
        for group in [&inner, &pending] {
            assert!(watch.run(&mut group.command("/bin/true")).1);
        }
    }
    watch.poll();
    let cause = execs(&watch.seen.events).last().unwrap();
    let rule =
        Arc::new(RuleMeta { id: "rule".into(), level: Severity::High, ..RuleMeta::default() });
    let detection = Detection {
        rule,
        event: Arc::clone(cause),
        evidence: Vec::new(),
        certainty: Certainty::Certain,
        correlated: None,
    };
    let options = EvidenceOptions::new(root.path().join("evidence"));
    let mut stage = EvidenceStage::new(ring, options, Arc::new(SystemClock));
    let mut raised = vec![Alert::from_detection(&identity(), detection, Timestamp::from_millis(1))];
    stage.pass(&mut raised, &mut Vec::new());
    let path = raised[0].capture.as_deref().unwrap().to_owned();
    drop(stage);

    let replayed = replayed(Path::new(&*path));
    assert!(replayed.len() < watch.seen.events.len(), "the ring never was full");
    let known =
        |found: &Container| (found.image.as_deref() == Some("nginx:1.27"), found.undescribed);
    for expected in [(true, None), (false, Some(Undescribed::Pending))] {
        assert!(execs(&replayed).any(|event| known(container(event)) == expected), "{expected:?}");
    }
    for event in &replayed {
        let live = watch.seen.events.iter().find(|live| live.id == event.id).unwrap();
        assert_eq!(event, live);
    }
}

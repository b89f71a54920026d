//! Rules that ask for the image of a container, its name and its pod.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lavender_core::event::{Container, Event, Pod, QosClass, Undescribed};
use lavender_core::{Certainty, Detector as _};
use lavender_detect::{RuleHandle, RuleSet, SigmaDetector, UndeterminedPolicy};
use support::{exec, process};

fn ran(container: Option<Container>) -> Arc<Event> {
    let mut shell = process("/bin/sh", &["sh"], None);
    shell.container = container.map(Arc::new);
    exec(shell)
}

fn docker() -> Container {
    Container {
        name: Some("proxy".into()),
        image: Some("nginx:1.27".into()),
        ..Container::new("c0ffee", Some("docker"))
    }
}

fn of_pod() -> Container {
    let pod = Pod {
        name: Some("web-0".into()),
        namespace: Some("shop".into()),
        ..Pod::new("b0d", QosClass::Burstable)
    };
    let image = Some("registry.example/shop/web@sha256:0123".into());
    Container { image, pod: Some(pod), ..Container::new("c0ffee", Some("containerd")) }
}

/// What a rule on a program in a container says: `None`, no match; else whether it is certain.
fn verdict(condition: &str, event: &Arc<Event>) -> Option<bool> {
    let text = format!(
        "title: A shell where none belongs
logsource: {{category: process_creation, product: linux}}
detection:
  selection: {condition}
  condition: selection
"
    );
    let rules = RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let mut detector = SigmaDetector::new(&RuleHandle::new(rules), UndeterminedPolicy::Report);
    let mut found = Vec::new();
    detector.detect(event, &mut found);
    assert!(found.len() <= 1);
    found.first().map(|detection| detection.certainty == Certainty::Certain)
}

#[test]
fn a_rule_on_the_image_the_name_or_the_pod_fires() {
    let (docker, of_pod) = (ran(Some(docker())), ran(Some(of_pod())));
    let on_docker = [
        "{Image|endswith: /sh, ContainerImage|startswith: 'nginx:'}",
        "{ContainerImage|re: '(^|/)nginx(:|@|$)'}",
        "{ContainerName: proxy}",
        "{ContainerRuntime: docker, PodName: null, PodNamespace: null}",
    ];
    for condition in on_docker {
        assert_eq!(verdict(condition, &docker), Some(true), "{condition}");
        assert_eq!(verdict(condition, &of_pod), None, "{condition}");
    }
    let on_pod = [
        "{ContainerImage|startswith: registry.example/shop/}",
        "{PodNamespace: shop, PodName|startswith: web-}",
        "{ContainerName: null, ContainerId|exists: true}",
    ];
    for condition in on_pod {
        assert_eq!(verdict(condition, &of_pod), Some(true), "{condition}");
        assert_eq!(verdict(condition, &docker), None, "{condition}");
    }
}

#[test]
fn what_was_not_read_is_undetermined_and_what_is_in_no_container_or_pod_has_no_field() {
    let pending = |container: Container| Container {
        name: None,
        image: None,
        pod: container.pod.map(|pod| Pod { name: None, namespace: None, ..pod }),
        undescribed: Some(Undescribed::Pending),
        ..container
    };
    let (docker, of_pod) = (ran(Some(pending(docker()))), ran(Some(pending(of_pod()))));
    for condition in ["{ContainerImage|startswith: 'nginx:'}", "{ContainerName: proxy}"] {
        assert_eq!(verdict(condition, &docker), Some(false), "{condition}");
        assert_eq!(verdict(condition, &ran(None)), None, "{condition}");
    }
    for condition in ["{PodName: web-0}", "{PodNamespace: shop}"] {
        assert_eq!(verdict(condition, &of_pod), Some(false), "{condition}");
        // The control group says that it is in no pod.
        assert_eq!(verdict(condition, &docker), None, "{condition}");
    }
}

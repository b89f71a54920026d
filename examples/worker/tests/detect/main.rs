//! `lavender-worker detect` on a real broker: alerts, rules loaded again, a kill, refusals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]
#![allow(clippy::print_stdout, reason = "tests say why they skip")]

mod setting;

use std::collections::BTreeSet;
use std::sync::Arc;

use lavender_core::conformance::sample::Sample;
use lavender_core::event::Process;
use setting::{Broker, Worker};

fn rule(id: &str, program: &str) -> String {
    format!(
        "title: {id}\nid: {id}\nname: {id}\nlevel: high\n\
         logsource: {{category: process_creation, product: linux}}\n\
         detection: {{s: {{Image|endswith: /{program}}}, condition: s}}\n\
         lavender: {{suppress: false}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_becomes_an_alert_and_another_worker_goes_on_after_a_kill() {
    let Some(broker) = Broker::start().await else { return };
    let rules = tempfile::tempdir().unwrap();
    let more = "---\ntitle: Twice\nid: twice\nlevel: critical\ncorrelation: {type: event_count, rules: [first], \
                group-by: [ProcessTreeGuid], timespan: 1h, condition: {gte: 2}}\nlavender: {generate: [first]}\n";
    std::fs::write(rules.path().join("a.yml"), rule("first", "nc") + more).unwrap();
    let mut worker = Worker::start(&broker, rules.path());
    worker.wait_for("the rules are loaded").await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let [shell, other] = [sample.process(), sample.process()];
    let mut run = |shell: &Arc<Process>, path: &str| {
        let process = sample.child(shell, path, &["-e", "/bin/sh"]);
        (sample.source().clone(), vec![sample.exec(&process)])
    };

    broker.publish(run(&shell, "/usr/bin/nc")).await;
    assert_eq!(broker.next_alerts(1).await, [("first".to_owned(), "web-1".to_owned())]);
    assert!(worker.metrics().contains("lavender_detection_alerts_total 1"), "{}", worker.metrics());
    assert!(worker.health().starts_with("HTTP/1.1 200"), "{}", worker.health());

    // What is wrong is not taken.
    std::fs::write(rules.path().join("b.yml"), "title: Broken").unwrap();
    worker.hang_up();
    worker.wait_for("the rules are not taken").await;
    std::fs::write(rules.path().join("b.yml"), rule("second", "socat")).unwrap();
    worker.hang_up();
    worker.wait_for("the rules are loaded again").await;
    broker.publish(run(&other, "/usr/bin/socat")).await;
    assert_eq!(broker.next_alerts(1).await, [("second".to_owned(), "web-1".to_owned())]);

    // What the first has seen counts for the one that follows.
    worker.kill();
    broker.publish(run(&shell, "/usr/bin/nc")).await;
    let mut next = Worker::start(&broker, rules.path());
    let raised = broker.next_alerts(3).await.into_iter().map(|(rule, _)| rule);
    let expected = ["first", "twice", "lavender-risk"].map(Into::into);
    assert_eq!(raised.collect::<BTreeSet<_>>(), expected.into());
    assert_eq!(next.terminate(), Some(0));
}

/// What a tenant publishes is added to the files of the worker for its agents alone, swapped while events flow, refused
/// whole, and there again after a kill.
#[tokio::test(flavor = "multi_thread")]
async fn published_rules_are_followed() {
    let Some(broker) = Broker::start().await else { return };
    let rules = tempfile::tempdir().unwrap();
    std::fs::write(rules.path().join("a.yml"), rule("first", "nc")).unwrap();
    broker.publish_rules("acme", 1, &rule("second", "socat")).await;
    let configuration = "[detection]\nrisk = false\n";
    let mut worker = Worker::start_with(&broker, rules.path(), configuration);
    worker.wait_for("published rules are in use").await;
    let mut acme = Sample::new("acme", "web-1", 1);
    let mut globex = Sample::new("globex", "db-1", 2);
    let run = |sample: &mut Sample, program: &str| {
        let shell = sample.process();
        let process = sample.child(&shell, &format!("/usr/bin/{program}"), &[program]);
        (sample.source().clone(), vec![sample.exec(&process)])
    };
    let alert = |rule: &str, agent: &str| (rule.to_owned(), agent.to_owned());
    // What is no alert would come before what is.
    for (program, found) in [
        ("socat", vec![alert("second", "web-1")]),
        ("nc", vec![alert("first", "web-1"), alert("first", "db-1")]),
    ] {
        broker.publish(run(&mut globex, program)).await;
        broker.publish(run(&mut acme, program)).await;
        let raised: BTreeSet<_> = broker.next_alerts(found.len()).await.into_iter().collect();
        assert_eq!(raised, found.into_iter().collect(), "{program}");
    }

    broker.publish_rules("acme", 2, "title: Broken").await;
    worker.wait_for("published rules are not taken").await;
    assert!(worker.metrics().contains("lavender_rulesets_refused_total 1"), "{}", worker.metrics());
    assert!(worker.metrics().contains("lavender_rulesets_taken_total 1"), "{}", worker.metrics());
    broker.publish(run(&mut acme, "socat")).await;
    assert_eq!(broker.next_alerts(1).await, [alert("second", "web-1")]);

    // A rule takes the place of one with its id; what was published before is not used any more.
    broker.publish_rules("acme", 3, &rule("first", "ncat")).await;
    worker.wait_for("revision=3").await;
    for program in ["nc", "socat", "ncat"] {
        broker.publish(run(&mut acme, program)).await;
    }
    broker.publish(run(&mut globex, "nc")).await;
    let raised: BTreeSet<_> = broker.next_alerts(2).await.into_iter().collect();
    assert_eq!(raised, [alert("first", "web-1"), alert("first", "db-1")].into());
    worker.kill();
    let mut next = Worker::start_with(&broker, rules.path(), configuration);
    for program in ["nc", "ncat"] {
        broker.publish(run(&mut acme, program)).await;
    }
    assert_eq!(broker.next_alerts(1).await, [alert("first", "web-1")]);
    next.wait_for("the rules are loaded").await;
    assert_eq!(next.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lateness_that_is_too_short_is_refused() {
    let Some(broker) = Broker::start().await else { return };
    let rules = tempfile::tempdir().unwrap();
    let mut worker = Worker::start_with(&broker, rules.path(), "[detection]\nlateness_secs = 30\n");
    assert_eq!(worker.wait(), Some(3));
    worker.wait_for("lateness_secs: 30 is too short").await;
}

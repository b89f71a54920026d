//! The file for Docker says what the programs understand. It is not run here: that needs Docker.
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use std::collections::BTreeSet;
use std::path::Path;

use lavender_worker::cli::Cli;
use lavender_worker::config::Config;
use serde_json::Value;

fn compose() -> Value {
    let text = include_str!("../compose.yaml");
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_worker_is_started_as_its_command_line_says() {
    let compose = compose();
    let mut roles = BTreeSet::new();
    for (name, service) in compose["services"].as_object().unwrap() {
        let command = service["command"].as_array().cloned().unwrap_or_default();
        let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
        if words.first() == Some(&"lavender-worker") {
            <Cli as clap::Parser>::try_parse_from(&words).unwrap();
            assert_eq!(words[1], name, "a service is called as its role");
            roles.insert(name.clone());
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{port} is open to others");
        }
    }
    let all = ["alert-writer", "detect", "ingest", "telemetry-writer"].map(String::from);
    assert_eq!(roles, BTreeSet::from(all));
}

#[test]
fn the_control_plane_is_started_as_its_command_line_says() {
    let compose = compose();
    let service = &compose["services"]["control-plane"];
    let command = service["command"].as_array().unwrap();
    let words = command.iter().map(|word| word.as_str().unwrap());
    let environment = &service["environment"];
    let of = |name: &str| environment[name].as_str().unwrap();
    // As the environment has them, which tests share.
    let words =
        words.chain(["--store", of("LAVENDER_STORE"), "--transport", of("LAVENDER_TRANSPORT")]);
    let cli = <lavender_control_plane::cli::Cli as clap::Parser>::try_parse_from(words).unwrap();
    cli.check_listen().unwrap();
    let ports = compose["services"]["postgres"]["ports"].as_array().unwrap();
    let port = format!("127.0.0.1:{0}:{0}", cli.listen.port());
    assert!(ports.iter().any(|published| *published == port), "{port} is not published");
    let mounted = service["volumes"].as_array().unwrap();
    let key = cli.signing_key.unwrap().display().to_string();
    assert!(mounted.iter().any(|volume| volume.as_str().unwrap().contains(&format!(":{key}:"))));
    lavender_control_plane::Broker::new(&cli.transport.unwrap()).unwrap();
    assert!(cli.store.unwrap().ends_with("sslmode=disable"), "over the loopback, which they share");
}

#[test]
fn the_workers_understand_their_configuration() {
    let text = compose()["configs"]["worker"]["content"].as_str().unwrap().to_owned();
    let config = Config::parse(&text, Path::new("worker.toml")).unwrap();
    assert_eq!(config.transport.url, "nats://nats:4222");
    lavender_transport::nats::JetStreamOptions::from_url(&config.transport.url).unwrap();
    assert!(config.store.url.ends_with("sslmode=disable"), "over the loopback, which they share");
}

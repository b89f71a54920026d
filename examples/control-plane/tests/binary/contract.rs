//! Whatever is asked, allowed by the OpenAPI document or not: no 5xx, and no answer that the document does not have.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lavender_control_plane::keys;
use lavender_core::command::KeyId;
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::store::LivenessTimes;
use lavender_core::{AlertStore as _, EventStore as _, Severity, TenantId};
use lavender_store::{SqliteOptions, SqliteStore, Store as _};
use tempfile::TempDir;

use crate::server::Server;

/// Something of everything, so that answers have content.
async fn fill(path: &Path) {
    use lavender_core::store::FleetStore as _;

    let store = SqliteStore::open(path, SqliteOptions::default()).unwrap();
    let mut sample = Sample::new(TenantId::default().as_str(), "web-1", 1);
    let events = sample.every_kind();
    store.append(&sample.source().clone(), &events).await.unwrap();
    let alerts: Vec<_> = events
        .iter()
        .zip(Severity::ALL.into_iter().cycle())
        .map(|(event, severity)| sample.alert(event, "r", severity))
        .collect();
    store.insert(&alerts).await.unwrap();
    store.sweep_liveness(&LivenessTimes::default(), START).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_keeps_to_its_document() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/schemathesis");
    let found = Command::new(script).output().unwrap();
    if !found.status.success() {
        let why = String::from_utf8_lossy(&found.stderr);
        println!("skipped: there is no schemathesis here: {}", why.trim());
        return;
    }
    let program = String::from_utf8(found.stdout).unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    fill(&path).await;
    let key = directory.path().join("signing.key");
    keys::generate(KeyId::new("ops-1").unwrap(), &key).unwrap();
    let more = ["--requests-per-second", "1000000", "--signing-key", key.to_str().unwrap()];
    let server = Arc::new(Server::start(&path, &more));
    let token = server.token.clone().unwrap();
    let tested = Command::new(program.trim())
        .current_dir(directory.path())
        .arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", server.address))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "not_a_server_error,status_code_conformance"])
        .args(["--checks", "content_type_conformance,response_schema_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--seed", "1"])
        // It does not end.
        .args(["--exclude-path", "/api/v1/live"])
        .args(["--suppress-health-check", "all", "--generation-database", "none", "--no-color"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tested.stdout);
    println!("{said}");
    assert!(tested.status.success(), "{said}{}", String::from_utf8_lossy(&tested.stderr));
    assert_eq!(server.get("/healthz", "").0, 200);
    let metrics = server.get("/metrics", "").1;
    assert!(metrics.contains("lavender_control_plane_failures_total 0\n"), "{metrics}");
    let asked =
        metrics.lines().find_map(|l| l.strip_prefix("lavender_control_plane_requests_total "));
    assert!(
        asked.unwrap().parse::<u64>().unwrap() > 500,
        "it asked for next to nothing: {metrics}"
    );
}

//! Over a network the connection is encrypted and the server is who it should be, or there is none.

use std::fs;
use std::path::Path;

use lavender_core::{ErrorKind, EventStore as _};
use lavender_store::{PostgresOptions, PostgresStore};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{Server, connect};

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, as PEM files `NAME.pem` and `NAME.key`.
fn issue(by: &CertifiedIssuer<'static, KeyPair>, name: &str, at: &Path, file: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = params.signed_by(&key, by).unwrap();
    fs::write(at.join(format!("{file}.pem")), certificate.pem()).unwrap();
    fs::write(at.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

fn refusal(url: &str) -> (ErrorKind, String) {
    let error = PostgresStore::open(url, PostgresOptions::default()).unwrap_err();
    (error.kind(), format!("{error} {error:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_who_it_should_be() {
    let ours = authority("Lavender test");
    let started = Server::start_with(|at| {
        fs::write(at.join("ca.pem"), ours.pem()).unwrap();
        fs::write(at.join("other.pem"), authority("Another").pem()).unwrap();
        issue(&ours, "localhost", at, "server");
        issue(&ours, "lavender", at, "client");
        Server::own(&at.join("server.key"));
        fs::write(
            at.join("data/pg_hba.conf"),
            "local all all trust\nhostssl certified all all cert clientcert=verify-full\nhostssl all all all scram-sha-256\n",
        )
        .unwrap();
        let at = at.display();
        format!(
            "ssl = on\nssl_cert_file = '{at}/server.pem'\nssl_key_file = '{at}/server.key'\nssl_ca_file = '{at}/ca.pem'"
        )
    });
    let Some(mut server) = started else { return };
    server.database().await;
    let at = server.path().display().to_string();
    let localhost = server.tcp("localhost", "test1");

    let trusted = format!("{localhost}?sslmode=verify-full&sslrootcert={at}/ca.pem");
    let store = PostgresStore::open(&trusted, PostgresOptions::default()).unwrap();
    assert!(store.agents().await.unwrap().is_empty());
    assert!(!format!("{store:?}").contains("s3cret"), "{store:?}");
    // `require` of libpq would take any certificate; here every mode that encrypts checks it.
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!("{localhost}?sslmode={mode}&sslrootcert={at}/other.pem");
        let (kind, text) = refusal(&url);
        assert_eq!(kind, ErrorKind::Invalid, "{text}");
        assert!(text.contains("no trusted connection") && text.contains("UnknownIssuer"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        let (kind, text) = refusal(&format!("{localhost}?sslmode={mode}"));
        assert_eq!(kind, ErrorKind::Invalid, "the system does not trust it: {text}");
    }
    let by_address = server.tcp("127.0.0.1", "test1");
    let (kind, text) =
        refusal(&format!("{by_address}?sslmode=verify-full&sslrootcert={at}/ca.pem"));
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("not valid for name"), "{text}");
    // The server asks for TLS, and the client was told not to.
    let (kind, text) = refusal(&format!("{localhost}?sslmode=disable"));
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    assert!(text.contains("refuses this user"), "{text}");

    let wrong = trusted.replace("s3cret", "0ther");
    let (kind, text) = refusal(&wrong);
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("password") && !text.contains("0ther"), "{text}");

    // A certificate in the place of a password.
    connect(&server.socket("postgres"))
        .await
        .batch_execute("CREATE DATABASE certified")
        .await
        .unwrap();
    let certified = server.tcp("localhost", "certified").replace(":s3cret", "");
    let root = format!("{certified}?sslmode=verify-full&sslrootcert={at}/ca.pem");
    let (kind, _) = refusal(&root);
    assert_eq!(kind, ErrorKind::Invalid);
    let own = format!("{root}&sslcert={at}/client.pem&sslkey={at}/client.key");
    PostgresStore::open(&own, PostgresOptions::default()).unwrap();
    let (_, text) = refusal(&format!("{root}&sslcert={at}/client.pem"));
    assert!(text.contains("come together"), "{text}");
    let (_, text) = refusal(&format!("{root}&sslcert={at}/none.pem&sslkey={at}/none.key"));
    assert!(text.contains("none.key"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_not_spoken_to_when_it_is_asked_for() {
    let Some(mut server) = Server::start() else { return };
    server.database().await;
    let url = server.tcp("localhost", "test1");
    PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    fs::write(server.path().join("ca.pem"), authority("A").pem()).unwrap();
    let root = server.path().join("ca.pem");
    let (kind, text) = refusal(&format!("{url}?sslmode=require&sslrootcert={}", root.display()));
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("no trusted connection"), "{text}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (kind, text) = refusal(&format!("postgres://ana:s3cret@127.0.0.1:{port}/x"));
    assert_eq!(kind, ErrorKind::Unavailable, "nobody listens: {text}");
    assert!(text.contains("127.0.0.1") && !text.contains("s3cret"), "{text}");
}

//! Stores are opened from a URL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lavender_core::ErrorKind;
use lavender_store::open;

fn refusal(url: &str) -> (ErrorKind, String) {
    let error = open(url).map(|_| ()).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn what_is_no_store_is_refused_with_what_would_be() {
    for url in ["", "lavender.db", "/var/lib/lavender.db", "mysql://x", "memory:x", "sqlite"] {
        let (kind, text) = refusal(url);
        assert_eq!(kind, ErrorKind::Invalid, "{url}");
        assert!(text.contains("sqlite:PATH") && text.contains(url), "{text}");
    }
}

#[test]
fn a_secret_is_never_in_an_error() {
    for url in [
        "postgres://ana:s3cret@db.example/x?sslmode=disable",
        "postgres://db.example/x?password=s3cret&sslmode=disable",
        "postgres://ana:a?s3cret@db.example/x",
        "postgres://db.example/x?sslmode=disable&password=a@s3cret",
        "mysql://ana:s3cret@db.example/x",
        "mysql://db.example/x?password=s3cret",
    ] {
        let error = open(url).map(|_| ()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}

#[cfg(not(feature = "postgres"))]
#[test]
fn what_is_not_built_in_is_said_to_be() {
    let (kind, text) = refusal("postgres://ana:s3cret@db.example/lavender");
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("not built in") && text.contains("db.example"), "{text}");
    assert!(!text.contains("s3cret"), "a password in an error: {text}");
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn without_sqlite_its_url_names_the_feature() {
    let (kind, text) = refusal("sqlite:/nonexistent/lavender.db");
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("feature `sqlite`"), "{text}");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_path_may_stand_behind_slashes_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/the/way/lavender.db");
    let path = path.display();
    for url in [format!("sqlite:{path}"), format!("sqlite://{path}")] {
        let store = open(&url).unwrap();
        assert!(store.agents().await.unwrap().is_empty());
        store.close().await.unwrap();
    }
    let (kind, text) = refusal("sqlite:");
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("path is missing"), "{text}");
}

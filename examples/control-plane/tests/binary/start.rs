//! How it starts, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use lavender_control_plane::keys;
use tempfile::TempDir;

use crate::server::{Server, command};

#[test]
fn the_first_token_is_printed_once_and_works() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let server = Server::start(&path, &["--tenant", "acme"]);
    let token = server.token.clone().expect("no token was printed");
    assert_eq!(server.get("/healthz", "").0, 200);
    assert_eq!(server.get("/api/v1/alerts", "").0, 401);
    assert_eq!(server.get("/api/v1/alerts", &token), (200, "{\"items\":[]}".into()));
    let (status, audit) = server.get("/api/v1/audit", &token);
    assert!(status == 200 && audit.contains("token_create"), "{audit}");
    let said = server.stop();
    assert!(!said.contains(&token), "the token is in the log");

    let again = Server::start(&path, &["--tenant", "acme"]);
    assert_eq!(again.token, None, "a first token is made again");
    assert_eq!(again.get("/api/v1/alerts", &token).0, 200);
    assert!(again.get("/api/v1/rules", &token).1.contains("\"title\""), "no built-in rules");
    again.stop();
    let other = Server::start(&path, &["--tenant", "acme", "--tenant", "globex"]);
    assert!(other.token.as_ref().is_some_and(|globex| *globex != token));
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let directory = TempDir::new().unwrap();
    for (more, code, why) in [
        (&["--listen", "0.0.0.0:0"][..], 2, "--behind-tls-proxy"),
        (&["--degraded-after-s", "60"], 2, "--offline-after-s"),
        (&["--tenant", "a b"], 2, "a b"),
        (&["--rules", "/nowhere"], 2, "/nowhere"),
        (&["--store", "sqlite:"], 1, "path"),
        (&["--store", "mysql://x"], 1, "postgres://"),
    ] {
        let path = directory.path().join("lavender.db");
        let store = format!("sqlite:{}", path.display());
        let mut command = command(&store);
        if more[0] == "--store" || more[0] == "--listen" {
            command = std::process::Command::new(env!("CARGO_BIN_EXE_lavender-control-plane"));
            if more[0] == "--listen" {
                command.args(["--store", &store]);
            }
        }
        let ended = command.args(more).stdout(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{more:?}: {said}");
        assert!(said.contains(why), "{more:?}: {said}");
    }
}

#[test]
fn a_signing_key_is_made_once_for_its_owner_alone_and_read_again() {
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("signing.key");
    let generate = || {
        Command::new(env!("CARGO_BIN_EXE_lavender-control-plane"))
            .args(["keys", "generate", "--id", "ops-1"])
            .arg(&key)
            .output()
            .unwrap()
    };
    let made = generate();
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let signer = keys::load(&key).unwrap();
    assert_eq!(said, keys::agent_configuration(&signer));
    let text = std::fs::read_to_string(&key).unwrap();
    let secret = text.trim_end().split_once(' ').unwrap().1;
    assert!(said.contains("id = \"ops-1\"") && !said.contains(secret), "{said}");
    let again = generate();
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&key).unwrap(), text, "the key is overwritten");

    let path = directory.path().join("lavender.db");
    let flag = key.to_str().unwrap();
    let server = Server::start(&path, &["--signing-key", flag]);
    assert!(!server.stop().contains(secret), "the key is in the log");
    let refused = |why: &str| {
        let store = format!("sqlite:{}", path.display());
        let ended =
            command(&store).args(["--signing-key", flag]).stdout(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && !said.contains(secret), "{said}");
    };
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    refused("others may read it");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&key, format!("ops-1 {}", &secret[2..])).unwrap();
    refused("holds no signing key");
    std::fs::remove_file(&key).unwrap();
    refused("cannot be read");
}

#[test]
fn what_a_user_of_the_database_needs_is_printed() {
    let printed = Command::new(env!("CARGO_BIN_EXE_lavender-control-plane"))
        .args(["grants", "dashboard"])
        .output()
        .unwrap();
    assert!(printed.status.success());
    let sql = String::from_utf8(printed.stdout).unwrap();
    assert!(sql.contains("GRANT USAGE ON SCHEMA lavender TO \"dashboard\";"), "{sql}");
    assert!(!sql.contains("lavender.state"), "what workers know of agents is theirs");
}

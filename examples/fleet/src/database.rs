//! The database server.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use tokio::process::Command;

use crate::broker::free_port;
use crate::error::{FleetError, Result};
use crate::process::Process;

/// Who runs the server where the fleet is started by root, since PostgreSQL refuses to be: nobody.
const NOBODY: u32 = 65_534;

/// How often a server that was killed is started again, and how long after another.
const RESTARTS: u32 = 100;
const RESTART_DELAY: Duration = Duration::from_millis(100);

/// A PostgreSQL server on a free port of the loopback, whose user needs a password.
#[derive(Debug)]
pub struct Database {
    /// The process.
    pub process: Process,
    /// Its URL, with the password in it: for files that only their owner reads.
    pub url: String,
    server: Server,
}

/// The folder of the newest PostgreSQL that is installed.
fn programs() -> Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let has = |bin: &PathBuf| bin.join("postgres").exists() && bin.join("initdb").exists();
    let missing = || {
        FleetError::Missing("there is no PostgreSQL (Debian: apt-get install postgresql)".into())
    };
    found.into_iter().rev().find(has).ok_or_else(missing)
}

impl Database {
    /// Makes a database in a folder of the directory, and starts its server.
    ///
    /// # Errors
    ///
    /// When there is no PostgreSQL, or it does not become ready.
    pub async fn start(directory: &Path) -> Result<Self> {
        let programs = programs()?;
        let home = directory.join("postgresql");
        let at = |what: &str| FleetError::io(format!("{what} {}", home.display()));
        fs::create_dir(&home).map_err(at("making"))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).map_err(at("opening"))?;
        let password = nkeys::KeyPair::new_user().public_key();
        fs::write(home.join("password"), &password).map_err(at("writing into"))?;
        if geteuid().is_root() {
            for path in [&home, &home.join("password")] {
                chown(path, Some(NOBODY), Some(NOBODY)).map_err(at("giving away"))?;
            }
        }
        let port = free_port()?;
        let server = Server { programs, home, port, directory: directory.to_owned() };
        let made = server
            .command("initdb")
            .args(["-D", "data", "-U", "lavender", "-E", "UTF8", "--locale=C", "--no-sync"])
            .args(["--auth=scram-sha-256", "--pwfile=password"])
            .output()
            .await
            .map_err(FleetError::io("running initdb"))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(FleetError::Ended {
                name: "initdb".into(),
                status: made.status.to_string(),
                said,
            });
        }
        let process = server.start().await?;
        let url = url("lavender", &password, port);
        Ok(Self { process, url, server })
    }

    /// Makes a user who may do what the SQL grants; returns the URL for that user, with a password of its own in it.
    ///
    /// # Errors
    ///
    /// When the server does not take it.
    pub async fn add_user(&self, name: &str, grants: &str) -> Result<String> {
        let password = nkeys::KeyPair::new_user().public_key();
        let sql = format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}';\n{grants}");
        let refused = |error: tokio_postgres::Error| {
            FleetError::Missing(format!("the database takes no user {name}: {error}"))
        };
        let (client, connection) =
            tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.map_err(refused)?;
        // It ends with the client.
        tokio::spawn(connection);
        client.batch_execute(&sql).await.map_err(refused)?;
        Ok(url(name, &password, self.server.port))
    }

    /// Starts the server again that was killed. The processes of its connections end by themselves, soon after it;
    /// until they have, a new one refuses to start.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        let mut tries = 0;
        loop {
            match self.server.start().await {
                Ok(process) => {
                    self.process = process;
                    return Ok(());
                }
                Err(FleetError::Ended { .. }) if tries < RESTARTS => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(RESTART_DELAY).await;
        }
    }
}

fn url(user: &str, password: &str, port: u16) -> String {
    format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres?sslmode=disable")
}

/// What it takes to start the server of a database.
#[derive(Debug)]
struct Server {
    programs: PathBuf,
    home: PathBuf,
    port: u16,
    directory: PathBuf,
}

impl Server {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.home).env_clear().env("PATH", &self.programs);
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    async fn start(&self) -> Result<Process> {
        let mut server = self.command("postgres");
        server.args(["-D", "data", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-k", ""]);
        let mut process = Process::start("postgresql", server, &self.directory)?
            // Smart shutdown would wait for the connections of others.
            .stopped_by(Signal::INT);
        process.wait_until_it_says("ready to accept connections").await?;
        Ok(process)
    }
}

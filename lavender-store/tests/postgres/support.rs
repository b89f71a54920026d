//! A PostgreSQL server of a test's own: in a temporary directory, on a free port, ended with the test.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Who runs the server where the test is root, since PostgreSQL refuses to be: nobody.
const NOBODY: u32 = 65_534;

/// A running server. Its superuser is `lavender`, with the password `s3cret` over TCP.
#[derive(Debug)]
pub(crate) struct Server {
    directory: TempDir,
    programs: PathBuf,
    port: u16,
    child: Option<Child>,
    databases: u32,
}

/// A program of PostgreSQL's, in the newest installed version.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found.into_iter().rev().find(|bin| bin.join("postgres").exists() && bin.join("initdb").exists())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

impl Server {
    /// Starts one; `None`, with the reason printed, where there is no PostgreSQL.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_| String::new())
    }

    /// Starts one with more lines of configuration, made when its directory is there.
    pub(crate) fn start_with(more: impl FnOnce(&Path) -> String) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: there is no PostgreSQL here (Debian: apt-get install postgresql)");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("lavender-pg").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
        if is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::write(directory.path().join("password"), "s3cret").unwrap();
        fs::set_permissions(directory.path().join("password"), fs::Permissions::from_mode(0o644))
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { directory, programs, port, child: None, databases: 0 };
        let mut initdb = server.command("initdb");
        let password = server.path().join("password");
        let made = initdb
            .args(["-D", "data", "-U", "lavender", "-E", "UTF8", "--locale=C", "--no-sync"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg("--pwfile")
            .arg(password)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let more = more(server.path());
        let configuration = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 60\n\
             shared_buffers = 64MB\n{more}\n",
            server.path().display()
        );
        let file = server.path().join("data/postgresql.auto.conf");
        fs::write(file, configuration).unwrap();
        server.run();
        Some(server)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Gives a file to the user of the server.
    pub(crate) fn own(path: &Path) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.path()).env_clear().env("PATH", &self.programs);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Starts it, after a `kill` again.
    pub(crate) fn run(&mut self) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut child = self
            .command("postgres")
            .args(["-D", "data"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let socket = self.socket("postgres");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for _ in 0..600 {
            let connected = std::thread::scope(|scope| {
                let connect = tokio_postgres::connect(&socket, tokio_postgres::NoTls);
                scope.spawn(|| runtime.block_on(connect).is_ok()).join().unwrap()
            });
            if connected {
                self.child = Some(child);
                std::thread::spawn(move || drop(runtime)).join().unwrap();
                return;
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            wait_ms(100);
        }
        let _ = child.kill();
        let _ = child.wait();
        let mut said = String::new();
        let _ = fs::File::open(self.path().join("log")).unwrap().read_to_string(&mut said);
        panic!("the server does not start: {said}");
    }

    /// Ends it as a crash would: the server and every process of its own at once, by SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = child.id();
            let own = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
            assert!(own.split_whitespace().count() > 3, "a server has processes: {own}");
            // One of them may end by itself meanwhile.
            let _ = Command::new("kill")
                .args(["-KILL", &id.to_string()])
                .args(own.split_whitespace())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            child.wait().unwrap();
            // One that was writing ends a little later, and holds the server's memory until then.
            for process in own.split_whitespace() {
                while is_alive(process) {
                    wait_ms(10);
                }
            }
        }
    }

    /// A new database; returns its URL over the socket.
    pub(crate) async fn database(&mut self) -> String {
        self.databases += 1;
        let name = format!("test{}", self.databases);
        let client = connect(&self.socket("postgres")).await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        self.socket(&name)
    }

    /// The URL of a database over the socket.
    pub(crate) fn socket(&self, database: &str) -> String {
        let directory = self.path().display().to_string().replace('/', "%2F");
        format!("postgres://lavender@{directory}:{}/{database}", self.port)
    }

    /// The URL of a database over TCP, as `host` names it.
    pub(crate) fn tcp(&self, host: &str, database: &str) -> String {
        format!("postgres://lavender:s3cret@{host}:{}/{database}", self.port)
    }
}

/// Whether a process runs still; one that nobody has waited for does not.
fn is_alive(process: &str) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGQUIT: at once, and its workers with it.
            let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

/// A bare connection to a database.
pub(crate) async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits, where there is nothing else to wait for.
pub(crate) fn wait_ms(ms: u64) {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(std::time::Duration::from_millis(ms));
}

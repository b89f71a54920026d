//! All of it, started and stopped.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lavender_store::{PostgresStore, Store};
use tokio::process::Command;

use crate::acts::Cgroup;
use crate::broker::Broker;
use crate::control_plane::{ControlPlane, make_key};
use crate::database::Database;
use crate::error::{FleetError, Result};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::site::{AGENTS, CONTROL_PLANE, Site, TENANT};

/// The workers' roles, in the order that they are started in.
const ROLES: [&str; 4] = ["ingest", "detect", "telemetry-writer", "alert-writer"];

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The folder of `lavender-agent`, `lavender-worker` and `lavender-control-plane`.
    pub folder: PathBuf,
    /// `nats-server`.
    pub nats_server: PathBuf,
}

/// A fleet that runs.
#[derive(Debug)]
pub struct Fleet {
    agent: Option<Process>,
    workers: Vec<Process>,
    /// What the agent watches.
    pub cgroup: Cgroup,
    /// Where everything ends up.
    pub store: Arc<dyn Store>,
    /// The broker.
    pub broker: Broker,
    database: Database,
    /// Who is who.
    pub site: Site,
    /// Who gives commands and publishes rules, and has the dashboard.
    pub control_plane: ControlPlane,
    _directory: Scratch,
}

impl Fleet {
    /// Starts everything, with the control plane on this address; returns once the agent watches.
    ///
    /// # Errors
    ///
    /// When a part does not become ready, with what it said.
    pub async fn start(programs: &Programs, listen: SocketAddr) -> Result<Self> {
        let directory = Scratch::make("lavender-fleet-")?;
        let path = directory.path();
        let site = Site::make(path, &AGENTS)?;
        let broker = Broker::start(&programs.nats_server, &site, path).await?;
        let database = Database::start(path).await?;
        let store = lavender_store::open(&database.url)?;
        let mut workers = Vec::new();
        for role in ROLES {
            workers.push(worker(programs, role, &site, &broker, &database, path).await?);
        }
        let cgroup = Cgroup::make()?;
        let key = path.join("signing.key");
        let pinned = pinned(&make_key(programs, &key).await?, path);
        let grants = PostgresStore::control_plane_grants(CONTROL_PLANE);
        let store_url = database.add_user(CONTROL_PLANE, &grants).await?;
        let transport = site.control_plane_url(broker.port);
        let urls = (&*store_url, &*transport);
        let control_plane = ControlPlane::start(programs, urls, &key, listen, path).await?;
        let agent = agent(programs, &site, &broker, &cgroup, path, &pinned).await?;
        let agent = Some(agent);
        let _directory = directory;
        Ok(Self {
            agent,
            workers,
            cgroup,
            store,
            broker,
            database,
            site,
            control_plane,
            _directory,
        })
    }

    /// Looks whether everything runs.
    ///
    /// # Errors
    ///
    /// When something has ended.
    pub fn look(&mut self) -> Result<()> {
        self.agent.iter_mut().chain(&mut self.workers).try_for_each(Process::look)?;
        self.control_plane.process.look()?;
        self.broker.process.look()?;
        self.database.process.look()
    }

    /// The worker that evaluates rules.
    pub(crate) fn detects(&mut self) -> &mut Process {
        let place = ROLES.iter().position(|role| *role == "detect").unwrap_or(0);
        &mut self.workers[place]
    }

    /// Stops the agent, which delivers what it has.
    ///
    /// # Errors
    ///
    /// When it ends with an error.
    pub async fn stop_agent(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(agent) => agent.stop().await,
            None => Ok(()),
        }
    }

    /// Stops everything in the order in which things flow, so that nothing is left on its way.
    ///
    /// # Errors
    ///
    /// When a part ends with an error.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_agent().await?;
        self.control_plane.process.stop().await?;
        for worker in self.workers {
            worker.stop().await?;
        }
        self.store.close().await?;
        self.broker.process.stop().await?;
        self.database.process.stop().await
    }
}

/// Writes a file that only its owner reads: it may hold a password.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let failed = || FleetError::io(format!("writing {}", path.display()));
    fs::write(path, text).map_err(failed())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed())
}

async fn worker(
    programs: &Programs,
    role: &str,
    site: &Site,
    broker: &Broker,
    database: &Database,
    directory: &Path,
) -> Result<Process> {
    let file = directory.join(format!("{role}.toml"));
    let text = format!(
        "[transport]\nurl = {:?}\n[store]\nurl = {:?}\n[detection]\nsuppress_secs = 0\n[ingest]\ngap_wait_secs = 5\n",
        site.url(broker.port, "worker"),
        database.url
    );
    write(&file, &text)?;
    let mut command = Command::new(programs.folder.join("lavender-worker"));
    command.arg(role).arg("--config").arg(&file);
    let mut process = Process::start(role, command, directory)?;
    process.wait_until_it_says("/healthz").await?;
    Ok(process)
}

/// What the agent's configuration says to take commands that are signed by this key.
fn pinned(key: &str, directory: &Path) -> String {
    format!("{}\nstate_dir = {:?}\n", key.trim_end(), directory.join("commands"))
}

async fn agent(
    programs: &Programs,
    site: &Site,
    broker: &Broker,
    cgroup: &Cgroup,
    directory: &Path,
    commands: &str,
) -> Result<Process> {
    let name = AGENTS[0];
    let file = directory.join("lavender.toml");
    let text = format!(
        "[agent]\ntenant_id = {TENANT:?}\nagent_id = {name:?}\nheartbeat_interval_secs = 1\n\
         [alerts]\nsuppress_secs = 0\n[store]\nurl = \"sqlite:{}\"\n[evidence]\ndir = {:?}\n\
         [transport]\nurl = \"tls://127.0.0.1:{}\"\nspool_dir = {:?}\nca_file = {:?}\ncertificate_file = {:?}\nkey_file = {:?}\nnkey_file = {:?}\n{commands}",
        directory.join("agent.db").display(),
        directory.join("evidence"),
        broker.port,
        directory.join("spool"),
        site.file("ca.pem"),
        site.file("client.pem"),
        site.file("client.key"),
        site.file(&format!("{name}.nk")),
    );
    write(&file, &text)?;
    let mut command = Command::new(programs.folder.join("lavender-agent"));
    command.arg("run").arg("--config").arg(&file).arg("--cgroup").arg(cgroup.path());
    let mut process = Process::start("agent", command, directory)?;
    process.wait_until_it_says("Lavender is watching").await?;
    Ok(process)
}

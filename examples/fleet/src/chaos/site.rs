//! All parts, started and stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::expected::LATENESS;
use super::part::{Part, Recipe};
use super::queues::Queues;
use super::simulate::{DELIVERED, FINISH, SHED, Simulate};
use super::stream::{Streams, rules};
use crate::broker::{READY, configure, free_port};
use crate::database::Database;
use crate::error::{FleetError, Result};
use crate::fleet::{Programs, write};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::site::Site;

/// The workers: of each role one, and two that share the work of detection.
const WORKERS: [(&str, &str); 5] = [
    ("ingest", "ingest"),
    ("detect-1", "detect"),
    ("detect-2", "detect"),
    ("telemetry-writer", "telemetry-writer"),
    ("alert-writer", "alert-writer"),
];
/// How many processes carry the simulated agents.
const PROCESSES: usize = 2;
/// How long the agents may take to deliver what they have, once nothing is killed any more.
const DELIVERY: Duration = Duration::from_secs(900);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);

/// The parts, and where they are.
#[derive(Debug)]
pub(super) struct ChaosSite {
    /// In the order that they were started in; agents come last.
    pub parts: Vec<Part>,
    /// Who is who.
    pub site: Site,
    /// The ports of the broker's servers.
    pub ports: Vec<u16>,
    /// The database's URL, with its password.
    pub store_url: String,
    directory: Scratch,
}

impl ChaosSite {
    pub(super) async fn start(
        programs: &Programs,
        streams: &Streams,
        agents: usize,
        cluster: bool,
        rate: u64,
        spool_bytes: u64,
    ) -> Result<Self> {
        let directory = Scratch::make("lavender-chaos-")?;
        let path = directory.path();
        let names: Vec<String> = (0..agents).map(Streams::agent).collect();
        let site = Site::make(path, &names)?;
        let (mut parts, ports) = broker(programs, &site, cluster, path).await?;
        let database = Database::start(path).await?;
        let store_url = database.url.clone();
        parts.push(Part::Database(Box::new(database)));
        let folder = path.join("rules");
        fs::create_dir(&folder).map_err(FleetError::io("a folder of rules"))?;
        write(&folder.join("chaos.yml"), &rules())?;
        let replicas = if cluster { "&replicas=3" } else { "" };
        for (name, role) in WORKERS {
            let file = path.join(format!("{name}.toml"));
            let text = format!(
                "[transport]\nurl = \"{}{replicas}\"\nack_wait_secs = 5\n[store]\nurl = {store_url:?}\n\
                 [rules]\nbuiltin = false\ndirs = [{folder:?}]\n\
                 [detection]\nsuppress_secs = 0\nlateness_secs = {}\nsilence_secs = 86400\n",
                site.url_of(&ports, "worker"),
                LATENESS.as_secs()
            );
            write(&file, &text)?;
            let recipe = Recipe {
                program: programs.folder.join("lavender-worker"),
                arguments: vec![role.into(), "--config".into(), file.display().to_string()],
                ready: "/healthz",
            };
            parts.push(Part::start(name, recipe, path).await?);
        }
        let each = agents.div_ceil(PROCESSES);
        for (number, first) in (0..agents).step_by(each).enumerate() {
            let some = (first, each.min(agents - first));
            let nats = site.url_of(&ports, "{agent}");
            let told = Simulate::new(streams, some, rate, nats, path, spool_bytes);
            let program = programs.folder.join("lavender-fleet");
            let recipe = Recipe { program, arguments: told.arguments(), ready: "" };
            parts.push(Part::start(format!("agents-{}", number + 1), recipe, path).await?);
        }
        Ok(Self { parts, site, ports, store_url, directory })
    }

    /// Looks whether everything runs.
    pub(super) fn look(&mut self) -> Result<()> {
        self.parts.iter_mut().map(Part::process).try_for_each(Process::look)
    }

    /// Lets the agents deliver what they have and say their last, and waits until nothing is on its way any more. Says
    /// how many events the agents had to give up.
    pub(super) async fn finish(&mut self, queues: &Queues, patience: Duration) -> Result<u64> {
        let delivered = async {
            while !self.agents().all(|agent| agent.said().contains(DELIVERED)) {
                self.agents().try_for_each(Process::look)?;
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        let late = |_| FleetError::Late("what the agents have".into(), DELIVERY.as_secs());
        timeout(DELIVERY, delivered).await.map_err(late).and_then(|done| done)?;
        queues.drained(patience).await?;
        write(&self.directory.path().join(FINISH), "")?;
        let mut shed = 0;
        for agent in self.agents() {
            agent.ended_well().await?;
            let said = agent.said();
            let counts = said.lines().filter_map(|line| line.strip_prefix(SHED));
            shed += counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum::<u64>();
        }
        self.parts.retain(|part| !is_agent(part));
        queues.drained(patience).await?;
        Ok(shed)
    }

    fn agents(&mut self) -> impl Iterator<Item = &mut Process> {
        self.parts.iter_mut().filter(|part| is_agent(part)).map(Part::process)
    }

    /// Leaves everything on disk, for who looks what went wrong.
    pub(super) fn keep(self) -> PathBuf {
        self.directory.keep()
    }

    /// Stops everything, workers before what they need.
    pub(super) async fn stop(mut self) -> Result<()> {
        while let Some(part) = self.parts.pop() {
            part.stop().await?;
        }
        Ok(())
    }
}

fn is_agent(part: &Part) -> bool {
    part.name().starts_with("agents-")
}

/// The broker: one server, or three that are a cluster.
async fn broker(
    programs: &Programs,
    site: &Site,
    cluster: bool,
    directory: &Path,
) -> Result<(Vec<Part>, Vec<u16>)> {
    let count = if cluster { 3 } else { 1 };
    let free = || (0..count).map(|_| free_port()).collect::<Result<Vec<u16>>>();
    let (ports, routes) = (free()?, free()?);
    let listed: Vec<String> =
        routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let mut starting = Vec::new();
    for (number, (port, route)) in ports.iter().zip(&routes).enumerate() {
        let name = format!("nats-server-{}", number + 1);
        let more = match cluster {
            true => format!(
                "cluster {{ name: chaos, listen: 127.0.0.1:{route}, routes: [{}] }}\n",
                listed.join(", ")
            ),
            false => String::new(),
        };
        let file = configure(&name, *port, &more, site, directory)?;
        let recipe = Recipe {
            program: programs.nats_server.clone(),
            arguments: vec!["--config".into(), file.display().to_string()],
            ready: READY,
        };
        starting.push(Part::start(name, recipe, directory).await?);
    }
    Ok((starting, ports))
}

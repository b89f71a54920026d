//! A folder, a control group and a configuration for one test.

use std::path::PathBuf;

use tempfile::TempDir;

use super::agent::{self, Agent};
use super::cgroup::Cgroup;
use super::store::Stored;
use super::write;

/// Everything that one run of the agent needs, and nothing of anybody else's.
pub struct Setting {
    pub cgroup: Cgroup,
    pub folder: TempDir,
}

impl Setting {
    /// With a file of its own listed as sensitive, a folder of its own for evidence, no canary unless `more` has one, and
    /// `more` in the configuration.
    pub fn new(more: &str) -> Self {
        let setting = Self { cgroup: Cgroup::new(), folder: tempfile::tempdir().unwrap() };
        write(&setting.sensitive(), "root:*:1::::::\n");
        let sensitive = setting.sensitive();
        let (sensitive, evidence) = (sensitive.to_str().unwrap(), setting.evidence());
        let state = setting.path("commands");
        let commands = match more.contains("[commands]") {
            true => String::new(),
            false => format!("[commands]\nstate_dir = {:?}\n", state.to_str().unwrap()),
        };
        let canary = match more.contains("[canary]") {
            true => "",
            false => "[canary]\nenabled = false\n",
        };
        write(
            &setting.config(),
            &format!(
                "[agent]\nagent_id = \"test-agent\"\n{more}\n{commands}{canary}[evidence]\ndir = {:?}\n\
                 [filters]\nsensitive_files = [{sensitive:?}]\n",
                evidence.to_str().unwrap()
            ),
        );
        setting
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub fn sensitive(&self) -> PathBuf {
        self.path("etc/shadow")
    }

    pub fn evidence(&self) -> PathBuf {
        self.path("evidence")
    }

    pub fn config(&self) -> PathBuf {
        self.path("lavender.toml")
    }

    pub fn database(&self) -> PathBuf {
        self.path("lavender.db")
    }

    /// The command line of a run that sees only the group, with a store of its own unless `more` names one.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut arguments = vec![
            "run".to_owned(),
            "--config".to_owned(),
            text(self.config()),
            "--cgroup".to_owned(),
            text(self.cgroup.path().to_owned()),
        ];
        // A test that wants the dashboard says where.
        if !more.contains(&"--listen") {
            arguments.push("--no-control-plane".to_owned());
        }
        if !more.contains(&"--store") {
            let database = self.database();
            arguments.extend(["--store".to_owned(), format!("sqlite:{}", text(database))]);
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        arguments
    }

    /// A run that sees only the group.
    pub fn run(&self, more: &[&str]) -> Agent {
        let arguments = self.arguments(more);
        Agent::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same as a command that is not started yet.
    pub fn command(&self, more: &[&str]) -> std::process::Command {
        let arguments = self.arguments(more);
        agent::command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn stored(&self) -> Stored {
        Stored::open(&self.database())
    }
}

//! A part of the fleet that can be killed and started again.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::database::Database;
use crate::error::Result;
use crate::process::Process;

/// How a part is started.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The program.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
    /// What it says once it is ready; nothing to wait for when it is empty.
    pub ready: &'static str,
}

impl Recipe {
    async fn start(&self, name: &str, directory: &Path) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let mut process = Process::start(name, command, directory)?;
        if !self.ready.is_empty() {
            process.wait_until_it_says(self.ready).await?;
        }
        Ok(process)
    }
}

/// A part that runs.
#[derive(Debug)]
pub enum Part {
    /// A program that needs nothing but to be started.
    Program {
        /// Its name, in the table and of its log.
        name: String,
        /// How it is started.
        recipe: Recipe,
        /// The process.
        process: Box<Process>,
        /// Where its log is.
        directory: PathBuf,
    },
    /// The database.
    Database(Box<Database>),
}

impl Part {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn start(name: impl Into<String>, recipe: Recipe, directory: &Path) -> Result<Self> {
        let name = name.into();
        let process = Box::new(recipe.start(&name, directory).await?);
        Ok(Self::Program { name, recipe, process, directory: directory.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Program { name, .. } => name,
            Self::Database(_) => "postgresql",
        }
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        match self {
            Self::Program { process, .. } => process,
            Self::Database(database) => &mut database.process,
        }
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    ///
    /// When it had ended by itself, with what it said.
    pub async fn kill(&mut self) -> Result<()> {
        self.process().kill().await
    }

    /// Starts it again, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        match self {
            Self::Program { name, recipe, process, directory } => {
                **process = recipe.start(name, directory).await?;
                Ok(())
            }
            Self::Database(database) => database.restart().await,
        }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// When it ends with an error.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Program { process, .. } => process.stop().await,
            Self::Database(database) => database.process.stop().await,
        }
    }
}

//! Opens the store, makes first tokens, serves until the end.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use lavender_core::command::CommandSink;
use lavender_core::pipeline::signal;
use lavender_core::{Clock, SystemClock};
use lavender_detect::{RuleHandle, RuleSetBuilder};
use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::cli::{Cli, KeysTask, Task};
use crate::command::Commanding;
use crate::keys::{self, KeyError};
use crate::plane::{ControlPlane, Options};
use crate::rulesets::RulesetSink;
use crate::serve::{WelcomeError, serve, welcome};

/// Why the control plane could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The store cannot be opened, read or written.
    #[error(transparent)]
    Store(#[from] lavender_core::Error),
    /// No first token could be made.
    #[error(transparent)]
    Welcome(#[from] WelcomeError),
    /// There is no signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It cannot listen, or cannot go on.
    #[error("cannot listen on {listen}: {error}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// What it has to say cannot be written.
    #[error("cannot write to stdout: {0}")]
    Output(std::io::Error),
}

/// Runs until SIGINT or SIGTERM, or does the task that it was given.
///
/// # Errors
///
/// What failed, and what to do about it.
pub async fn run(cli: Cli) -> Result<(), RunError> {
    match &cli.task {
        None => {}
        Some(Task::Keys(KeysTask::Generate { id, file })) => {
            let signer = keys::generate(id.clone(), file)?;
            return say(keys::agent_configuration(&signer).trim_end());
        }
        #[cfg(feature = "postgres")]
        Some(Task::Grants { user }) => {
            return say(lavender_store::PostgresStore::control_plane_grants(user).trim_end());
        }
    }
    let Some(url) = cli.store.clone() else {
        return Err(RunError::Usage("--store: say which store".into()));
    };
    cli.check_listen().map_err(RunError::Usage)?;
    let liveness = cli.liveness().map_err(RunError::Usage)?;
    let rules = rules(&cli).map_err(RunError::Usage)?;
    let signer = cli.signing_key.as_deref().map(keys::load).transpose()?.map(Arc::new);
    let opened = tokio::task::spawn_blocking(move || lavender_store::open(&url)).await;
    let store = opened.map_err(|error| RunError::Usage(format!("--store: {error}")))??;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for tenant in &cli.tenants {
        if let Some(secret) = welcome(&*store, tenant, clock.now()).await? {
            let secret = secret.reveal();
            say(&format!("first admin token of tenant {tenant}, shown only now: {secret}"))?;
        }
    }
    let per_second = cli.requests_per_second;
    let broker = broker(&cli)?;
    let sink = broker.clone().map(|broker| Arc::new(broker) as Arc<dyn CommandSink>);
    let rulesets = broker.clone().map(|broker| Arc::new(broker) as Arc<dyn RulesetSink>);
    let options = Options {
        liveness,
        requests_per_second: per_second,
        rules,
        commanding: Commanding { signer, sink },
        rulesets,
        broker: broker.clone(),
        clock,
        ..Options::default()
    };
    let plane = ControlPlane::new(Arc::clone(&store), options);
    let taking = broker.map(|broker| {
        let plane = plane.clone();
        tokio::spawn(async move { broker.take_reports(plane).await })
    });
    let served = listen(plane, cli.listen).await;
    if let Some(taking) = taking {
        taking.abort();
    }
    store.close().await?;
    served
}

fn broker(cli: &Cli) -> Result<Option<Broker>, RunError> {
    let open = |url: &String| {
        Broker::new(url).map_err(|error| RunError::Usage(format!("--transport: {error}")))
    };
    cli.transport.as_ref().map(open).transpose()
}

fn rules(cli: &Cli) -> Result<RuleHandle, String> {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    for path in &cli.rules {
        builder.add_path(path);
    }
    builder.build().map(|loaded| RuleHandle::new(loaded.rules)).map_err(|errors| errors.to_string())
}

fn say(text: &str) -> Result<(), RunError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(RunError::Output)
}

async fn listen(plane: ControlPlane, listen: SocketAddr) -> Result<(), RunError> {
    let fail = |error| RunError::Listen { listen, error };
    let stop = signal()?;
    let listener = TcpListener::bind(listen).await.map_err(fail)?;
    let at = listener.local_addr().map_err(fail)?;
    say(&format!("listening on http://{at}"))?;
    tokio::select! {
        served = serve(plane, listener) => served.map_err(fail),
        name = stop => {
            tracing::info!("{name}: stopping");
            Ok(())
        }
    }
}

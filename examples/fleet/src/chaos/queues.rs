//! What still waits in the broker.

use std::time::Duration;

use async_nats::jetstream;

use crate::error::{FleetError, Result};
use crate::site::Site;

/// The streams that are empty when everything is done with.
const STREAMS: [&str; 3] = ["TELEMETRY_RAW", "TELEMETRY_CANONICAL", "ALERTS"];

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// The broker, to ask it.
#[derive(Debug)]
pub struct Queues(async_nats::Client, jetstream::Context);

fn broken(error: &dyn std::fmt::Display) -> FleetError {
    FleetError::Broken(error.to_string())
}

impl Queues {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached.
    pub async fn open(site: &Site, ports: &[u16]) -> Result<Self> {
        let seed = std::fs::read_to_string(site.file("worker.nk"));
        let seed = seed.map_err(FleetError::io("the workers' seed"))?;
        let servers: Vec<String> =
            ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let client = async_nats::ConnectOptions::with_nkey(seed.trim().to_owned())
            .require_tls(true)
            .add_root_certificates(site.file("ca.pem"))
            .add_client_certificate(site.file("client.pem"), site.file("client.key"))
            .connect(servers)
            .await
            .map_err(|error| broken(&error))?;
        Ok(Self(client.clone(), jetstream::new(client)))
    }

    /// The connection.
    pub const fn client(&self) -> &async_nats::Client {
        &self.0
    }

    /// How many messages each of the streams has.
    ///
    /// # Errors
    ///
    /// When the broker does not answer.
    async fn waiting(&self) -> Result<[u64; 3]> {
        let mut waiting = [0; 3];
        for (name, count) in STREAMS.iter().zip(&mut waiting) {
            *count = self.messages(name).await?;
        }
        Ok(waiting)
    }

    async fn messages(&self, stream: &str) -> Result<u64> {
        let stream = self.1.get_stream(stream).await.map_err(|error| broken(&error))?;
        Ok(stream.cached_info().state.messages)
    }

    /// How many dead letters there are.
    ///
    /// # Errors
    ///
    /// When the broker does not answer.
    pub async fn dead_letters(&self) -> Result<u64> {
        self.messages("DLQ").await
    }

    /// Waits until nothing waits any more.
    ///
    /// # Errors
    ///
    /// When nothing is done with for so long.
    pub async fn drained(&self, patience: Duration) -> Result<()> {
        let (mut before, mut idle) = ([u64::MAX; 3], Duration::ZERO);
        let mut empty = 0;
        while empty < 3 {
            // A broker that was just started may not have a leader of every stream yet.
            let now = self.waiting().await.unwrap_or(before);
            empty = if now == [0; 3] { empty + 1 } else { 0 };
            idle = if now == before { idle + LOOK } else { Duration::ZERO };
            if idle > patience {
                let what = format!("an end: {STREAMS:?} keep {now:?} messages, which");
                return Err(FleetError::Late(what, patience.as_secs()));
            }
            before = now;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

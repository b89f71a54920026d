//! What the transport costs beside the bare thing, in one run: publishing beside what async-nats alone publishes of the
//! same bytes, the spool beside writing and syncing them, and ingest beside reading the same messages and no more.
//!
//! ```sh
//! cargo run --release -p lavender-transport --all-features --example rates [-- ROUNDS]
//! ```
//!
//! Rounds of both alternate; the figures are medians, and the last lines the ratios. The broker is what
//! `.ci/nats-server` names, on a free port of the loopback.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, context::PublishAckFuture, message::PublishMessage};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::Envelope;
use lavender_core::transport::{Message, Payload, Publisher as _, Topic};
use lavender_core::{BootId, Clock as _, Origin, Sequencer, SystemClock};
use lavender_transport::EnvelopePublisher;
use lavender_transport::ingest::{Checks, Ingest, IngestOptions};
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions};
use lavender_transport::spool::{Reporter, SpoolOptions, Spooled};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// As many as the transport has in flight.
const WINDOW: usize = 256;

/// A server that ends with the program.
struct Server {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/nats-server");
        let output = Command::new(script).stderr(Stdio::inherit()).output()?;
        let binary = String::from_utf8(output.stdout)?;
        let directory = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(binary.trim())
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, url: format!("nats://127.0.0.1:{port}"), _directory: directory })
    }
}

fn messages(sample: &mut Sample, count: usize, events: usize) -> Vec<Message> {
    (0..count)
        .map(|_| Message {
            source: sample.source().clone(),
            topic: Topic::TelemetryRaw,
            payload: Payload::Events(sample.busy(events)),
        })
        .collect()
}

fn sealed(messages: &[Message]) -> Result<Vec<Envelope>> {
    let sealed: Result<Vec<_>, _> =
        messages.iter().map(|message| Envelope::encode(message, 900 << 10)).collect();
    Ok(sealed?.into_iter().flatten().collect())
}

/// What the client alone does: the same headers, bodies and window.
async fn bare(context: &jetstream::Context, envelopes: &[Envelope]) -> Result<()> {
    let mut acks: FuturesUnordered<<PublishAckFuture as IntoFuture>::IntoFuture> =
        FuturesUnordered::new();
    for envelope in envelopes {
        if acks.len() == WINDOW {
            acks.next().await.ok_or("no answer")??;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in envelope.headers() {
            headers.insert(name, &*value);
        }
        let message = PublishMessage::build().payload(envelope.body().clone()).headers(headers);
        let ack = context.send_publish(envelope.subject().to_string(), message).await?;
        acks.push(ack.into_future());
    }
    while let Some(ack) = acks.next().await {
        ack?;
    }
    Ok(())
}

/// Seconds that something takes.
async fn timed(run: impl Future<Output = Result<()>>) -> Result<f64> {
    let start = SystemClock.boot_time();
    run.await?;
    Ok(SystemClock.boot_time().since(start).as_secs_f64())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

#[tokio::main]
async fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(11), |rounds| rounds.parse())?;
    let server = Server::start()?;
    let mut options = JetStreamOptions::new([server.url.clone()]);
    options.in_flight = WINDOW;
    let transport = loop {
        match JetStream::open(options.clone()).await {
            Ok(transport) => break transport,
            Err(error) if error.is_retryable() => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            Err(error) => return Err(error.into()),
        }
    };
    let client = async_nats::connect(&server.url).await?;
    let context =
        jetstream::context::ContextBuilder::new().max_ack_inflight(4 * WINDOW).build(client);
    let stream = context.get_stream("TELEMETRY_RAW").await?;
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut ratios = Vec::new();
    for (events, count) in [(1, 8_000), (64, 4_000), (256, 1_500)] {
        let (mut alone, mut ours, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for _ in 0..rounds {
            let envelopes = sealed(&messages(&mut sample, count, events))?;
            bytes = envelopes.iter().map(|envelope| envelope.body().len()).sum::<usize>() / count;
            alone.push(timed(bare(&context, &envelopes)).await?);
            stream.purge().await?;
            let envelopes = sealed(&messages(&mut sample, count, events))?;
            let publish = async {
                for result in transport.publish_envelopes(&envelopes).await {
                    result?;
                }
                Ok(())
            };
            ours.push(timed(publish).await?);
            stream.purge().await?;
            let unsealed = messages(&mut sample, count, events);
            whole.push(timed(async { Ok(transport.publish(unsealed).await?) }).await?);
            stream.purge().await?;
        }
        let rate = |seconds| count as f64 / median(seconds);
        let (alone, ours, whole) = (rate(alone), rate(ours), rate(whole));
        println!(
            "batches of {events:3} ({bytes} bytes): async-nats alone {alone:.0}/s, sealed envelopes {ours:.0}/s, encoded and compressed as well {whole:.0}/s = {:.0} events/s",
            whole * events as f64
        );
        ratios.push(format!(
            "publish, batches of {events}: {:.0} % of async-nats alone",
            100.0 * ours / alone
        ));
    }
    ratios.extend(ingest(&transport, &context, rounds).await?);
    ratios.extend(spool(&mut sample, rounds).await?);
    println!("{}", ratios.join("\n"));
    Ok(())
}

/// A worker that has a backlog, beside what it does with each message at least: opening and reading it.
async fn ingest(
    transport: &JetStream,
    context: &jetstream::Context,
    rounds: usize,
) -> Result<Vec<String>> {
    const COUNT: usize = 400;
    let mut sample = Sample::new("acme", "web-2", 2);
    let state = Arc::new(transport.state(BucketOptions::default()).await?);
    let checks = Checks::default();
    let mut options = IngestOptions::default();
    options.events_per_agent = None;
    let (mut alone, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        sample.set_now(SystemClock.now());
        let envelopes = sealed(&messages(&mut sample, COUNT, 256))?;
        let check = async {
            for envelope in &envelopes {
                checks.check(envelope, sample.now())?;
            }
            Ok(())
        };
        alone.push(timed(check).await?);
        for result in transport.publish_envelopes(&envelopes).await {
            result?;
        }
        let worker = Ingest::open(transport, state.clone(), options.clone()).await?;
        let monitor = worker.monitor();
        let all = envelopes.len() as u64;
        let done = async {
            while monitor.counts().messages < all {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        ours.push(timed(async { Ok(worker.run(done).await?) }).await?);
        context.get_stream("TELEMETRY_CANONICAL").await?.purge().await?;
    }
    let rate = |seconds| (COUNT * 256) as f64 / median(seconds);
    let (alone, ours) = (rate(alone), rate(ours));
    println!(
        "ingest, batches of 256: reading alone {alone:.0} events/s, one worker {ours:.0} events/s"
    );
    Ok(vec![format!("ingest, batches of 256: {:.0} % of reading alone", 100.0 * ours / alone)])
}

/// The spool beside writing and syncing the same bytes.
async fn spool(sample: &mut Sample, rounds: usize) -> Result<Vec<String>> {
    const COUNT: usize = 100;
    let directory = tempfile::tempdir()?;
    let source = sample.source().clone();
    let origin = Origin::new(&source.tenant, &source.agent, BootId::from_u128(99));
    let reporter =
        Reporter { source, sequencer: Sequencer::new(origin), clock: Arc::new(SystemClock) };
    // Nobody is there: what is measured is the way to the disk.
    let nobody = JetStreamOptions::new(["nats://127.0.0.1:1"]);
    let mut options = SpoolOptions::default();
    options.bytes_max = 4 << 30;
    let spool = Spooled::open(directory.path().join("spool"), options, reporter, nobody)?;
    let mut file =
        OpenOptions::new().append(true).create(true).open(directory.path().join("bare"))?;
    let (mut alone, mut sealing, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let envelopes = sealed(&messages(sample, COUNT, 256))?;
        let write = async {
            for envelope in &envelopes {
                file.write_all(envelope.body())?;
                file.sync_data()?;
            }
            Ok(())
        };
        alone.push(timed(write).await?);
        let batches = messages(sample, COUNT, 256);
        let seal = async {
            for batch in batches {
                for envelope in sealed(&[batch])? {
                    file.write_all(envelope.body())?;
                    file.sync_data()?;
                }
            }
            Ok(())
        };
        sealing.push(timed(seal).await?);
        let batches = messages(sample, COUNT, 256);
        let publish = async {
            for batch in batches {
                spool.publish(vec![batch]).await?;
            }
            Ok(())
        };
        ours.push(timed(publish).await?);
    }
    spool.close(Duration::ZERO).await;
    let rate = |seconds| COUNT as f64 / median(seconds);
    let (alone, sealing, ours) = (rate(alone), rate(sealing), rate(ours));
    println!(
        "spool, batches of 256: write and sync alone {alone:.0}/s, encoding first {sealing:.0}/s, the spool {ours:.0}/s"
    );
    Ok(vec![format!(
        "spool, batches of 256: {:.0} % of encoding, writing and syncing; {:.0} % of writing and syncing alone",
        100.0 * ours / sealing,
        100.0 * ours / alone
    )])
}

//! Killed at any moment, the spool has everything that it acknowledged.
//!
//! The test starts itself again as the process that publishes and is killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lavender_core::transport::Publisher as _;

use crate::broker::{Broker, Mood, drained, open, sample, small, telemetry};

/// Says to the process that it is the one that publishes, and where.
const DIRECTORY: &str = "LAVENDER_TEST_SPOOL_TO";

const ROUNDS: usize = 12;

/// Publishes for ever, and prints the highest sequence number that is on disk.
async fn publish_until_killed(directory: &Path) {
    let spool = open(directory, small(64 << 20, 32_768), &Broker::new(Mood::Away));
    let mut sample = sample();
    // As an agent does it: on from the highest that was ever on disk.
    let from = spool.last_sequence(sample.origin()).unwrap_or(0) as usize;
    let _ = sample.busy(from);
    loop {
        let events = sample.busy(20);
        let last = events[19].id.sequence();
        let more = sample.busy(5);
        let messages = vec![telemetry(&sample, events), telemetry(&sample, more)];
        spool.publish(messages).await.unwrap();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "acknowledged {}", last + 5).unwrap();
        stdout.flush().unwrap();
    }
}

fn spawn(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::killed_at_any_moment", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return publish_until_killed(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut highest = 0;
    for round in 0..ROUNDS {
        let mut child = spawn(directory.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        while acknowledged < 3 + round * 2 {
            let line = lines.next().expect("it ended by itself").unwrap();
            if let Some((_, last)) = line.split_once("acknowledged ") {
                highest = last.trim().parse().unwrap();
                acknowledged += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it printed before it was killed was acknowledged, too.
        for line in lines.map_while(Result::ok) {
            if let Some(last) = line.strip_prefix("acknowledged ") {
                highest = last.parse().unwrap_or(highest);
            }
        }
    }
    let broker = Broker::new(Mood::Takes);
    let spool = open(directory.path(), small(64 << 20, 32_768), &broker);
    drained(&spool).await;
    assert_eq!(spool.status().damaged, 0);
    let events = broker.events();
    let unique: BTreeSet<_> = events.iter().collect();
    assert_eq!(unique.len(), events.len(), "an event was delivered twice");
    let sequences: BTreeSet<u64> = broker.sequences().into_iter().collect();
    for sequence in 1..=highest {
        assert!(
            sequences.contains(&sequence),
            "{sequence} of {highest} was acknowledged and is gone"
        );
    }
}

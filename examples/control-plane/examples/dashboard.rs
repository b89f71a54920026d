//! The dashboard over made-up data, to look at while it is changed:
//! `cargo run -p lavender-control-plane --example dashboard`, or `… dashboard 100000` for so many alerts.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/dashboard/stage.rs"]
mod stage;

use std::time::Duration;

use lavender_core::store::{LivenessTimes, Role};
use lavender_core::{Clock as _, SystemClock};

use crate::stage::Stage;

/// How often something happens.
const EVERY: Duration = Duration::from_secs(5);

/// How many alerts have everything around them; what is beyond is alerts and nothing else.
const FILLED: usize = 1_000;

#[tokio::main]
async fn main() {
    let alerts = std::env::args().nth(1).map_or(300, |number| number.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lavender.db");
    let mut stage = Stage::open(&path, 48, LivenessTimes::default()).await;
    stage.fill(alerts.min(FILLED)).await;
    if alerts > FILLED {
        stage.flood(alerts - FILLED).await;
    }
    stage.watch();
    let admin = stage::token(&*stage.store, Role::Admin).await;
    println!("{} with the token {}, as an admin with {admin}", stage.url, stage.token);
    loop {
        tokio::time::sleep(EVERY).await;
        for number in 0..stage.agents.len() {
            if number != 5 {
                stage.heard(number, SystemClock.now(), false).await;
            }
        }
        stage.act(SystemClock.now()).await;
        stage.call_kernel(SystemClock.now()).await;
    }
}

//! For how long an end waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lavender_agent::shutdown::{Asked, FLUSH_TIMEOUT, Patience, shutdown};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

async fn asked() -> Asked {
    let (end, asked) = shutdown(None, async {}).unwrap();
    end.await;
    asked
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_stored_it_waits_no_longer() {
    let mut patience = Patience::new(asked().await, || 7);
    let begun = Instant::now();
    // It may be asked again.
    timeout(4 * SECOND, patience.runs_out()).await.unwrap_err();
    assert_eq!(patience.left(), FLUSH_TIMEOUT - 4 * SECOND);
    patience.runs_out().await;
    assert_eq!(begun.elapsed(), FLUSH_TIMEOUT);
    assert_eq!(patience.left(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn it_waits_as_long_as_more_is_stored() {
    let stored = AtomicU64::new(0);
    let mut patience = Patience::new(asked().await, || stored.load(Ordering::Relaxed));
    let begun = Instant::now();
    let slow_disk = async {
        for _ in 0..7 {
            sleep(9 * SECOND).await;
            stored.fetch_add(4_096, Ordering::Relaxed);
        }
    };
    tokio::join!(slow_disk, patience.runs_out());
    let last = 7 * 9 * SECOND;
    assert!((last + FLUSH_TIMEOUT..=last + 2 * FLUSH_TIMEOUT).contains(&begun.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn it_does_not_run_out_before_the_end() {
    let (end, asked) = shutdown(None, std::future::pending()).unwrap();
    let mut patience = Patience::new(asked, || 7);
    timeout(3_600 * SECOND, patience.runs_out()).await.unwrap_err();
    // Gone without a word: what was watched has ended by itself.
    drop(end);
    timeout(3_600 * SECOND, patience.runs_out()).await.unwrap_err();
    patience.begin();
    timeout(FLUSH_TIMEOUT + SECOND, patience.runs_out()).await.unwrap();
}

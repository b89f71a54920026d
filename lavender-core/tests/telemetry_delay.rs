//! Telemetry gathers before it is published, and what may not wait does not.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::event::{EventBatch, EventKind, Loss, LossStage};
use lavender_core::pipeline::{Overflow, Pipeline};
use lavender_core::transport::{Message, Payload};
use lavender_core::{Publisher, Result, Sequencer, Source, async_trait};
use tokio::time::Instant;

use support::{Finds, event, exec, identity, open, sequencer};

const TICK: Duration = Duration::from_millis(10);

/// Delivers a batch every 10 ms.
#[derive(Debug)]
struct Ticks {
    batches: std::vec::IntoIter<EventBatch>,
}

#[async_trait]
impl Source for Ticks {
    async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
        tokio::time::sleep(TICK).await;
        Ok(self.batches.next())
    }

    fn stop(&mut self) {}
}

/// What was published together: when, and of each message the sequence numbers of its events.
#[derive(Debug, PartialEq, Eq)]
struct Published {
    after: Duration,
    messages: Vec<Vec<u64>>,
}

#[derive(Debug)]
struct Watches {
    start: Instant,
    telemetry: Mutex<Vec<Published>>,
}

#[async_trait]
impl Publisher for Watches {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let events = |message: &Message| match &message.payload {
            Payload::Events(events) => {
                Some(events.iter().map(|event| event.id.sequence()).collect())
            }
            _ => None,
        };
        let messages: Vec<Vec<u64>> = messages.iter().filter_map(events).collect();
        if !messages.is_empty() {
            let after = self.start.elapsed();
            self.telemetry.lock().unwrap().push(Published { after, messages });
        }
        Ok(())
    }
}

/// What a source of these batches has published, once it has ended.
async fn published(
    ids: Sequencer,
    batches: Vec<EventBatch>,
    set: impl FnOnce(Pipeline) -> Pipeline,
) -> Vec<Published> {
    let watches = Arc::new(Watches { start: Instant::now(), telemetry: Mutex::default() });
    let source = Ticks { batches: batches.into_iter() };
    let publisher: Arc<dyn Publisher> = watches.clone();
    let pipeline = Pipeline::new(source, identity(), ids, publisher);
    set(pipeline).run(std::future::pending::<()>()).await.unwrap();
    std::mem::take(&mut *watches.telemetry.lock().unwrap())
}

fn opens(ids: &Sequencer, count: usize) -> EventBatch {
    EventBatch { events: (0..count).map(|_| event(ids, open())).collect(), lost: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn telemetry_gathers_in_few_messages_and_stays_in_order() {
    let ids = sequencer();
    let batches = (0..40).map(|_| opens(&ids, 10)).collect();
    let published = published(ids, batches, |pipeline| pipeline).await;
    // 400 ms of it, for 100 ms each time, and the rest at the end.
    assert!(published.len() <= 5, "{published:?}");
    let waited = |pair: &[Published]| pair[1].after - pair[0].after;
    let (_, but_the_last) = published.split_last().unwrap();
    assert!(but_the_last.windows(2).all(|pair| waited(pair) >= Pipeline::DEFAULT_TELEMETRY_DELAY));
    let messages: Vec<_> = published.iter().flat_map(|together| &together.messages).collect();
    assert_eq!(messages.len(), published.len(), "what came together is one message");
    let sequence: Vec<u64> = messages.into_iter().flatten().copied().collect();
    assert_eq!(sequence, (1..=400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_an_alert_rests_on_goes_at_once_with_what_came_before() {
    let ids = sequencer();
    let alarming = EventBatch { events: vec![event(&ids, exec())], lost: Vec::new() };
    let batches = vec![opens(&ids, 3), alarming, opens(&ids, 2)];
    let published = published(ids, batches, |pipeline| {
        pipeline
            .with_detector(Finds(EventKind::Exec))
            .with_telemetry_delay(Duration::from_secs(3_600))
    })
    .await;
    // The exec has the first number: it was made first.
    assert_eq!(published[0], Published { after: 2 * TICK, messages: vec![vec![2, 3, 4, 1]] });
    assert_eq!(published[1].messages, [[5, 6]], "at the end");
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_at_once() {
    let ids = sequencer();
    let losing = EventBatch {
        lost: vec![Loss::new(LossStage::KernelRing, EventKind::FileOpen, 5)],
        ..EventBatch::default()
    };
    let batches = vec![opens(&ids, 1), losing, EventBatch::default()];
    let published = published(ids, batches, |pipeline| {
        pipeline.with_telemetry_delay(Duration::from_secs(3_600))
    })
    .await;
    assert_eq!(published, [Published { after: 2 * TICK, messages: vec![vec![1, 2]] }]);
}

#[tokio::test(start_paused = true)]
async fn many_events_do_not_wait_for_more() {
    for (queue, at_once) in [(65_536, 4_096), (2_048, 512)] {
        let ids = sequencer();
        let batches = (0..4).map(|_| opens(&ids, at_once / 2)).collect();
        let published = published(ids, batches, |pipeline| {
            pipeline
                .with_queue(queue, Overflow::Wait)
                .with_telemetry_delay(Duration::from_secs(3_600))
        })
        .await;
        let times: Vec<_> = published.iter().map(|together| together.after).collect();
        assert_eq!(times, [2 * TICK, 4 * TICK], "{queue}");
        let items = |together: &Published| together.messages.iter().map(Vec::len).sum::<usize>();
        assert_eq!(published.iter().map(items).collect::<Vec<_>>(), [at_once, at_once]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_each_batch_is_published_as_it_comes() {
    let ids = sequencer();
    let batches = vec![opens(&ids, 3), opens(&ids, 300)];
    let published =
        published(ids, batches, |pipeline| pipeline.with_telemetry_delay(Duration::ZERO)).await;
    let times: Vec<_> = published.iter().map(|together| together.after).collect();
    assert_eq!(times, [TICK, 2 * TICK]);
}

//! The runner: nothing is lost without being counted, alerts are never shed, and a stop flushes.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{AgentStart, EventBatch, EventData, EventKind, Fork, Loss, LossStage};
use lavender_core::pipeline::{Overflow, Pipeline};
use lavender_core::{Publisher, Result, Source, async_trait};

use support::{Finds, Kept, Script, connect, count, event, exec, identity, lost, open, sequencer};

#[tokio::test]
async fn everything_delivered_is_published_with_its_losses_and_alerts() {
    let ids = sequencer();
    let batch = |n: usize| EventBatch {
        events: (0..n).map(|_| event(&ids, exec())).collect(),
        lost: vec![Loss {
            cpu: Some(1),
            ..Loss::new(LossStage::KernelRing, EventKind::FileOpen, 5)
        }],
    };
    let source = Script::new([batch(1_000), batch(1), batch(300)]);
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let report = Pipeline::new(source, identity(), ids, publisher)
        .with_detector(Finds(EventKind::Exec))
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!((report.events, report.alerts, report.lost), (1_301, 1_301, 15));
    let events = kept.events();
    assert_eq!(count(&events, EventKind::Exec), 1_301);
    assert_eq!(lost(&events, EventKind::FileOpen, LossStage::KernelRing), 15);
    assert_eq!(kept.alerts().len(), 1_301);
    // The sequence proves that nothing is missing.
    let mut sequence: Vec<u64> = events.iter().map(|event| event.id.sequence()).collect();
    sequence.sort_unstable();
    assert_eq!(sequence, (1..=events.len() as u64).collect::<Vec<_>>());
}

/// A source that knows who lost it gives a loss as an event: it is counted, and never shed.
#[tokio::test]
async fn a_loss_that_is_an_event_is_counted_and_kept() {
    let ids = sequencer();
    let over = Loss::new(LossStage::ThrottledProcess, EventKind::FileOpen, 70);
    let mut events: Vec<_> = (0..3_000).map(|_| event(&ids, exec())).collect();
    events.push(event(&ids, EventData::Lost(over)));
    let source = Script {
        last: Some(EventBatch::default()),
        ..Script::new([EventBatch { events, lost: Vec::new() }])
    };
    let kept = Kept::shut();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let pipeline =
        Pipeline::new(source, identity(), ids, publisher).with_queue(1_024, Overflow::Shed);
    let running = tokio::spawn(pipeline.run(stopped));
    tokio::time::sleep(Duration::from_millis(50)).await;
    kept.gate.add_permits(1);
    stop.send(()).unwrap();
    let report = running.await.unwrap().unwrap();
    let events = kept.events();
    assert_eq!(lost(&events, EventKind::FileOpen, LossStage::ThrottledProcess), 70);
    let shed = lost(&events, EventKind::Exec, LossStage::Queue);
    assert!(shed > 0);
    assert_eq!(report.lost, 70 + shed);
}

/// What was beyond a limit is told of by itself: it is no want of room, and somebody has set it.
#[tokio::test(start_paused = true)]
async fn heartbeats_tell_by_kind_what_was_throttled() {
    let ids = sequencer();
    let told = [
        Loss::new(LossStage::ThrottledProcess, EventKind::FileOpen, 70),
        Loss::new(LossStage::ThrottledCgroup, EventKind::FileOpen, 7),
        Loss::new(LossStage::KernelRing, EventKind::FileOpen, 600),
    ];
    let events = told.map(|loss| event(&ids, EventData::Lost(loss))).into();
    let lost = vec![Loss::new(LossStage::ThrottledCgroup, EventKind::NetConnect, 3)];
    let source =
        Script { last: Some(EventBatch::default()), ..Script::new([EventBatch { events, lost }]) };
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    Pipeline::new(source, identity(), ids, publisher)
        .with_heartbeat(Duration::from_secs(1))
        .run(tokio::time::sleep(Duration::from_millis(1_500)))
        .await
        .unwrap();
    let events = kept.events();
    let beats: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.data {
            EventData::Heartbeat(beat) => Some((beat.lost, &beat.throttled)),
            _ => None,
        })
        .collect();
    let expected = BTreeMap::from([(EventKind::FileOpen, 77), (EventKind::NetConnect, 3)]);
    assert_eq!(beats, [(0, &BTreeMap::new()), (680, &expected)]);
}

#[tokio::test]
async fn a_full_queue_sheds_files_first_and_counts_them_and_never_what_an_alert_rests_on() {
    let ids = sequencer();
    let mixed = |data: fn() -> EventData, n: usize| EventBatch {
        events: (0..n).map(|_| event(&ids, data())).collect(),
        lost: Vec::new(),
    };
    let produced = 1_024 + 4_000 + 600;
    let mut batches = vec![mixed(open, 4_000), mixed(exec, 600), mixed(connect, 1_000)];
    batches.push(mixed(connect, 24));
    let source = Script { last: Some(EventBatch::default()), ..Script::new(batches) };
    let kept = Kept::shut();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let pipeline = Pipeline::new(source, identity(), ids, publisher)
        .with_detector(Finds(EventKind::NetConnect))
        .with_queue(2_048, Overflow::Shed);
    let running = tokio::spawn(pipeline.run(stopped));
    // Connects carry alerts here, so they wait for room where the opens were shed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    kept.gate.add_permits(1);
    stop.send(()).unwrap();
    let report = running.await.unwrap().unwrap();

    let events = kept.events();
    assert_eq!(report.events, produced);
    let shed = lost(&events, EventKind::FileOpen, LossStage::Queue);
    assert_eq!(count(&events, EventKind::FileOpen), 1_024, "files may fill half of the queue");
    assert_eq!(count(&events, EventKind::FileOpen) + shed, 4_000);
    assert_eq!(count(&events, EventKind::Exec), 600);
    assert_eq!(count(&events, EventKind::NetConnect), 1_024);
    assert_eq!(kept.alerts().len(), 1_024);
    assert_eq!(report.lost, shed);
}

#[tokio::test]
async fn a_source_that_can_wait_loses_nothing_to_a_small_queue() {
    let ids = sequencer();
    let batch =
        EventBatch { events: (0..10_000).map(|_| event(&ids, open())).collect(), lost: Vec::new() };
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let report = Pipeline::new(Script::new([batch]), identity(), ids, publisher)
        .with_queue(1_024, Overflow::Wait)
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!((report.events, report.lost), (10_000, 0));
    assert_eq!(kept.events().len(), 10_000);
}

#[tokio::test]
async fn a_stop_delivers_what_the_source_still_held_and_says_so_last() {
    let ids = sequencer();
    let held = EventBatch {
        events: vec![event(&ids, EventData::Fork(Fork {}))],
        lost: vec![Loss::new(LossStage::KernelRing, EventKind::Exec, 2)],
    };
    let source = Script { last: Some(held), ..Script::new([]) };
    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    let start = AgentStart {
        host: "web-1".into(),
        version: "0".into(),
        kernel_release: "6".into(),
        rules: 0,
        kinds: Vec::new(),
    };
    Pipeline::new(source, identity(), ids, publisher)
        .with_agent_start(start)
        .run(async {})
        .await
        .unwrap();
    let kinds: Vec<EventKind> = kept.events().iter().map(|event| event.kind()).collect();
    assert_eq!(
        kinds,
        [EventKind::AgentStart, EventKind::Fork, EventKind::Lost, EventKind::AgentStop]
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_source_does_not_hold_up_heartbeats_or_the_stop() {
    /// Never waits.
    #[derive(Debug)]
    struct Busy(bool);

    #[async_trait]
    impl Source for Busy {
        async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
            tokio::time::sleep(Duration::from_micros(10)).await;
            Ok((!self.0).then(EventBatch::default))
        }

        fn stop(&mut self) {
            self.0 = true;
        }
    }

    let kept = Kept::open();
    let publisher: Arc<dyn Publisher> = kept.clone();
    Pipeline::new(Busy(false), identity(), sequencer(), publisher)
        .with_heartbeat(Duration::from_secs(1))
        .run(tokio::time::sleep(Duration::from_millis(3_500)))
        .await
        .unwrap();
    assert_eq!(count(&kept.events(), EventKind::Heartbeat), 4, "at 0, 1, 2 and 3 s");
}

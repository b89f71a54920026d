//! A canary that is missing is one alert and in every heartbeat, whatever it is that is missing; one that is back is told.
#![cfg(all(feature = "runtime", feature = "conformance"))]
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::event::{
    Arguments, CanaryHealth, Event, EventBatch, EventData, EventKind, Process,
};
use lavender_core::pipeline::{CANARY_RULE, CanaryOptions, CanaryWatch, Pipeline};
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    Alert, Captured, Certainty, Detection, Detector, Publisher, Result, RuleMeta, Severity, Source,
    Timestamp, async_trait,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const KINDS: [EventKind; 3] = [EventKind::Exec, EventKind::FileOpen, EventKind::NetConnect];

/// Delivers what it is sent, until nobody sends any more.
#[derive(Debug)]
struct Sent(mpsc::UnboundedReceiver<EventBatch>);

#[async_trait]
impl Source for Sent {
    async fn next_batch(&mut self) -> Result<Option<EventBatch>> {
        Ok(self.0.recv().await)
    }

    fn stop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Message>>);

#[async_trait]
impl Publisher for Kept {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        self.0.lock().unwrap().extend(messages);
        Ok(())
    }
}

/// Finds every exec.
#[derive(Debug)]
struct Execs;

impl Detector for Execs {
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        if event.kind() == EventKind::Exec {
            out.push(Detection {
                rule: Arc::new(RuleMeta { id: "execs".into(), ..RuleMeta::default() }),
                event: Arc::clone(event),
                evidence: Vec::new(),
                certainty: Certainty::Certain,
                correlated: None,
            });
        }
    }
}

/// A pipeline with a canary that is due every 60 s and has to be seen within 10.
struct Setting {
    watch: CanaryWatch,
    sample: Sample,
    events: mpsc::UnboundedSender<EventBatch>,
    kept: Arc<Kept>,
    stop: oneshot::Sender<()>,
    pipeline: JoinHandle<()>,
}

impl Setting {
    fn new() -> Self {
        let watch = CanaryWatch::new(CanaryOptions {
            kinds: KINDS.into(),
            interval: Duration::from_secs(60),
            deadline: Duration::from_secs(10),
        });
        let sample = Sample::new("acme", "web-1", 3);
        let (events, receiver) = mpsc::unbounded_channel();
        let kept = Arc::new(Kept::default());
        let publisher: Arc<dyn Publisher> = Arc::<Kept>::clone(&kept);
        let ids = lavender_core::Sequencer::new(lavender_core::Origin::new(
            &sample.source().tenant,
            &sample.source().agent,
            lavender_core::BootId::from_u128(5),
        ));
        let pipeline = Pipeline::new(Sent(receiver), sample.source().clone(), ids, publisher)
            .with_detector(Execs)
            .with_canary(watch.clone());
        let (stop, stopped) = oneshot::channel();
        let pipeline = tokio::spawn(async move {
            pipeline.run(stopped).await.unwrap();
        });
        Self { watch, sample, events, kept, stop, pipeline }
    }

    /// Begins an act, of which the sensor sees these kinds.
    fn act(&mut self, token: &str, seen: &[EventKind]) {
        self.watch.begin(token, self.sample.now());
        let process = with_argument(&self.sample.process(), token);
        self.see(&process, seen);
    }

    fn see(&mut self, process: &Arc<Process>, seen: &[EventKind]) {
        let events =
            self.sample.every_kind().into_iter().filter(|event| seen.contains(&event.kind()));
        let of_process = |event: Arc<Event>| {
            Arc::new(Event { process: Some(Arc::clone(process)), ..(*event).clone() })
        };
        let events = events.map(of_process).collect();
        self.events.send(EventBatch { events, lost: Vec::new() }).unwrap();
    }

    fn alerts(&self) -> Vec<Arc<Alert>> {
        let kept = self.kept.0.lock().unwrap();
        let alerts = kept.iter().filter_map(|message| match &message.payload {
            Payload::Alerts(alerts) => Some(alerts.clone()),
            _ => None,
        });
        alerts.flatten().filter(|alert| &*alert.rule.id == CANARY_RULE).collect()
    }

    /// What heartbeats told of the canary, and their ids.
    fn told(&self) -> Vec<(lavender_core::EventId, CanaryHealth)> {
        let kept = self.kept.0.lock().unwrap();
        let events = kept.iter().filter_map(|message| match &message.payload {
            Payload::Events(events) => Some(events.clone()),
            _ => None,
        });
        let told = events.flatten().filter_map(|event| match &event.data {
            EventData::Heartbeat(beat) => Some((event.id, *beat.canary.clone().unwrap())),
            _ => None,
        });
        told.collect()
    }

    async fn finish(self) -> Arc<Kept> {
        let Self { stop, pipeline, kept, .. } = self;
        stop.send(()).unwrap();
        pipeline.await.unwrap();
        kept
    }
}

fn with_argument(process: &Process, last: &str) -> Arc<Process> {
    let raw = [b"/usr/bin/agent\0canary\0act\0", last.as_bytes(), b"\0"].concat();
    let arguments = Captured::complete(Arguments::new(&raw));
    Arc::new(Process { arguments, ..process.clone() })
}

#[tokio::test(start_paused = true)]
async fn what_is_seen_is_no_alert() {
    let mut setting = Setting::new();
    for token in ["first", "second"] {
        setting.act(token, &KINDS);
        sleep(Duration::from_secs(60)).await;
    }
    let health = setting.watch.health();
    assert_eq!((health.seen, health.missed, health.missing), (2, 0, None));
    assert!(health.last_seen_at.is_some() && health.latency_ms.is_some());
    assert!(setting.alerts().is_empty() && setting.told().is_empty());
    // No rule is kept from it.
    let kept = setting.finish().await;
    let alerts = kept
        .0
        .lock()
        .unwrap()
        .iter()
        .filter(|message| matches!(message.payload, Payload::Alerts(_)))
        .count();
    assert_eq!(alerts, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_one_alert_until_it_is_seen_again() {
    let mut setting = Setting::new();
    setting.sample.set_now(Timestamp::from_millis(5_000));
    setting.act("first", &[EventKind::Exec, EventKind::NetConnect]);
    sleep(Duration::from_secs(9)).await;
    assert!(setting.alerts().is_empty(), "before the deadline");
    sleep(Duration::from_secs(51)).await;
    setting.act("second", &[]);
    sleep(Duration::from_secs(60)).await;
    let [alert] = &*setting.alerts() else { panic!("{:?}", setting.alerts()) };
    assert_eq!((alert.severity, alert.event_kind), (Severity::High, EventKind::Heartbeat));
    let evidence: Vec<_> =
        alert.evidence.iter().map(|it| (&*it.field, it.value.to_string())).collect();
    assert_eq!(evidence[0], ("CanaryMissing", "file_open".to_owned()));
    let told = setting.told();
    assert_eq!(told.len(), 1, "once, at once");
    assert_eq!(alert.events, [told[0].0]);
    let missing = setting.watch.health().missing.unwrap();
    assert_eq!((missing.since, missing.kinds.len()), (Timestamp::from_millis(5_000), 3));

    setting.act("third", &KINDS);
    sleep(Duration::from_secs(60)).await;
    let health = &setting.told()[1].1;
    assert_eq!((health.seen, health.missed, &health.missing), (1, 2, &None));
    assert_eq!(setting.alerts().len(), 1);

    // What goes missing again is another one.
    setting.sample.set_now(Timestamp::from_millis(9_000));
    setting.act("fourth", &[]);
    sleep(Duration::from_secs(20)).await;
    let alerts = setting.alerts();
    assert!(alerts.len() == 2 && alerts[0].id != alerts[1].id);
    setting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_else_is_taken_for_it() {
    let mut setting = Setting::new();
    setting.act("token", &[EventKind::Exec]);
    // Another process that has seen the token, and one that has another.
    for last in ["token", "another"] {
        let process = with_argument(&setting.sample.process(), last);
        setting.see(&process, &KINDS);
    }
    sleep(Duration::from_secs(20)).await;
    let missing = setting.watch.health().missing.unwrap();
    assert_eq!(missing.kinds, [EventKind::FileOpen, EventKind::NetConnect]);
    setting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_done_says_why() {
    let mut setting = Setting::new();
    setting.act("token", &[]);
    setting.watch.fail(&"no room ".repeat(1_000));
    sleep(Duration::from_secs(20)).await;
    let alerts = setting.alerts();
    let fault = alerts[0].evidence.iter().find(|it| &*it.field == "CanaryFault").unwrap();
    assert!(fault.value.to_string().starts_with("no room no room") && fault.value.len() == 300);
    // Seen all the same, if late.
    let process = with_argument(&setting.sample.process(), "token");
    setting.see(&process, &KINDS);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(setting.told().last().unwrap().1.missing, None);
    setting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn acts_that_stop_are_missed() {
    let mut setting = Setting::new();
    setting.act("first", &KINDS);
    sleep(Duration::from_secs(68)).await;
    assert!(setting.alerts().is_empty());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(setting.alerts().len(), 1);
    assert_eq!(setting.watch.health().missing.unwrap().kinds, KINDS);
    setting.act("late", &KINDS);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(setting.told().last().unwrap().1.missing, None);
    setting.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_was_held_up_is_not_blind() {
    let mut setting = Setting::new();
    setting.act("token", &KINDS);
    // The clock is ahead by the time that anything is looked at.
    tokio::time::advance(Duration::from_secs(30)).await;
    sleep(Duration::from_secs(5)).await;
    assert!(setting.alerts().is_empty());
    assert_eq!(setting.watch.health().seen, 1);
    setting.finish().await;
}

//! The responder in the runner: it sees every event before any rule does, answers every alert, and what it did is
//! an event that is published.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

mod support;

use std::sync::{Arc, Mutex};

use lavender_core::event::{Event, EventBatch, EventData, EventKind, Fork};
use lavender_core::pipeline::Pipeline;
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    Alert, AlertId, AlertStage, Bytes, Certainty, CommandId, Detection, Detector, Gaps, Outcome,
    Publisher, Responder, ResponseAction, ResponseCause, ResponseOrder, ResponseOutcome,
    ResponseTarget, Result, RuleMeta, Severity, Stateful, async_trait,
};

use support::{Script, event, identity, sequencer};

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Message>>);

impl Kept {
    /// The responses that were published: nothing else is.
    fn answers(&self) -> Vec<ResponseOutcome> {
        let mut answers = Vec::new();
        for message in self.0.lock().unwrap().iter() {
            let Payload::Events(events) = &message.payload else { continue };
            answers.extend(events.iter().map(|event| match &event.data {
                EventData::Response(answer) => answer.clone(),
                other => panic!("not a response: {other:?}"),
            }));
        }
        answers
    }
}

#[async_trait]
impl Publisher for Kept {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        self.0.lock().unwrap().extend(messages);
        Ok(())
    }
}

/// What was called, in order.
type Calls = Arc<Mutex<Vec<String>>>;

/// Two rules find every heartbeat.
#[derive(Debug)]
struct Finder(Calls);

impl Detector for Finder {
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        self.0.lock().unwrap().push(format!("detect {}", event.id.sequence()));
        if event.kind() == EventKind::Heartbeat {
            out.extend(["one", "two"].map(|rule| Detection {
                rule: Arc::new(RuleMeta { id: rule.into(), ..RuleMeta::default() }),
                event: Arc::clone(event),
                evidence: Vec::new(),
                certainty: Certainty::Certain,
                correlated: None,
            }));
        }
    }
}

/// Does two things about every alert, and one about every fork.
#[derive(Debug)]
struct Answers(Calls);

fn outcome(alert: AlertId, outcome: Outcome) -> ResponseOutcome {
    let target = ResponseTarget::Host;
    let order = ResponseOrder {
        cause: ResponseCause::Alert(alert),
        action: ResponseAction::Isolate,
        target,
        decided_by: "a test".into(),
    };
    ResponseOutcome::new(order, outcome)
}

impl Responder for Answers {
    fn observe(&mut self, event: &Event, out: &mut Vec<ResponseOutcome>) {
        self.0.lock().unwrap().push(format!("observe {}", event.id.sequence()));
        if event.kind() == EventKind::Fork {
            out.push(outcome(AlertId::new("earlier", &[]), Outcome::Gone));
        }
    }

    fn respond(&mut self, alert: &Alert, event: &Event, out: &mut Vec<ResponseOutcome>) {
        self.0.lock().unwrap().push(format!("respond {} {}", alert.rule.id, event.id.sequence()));
        out.extend([outcome(alert.id, Outcome::DryRun), outcome(alert.id, Outcome::NotAllowed)]);
    }
}

/// Makes the second alert worse than the first, and holds the first back.
#[derive(Debug)]
struct Judge(u64);

impl AlertStage for Judge {
    fn pass(&mut self, raised: &mut Vec<Alert>, repeated: &mut Vec<Alert>) {
        let first = raised.remove(0);
        let worse = Alert { severity: Severity::Critical, ..raised[0].clone() };
        repeated.push(first);
        raised.push(Alert { id: AlertId::new("worse", &[]), ..worse });
        self.0 += 1;
    }

    fn suppressed(&self) -> u64 {
        self.0
    }

    fn state(&mut self) -> Option<&mut dyn Stateful> {
        Some(self)
    }
}

impl Stateful for Judge {
    fn changed(&mut self, _: &mut dyn FnMut(&str, Option<Bytes>)) {}

    fn restore(&mut self, _: &str, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn gaps(&self) -> Gaps {
        Gaps { forgotten: 3, late: self.0 }
    }
}

#[tokio::test]
async fn what_a_stage_leaves_is_raised_the_worst_first_and_what_repeats_is_answered() {
    let ids = sequencer();
    let beat = event(&ids, EventData::Heartbeat(Box::default()));
    let batch = EventBatch { events: vec![beat], lost: Vec::new() };
    let (kept, calls) = (Arc::new(Kept::default()), Calls::default());
    let published = Arc::clone(&kept) as Arc<dyn Publisher>;
    let report = Pipeline::new(Script::new([batch]), identity(), ids, published)
        .with_detector(Finder(Arc::clone(&calls)))
        .with_alert_stage(Judge(0))
        .with_responder(Answers(Arc::clone(&calls)))
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!((report.alerts, report.suppressed), (2, 1));
    assert_eq!(report.gaps, Gaps { forgotten: 3, late: 1 });
    let calls = calls.lock().unwrap().clone();
    let answered: Vec<_> = calls.iter().filter(|call| call.starts_with("respond")).collect();
    assert_eq!(answered, ["respond two 1", "respond two 1", "respond one 1"]);
    let mut severities = Vec::new();
    for message in kept.0.lock().unwrap().iter() {
        let Payload::Alerts(alerts) = &message.payload else { continue };
        severities.extend(alerts.iter().map(|alert| alert.severity));
    }
    assert_eq!(severities, [Severity::Critical, Severity::Informational]);
}

#[tokio::test]
async fn what_was_done_is_published_with_what_it_was_done_about() {
    let ids = sequencer();
    let beat = event(&ids, EventData::Heartbeat(Box::default()));
    let fork = event(&ids, EventData::Fork(Fork {}));
    let batch = EventBatch { events: vec![Arc::clone(&beat), fork], lost: Vec::new() };
    let (kept, calls) = (Arc::new(Kept::default()), Calls::default());
    let published = Arc::clone(&kept) as Arc<dyn Publisher>;
    let report = Pipeline::new(Script::new([batch]), identity(), ids, published)
        .with_detector(Finder(Arc::clone(&calls)))
        .with_responder(Answers(Arc::clone(&calls)))
        // What was done is kept even where telemetry is not.
        .without_telemetry()
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!(report.alerts, 2);
    assert_eq!(
        *calls.lock().unwrap(),
        ["observe 1", "detect 1", "respond one 1", "respond two 1", "observe 2", "detect 2"]
    );
    let answers = kept.answers();
    let mut expected = Vec::new();
    for rule in ["one", "two"] {
        let alert = AlertId::new(rule, &[beat.id]);
        expected.extend([outcome(alert, Outcome::DryRun), outcome(alert, Outcome::NotAllowed)]);
    }
    expected.push(outcome(AlertId::new("earlier", &[]), Outcome::Gone));
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn what_others_have_done_is_an_event_like_any_other() {
    let (tell, told) = tokio::sync::mpsc::channel(8);
    let order = ResponseOrder {
        cause: ResponseCause::Command(CommandId::from_u128(7)),
        action: ResponseAction::Release,
        target: ResponseTarget::Host,
        decided_by: "key ops-1".into(),
    };
    let expected =
        [Outcome::Done, Outcome::Gone].map(|outcome| ResponseOutcome::new(order.clone(), outcome));
    for outcome in &expected {
        tell.send(outcome.clone()).await.unwrap();
    }
    let kept = Arc::new(Kept::default());
    let published = Arc::clone(&kept) as Arc<dyn Publisher>;
    // Whoever tells goes on after the end: the pipeline does not wait for that.
    Pipeline::new(Script::new([]), identity(), sequencer(), published)
        .without_telemetry()
        .with_responses(told)
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    tell.send(expected[0].clone()).await.unwrap_err();
    let answers = kept.answers();
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn what_the_source_tells_was_done_is_published_where_telemetry_is_not() {
    let ids = sequencer();
    let done = outcome(AlertId::new("in the kernel", &[]), Outcome::Done);
    let events = [EventData::Response(done.clone()), EventData::Fork(Fork {})];
    let events = events.map(|data| event(&ids, data)).into();
    let batch = EventBatch { events, lost: Vec::new() };
    let kept = Arc::new(Kept::default());
    let published = Arc::clone(&kept) as Arc<dyn Publisher>;
    Pipeline::new(Script::new([batch]), identity(), ids, published)
        .without_telemetry()
        .run(std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!(kept.answers(), [done]);
}

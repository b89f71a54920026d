//! Envelopes: what is sealed comes back, headers and body must agree, and hostile ones are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lavender_core::codec::CodecError;
use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::{Encoding, Envelope, EnvelopeError, MAX_BODY_BYTES, names};
use lavender_core::transport::{Message, Payload, Topic};
use lavender_core::{Repeats, Severity, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

const ROOMY: usize = 1 << 20;

fn telemetry(sample: &mut Sample, events: usize) -> Message {
    let source = sample.source().clone();
    Message { source, topic: Topic::TelemetryRaw, payload: Payload::Events(sample.busy(events)) }
}

fn alerts(sample: &mut Sample, count: usize) -> Message {
    let events = sample.busy(count);
    let raised = events.iter().map(|event| sample.alert(event, "r", Severity::High)).collect();
    let source = sample.source().clone();
    Message { source, topic: Topic::Alerts, payload: Payload::Alerts(raised) }
}

fn map(envelope: &Envelope) -> BTreeMap<&'static str, String> {
    envelope.headers().map(|(name, value)| (name, value.into_owned())).collect()
}

/// Reads what another wrote, with some headers changed.
fn reread(
    envelope: &Envelope,
    subject: &str,
    change: &[(&'static str, Option<&str>)],
) -> Result<Envelope, EnvelopeError> {
    let mut headers = map(envelope);
    for (name, value) in change {
        headers.remove(name);
        if let Some(value) = value {
            headers.insert(name, (*value).to_owned());
        }
    }
    let header = |name: &str| headers.get(name).map(String::as_str);
    Envelope::read(subject, header, envelope.body().clone())
}

fn joined(envelopes: &[Envelope]) -> Vec<Message> {
    envelopes.iter().map(|envelope| envelope.decode().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_comes_back(seed in 1_u64.., events in 1_usize..80, body_max in 400_usize..20_000) {
        let mut sample = Sample::new("acme", "web-1", seed);
        let message = telemetry(&mut sample, events);
        let Ok(envelopes) = Envelope::encode(&message, body_max) else {
            // One event alone does not fit.
            prop_assert!(body_max < 2_000);
            return Ok(());
        };
        let mut back = Vec::new();
        for envelope in &envelopes {
            prop_assert!(envelope.body().len() <= body_max);
            prop_assert_eq!(&reread(envelope, "telemetry.raw.acme.web-1", &[]).unwrap(), envelope);
            let part = envelope.decode().unwrap();
            prop_assert_eq!(&part.source, &message.source);
            let Payload::Events(events) = part.payload else { panic!("not events") };
            prop_assert_eq!(events.len(), envelope.count() as usize);
            back.extend(events);
        }
        let ids: HashSet<_> = envelopes.iter().map(Envelope::id).collect();
        prop_assert_eq!(ids.len(), envelopes.len());
        prop_assert_eq!(Payload::Events(back), message.payload);
    }

    #[test]
    fn a_damaged_body_is_refused_or_means_the_same(at: prop::sample::Index, byte: u8, cut: bool) {
        let message = telemetry(&mut Sample::new("acme", "web-1", 3), 40);
        let sealed = Envelope::encode(&message, ROOMY).unwrap().remove(0);
        prop_assert_eq!(sealed.encoding(), Encoding::Zstd);
        let mut body = sealed.body().to_vec();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        let headers = map(&sealed);
        let header = |name: &str| headers.get(name).map(String::as_str);
        let damaged = Envelope::read("telemetry.raw.acme.web-1", header, body.into()).unwrap();
        if let Ok(back) = damaged.decode() {
            prop_assert_eq!(back.payload.len(), message.payload.len());
        }
    }

    #[test]
    fn any_headers_are_read_without_a_panic(
        subject in "[a-z.*> ]{0,40}",
        values in prop::collection::vec("\\PC{0,12}", 10),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let header = |name: &str| values.get(name.len() % 10).map(String::as_str);
        let _ = Envelope::read(&subject, header, body.into());
    }
}

#[test]
fn small_bodies_stay_readable_and_large_ones_shrink() {
    let mut sample = Sample::new("acme", "web-1", 1);
    let heartbeat = Message {
        source: sample.source().clone(),
        topic: Topic::TelemetryRaw,
        payload: Payload::Events(vec![sample.heartbeat()]),
    };
    let small = Envelope::encode(&heartbeat, ROOMY).unwrap().remove(0);
    assert_eq!(small.encoding(), Encoding::Identity);
    assert!(std::str::from_utf8(small.body()).unwrap().contains(r#""kind":"heartbeat""#));
    let large = Envelope::encode(&telemetry(&mut sample, 256), ROOMY).unwrap().remove(0);
    let plain = large.plain_body().unwrap();
    assert!(large.body().len() * 4 < plain.len(), "{} of {}", large.body().len(), plain.len());
    assert!(std::str::from_utf8(&plain).unwrap().contains(r#""kind":"file_open""#));
}

#[test]
fn events_of_two_boots_are_told_apart() {
    let (mut one, mut two) = (Sample::new("acme", "web-1", 1), Sample::new("acme", "web-1", 2));
    let payload = Payload::Events([one.busy(3), two.busy(4)].concat());
    let message = Message { source: one.source().clone(), topic: Topic::TelemetryRaw, payload };
    let envelopes = Envelope::encode(&message, ROOMY).unwrap();
    assert_eq!(envelopes.iter().map(Envelope::count).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(joined(&envelopes).iter().map(|part| part.payload.len()).sum::<usize>(), 7);
    let boots: HashSet<_> = envelopes.iter().map(|part| map(part)[names::BOOT].clone()).collect();
    assert_eq!(boots, [one.origin().to_string(), two.origin().to_string()].into());
}

#[test]
fn the_id_says_which_events_and_not_only_how_many() {
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.busy(5);
    let id = |picked: &[usize]| {
        let payload = Payload::Events(picked.iter().map(|at| Arc::clone(&events[*at])).collect());
        let message =
            Message { source: sample.source().clone(), topic: Topic::TelemetryRaw, payload };
        Envelope::encode(&message, ROOMY).unwrap().remove(0).id().to_owned()
    };
    assert_eq!(id(&[0, 1, 2]), id(&[0, 1, 2]));
    assert_ne!(id(&[0, 1, 4]), id(&[0, 2, 4]), "same first, last and count");
}

#[test]
fn headers_that_lie_are_refused() {
    let subject = "telemetry.raw.acme.web-1";
    let message = telemetry(&mut Sample::new("acme", "web-1", 1), 10);
    let sealed = Envelope::encode(&message, ROOMY).unwrap().remove(0);
    let refused = |subject: &str, name, value: Option<&str>| {
        let read = reread(&sealed, subject, &[(name, value)]);
        match read.and_then(|envelope| envelope.decode().map(|_| ())) {
            Ok(()) => panic!("{name} {value:?} on {subject} is taken"),
            Err(error) => error.to_string(),
        }
    };
    for name in map(&sealed).keys() {
        assert_eq!(refused(subject, name, None), format!("header {name}: it is missing"));
    }
    let long = "x".repeat(300);
    for (name, values) in [
        (names::SCHEMA, ["2", "", "1.0"]),
        (names::CONTENT, ["alerts.ndjson", "protobuf", ""]),
        (names::ENCODING, ["identity", "gzip", ""]),
        (names::COUNT, ["9", "0", "4294967295"]),
        (names::TENANT, ["other", "acme.>", ""]),
        (names::AGENT, ["web-2", "*", "web 1"]),
        (names::BOOT, ["0000000000000000000", "xyz", "fffffffffffffffffff"]),
        (names::SEQ_FIRST, ["2", "11", "-1"]),
        (names::SEQ_LAST, ["11", "0", "18446744073709551615"]),
        (names::MESSAGE_ID, ["", "a b", &long]),
    ] {
        for value in values {
            refused(subject, name, Some(value));
        }
    }
    for hostile in [
        "telemetry.raw.acme.web-2",
        "telemetry.raw.acme.*",
        "telemetry.raw.acme.>",
        "telemetry.raw.acme.web-1.more",
        "telemetry.raw..web-1",
        "alerts.acme.web-1",
        "telemetry.raw.acme.we\0b",
        "",
    ] {
        let read = reread(&sealed, hostile, &[]);
        assert!(read.is_err(), "{hostile:?} is taken");
    }
}

#[test]
fn a_bomb_is_refused_unopened() {
    let message = telemetry(&mut Sample::new("acme", "web-1", 1), 10);
    let sealed = Envelope::encode(&message, ROOMY).unwrap().remove(0);
    let with_body = |body: Vec<u8>| {
        let headers = map(&sealed);
        let header = |name: &str| headers.get(name).map(String::as_str);
        Envelope::read("telemetry.raw.acme.web-1", header, body.into()).unwrap().decode()
    };
    let bomb = zstd::bulk::compress(&vec![b'\n'; MAX_BODY_BYTES + 1], 19).unwrap();
    assert!(bomb.len() < 10_000, "{} bytes", bomb.len());
    assert!(matches!(with_body(bomb), Err(EnvelopeError::TooLarge { .. })));
    // One that says less than it holds.
    let mut liar = zstd::bulk::compress(&[b'\n'; 200], 1).unwrap();
    assert_eq!(liar[5], 200, "the size of the content in one byte");
    liar[5] = 100;
    assert!(matches!(with_body(liar), Err(EnvelopeError::Compression { .. })));
    // Many frames in a row.
    let frame = zstd::bulk::compress(&[b'\n'; 200], 1).unwrap();
    assert!(matches!(with_body(frame.repeat(1_000)), Err(EnvelopeError::Compression { .. })));
}

#[test]
fn a_reader_may_allow_less() {
    let sealed = Envelope::encode(&telemetry(&mut Sample::new("acme", "web-1", 1), 10), ROOMY);
    let sealed = sealed.unwrap().remove(0);
    let plain = sealed.plain_body().unwrap().len();
    assert!(sealed.decode_within(plain).is_ok());
    let error = sealed.decode_within(plain - 1).unwrap_err();
    assert!(
        matches!(error, EnvelopeError::TooLarge { found, allowed }
            if (found, allowed) == (plain as u64, plain - 1)),
        "{error}"
    );
}

#[test]
fn when_it_was_received_is_read_back() {
    let subject = "telemetry.raw.acme.web-1";
    let sealed = Envelope::encode(&telemetry(&mut Sample::new("acme", "web-1", 1), 3), ROOMY);
    let sealed = sealed.unwrap().remove(0);
    assert_eq!(reread(&sealed, subject, &[]).unwrap().received_at(), None);
    for nanos in [0, -1, 1_700_000_000_000_000_001, i64::MAX] {
        let stamped = sealed.clone().with_received_at(Timestamp::from_nanos(nanos));
        let back = reread(&stamped, subject, &[]).unwrap();
        assert_eq!(back.received_at(), Some(Timestamp::from_nanos(nanos)));
        assert_eq!(back.decode().unwrap(), sealed.decode().unwrap());
    }
    for wrong in ["", "now", "1.5", "99999999999999999999"] {
        let read = reread(&sealed, subject, &[(names::RECEIVED_AT, Some(wrong))]);
        assert!(read.is_err(), "{wrong:?} is taken");
    }
}

#[test]
fn one_event_that_does_not_fit_is_said_so() {
    let message = telemetry(&mut Sample::new("acme", "web-1", 1), 4);
    let error = Envelope::encode(&message, 100).unwrap_err();
    assert!(matches!(error, EnvelopeError::Oversized { allowed: 100, .. }), "{error}");
}

#[test]
fn an_alert_of_another_agent_is_refused() {
    let mut theirs = alerts(&mut Sample::new("acme", "web-2", 1), 2);
    theirs.source = Sample::new("acme", "web-1", 1).source().clone();
    let error = Envelope::encode(&theirs, ROOMY).unwrap_err();
    assert!(matches!(error, EnvelopeError::Codec(CodecError::Source { line: 2 })), "{error}");
    let ours = alerts(&mut Sample::new("acme", "web-1", 1), 3);
    assert_eq!(joined(&Envelope::encode(&ours, ROOMY).unwrap()), [ours]);
}

#[test]
fn a_later_report_of_an_alert_is_another_message() {
    let mut message = alerts(&mut Sample::new("acme", "web-1", 1), 1);
    let first = Envelope::encode(&message, ROOMY).unwrap().remove(0);
    let Payload::Alerts(raised) = &mut message.payload else { panic!("not alerts") };
    let last_seen_at = raised[0].created_at;
    Arc::make_mut(&mut raised[0]).repeats = Some(Repeats { count: 3, last_seen_at });
    let second = Envelope::encode(&message, ROOMY).unwrap().remove(0);
    assert_ne!(first.id(), second.id(), "a broker would drop it as a duplicate");
    assert_eq!(second.decode().unwrap(), message);
}

// What every version has written, kept for ever: `<name>.headers` with the subject on the first line, and
// `<name>.body`.

fn corpus(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/wire/v{version}"))
}

fn corpus_messages() -> Vec<(&'static str, Message)> {
    let mut sample = Sample::new("acme", "web-1", 7);
    let every_kind = sample.every_kind();
    let mut changed = Sample::new("acme", "web-1", 7);
    let shell = changed.process();
    let changes = changed.file_changes(&shell, "/etc/motd");
    let signals = changed.signals(&shell, &shell);
    let sockets = Sample::new("acme", "web-1", 7).sockets(&shell);
    let failed_execs = Sample::new("acme", "web-1", 7).failed_execs(&shell);
    let to = std::net::SocketAddr::from(([192, 0, 2, 7], 53));
    let sends = Sample::new("acme", "web-1", 7).net_sends(&shell, to);
    let looked_up = Sample::new("acme", "web-1", 7).dns_query(&shell, "updates.example.org");
    let requests = Sample::new("acme", "web-1", 7).io_urings(&shell, "/etc/shadow");
    let tampering = changed.tampering(&shell, &shell);
    let cred_changes = Sample::new("acme", "web-1", 7).cred_changes(&shell);
    let hashed = Sample::new("acme", "web-1", 7).hashed_execs(&shell);
    let contained = Sample::new("acme", "web-1", 7).container_execs(&shell);
    let kernel_calls = Sample::new("acme", "web-1", 7).kernel_calls(&shell, &shell);
    let alert = sample.alert(&every_kind[2], "r", Severity::Critical);
    let source = || Sample::new("acme", "web-1", 7).source().clone();
    let events =
        |topic, events| Message { source: source(), topic, payload: Payload::Events(events) };
    vec![
        ("every-kind", events(Topic::TelemetryRaw, every_kind)),
        ("changes", events(Topic::TelemetryRaw, changes)),
        ("signals", events(Topic::TelemetryRaw, signals)),
        ("sockets", events(Topic::TelemetryRaw, sockets)),
        ("sends", events(Topic::TelemetryRaw, sends)),
        ("io-uring", events(Topic::TelemetryRaw, requests)),
        ("look-up", events(Topic::TelemetryRaw, vec![looked_up])),
        ("failed-execs", events(Topic::TelemetryRaw, failed_execs)),
        ("tampering", events(Topic::TelemetryRaw, tampering)),
        ("cred-changes", events(Topic::TelemetryRaw, cred_changes)),
        ("kernel-calls", events(Topic::TelemetryRaw, kernel_calls)),
        ("hashed-execs", events(Topic::TelemetryRaw, hashed)),
        ("container-execs", events(Topic::TelemetryRaw, contained)),
        ("busy", events(Topic::TelemetryAccepted, sample.busy(64))),
        ("plain", events(Topic::TelemetryRaw, vec![sample.heartbeat()])),
        (
            "alerts",
            Message {
                source: source(),
                topic: Topic::Alerts,
                payload: Payload::Alerts(vec![alert]),
            },
        ),
    ]
}

#[test]
#[ignore = "writes what the corpus does not have yet; what is there is never written again"]
fn write_the_corpus() {
    let directory = corpus(lavender_core::codec::VERSION);
    std::fs::create_dir_all(&directory).unwrap();
    for (name, message) in corpus_messages() {
        if directory.join(format!("{name}.headers")).exists() {
            continue;
        }
        let sealed = Envelope::encode(&message, ROOMY).unwrap().remove(0);
        let mut text = format!("{}\n", sealed.subject());
        for (name, value) in sealed.headers() {
            text.push_str(&format!("{name}: {value}\n"));
        }
        std::fs::write(directory.join(format!("{name}.headers")), text).unwrap();
        std::fs::write(directory.join(format!("{name}.body")), sealed.body()).unwrap();
    }
}

/// Everything that `old` says, `new` says too.
fn assert_says_all(old: &Value, new: &Value, at: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let new = new.get(key).unwrap_or_else(|| panic!("{at}: `{key}` is gone"));
                assert_says_all(value, new, &format!("{at}.{key}"));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{at}");
            for (number, (old, new)) in old.iter().zip(new).enumerate() {
                assert_says_all(old, new, &format!("{at}[{number}]"));
            }
        }
        _ => assert_eq!(old, new, "{at}"),
    }
}

#[test]
fn every_version_is_still_read() {
    let mut read = 0;
    for version in 1..=lavender_core::codec::VERSION {
        for entry in std::fs::read_dir(corpus(version)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "headers") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let (subject, headers) = text.split_once('\n').unwrap();
            let headers: BTreeMap<_, _> =
                headers.lines().filter_map(|line| line.split_once(": ")).collect();
            let body = std::fs::read(path.with_extension("body")).unwrap();
            let sealed =
                Envelope::read(subject, |name| headers.get(name).copied(), body.into()).unwrap();
            let message = sealed.decode().unwrap();
            // Written again, everything that stood there still does.
            let again = Envelope::encode(&message, ROOMY).unwrap().remove(0);
            assert_eq!(again.id(), sealed.id());
            let (old, new) = (sealed.plain_body().unwrap(), again.plain_body().unwrap());
            let lines = |body: &[u8]| -> Vec<Value> {
                let text = String::from_utf8(body.to_vec()).unwrap();
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
            };
            let (old, new) = (lines(&old), lines(&new));
            assert_eq!(old.len(), new.len());
            for (number, (old, new)) in old.iter().zip(&new).enumerate() {
                assert_says_all(old, new, &format!("{} line {}", path.display(), number + 1));
            }
            read += 1;
        }
    }
    assert!(read >= 4, "{read} messages in the corpus");
}

#[test]
fn headers_are_text_that_any_broker_takes() {
    let mut sample = Sample::new("acme", "web-1", 1);
    for message in [telemetry(&mut sample, 5), alerts(&mut sample, 1)] {
        for (name, value) in Envelope::encode(&message, ROOMY).unwrap()[0].headers() {
            let value: Cow<'_, str> = value;
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{name}: {value}");
        }
    }
}

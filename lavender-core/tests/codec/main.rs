//! The wire format: what is written comes back, and what is damaged is refused without a panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

mod strategies;

use std::sync::Arc;

use lavender_core::codec::{self, BatchDecoder, CodecError};
use lavender_core::event::{DnsRecordType, Event, EventData, EventKind, Priority, Process};
use lavender_core::{
    Alert, Captured, Certainty, Detection, Evidence, ProcessId, RuleMeta, Severity, Timestamp,
};
use proptest::prelude::*;
use strategies::{BOOT, events, identity, text};

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was(events in events()) {
        let wire = codec::encode_batch(&identity(), &events).unwrap();
        let (source, back) = codec::decode_batch(&wire).unwrap();
        prop_assert_eq!(source, identity());
        prop_assert_eq!(&back, &events);
        // Events of one process share it again.
        let shared: Vec<_> = back.iter().filter_map(|event| event.process.as_ref()).collect();
        prop_assert!(shared.windows(2).all(|pair| Arc::ptr_eq(pair[0], pair[1])));
    }

    #[test]
    fn events_come_back_without_whose_they_are(events in events(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut wire = codec::encode_events(&events).unwrap();
        prop_assert_eq!(&codec::decode_events(&wire).unwrap(), &events);
        prop_assert!(wire.len() < codec::encode_batch(&identity(), &events).unwrap().len());
        let at = at.index(wire.len());
        if cut { wire.truncate(at) } else { wire[at] = byte }
        if let Ok(back) = codec::decode_events(&wire) {
            prop_assert_eq!(back.len(), events.len());
        }
    }

    #[test]
    fn what_is_remembered_changes_nothing(events in events(), at: prop::sample::Index, byte: u8, cut: bool) {
        let whole = codec::encode_batch(&identity(), &events).unwrap();
        let mut damaged = whole.clone();
        let at = at.index(whole.len());
        if cut { damaged.truncate(at) } else { damaged[at] = byte }
        let mut decoder = BatchDecoder::new();
        for wire in [&whole, &damaged, &whole, &damaged] {
            let (fresh, remembered) = (codec::decode_batch(wire), decoder.decode(wire));
            prop_assert_eq!(fresh.is_ok(), remembered.is_ok());
            if let (Ok(fresh), Ok(remembered)) = (fresh, remembered) {
                prop_assert_eq!(fresh, remembered);
            }
        }
    }

    #[test]
    fn one_event_comes_back_as_it_was(events in events()) {
        for event in events {
            let line = codec::event_to_json(&event).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(codec::event_from_json(&line).unwrap(), (*event).clone());
        }
    }

    #[test]
    fn one_alert_comes_back_as_it_was(events in events(), value in text(), certain: bool) {
        for event in events {
            let certainty = if certain {
                Certainty::Certain
            } else {
                Certainty::Undetermined { fields: vec!["CommandLine".into()] }
            };
            let rule = RuleMeta { id: "r".into(), title: "t".into(), level: Severity::High, ..RuleMeta::default() };
            let evidence = vec![Evidence { field: "Image".into(), value: value.clone() }];
            let detection = Detection {
                rule: Arc::new(rule),
                event,
                evidence,
                certainty,
                correlated: None,
            };
            let alert = Alert::from_detection(&identity(), detection, Timestamp::from_millis(5));
            let line = codec::alert_to_json(&alert).unwrap();
            prop_assert_eq!(codec::alert_from_json(&line).unwrap(), alert);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_and_do_not_panic(events in events(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut wire = codec::encode_batch(&identity(), &events).unwrap();
        let at = at.index(wire.len());
        if cut { wire.truncate(at) } else { wire[at] = byte }
        if let Ok((_, back)) = codec::decode_batch(&wire) {
            // Whatever is accepted is complete.
            prop_assert_eq!(back.len(), events.len());
        }
        let _ = codec::event_from_json(&String::from_utf8_lossy(&wire));
        let _ = codec::alert_from_json(&String::from_utf8_lossy(&wire));
    }
}

fn refused(wire: &str) -> CodecError {
    codec::decode_batch(wire.as_bytes()).unwrap_err()
}

const HEADER: &str =
    r#"{"lavender":1,"tenant":"a","agent":"b","host":"c","events":1,"processes":0}"#;

#[test]
fn what_is_wrong_is_said_with_its_line() {
    assert!(matches!(refused(""), CodecError::Empty));
    assert!(matches!(
        refused(&HEADER.replace(":1,\"t", ":2,\"t")),
        CodecError::Version { found: 2 }
    ));
    assert!(matches!(refused(HEADER), CodecError::Count { expected: 1, found: 0 }));
    assert!(matches!(refused(&format!("{HEADER}\n{{")), CodecError::Line { line: 2, .. }));
    assert!(matches!(
        refused(&HEADER.replace("\"events\":1", "\"events\":9999999")),
        CodecError::TooLarge { found: 9_999_999 }
    ));
    let hostile = HEADER.replace("\"a\"", "\"a.>\"");
    assert!(refused(&hostile).to_string().contains("not a valid name"));
}

#[test]
fn a_line_of_processes_without_end_is_refused() {
    let mut wire = HEADER.replace("\"processes\":0", "\"processes\":100");
    let process = family_of_one();
    for index in 0..100_u32 {
        let parent = index.checked_sub(1);
        wire.push('\n');
        wire.push_str(&serde_json::json!({ "process": process, "parent": parent }).to_string());
    }
    assert!(matches!(refused(&wire), CodecError::Ancestors { line: 67 }), "{}", refused(&wire));
}

/// Batches of lines that are written by hand, read by one that remembers.
fn remembering(lines: &[&[String]]) -> Vec<Result<Vec<Arc<Event>>, CodecError>> {
    let mut decoder = BatchDecoder::new();
    let event = r#"{"id":"00000000-0000-8000-8000-000000000001","kind":"fork","observed_at":1,"boot_time":2,"process":1,"data":{}}"#;
    let mut read = |lines: &&[String]| {
        let header = HEADER.replace("\"processes\":0", &format!("\"processes\":{}", lines.len()));
        let wire = format!("{header}\n{}\n{event}", lines.join("\n"));
        decoder.decode(wire.as_bytes()).map(|(_, events)| events)
    };
    lines.iter().map(&mut read).collect()
}

#[test]
fn a_process_is_known_again_by_its_text_and_its_parent() {
    let line = |pid: u32, ending: &str| {
        let mut process = family_of_one();
        process["pid"] = pid.into();
        format!("{{\"process\":{process}{ending}}}")
    };
    let (init, other) = (line(1, ""), line(2, ""));
    let child = |ending: &str| line(3, ending);
    let process_of = |read: &Result<Vec<Arc<Event>>, CodecError>| {
        Arc::clone(read.as_ref().unwrap()[0].process.as_ref().unwrap())
    };
    let read = remembering(&[
        &[init.clone(), child(",\"parent\":0")],
        // The same two, elsewhere in the batch.
        &[init.clone(), child(",\"parent\":0"), other.clone()],
        &[other, child(",\"parent\":0")],
        &[init.clone(), child("")],
        &[init.clone(), child(",\"parent\":0")],
        // None of these can be read, whatever is remembered.
        &[init.clone(), child(",\"parent\":00")],
        &[init.clone(), child(",\"parent\":0,\"parent\":0")],
        &[init.clone(), child(",\"parent\":7")],
        &[init, child(",\"parent\":0}")],
    ]);
    let first = process_of(&read[0]);
    assert_eq!(first.parent.as_ref().unwrap().pid, 1);
    assert!(Arc::ptr_eq(&first, &process_of(&read[1])));
    assert_eq!(process_of(&read[2]).parent.as_ref().unwrap().pid, 2);
    assert_eq!(process_of(&read[3]).parent, None);
    assert!(Arc::ptr_eq(&first, &process_of(&read[4])));
    for bad in &read[5..] {
        assert!(bad.is_err(), "{bad:?}");
    }
}

#[test]
fn the_kind_may_stand_behind_the_data() {
    let line = |fields: &str| {
        let line = format!(
            r#"{{"id":"00000000-0000-8000-8000-000000000001","observed_at":1,"boot_time":2,{fields}}}"#
        );
        codec::event_from_json(&line)
    };
    let data = r#""data":{"code":3}"#;
    let exit = line(&format!(r#""kind":"exit",{data}"#)).unwrap();
    assert_eq!(exit.kind(), EventKind::Exit);
    assert_eq!(line(&format!(r#"{data},"kind":"exit""#)).unwrap(), exit);
    for twice in [r#""kind":"exit""#, data] {
        assert!(line(&format!(r#""kind":"exit",{data},{twice}"#)).is_err(), "{twice}");
    }
    for missing in [r#""kind":"exit""#, data] {
        assert!(line(missing).is_err(), "{missing}");
    }
}

#[test]
fn added_fields_are_ignored_and_unknown_kinds_kept() {
    let line = r#"{"id":"00000000-0000-8000-8000-000000000001","kind":"quantum_leap","observed_at":1,"boot_time":2,"novel":true,"data":{"far":1}}"#;
    let event = codec::event_from_json(line).unwrap();
    assert_eq!(event.kind(), EventKind::Unknown);
    let again = codec::event_to_json(&event).unwrap();
    assert!(
        again.contains(r#""kind":"quantum_leap""#) && again.contains(r#""data":{"far":1}"#),
        "{again}"
    );
}

#[test]
fn a_look_up_is_written_as_the_documentation_of_its_fields_says() {
    let json = r#"{"name":"a.example","record_type":16,"response_code":3,"answers":[{"record_type":1,"address":"192.0.2.1"},{"record_type":5,"name":{"base64":"/w=="}}]}"#;
    let data = codec::data_from_json("dns_query", json).unwrap();
    assert_eq!(codec::data_to_json(&data).unwrap(), json);
    let mut written = b"before".to_vec();
    codec::write_data(&data, &mut written).unwrap();
    assert_eq!(written, ["before", json].concat().as_bytes());
    assert_eq!(data.kind().priority(), Priority::Network);
    // A question without an answer needs neither code nor answers.
    let bare = codec::data_from_json("dns_query", r#"{"name":"a","record_type":1}"#).unwrap();
    let EventData::DnsQuery(query) = bare else { panic!("{bare:?}") };
    assert_eq!((query.response_code, query.answers), (None, Captured::complete(vec![])));
    assert_eq!(DnsRecordType(65_280).to_string(), "TYPE65280");
    for hostile in [
        r#"{"name":7,"record_type":1}"#,
        r#"{"name":"a","record_type":65536}"#,
        r#"{"name":"a","record_type":1,"answers":[{"record_type":1,"address":"nowhere"}]}"#,
        r#"{"name":"a","record_type":1,"answers":[{"record_type":1}]}"#,
    ] {
        assert!(codec::data_from_json("dns_query", hostile).is_err(), "{hostile}");
    }
}

fn family_of_one() -> serde_json::Value {
    serde_json::json!({
        "exec_id": { "process": ProcessId::new(BOOT, 1, 1), "generation": 0 },
        "pid": 1, "namespace_pid": 1, "name": "x",
        "executable": { "path": "/x", "inode": 1, "device": 1 },
        "arguments": ["x"], "working_directory": "/",
        "credentials": { "uid": 4294967294_u32, "euid": 0, "gid": 0, "egid": 0, "capabilities_effective": 0 },
        "cgroup_id": 1,
        "namespaces": { "cgroup": 0, "mnt": 0, "net": 0, "pid": 0, "user": 0, "uts": 0 },
    })
}

#[test]
fn the_line_of_ancestors_stays_bounded() {
    let first: Process = serde_json::from_value(family_of_one()).unwrap();
    let mut process = Arc::new(first);
    let mut longest = 0;
    for _ in 0..1_000 {
        let parent = Some(process.as_parent());
        process = Arc::new(Process { parent, ..(*process).clone() });
        longest = longest.max(process.ancestors().count());
    }
    assert_eq!(longest, Process::MAX_ANCESTORS - 1);
    assert!(process.ancestors().count() >= Process::MAX_ANCESTORS / 2);
}

//! Lines of JSON before the built-in rules: what reading a line costs and what reading and matching cost, beside
//! `serde_json` building a value, and beside it only checking the line. Per line; one has about 530 bytes and 15
//! members.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lavender_benches::{SEED, events};
use lavender_core::event::{Event, EventData};
use lavender_detect::{
    EventField, EventRecord, FieldValue, JsonFields, JsonLines, LogSource, Record, RuleSet,
    RuleSetBuilder, builtin,
};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

const LINES: usize = 5_000;

/// What a collector of Sysmon for Linux writes of a program's start.
const FIELDS: [EventField; 13] = [
    EventField::UtcTime,
    EventField::ProcessGuid,
    EventField::ProcessId,
    EventField::Image,
    EventField::CommandLine,
    EventField::CurrentDirectory,
    EventField::User,
    EventField::LogonId,
    EventField::ParentProcessGuid,
    EventField::ParentProcessId,
    EventField::ParentImage,
    EventField::ParentCommandLine,
    EventField::ParentUser,
];

fn json(value: FieldValue<'_>) -> Option<Value> {
    Some(match value {
        FieldValue::Text(text) => String::from_utf8_lossy(text).into(),
        FieldValue::Short(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        FieldValue::Int(number) => number.into(),
        FieldValue::Uint(number) => number.into(),
        FieldValue::Time(_) => "2026-01-01 00:00:01.234".into(),
        _ => return None,
    })
}

/// An event in the flat names of Sigma, with some that no rule asks for.
fn line(rules: &RuleSet, event: &Event) -> Vec<u8> {
    let record = EventRecord::new(event);
    let mut object = Map::new();
    object.insert("EventID".to_owned(), 1.into());
    object.insert("Channel".to_owned(), "Linux-Sysmon/Operational".into());
    object.insert("Computer".to_owned(), "bench-1.example".into());
    for field in FIELDS {
        let id = rules.fields().id(field.name()).unwrap();
        if let Some(value) = json(record.value(id)) {
            object.insert(field.name().to_owned(), value);
        }
    }
    serde_json::to_vec(&object).unwrap()
}

fn rules() -> RuleSet {
    let mut builder = RuleSetBuilder::new().with_placeholders(builtin::placeholders());
    builder.add_builtin();
    builder.build().unwrap().rules
}

fn json_line(c: &mut Criterion) {
    let rules = rules();
    let lines: Vec<Vec<u8>> = events(SEED, 4 * LINES)
        .unwrap()
        .iter()
        .filter(|event| matches!(event.data, EventData::Exec(_)))
        .take(LINES)
        .map(|event| line(&rules, event))
        .collect();
    let fields = JsonFields::new(rules.fields());
    let mut reader = JsonLines::new(&fields);
    let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
    let mut group = c.benchmark_group("json_line");
    group.throughput(Throughput::Elements(LINES as u64)).sample_size(30);

    group.bench_function("floor_check_only", |b| {
        b.iter(|| {
            for line in &lines {
                black_box(serde_json::from_slice::<IgnoredAny>(black_box(line)).unwrap());
            }
        });
    });
    group.bench_function("line_parse", |b| {
        b.iter(|| {
            for line in &lines {
                black_box(reader.parse(black_box(line)).unwrap());
            }
        });
    });
    group.bench_function("value_parse", |b| {
        b.iter(|| {
            for line in &lines {
                black_box(serde_json::from_slice::<Value>(black_box(line)).unwrap());
            }
        });
    });
    group.bench_function("line_parse_and_match", |b| {
        b.iter(|| {
            let mut found = 0;
            for line in &lines {
                let record = reader.parse(black_box(line)).unwrap();
                found += evaluator.matches(&record).len();
            }
            found
        });
    });
    group.bench_function("value_parse_and_match", |b| {
        b.iter(|| {
            let mut found = 0;
            for line in &lines {
                let value: Value = serde_json::from_slice(black_box(line)).unwrap();
                found += evaluator.matches(&fields.record(&value)).len();
            }
            found
        });
    });
    group.bench_function("line_parse_and_visit_all", |b| {
        b.iter(|| {
            let mut values = 0;
            for line in &lines {
                let record = reader.parse(black_box(line)).unwrap();
                let _ = record.each_value(&mut |_| {
                    values += 1;
                    ControlFlow::Continue(())
                });
            }
            values
        });
    });
    group.finish();
}

criterion_group!(benches, json_line);
criterion_main!(benches);

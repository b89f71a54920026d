//! Random rules and events that meet often.

#![allow(dead_code, reason = "every test that includes this uses a part of it")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

pub(crate) const FIELDS: [&str; 5] = ["A", "B", "C", "D.e", "Image"];

/// Texts of few parts, so that rules and events meet often.
pub(crate) fn any_text(
    parts: &'static [&'static str],
    most: usize,
) -> impl Strategy<Value = String> {
    // An empty text has no offset in base64.
    let least = usize::from(parts == PLAIN_PARTS);
    prop::collection::vec(prop::sample::select(parts), least..=most)
        .prop_map(|parts| parts.concat())
}

pub(crate) const VALUE_PARTS: &[&str] = &[
    "a",
    "b",
    "ab",
    "B",
    "/sh",
    "/bash",
    " -e",
    "é",
    "É",
    "\u{212a}",
    "10",
    "-",
    "/",
    "\\",
    "*",
    "?",
    "\n",
    "x",
    "k",
    "aGk",
    "=",
    "/usr/local/Bin",
    "abcdefgh",
];
const PATTERN_PARTS: &[&str] = &[
    "a",
    "b",
    "ab",
    "AB",
    "/sh",
    "/bash",
    " -e",
    "é",
    "k",
    "10",
    "*",
    "?",
    "\\*",
    "\\\\",
    "\\",
    "-a",
    "/a",
    "x",
    "/usr/local/bin",
    "abcdefgh",
];
const PLAIN_PARTS: &[&str] = &["a", "b", "hi", "sh", "x", "10"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => any_text(VALUE_PARTS, 5).prop_map(Value::from),
        2 => (-3_i64..20).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => prop::sample::select(vec!["10.1.2.3", "192.168.0.1", "fe80::1", "::ffff:1", "300.1.1.1"])
            .prop_map(Value::from),
        1 => prop::sample::select(vec!["2026-01-31T23:59:59Z", "2024-02-29T00:10:00Z"])
            .prop_map(Value::from),
        1 => (-2.0..12.0_f64).prop_map(|value| Value::from((value * 2.0).round() / 2.0)),
    ]
}

pub(crate) fn event() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        9 => scalar(),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(Value::from),
    ];
    prop::collection::vec(prop::option::weighted(0.8, field), FIELDS.len()).prop_map(|values| {
        let mut event = Map::new();
        for (name, value) in FIELDS.iter().zip(values) {
            if let Some(value) = value {
                match name.split_once('.') {
                    Some((outer, inner)) => event.insert(outer.into(), json!({ inner: value })),
                    None => event.insert((*name).into(), value),
                };
            }
        }
        Value::Object(event)
    })
}

/// A field with modifiers, and a value for it.
pub(crate) fn item() -> impl Strategy<Value = (String, Value)> {
    let field = prop::sample::select(FIELDS.to_vec());
    let texts = |parts, most| {
        prop_oneof![
            any_text(parts, 3).prop_map(Value::from),
            prop::collection::vec(any_text(parts, 3).prop_map(Value::from), 1..=most)
                .prop_map(Value::from),
        ]
    };
    let plain_text = prop::sample::select(vec![
        "",
        "|contains",
        "|startswith",
        "|endswith",
        "|contains|all",
        "|cased",
        "|contains|cased",
        "|windash",
        "|windash|contains",
        "|neq",
        "|contains|neq",
        "|all",
        "|endswith|cased",
    ]);
    let encoded = prop::sample::select(vec![
        "|base64",
        "|base64offset|contains",
        "|wide|base64offset|contains",
        "|base64|contains",
        "|utf16be|base64|contains",
    ]);
    let regex = (
        prop::sample::select(vec!["|re", "|re|i", "|re|s", "|re|m|i", "|re|neq"]),
        prop::sample::select(vec![
            "a+b",
            "^a.*b$",
            "(sh|bash)$",
            "(?i)AB",
            "[^a]",
            "é",
            "\\d{2}",
            "^$",
            "a.b",
            "x?",
            "(ab){2}",
            "[Kk]",
            "k",
            "/ba?sh",
        ])
        .prop_map(Value::from),
    );
    let other = prop_oneof![
        (Just("|exists"), any::<bool>().prop_map(Value::from)),
        (
            prop::sample::select(vec!["|cidr", "|cidr|neq"]),
            prop::sample::select(vec![
                json!("10.0.0.0/8"),
                json!(["192.168.0.0/16", "fe80::/10"]),
                json!("::/0"),
                json!("10.1.2.3/32")
            ])
        ),
        (
            prop::sample::select(vec!["|gt", "|gte", "|lt", "|lte", "|gte|neq"]),
            (-3_i64..15).prop_map(Value::from)
        ),
        (
            Just(""),
            prop_oneof![
                Just(Value::Null),
                (-3_i64..15).prop_map(Value::from),
                any::<bool>().prop_map(Value::from)
            ]
        ),
        (Just("|neq"), Just(Value::Null)),
        (
            prop::sample::select(vec![
                "|fieldref",
                "|fieldref|contains",
                "|fieldref|startswith",
                "|fieldref|endswith|neq",
                "|fieldref|cased"
            ]),
            prop::sample::select(FIELDS.to_vec()).prop_map(Value::from)
        ),
        (
            prop::sample::select(vec!["|year", "|hour|gte", "|day|lt", "|minute", "|month|neq"]),
            prop::sample::select(vec![1, 2, 10, 23, 29, 59, 2024, 2026]).prop_map(Value::from)
        ),
    ];
    let kind = prop_oneof![
        8 => (plain_text, texts(PATTERN_PARTS, 4)),
        1 => (encoded, texts(PLAIN_PARTS, 2)),
        2 => regex,
        3 => other,
    ];
    (field, kind).prop_map(|(field, (modifiers, value))| (format!("{field}{modifiers}"), value))
}

fn search() -> impl Strategy<Value = Value> {
    let map = prop::collection::vec(item(), 1..4)
        .prop_map(|items| Value::Object(items.into_iter().collect::<Map<_, _>>()))
        .boxed();
    prop_oneof![
        6 => map.clone(),
        2 => prop::collection::vec(map, 1..3).prop_map(Value::from),
        1 => prop::collection::vec(any_text(PATTERN_PARTS, 3).prop_map(Value::from), 1..3)
            .prop_map(Value::from),
        1 => prop::collection::vec(any_text(PATTERN_PARTS, 2).prop_map(Value::from), 1..3)
            .prop_map(|values| json!({ "|all": values })),
    ]
}

pub(crate) fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "sel_a",
        "sel_b",
        "_hidden",
        "1 of sel*",
        "all of sel_*",
        "all of them",
        "1 of them",
        "any of _h*",
        "not sel_a",
        "not 1 of sel_*",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} and {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} or {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

/// A rule as YAML (of which JSON is a part).
pub(crate) fn rule() -> impl Strategy<Value = Value> {
    (search(), search(), search(), prop::collection::vec(condition(), 1..3)).prop_map(
        |(a, b, hidden, conditions)| {
            json!({
                "logsource": {"product": "test"},
                "detection": {"sel_a": a, "sel_b": b, "_hidden": hidden, "condition": conditions},
            })
        },
    )
}

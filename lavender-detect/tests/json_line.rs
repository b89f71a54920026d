//! Lines of JSON as records: what `serde_json` accepts is accepted, and every field has the value that it has in a
//! parsed `serde_json::Value`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use lavender_detect::{
    Evaluator, FieldId, FieldValue, JsonFault, JsonFields, JsonLine, JsonLineError, JsonLines,
    Record, RuleSet, Truth,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// The names that are asked for: whole ones, paths, both at once, empty steps, and such as need escapes.
const NAMES: [&str; 18] = [
    "a",
    "b",
    "a.b",
    "a.b.c",
    "a.c",
    "b.a",
    "c.d.e.f",
    "a.",
    ".a",
    ".",
    "a..b",
    "q\"\\/",
    "é\u{1f600}",
    "Image",
    "CommandLine",
    "abcdefgh",
    "abcdefghi",
    "abcdefgh.abcdefghijklmnop",
];

static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
    let asked = NAMES.map(|name| format!("    {:?}: true\n", format!("{name}|exists"))).concat();
    let rules = format!(
        "title: Names\nlogsource: {{product: test}}\ndetection:\n  s:\n{asked}  condition: s\n---\n\
         title: Tests\nlogsource: {{product: test}}\ndetection:\n  \
         a: {{a|contains: [x, yy], b|re: '[0-9]a?'}}\n  \
         b: {{a.b|gte: 3}}\n  \
         c: {{a.b|fieldref: b}}\n  \
         d: {{a.c: null, a.b.c|exists: true}}\n  \
         condition: 1 of them\n---\n\
         title: Words\nlogsource: {{product: test}}\ndetection:\n  \
         words: [xy, 'x*1', '\u{1f600}']\n  condition: words\n"
    );
    RuleSet::from_yaml(&rules).unwrap_or_else(|error| panic!("{error}"))
});

/// A reader of lines and one of values, with the rules that look at what they read.
struct Both {
    fields: JsonFields,
    lines: JsonLines,
    evaluator: Evaluator,
}

impl Both {
    fn new() -> Self {
        let mapping = [("Image", "a.b"), ("CommandLine", "c")];
        let fields = JsonFields::new(RULES.fields()).with_mapping(RULES.fields(), mapping);
        let lines = JsonLines::new(&fields);
        Self { fields, lines, evaluator: RULES.unrouted_evaluator() }
    }

    /// Reads a line in both ways, and says whether it was accepted.
    fn agree(&mut self, line: &[u8]) -> bool {
        let value = serde_json::from_slice::<Value>(line);
        let parsed = self.lines.parse(line);
        let shown = String::from_utf8_lossy(&line[..line.len().min(2_000)]);
        match (value, parsed) {
            (Ok(value @ Value::Object(_)), Ok(record)) => {
                let expected = self.fields.record(&value);
                for (id, name) in RULES.fields().iter() {
                    assert_eq!(of_field(&record, id), of_field(&expected, id), "{name}: {shown}");
                }
                assert_eq!(all(&record), all(&expected), "{shown}");
                assert_eq!(all(&record), all(&expected), "again: {shown}");
                let found = matches(&mut self.evaluator, &record);
                assert_eq!(found, matches(&mut self.evaluator, &expected), "{shown}");
                true
            }
            (Ok(Value::Object(_)), Err(error)) => panic!("refused with {error}: {shown}"),
            (Ok(_), Err(JsonLineError::NotAnObject { .. })) | (Err(_), Err(_)) => false,
            (Ok(_), Err(error)) => panic!("no object, and refused with {error}: {shown}"),
            (Ok(_), Ok(_)) => panic!("accepted, but no object: {shown}"),
            (Err(error), Ok(_)) => panic!("accepted in spite of {error}: {shown}"),
        }
    }
}

/// A value as text: minus zero is not zero.
fn show(value: FieldValue<'_>) -> String {
    format!("{value:?}")
}

fn of_field(record: &impl Record, field: FieldId) -> (String, Vec<String>) {
    let mut elements = Vec::new();
    let flow = record.elements(field, &mut |value| {
        elements.push(show(value));
        ControlFlow::Continue(())
    });
    assert_eq!(flow, ControlFlow::Continue(()));
    // A value sorts the keys of its objects, and a line leaves them as they are.
    elements.sort_unstable();
    (show(record.value(field)), elements)
}

fn all(record: &impl Record) -> Vec<String> {
    let mut values = Vec::new();
    let flow = record.each_value(&mut |value| {
        values.push(show(value));
        ControlFlow::Continue(())
    });
    assert_eq!(flow, ControlFlow::Continue(()));
    values.sort_unstable();
    values
}

fn matches(evaluator: &mut Evaluator, record: &impl Record) -> Vec<String> {
    let mut found: Vec<String> =
        evaluator.matches(record).map(|found| found.meta().title.to_string()).collect();
    found.sort_unstable();
    for rule in RULES.iter() {
        let holds = RULES.explain(rule, record).truth() == Truth::True;
        let title = rule.meta().title.to_string();
        assert_eq!(holds, found.contains(&title), "{title}");
    }
    found
}

/// White space, in every way in which it may stand between tokens.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(String::new()),
        1 => Just(" ".to_owned()),
        1 => vec(select(vec![' ', '\t', '\n', '\r']), 0..10).prop_map(String::from_iter),
    ]
}

/// A piece of a string: as it stands, or escaped in one of the ways.
fn piece() -> impl Strategy<Value = String> {
    let escapes = [
        r#"\""#,
        r"\\",
        r"\/",
        r"\b",
        r"\f",
        r"\n",
        r"\r",
        r"\t",
        r"\u0041",
        r"\u00e9",
        r"\u20AC",
        r"\ud83d\ude00",
        r"\uD83D\uDE00",
        r"\u0000",
        r"\uffff",
        r"\udbff\udfff",
        r"\ud800\udc00",
    ];
    prop_oneof![
        8 => "[a-z0-9]{1,12}",
        2 => select(escapes.to_vec()).prop_map(str::to_owned),
        1 => select(vec!["é", "\u{1f600}", "\u{7f}", "x1", "/", "{", "]", ",", "'"]).prop_map(str::to_owned),
    ]
}

fn string() -> impl Strategy<Value = String> {
    vec(piece(), 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A key: mostly one that is asked for, some of its characters escaped.
fn key() -> impl Strategy<Value = String> {
    let asked = prop_oneof![
        select(NAMES.to_vec()),
        select(vec!["a", "b", "c", "d", "e", "f", "", "abcdefghijklmnop"]),
    ];
    let written = (asked, any::<u16>()).prop_map(|(name, escaped)| {
        let character = |(at, character): (usize, char)| match character {
            '"' => r#"\""#.to_owned(),
            '\\' => r"\\".to_owned(),
            _ if escaped >> (at % 16) & 0xf != 0 => character.to_string(),
            _ => {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units);
                units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
            }
        };
        format!("\"{}\"", name.chars().enumerate().map(character).collect::<String>())
    });
    prop_oneof![5 => written, 1 => string()]
}

fn number() -> impl Strategy<Value = String> {
    let odd = [
        "0",
        "-0",
        "-0.0",
        "0e5",
        "1E+2",
        "1e-400",
        "-1e400",
        "1.5e308",
        "1.8e308",
        "9e999999999999",
        "0e999999999999",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "999999999999999999",
        "0.1",
        "123456789012345678901234567890.5",
        "2.2250738585072011e-308",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "--1",
        "NaN",
    ];
    prop_oneof![
        4 => any::<i64>().prop_map(|value| value.to_string()),
        4 => (-1_000_i64..1_000).prop_map(|value| value.to_string()),
        2 => any::<f64>().prop_filter("JSON has no other", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
        1 => (295_usize..320, any::<bool>()).prop_map(|(digits, tail)| {
            format!("{}{}", "9".repeat(digits), if tail { ".5" } else { "" })
        }),
        1 => select(odd[..21].to_vec()).prop_map(str::to_owned),
        // Such as are none.
        1 => select(odd.to_vec()).prop_map(str::to_owned),
    ]
}

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        3 => string(),
        2 => number(),
        1 => select(vec!["null", "true", "false"]).prop_map(str::to_owned),
    ];
    scalar.prop_recursive(
        5,
        60,
        6,
        |inner| prop_oneof![2 => object(inner.clone()), 1 => list(inner)],
    )
}

fn list(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    vec((space(), inner, space()), 0..5).prop_map(|elements| {
        let elements: Vec<_> = elements.into_iter().map(|(a, b, c)| format!("{a}{b}{c}")).collect();
        format!("[{}]", elements.join(","))
    })
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), key(), space(), space(), inner, space());
    vec(member, 0..7).prop_map(|members| {
        let member = |(a, key, b, c, value, d): (_, _, _, _, _, _)| -> String {
            [a, key, b, ":".to_owned(), c, value, d].concat()
        };
        let members: Vec<_> = members.into_iter().map(member).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// A line: an object with members of the same names, values of all shapes, and white space anywhere.
fn line() -> impl Strategy<Value = String> {
    (space(), object(json()), space()).prop_map(|(a, b, c)| format!("{a}{b}{c}"))
}

/// A change of one place.
#[derive(Clone, Debug)]
enum Change {
    Replace(u8),
    Insert(u8),
    Remove,
    Cut,
}

fn change() -> impl Strategy<Value = Change> {
    let byte = || {
        prop_oneof![
            4 => select(br#"{}[]:,"\/ 0123456789-+.eEuntrabf"#.to_vec()),
            1 => any::<u8>(),
        ]
    };
    prop_oneof![
        3 => byte().prop_map(Change::Replace),
        3 => byte().prop_map(Change::Insert),
        2 => Just(Change::Remove),
        1 => Just(Change::Cut),
    ]
}

fn changed(line: String, changes: &[(usize, Change)]) -> Vec<u8> {
    let mut line = line.into_bytes();
    for (at, change) in changes {
        let at = at % line.len().max(1);
        match change {
            Change::Insert(byte) => line.insert(at, *byte),
            _ if line.is_empty() => {}
            Change::Replace(byte) => line[at] = *byte,
            Change::Remove => drop(line.remove(at)),
            Change::Cut => line.truncate(at),
        }
    }
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_line_has_the_values_of_the_parsed_line(lines in vec(line(), 1..4)) {
        // One reader for all: nothing of a line is seen in the next.
        let mut both = Both::new();
        for line in &lines {
            both.agree(line.as_bytes());
        }
    }

    #[test]
    fn a_changed_line_is_refused_when_serde_json_refuses_it(
        line in line(),
        changes in vec((any::<prop::sample::Index>().prop_map(|at| at.index(1 << 20)), change()), 1..4),
    ) {
        Both::new().agree(&changed(line, &changes));
    }

    #[test]
    fn any_value_alone_is_refused_unless_it_is_an_object(value in json()) {
        Both::new().agree(value.as_bytes());
    }
}

#[test]
fn most_generated_lines_are_accepted() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut both = Both::new();
    let mut accepted = 0;
    for _ in 0..200 {
        let line = line().new_tree(&mut runner).unwrap().current();
        accepted += usize::from(both.agree(line.as_bytes()));
    }
    assert!((100..200).contains(&accepted), "{accepted}");
}

fn value<'a>(line: &'a JsonLine<'_>, name: &str) -> FieldValue<'a> {
    line.value(RULES.fields().id(name).unwrap())
}

#[test]
fn the_last_of_several_members_of_a_name_counts_and_replaces_the_one_before_it_whole() {
    let mut lines = JsonLines::new(&JsonFields::new(RULES.fields()));
    let line = lines.parse(br#"{"a":{"b":1,"c":2},"b":"x","a":{"b":"\u0031"},"b":null}"#).unwrap();
    assert_eq!(value(&line, "a.b"), FieldValue::from("1"));
    assert_eq!(value(&line, "a.c"), FieldValue::Absent);
    assert_eq!(value(&line, "b"), FieldValue::Null);
    assert_eq!(all(&line), ["Null", &show(FieldValue::from("1"))]);
    let line = lines.parse(br#"{"a":{"b":{"c":1}},"a":{"b":[{"c":2}]},"a.c":[]}"#).unwrap();
    assert_eq!(value(&line, "a.b.c"), FieldValue::Absent);
    assert_eq!(value(&line, "a.b"), FieldValue::List);
    assert_eq!(value(&line, "a.c"), FieldValue::List);
}

#[test]
fn a_visit_within_a_visit_sees_what_it_sees_alone() {
    let mut lines = JsonLines::new(&JsonFields::new(RULES.fields()));
    let line = lines.parse(br#"{"a":["\u0078",["y",{"k":"z"}]],"b":["\"","w"]}"#).unwrap();
    let (a, b) = (RULES.fields().id("a").unwrap(), RULES.fields().id("b").unwrap());
    let (alone, of_b) = (all(&line), of_field(&line, b));
    let mut outer = Vec::new();
    let flow = line.elements(a, &mut |value| {
        assert_eq!(all(&line), alone);
        assert_eq!(of_field(&line, b), of_b);
        outer.push(show(value));
        ControlFlow::Continue(())
    });
    assert_eq!(flow, ControlFlow::Continue(()));
    assert_eq!(outer, ["x", "y", "z"].map(|text| show(FieldValue::from(text))));
    let mut seen = 0;
    let flow = line.each_value(&mut |_| {
        seen += all(&line).len();
        if seen > 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((flow, seen), (ControlFlow::Break(()), 10));
    let flow = line.elements(a, &mut |_| ControlFlow::Break(()));
    assert_eq!(flow, ControlFlow::Break(()));
}

#[test]
fn paths_besides_the_fields_are_found_in_the_same_pass() {
    let fields = JsonFields::new(RULES.fields());
    let mut lines = JsonLines::with_paths(&fields, ["time", "a.b", "x.y"]);
    let line = lines.parse(br#"{"time":1e3,"a":{"b":"\t"},"x.y":true}"#).unwrap();
    assert_eq!(line.path(0), FieldValue::Float(1_000.0));
    assert_eq!(line.path(1), value(&line, "a.b"));
    assert_eq!(line.path(2), FieldValue::Bool(true));
    assert_eq!(line.path(3), FieldValue::Absent);
    assert_eq!(line.path(usize::MAX), FieldValue::Absent);
}

#[test]
fn an_error_says_where_and_why() {
    let mut lines = JsonLines::new(&JsonFields::new(RULES.fields()));
    let mut fault = |line: &[u8]| match lines.parse(line) {
        Err(JsonLineError::NotJson { at, reason }) => (at, reason),
        other => panic!("{other:?}: {}", line.escape_ascii()),
    };
    assert_eq!(fault(b""), (0, JsonFault::UnexpectedEnd));
    assert_eq!(fault(b" \t"), (2, JsonFault::UnexpectedEnd));
    assert_eq!(fault(br#"{"a"#), (3, JsonFault::UnexpectedEnd));
    assert_eq!(fault(br#"{"a":"bcdefghijkl"#), (17, JsonFault::UnexpectedEnd));
    assert_eq!(fault(br#"{"a":}"#), (5, JsonFault::ExpectedValue));
    assert_eq!(fault(br#"{"a":nul}"#), (5, JsonFault::ExpectedValue));
    assert_eq!(fault(br#"{"a":1,}"#), (7, JsonFault::ExpectedKey));
    assert_eq!(fault(br#"{a:1}"#), (1, JsonFault::ExpectedKey));
    assert_eq!(fault(br#"{"a" 1}"#), (5, JsonFault::ExpectedColon));
    assert_eq!(fault(br#"{"a":1 "b":2}"#), (7, JsonFault::ExpectedCommaOrBrace));
    assert_eq!(fault(br#"{"a":[1 2]}"#), (8, JsonFault::ExpectedCommaOrBracket));
    assert_eq!(fault(b"{\"a\":\"tab\t\"}"), (9, JsonFault::ControlCharacter));
    assert_eq!(fault(br#"{"a":"\x"}"#), (6, JsonFault::InvalidEscape));
    assert_eq!(fault(br#"{"a":"\u12g4"}"#), (6, JsonFault::InvalidEscape));
    assert_eq!(fault(br#"{"a":"\ud800 "}"#), (12, JsonFault::LoneSurrogate));
    assert_eq!(fault(br#"{"a":"\udc00"}"#), (6, JsonFault::LoneSurrogate));
    assert_eq!(fault(br#"{"a":1.}"#), (7, JsonFault::InvalidNumber));
    assert_eq!(fault(br#"{"a":1e999}"#), (5, JsonFault::NumberOutOfRange));
    assert_eq!(fault(br#"{"a":1}}"#), (7, JsonFault::TrailingCharacters));
    let deep = |depth: usize| format!("{}{}", "{\"a\":".repeat(depth), "[".repeat(3));
    assert_eq!(fault(deep(125).as_bytes()), (627, JsonFault::TooDeep));

    let error = lines.parse(br#"{"a":1,"b":nil}"#).unwrap_err();
    assert_eq!(error.to_string(), "not JSON: a value is missing, at byte 11");
    let error = lines.parse(b" [1]").unwrap_err();
    assert_eq!(error, JsonLineError::NotAnObject { at: 1 });
    let error = lines.parse(b"{\"a\":\"x\xffy\"}").unwrap_err();
    assert_eq!(error, JsonLineError::NotUtf8 { at: 7 });
    assert_eq!(error.to_string(), "not UTF-8: no character begins at byte 7");
    // Also where it is no JSON either.
    assert_eq!(lines.parse(b"\xff{").unwrap_err(), JsonLineError::NotUtf8 { at: 0 });
}

#[test]
fn as_deep_as_serde_json_goes() {
    let mut both = Both::new();
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"zz\":", "}")] {
        for depth in 120..135 {
            let line = format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            assert_eq!(both.agree(line.as_bytes()), depth < 127, "{depth}");
        }
    }
}

/// Any of these takes minutes if anything in the reader takes quadratic time.
#[test]
fn a_hostile_line_costs_no_more_than_its_length() {
    let mut both = Both::new();
    let keys = |name: &dyn Fn(usize) -> String| {
        let members: Vec<String> = (0..100_000).map(|at| format!("{}:{at}", name(at))).collect();
        format!("{{{}}}", members.join(","))
    };
    for one in ["[", "\"", "\\", "{\"a\":", " ", "1", "-", "\"\\u", "[[]"] {
        let many = one.repeat((1 << 20) / one.len());
        assert!(!both.agree(many.as_bytes()), "{one}");
        assert!(!both.agree(format!("{{\"a\":{many}").as_bytes()), "{one}");
        assert!(!both.agree(format!("{{\"a\":\"{many}").as_bytes()), "{one}");
    }
    assert!(both.agree(keys(&|at| format!("\"k{at}\"")).as_bytes()));
    assert!(both.agree(keys(&|_| "\"a\"".to_owned()).as_bytes()));
    assert!(both.agree(keys(&|at| format!("\"\\u0061{}\"", at % 7)).as_bytes()));
    // Objects that replace each other, each with what is asked for inside.
    let replaced = r#""a":{"b":{"c":"\n"},"c":["\t",[{"x":1,"x":2}]]}"#;
    let line = format!("{{{}}}", vec![replaced; 20_000].join(","));
    assert!(both.agree(line.as_bytes()));
    let lists = format!("{{\"a\":[{}[]]}}", "[],".repeat(200_000));
    assert!(both.agree(lists.as_bytes()));
    let text = format!("{{\"a\":\"{}\"}}", r#"\""#.repeat(500_000));
    assert!(both.agree(text.as_bytes()));
    assert!(both.agree(format!("{{\"a\":{}}}", "9".repeat(300)).as_bytes()));
}

//! An evaluator written straight from the specification, with nothing in mind but being right: it walks the rule as
//! the parser gives it, on JSON. The engine is held against it.

#![allow(dead_code, reason = "every test that includes this uses a part of it")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Modifier, Quantifier, SelectorPattern, SigmaRule,
    SigmaString, SigmaValue, SpecialChar, StringPart,
};
use serde_json::Value;

/// Whether the rule matches the event.
pub(crate) fn matches(rule: &SigmaRule, event: &Value) -> bool {
    rule.detection.conditions.iter().any(|condition| holds(condition, rule, event))
}

fn holds(condition: &ConditionExpr, rule: &SigmaRule, event: &Value) -> bool {
    match condition {
        ConditionExpr::And(parts) => parts.iter().all(|part| holds(part, rule, event)),
        ConditionExpr::Or(parts) => parts.iter().any(|part| holds(part, rule, event)),
        ConditionExpr::Not(inner) => !holds(inner, rule, event),
        ConditionExpr::Identifier(name) => search(&rule.detection.named[name], event),
        ConditionExpr::Selector { quantifier, pattern } => {
            let hidden = |name: &str| match pattern {
                SelectorPattern::Them => name.starts_with('_'),
                SelectorPattern::Pattern(pattern) => {
                    name.starts_with('_') && !pattern.starts_with('_')
                }
            };
            let mut meant = rule
                .detection
                .named
                .iter()
                .filter(|(name, _)| pattern.matches_detection_name(name) && !hidden(name))
                .map(|(_, detection)| search(detection, event));
            match quantifier {
                Quantifier::All => meant.all(|holds| holds),
                _ => meant.any(|holds| holds),
            }
        }
    }
}

fn search(detection: &Detection, event: &Value) -> bool {
    match detection {
        Detection::AllOf(items) => items.iter().all(|one| item(one, event)),
        Detection::AnyOf(parts) => parts.iter().any(|part| search(part, event)),
        Detection::And(parts) => parts.iter().all(|part| search(part, event)),
        Detection::Keywords(values) => {
            values.iter().any(|value| keyword(&[], value, &mut leaves(event)))
        }
        other => panic!("not of Sigma 2: {other:?}"),
    }
}

/// Every value in the event, wherever it stands.
fn leaves(event: &Value) -> Vec<&Value> {
    match event {
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::Object(entries) => entries.values().flat_map(leaves).collect(),
        leaf => vec![leaf],
    }
}

fn keyword(modifiers: &[Modifier], value: &SigmaValue, leaves: &mut Vec<&Value>) -> bool {
    let mut modifiers = modifiers.to_vec();
    if !modifiers.contains(&Modifier::Re) {
        modifiers.push(Modifier::Contains);
    }
    leaves.iter().any(|leaf| one(&modifiers, value, leaf, &Value::Null))
}

fn item(item: &DetectionItem, event: &Value) -> bool {
    let modifiers: Vec<Modifier> = item
        .field
        .modifiers
        .iter()
        .copied()
        .filter(|modifier| !matches!(modifier, Modifier::All | Modifier::Neq))
        .collect();
    let passes = |value: &SigmaValue| match &item.field.name {
        None => keyword(&modifiers, value, &mut leaves(event)),
        Some(name) => field(&modifiers, value, lookup(event, name), event),
    };
    let holds = if item.field.has_modifier(Modifier::All) {
        item.values.iter().all(passes)
    } else {
        item.values.iter().any(passes)
    };
    holds != item.field.has_modifier(Modifier::Neq)
}

/// A field by its name, or by the path that its dots make.
pub(crate) fn lookup<'a>(event: &'a Value, name: &str) -> Option<&'a Value> {
    let name = name.replace("\\[", "[").replace("\\]", "]");
    event.get(&name).or_else(|| {
        name.contains('.').then(|| name.split('.').try_fold(event, |value, key| value.get(key)))?
    })
}

fn field(modifiers: &[Modifier], value: &SigmaValue, found: Option<&Value>, event: &Value) -> bool {
    if modifiers.contains(&Modifier::Exists) {
        return found.is_some() == (*value == SigmaValue::Bool(true));
    }
    match (value, found) {
        (SigmaValue::Null, found) => matches!(found, None | Some(Value::Null)),
        (_, None | Some(Value::Null | Value::Object(_))) => false,
        (value, Some(Value::Array(_))) => {
            let elements = leaves(found.unwrap());
            elements.into_iter().any(|leaf| one(modifiers, value, leaf, event))
        }
        (value, Some(leaf)) => one(modifiers, value, leaf, event),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) if number.is_f64() => number.as_f64().map(|value| value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn written(value: &SigmaValue) -> SigmaString {
    match value {
        SigmaValue::String(text) => text.clone(),
        other => SigmaString::from_raw(&other.to_string()),
    }
}

/// One value of the rule against one value of the event.
fn one(modifiers: &[Modifier], value: &SigmaValue, leaf: &Value, event: &Value) -> bool {
    let has = |modifier| modifiers.contains(&modifier);
    let Some(found) = text(leaf) else { return false };
    if has(Modifier::Re) {
        return regex(modifiers, &written(value).original, &found);
    }
    if has(Modifier::Cidr) {
        return cidr(&written(value).original, &found);
    }
    if has(Modifier::FieldRef) {
        return field_ref(modifiers, &written(value).original, &found, event);
    }
    let comparisons = [Modifier::Gt, Modifier::Gte, Modifier::Lt, Modifier::Lte];
    let parts = [
        Modifier::Minute,
        Modifier::Hour,
        Modifier::Day,
        Modifier::Week,
        Modifier::Month,
        Modifier::Year,
    ];
    let comparison = modifiers.iter().find(|modifier| comparisons.contains(modifier));
    let part = modifiers.iter().find(|modifier| parts.contains(modifier));
    if comparison.is_some() || part.is_some() {
        let Ok(wanted) = written(value).original.parse::<f64>() else { return false };
        let found = match part {
            Some(part) => time_part(*part, &moment(leaf)),
            None if matches!(leaf, Value::Bool(_)) => None,
            None => found.trim().parse::<f64>().ok(),
        };
        return found.is_some_and(|found| match comparison {
            Some(Modifier::Gt) => found > wanted,
            Some(Modifier::Gte) => found >= wanted,
            Some(Modifier::Lt) => found < wanted,
            Some(Modifier::Lte) => found <= wanted,
            _ => found == wanted,
        });
    }
    let mut patterns = vec![tokens(&written(value))];
    for modifier in modifiers {
        patterns = patterns.into_iter().flat_map(|pattern| change(*modifier, pattern)).collect();
    }
    let found: Vec<char> = found.chars().collect();
    patterns.iter().any(|pattern| glob(pattern, &found, has(Modifier::Cased)))
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Char(char),
    AnyChar,
    AnyRun,
}

fn tokens(text: &SigmaString) -> Vec<Token> {
    text.parts
        .iter()
        .flat_map(|part| match part {
            StringPart::Plain(text) => text.chars().map(Token::Char).collect(),
            StringPart::Special(SpecialChar::WildcardMulti) => vec![Token::AnyRun],
            StringPart::Special(SpecialChar::WildcardSingle) => vec![Token::AnyChar],
        })
        .collect()
}

fn plain(pattern: &[Token]) -> Vec<u8> {
    let text: String = pattern
        .iter()
        .map(|token| match token {
            Token::Char(character) => *character,
            other => panic!("a wildcard where none can be: {other:?}"),
        })
        .collect();
    // Bytes that an encoding made are kept as characters of the same number.
    if text.chars().all(|c| (c as u32) < 256) && text.contains('\0') {
        text.chars().map(|c| c as u8).collect()
    } else {
        text.into_bytes()
    }
}

fn chars(bytes: &[u8]) -> Vec<Token> {
    bytes.iter().map(|byte| Token::Char(*byte as char)).collect()
}

fn change(modifier: Modifier, mut pattern: Vec<Token>) -> Vec<Vec<Token>> {
    let utf16 = |big: bool| -> Vec<Token> {
        let text = String::from_utf8(plain(&pattern)).unwrap();
        let units = text.encode_utf16();
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        chars(&units.flat_map(bytes).collect::<Vec<u8>>())
    };
    match modifier {
        Modifier::Contains => {
            pattern.insert(0, Token::AnyRun);
            pattern.push(Token::AnyRun);
            vec![pattern]
        }
        Modifier::StartsWith => {
            pattern.push(Token::AnyRun);
            vec![pattern]
        }
        Modifier::EndsWith => {
            pattern.insert(0, Token::AnyRun);
            vec![pattern]
        }
        Modifier::Wide => vec![utf16(false)],
        Modifier::Utf16be => vec![utf16(true)],
        Modifier::Base64 => vec![chars(encode(&plain(&pattern)).as_bytes())],
        Modifier::Base64Offset => {
            let plain = plain(&pattern);
            (0..3)
                .map(|offset| {
                    let padded = [vec![b' '; offset], plain.clone()].concat();
                    let encoded = encode(&padded);
                    let end = encoded.len() - [0, 3, 2][(plain.len() + offset) % 3];
                    chars(&encoded.as_bytes()[[0, 2, 3][offset]..end])
                })
                .collect()
        }
        Modifier::WindAsh => windash(&pattern),
        Modifier::Cased => vec![pattern],
        other => panic!("not a change of texts: {other:?}"),
    }
}

fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * position) & 63) as usize] as char;
            out.push(if position <= chunk.len() { letter } else { '=' });
        }
    }
    out
}

/// Every way to write the dashes of flags.
fn windash(pattern: &[Token]) -> Vec<Vec<Token>> {
    let word = |token: Option<&Token>| matches!(token, Some(Token::Char(c)) if c.is_alphanumeric() || *c == '_');
    let mut all: Vec<Vec<Token>> = vec![Vec::new()];
    for (at, token) in pattern.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| pattern.get(before));
        let dash = matches!(token, Token::Char('-' | '/'));
        let written: Vec<Token> = if dash && !word(before) && word(pattern.get(at + 1)) {
            ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'].map(Token::Char).to_vec()
        } else {
            vec![token.clone()]
        };
        all = all
            .iter()
            .flat_map(|before| {
                written.iter().map(move |token| [before.clone(), vec![token.clone()]].concat())
            })
            .collect();
    }
    all
}

fn same(a: char, b: char, cased: bool) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return if cased { a == b } else { a.eq_ignore_ascii_case(&b) };
    }
    a == b
        || !cased
            && (a.to_lowercase().eq(b.to_lowercase()) || a.to_uppercase().eq(b.to_uppercase()))
}

/// The textbook algorithm: on a mismatch, the last `*` takes one character more.
fn glob(pattern: &[Token], text: &[char], cased: bool) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut retry = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(Token::AnyRun) => {
                retry = Some((at + 1, place));
                at += 1;
            }
            Some(Token::AnyChar) => (at, place) = (at + 1, place + 1),
            Some(Token::Char(wanted)) if same(*wanted, text[place], cased) => {
                (at, place) = (at + 1, place + 1);
            }
            _ => match retry {
                Some((after, from)) => {
                    (at, place) = (after, from + 1);
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|token| *token == Token::AnyRun)
}

fn regex(modifiers: &[Modifier], pattern: &str, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    let has = |modifier| modifiers.contains(&modifier);
    let syntax = syntax::Config::new()
        .case_insensitive(has(Modifier::IgnoreCase))
        .multi_line(has(Modifier::Multiline))
        .dot_matches_new_line(has(Modifier::DotAll));
    COMPILED.with_borrow_mut(|compiled| {
        compiled
            .entry(format!("{modifiers:?} {pattern}"))
            .or_insert_with(|| Regex::builder().syntax(syntax).build(pattern).unwrap())
            .is_match(text)
    })
}

fn cidr(network: &str, text: &str) -> bool {
    let (base, length) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(base), Ok(address)) = (base.parse::<IpAddr>(), text.parse::<IpAddr>()) else {
        return false;
    };
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
    };
    let (base, address) = (bits(base), bits(address));
    let length = length.parse::<usize>().unwrap().min(base.len());
    base.len() == address.len() && base[..length] == address[..length]
}

fn field_ref(modifiers: &[Modifier], name: &str, found: &str, event: &Value) -> bool {
    let Some(other) = lookup(event, name).and_then(text) else { return false };
    let has = |modifier| modifiers.contains(&modifier);
    let mut pattern: Vec<Token> = other.chars().map(Token::Char).collect();
    if has(Modifier::Contains) || has(Modifier::EndsWith) {
        pattern.insert(0, Token::AnyRun);
    }
    if has(Modifier::Contains) || has(Modifier::StartsWith) {
        pattern.push(Token::AnyRun);
    }
    glob(&pattern, &found.chars().collect::<Vec<_>>(), has(Modifier::Cased))
}

/// A moment as it is written; numbers are seconds since the epoch, of which tests use those around zero.
fn moment(leaf: &Value) -> String {
    match leaf.as_f64() {
        Some(seconds) if seconds.trunc() < 0.0 => "1969-12-31T23:59:00Z".to_owned(),
        Some(_) => "1970-01-01T00:00:00Z".to_owned(),
        None => text(leaf).unwrap_or_default(),
    }
}

/// The part of a moment written `2026-01-31T23:59:59Z`.
fn time_part(part: Modifier, text: &str) -> Option<f64> {
    (text.len() == 20 && text.ends_with('Z')).then_some(())?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<f64>().ok();
    match part {
        Modifier::Year => number(0, 4),
        Modifier::Month => number(5, 7),
        Modifier::Day => number(8, 10),
        Modifier::Hour => number(11, 13),
        Modifier::Minute => number(14, 16),
        other => panic!("not generated: {other:?}"),
    }
}

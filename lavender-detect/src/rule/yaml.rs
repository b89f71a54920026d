//! YAML with the line of everything, so that a fault in a rule can be pointed at.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// How deep a document may nest. Rules nest five deep; the bound keeps the stack safe from crafted input.
const MAX_DEPTH: usize = 64;
/// How many bytes the aliases of a document may stand for together: a long text named a thousand times would take a
/// thousand times its room.
const MAX_ALIASED_BYTES: usize = 1 << 20;

/// A value and the line that it starts on, counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Entries in the order written: the line of the key, the key, the value.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) line: u32,
    pub(crate) key: String,
    pub(crate) node: Node,
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug)]
pub(crate) struct YamlFault {
    pub(crate) line: u32,
    pub(crate) reason: String,
}

impl Node {
    pub(crate) fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A scalar as text, however it was written: `1.0`, `true` and `x` alike. `None` for null, lists, maps.
    pub(crate) fn scalar_text(&self) -> Option<Cow<'_, str>> {
        Some(match &self.value {
            Value::Text(text) => Cow::Borrowed(text.as_str()),
            Value::Bool(value) => Cow::Owned(value.to_string()),
            Value::Int(value) => Cow::Owned(value.to_string()),
            Value::Float(value) => Cow::Owned(value.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => return None,
        })
    }

    /// What kind of value this is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Reads every document of a YAML text. Stops at the first fault of syntax, since what follows it has no
/// certain structure; the documents before it are returned beside the fault.
pub(crate) fn read(text: &str) -> (Vec<Node>, Option<YamlFault>) {
    let mut reader =
        Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), aliased: 0 };
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return (documents, None),
            Err(fault) => return (documents, Some(fault)),
        }
    }
}

struct Reader<'input> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    /// Anchored values of the current document, by the parser's number; `None` for lists and mappings.
    anchors: HashMap<usize, Option<Value>>,
    /// How many bytes its aliases stand for so far.
    aliased: usize,
}

fn line_of(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), YamlFault> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(YamlFault {
                line: u32::try_from(error.marker().line()).unwrap_or(u32::MAX),
                reason: format!("not YAML: {}", error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, YamlFault> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentStart(_), _) => {
                    self.anchors.clear();
                    self.aliased = 0;
                    let first = self.next()?;
                    return self.node(first, 0).map(Some);
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: (Event<'input>, Span), depth: usize) -> Result<Node, YamlFault> {
        let (event, span) = event;
        let line = line_of(span);
        let fault = |reason: &str| YamlFault { line, reason: reason.to_owned() };
        if depth > MAX_DEPTH {
            return Err(fault("nested too deeply"));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain
                    && tag.is_none_or(|tag| tag.suffix != "str" && tag.handle != "!");
                (anchor, if plain { resolve(text) } else { Value::Text(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(anchor) => {
                let value = match self.anchors.get(&anchor) {
                    None => return Err(fault("an alias of nothing")),
                    Some(Some(value)) => value.clone(),
                    // An alias inside an alias inside an alias grows exponentially; rules need none of it.
                    Some(None) => {
                        return Err(fault(
                            "aliases of lists and mappings are not supported in rules",
                        ));
                    }
                };
                if let Value::Text(text) = &value {
                    self.aliased += text.len();
                }
                if self.aliased > MAX_ALIASED_BYTES {
                    return Err(fault("aliases stand for more than 1 MiB of text"));
                }
                return Ok(Node { line, value });
            }
            _ => return Err(fault("unexpected end of a document")),
        };
        let node = Node { line, value };
        if anchor != 0 {
            let scalar = !matches!(node.value, Value::List(_) | Value::Map(_));
            self.anchors.insert(anchor, scalar.then(|| node.value.clone()));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, YamlFault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, YamlFault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = HashSet::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                event => self.node(event, depth + 1)?,
            };
            let line = key.line;
            let Some(name) = key.scalar_text() else {
                let reason = format!("a key must be a string, not {}", key.kind());
                return Err(YamlFault { line, reason });
            };
            let name = name.into_owned();
            if !keys.insert(name.clone()) {
                return Err(YamlFault { line, reason: format!("the key `{name}` is there twice") });
            }
            let value = self.next()?;
            let node = self.node(value, depth + 1)?;
            entries.push(Entry { line, key: name, node });
        }
    }
}

/// The value of an unquoted scalar by YAML's core schema.
fn resolve(text: Cow<'_, str>) -> Value {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        if let Some(value) = integer(&text) {
            return Value::Int(value);
        }
        let numeric = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
        if let (true, Ok(value)) = (numeric, text.parse::<f64>()) {
            return Value::Float(value);
        }
    }
    Value::Text(text.into_owned())
}

fn integer(text: &str) -> Option<i64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok();
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return i64::from_str_radix(octal, 8).ok();
    }
    text.parse().ok()
}

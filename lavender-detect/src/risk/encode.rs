//! How the parts of the state are written: as JSON, with a version.

use std::sync::Arc;

use lavender_core::{Bytes, Error, ErrorKind, ProcessId, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::folded::{Folded, Item};
use super::rarity::Days;
use super::tree::{Terms, Tree};

/// The version that this writes, and the only one that it reads.
const VERSION: u32 = 1;

/// Which part of the state a key is of.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'a> {
    Tree(ProcessId),
    Rule(&'a str),
    First,
}

pub(super) fn tree_key(tree: ProcessId) -> String {
    format!("risk/tree/{tree}")
}

pub(super) fn rule_key(rule: &str) -> String {
    format!("risk/rule/{rule}")
}

pub(super) const FIRST_KEY: &str = "risk/first_day";

pub(super) fn part(key: &str) -> Option<Part<'_>> {
    if key == FIRST_KEY {
        return Some(Part::First);
    }
    match key.strip_prefix("risk/tree/") {
        Some(tree) => tree.parse().ok().map(Part::Tree),
        None => key.strip_prefix("risk/rule/").map(Part::Rule),
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    value: T,
}

#[derive(Serialize)]
struct TreeState<'a> {
    floor: Option<i64>,
    base: &'a Folded,
    recent: &'a [Item],
    reached: &'a [(u32, i64)],
}

#[derive(Deserialize)]
struct OwnedTreeState {
    floor: Option<i64>,
    base: Folded,
    recent: Vec<Item>,
    reached: Vec<(u32, i64)>,
}

#[derive(Serialize, Deserialize)]
struct FirstDay {
    first_day: i64,
}

fn write(value: &impl Serialize) -> Bytes {
    // Maps with text keys, numbers and texts: JSON can hold them all.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    let fail = |why: String| Error::new(ErrorKind::Invalid, format!("state {key}"), why);
    let read: Versioned<T> =
        serde_json::from_slice(value).map_err(|error| fail(error.to_string()))?;
    match read.version {
        VERSION => Ok(read.value),
        other => Err(fail(format!("it is of version {other}, this reads {VERSION}"))),
    }
}

pub(super) fn write_tree(tree: &Tree) -> Bytes {
    let Tree { floor, base, recent, reached, .. } = tree;
    let value = TreeState { floor: *floor, base, recent, reached };
    write(&Versioned { version: VERSION, value })
}

pub(super) fn read_tree(key: &str, value: &[u8], terms: &Terms) -> Result<Tree> {
    let OwnedTreeState { floor, base, mut recent, reached } = read(key, value)?;
    recent.sort_by(|one, other| one.order().cmp(&other.order()));
    let mut now = base.clone();
    for item in &recent {
        now.take(item, terms.half_life);
    }
    Ok(Tree { floor, base, recent, now, reached, unsaved: false, saved: true })
}

pub(super) fn write_days(days: Days) -> Bytes {
    write(&Versioned { version: VERSION, value: days })
}

pub(super) fn read_days(key: &str, value: &[u8]) -> Result<Days> {
    read(key, value)
}

pub(super) fn write_first(first_day: i64) -> Bytes {
    write(&Versioned { version: VERSION, value: FirstDay { first_day } })
}

pub(super) fn read_first(key: &str, value: &[u8]) -> Result<i64> {
    read::<FirstDay>(key, value).map(|first| first.first_day)
}

/// A key that is none of these.
pub(super) fn unknown(key: &str) -> Error {
    let why: Arc<str> = "it is no key of risk".into();
    Error::new(ErrorKind::Invalid, format!("state {key}"), why.to_string())
}

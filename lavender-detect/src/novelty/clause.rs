//! What a rule says of novelty, compiled.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::cells::{Cells, Tick, ticks_of};
use crate::rule::NoveltyDocument;
use crate::schema::{FieldId, Fields};

/// What a [`Rule`](crate::Rule) says under `novelty`: see the [module](crate::novelty).
#[derive(Clone, Debug)]
pub struct NoveltyClause {
    /// `per`, then `fields`: names and numbers.
    names: Box<[Arc<str>]>,
    pub(crate) columns: Box<[FieldId]>,
    /// How many of them are `per`.
    keys: usize,
    /// On which line each stands.
    pub(crate) lines: Box<[u32]>,
    baseline_ns: i64,
    forget_ns: Option<i64>,
    bytes_max: Option<usize>,
}

impl NoveltyClause {
    /// Gives the fields their numbers; the fault is a line and the reason.
    pub(crate) fn compile(
        document: NoveltyDocument,
        fields: &mut Fields,
        mapping: &HashMap<String, String>,
    ) -> Result<Self, (u32, String)> {
        let keys = document.per.len();
        let named = document.per.into_iter().chain(document.fields);
        let (lines, names): (Vec<u32>, Vec<Arc<str>>) = named.unzip();
        let mut columns = Vec::with_capacity(names.len());
        for (line, name) in lines.iter().zip(&names) {
            let name = mapping.get(&**name).map_or(&**name, String::as_str);
            let full = || (*line, "more fields than can be numbered".to_owned());
            columns.push(fields.intern(name).ok_or_else(full)?);
        }
        Ok(Self {
            names: names.into(),
            columns: columns.into(),
            keys,
            lines: lines.into(),
            baseline_ns: document.baseline_ns,
            forget_ns: document.forget_ns,
            bytes_max: document.bytes_max,
        })
    }

    /// The fields whose values, taken together, are to be new.
    pub fn fields(&self) -> &[Arc<str>] {
        &self.names[self.keys..]
    }

    /// The fields for each of whose values that is asked by itself.
    pub fn per(&self) -> &[Arc<str>] {
        &self.names[..self.keys]
    }

    /// How long it learns before it raises anything.
    pub const fn baseline(&self) -> Duration {
        Duration::from_nanos(self.baseline_ns.cast_unsigned())
    }

    /// How long a value is remembered that is not seen again; `None` for good.
    pub fn forget(&self) -> Option<Duration> {
        self.forget_ns.map(|ns| Duration::from_nanos(ns.cast_unsigned()))
    }

    /// The most bytes that its values may take, where it says so.
    pub const fn bytes_max(&self) -> Option<usize> {
        self.bytes_max
    }

    /// The names of `per` and `fields`, in the order of the columns.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(crate) fn baseline_ticks(&self) -> Tick {
        ticks_of(self.baseline_ns)
    }

    pub(crate) fn cells(&self, lateness: Tick) -> Cells {
        Cells::new(self.forget_ns, lateness)
    }

    /// The digest of all that decides what its state means. The baseline and the bound can change without.
    pub(crate) fn content(&self) -> [u64; 2] {
        let mut hasher = SipHasher13::new();
        for name in &self.names {
            hasher.write(name.as_bytes());
            hasher.write(&[0]);
        }
        hasher.write_u64(self.keys as u64);
        hasher.write_u64(u64::from(Cells::new(self.forget_ns, 0).length()));
        let digest = hasher.finish128();
        [digest.h1, digest.h2]
    }
}

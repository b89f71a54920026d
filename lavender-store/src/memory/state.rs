//! State in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use lavender_core::store::{PutMode, Version};
use lavender_core::{Bytes, ErrorKind, Result, Timestamp};

use super::fail;

struct Value {
    bytes: Bytes,
    version: Version,
    until: Option<Timestamp>,
}

impl Value {
    fn is_there(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

#[derive(Default)]
pub(super) struct State {
    values: BTreeMap<String, Value>,
    /// Of keys and values together.
    bytes: usize,
    /// Counts every write, so that a value made anew never has the version of one before.
    last_version: u64,
}

impl State {
    pub(super) fn get(&self, key: &str, now: Timestamp) -> Option<(Bytes, Version)> {
        let value = self.values.get(key).filter(|value| value.is_there(now))?;
        Some((value.bytes.clone(), value.version))
    }

    pub(super) fn keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<String> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.values
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, value)| value.is_there(now))
            .map(|(key, _)| key.clone())
            .take(limit)
            .collect()
    }

    pub(super) fn put(
        &mut self,
        key: &str,
        bytes: Bytes,
        mode: PutMode,
        until: Option<Timestamp>,
        now: Timestamp,
        bytes_max: usize,
    ) -> Result<Version> {
        let current =
            self.values.get(key).filter(|value| value.is_there(now)).map(|value| value.version);
        let holds = match mode {
            PutMode::Create => current.is_none(),
            PutMode::Update(version) => current == Some(version),
            PutMode::Overwrite => true,
        };
        if !holds {
            return Err(fail(
                ErrorKind::Conflict,
                format!("`{key}` was to be written by {mode:?}, and its version is {current:?}"),
            ));
        }
        let replaced = self.values.get(key).map_or(0, |value| key.len() + value.bytes.len());
        let more = key.len() + bytes.len();
        if self.bytes - replaced + more > bytes_max {
            self.forget_expired(now);
        }
        let replaced = self.values.get(key).map_or(0, |value| key.len() + value.bytes.len());
        if self.bytes - replaced + more > bytes_max {
            return Err(fail(
                ErrorKind::Unavailable,
                format!("state is full: {} of {bytes_max} bytes are in use", self.bytes),
            ));
        }
        self.bytes = self.bytes - replaced + more;
        self.last_version += 1;
        let version = Version(self.last_version);
        self.values.insert(key.to_owned(), Value { bytes, version, until });
        Ok(version)
    }

    /// All of them or none.
    pub(super) fn put_all(
        &mut self,
        changes: Vec<(String, Option<Bytes>)>,
        now: Timestamp,
        bytes_max: usize,
    ) -> Result<()> {
        self.forget_expired(now);
        let size = |key: &str, bytes: &Bytes| key.len() + bytes.len();
        let mut after: BTreeMap<&str, Option<&Bytes>> = BTreeMap::new();
        changes.iter().for_each(|(key, value)| {
            after.insert(key, value.as_ref());
        });
        let mut bytes = self.bytes;
        for (key, value) in after {
            bytes += value.map_or(0, |value| size(key, value));
            bytes -= self.values.get(key).map_or(0, |value| size(key, &value.bytes));
        }
        if bytes > bytes_max {
            return Err(fail(
                ErrorKind::Unavailable,
                format!("state is full: {} of {bytes_max} bytes are in use", self.bytes),
            ));
        }
        for (key, value) in changes {
            match value {
                Some(value) => {
                    self.delete(&key);
                    self.put(&key, value, PutMode::Overwrite, None, now, usize::MAX)?;
                }
                None => self.delete(&key),
            }
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &str) {
        if let Some(value) = self.values.remove(key) {
            self.bytes -= key.len() + value.bytes.len();
        }
    }

    fn forget_expired(&mut self, now: Timestamp) {
        self.values.retain(|_, value| value.is_there(now));
        self.bytes = self.values.iter().map(|(key, value)| key.len() + value.bytes.len()).sum();
    }
}

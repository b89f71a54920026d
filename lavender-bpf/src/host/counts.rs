//! How often something was not found out, by why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by reason, shared with other threads.
#[derive(Debug)]
pub(crate) struct Counts<R>(Mutex<BTreeMap<R, u64>>);

impl<R> Default for Counts<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R: Copy + Ord> Counts<R> {
    pub(crate) fn add(&self, why: R) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(why).or_default() += 1;
    }

    /// Those of which there were any.
    #[cfg(feature = "load")]
    pub(crate) fn read(&self) -> BTreeMap<R, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! Whose rules a detector evaluates.

use std::sync::{Arc, Mutex, PoisonError};

use crate::detector::SigmaDetector;

/// What evaluates rules: of one host, or of many that take turns.
#[derive(Debug)]
pub(super) enum Rules {
    Own(Box<SigmaDetector>),
    Shared(Arc<Mutex<SigmaDetector>>),
}

impl Rules {
    pub(super) fn with(&mut self, work: impl FnOnce(&mut SigmaDetector)) {
        match self {
            Self::Own(sigma) => work(sigma),
            // Whoever panicked with it left counts behind that are off by one event.
            Self::Shared(sigma) => work(&mut sigma.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

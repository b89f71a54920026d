//! An alert and its text, each made of the other when it is asked for.

use std::sync::OnceLock;

use lavender_core::{Alert, Bytes, codec};

/// An alert of which most often only the text is needed, or nothing at all: state goes from worker to worker, and what
/// repeats an alert is only counted.
#[derive(Debug)]
pub(super) struct KeptAlert {
    alert: OnceLock<Option<Box<Alert>>>,
    text: OnceLock<Option<Bytes>>,
}

impl KeptAlert {
    pub(super) fn new(alert: Alert) -> Self {
        Self { alert: OnceLock::from(Some(Box::new(alert))), text: OnceLock::new() }
    }

    /// One of which this is the text.
    pub(super) fn unread(text: Bytes) -> Self {
        Self { alert: OnceLock::new(), text: OnceLock::from(Some(text)) }
    }

    /// The alert; `None` where its text cannot be read.
    pub(super) fn get(&self) -> Option<&Alert> {
        let read = || {
            let text = std::str::from_utf8(self.text.get()?.as_ref()?).ok()?;
            codec::alert_from_json(text).ok().map(Box::new)
        };
        self.alert.get_or_init(read).as_deref()
    }

    /// Its text; `None` for an alert that JSON cannot hold.
    pub(super) fn text(&self) -> Option<Bytes> {
        let write = || {
            let alert = self.alert.get()?.as_deref()?;
            codec::alert_to_json(alert).ok().map(Bytes::from)
        };
        self.text.get_or_init(write).clone()
    }
}

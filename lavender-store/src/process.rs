//! Processes, as the databases keep them: what is remembered of those that are stored, and what is shown.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use lavender_core::event::Process;

use crate::day::Day;

/// How many processes are remembered as stored. Each holds some 600 bytes of memory, its arguments not
/// among them.
const REMEMBERED: usize = 16_384;

/// How much of a command line is a column of its own; all of it is in the body.
const COMMAND_LINE_BYTES: usize = 8_192;

/// Which processes have a row already, and what it is known by.
#[derive(Debug)]
pub(crate) struct StoredProcesses<R> {
    /// By address: while the weak reference is held, no other process can have it.
    rows: HashMap<(Day, usize), (Weak<Process>, R)>,
}

impl<R> Default for StoredProcesses<R> {
    fn default() -> Self {
        Self { rows: HashMap::new() }
    }
}

impl<R: Copy> StoredProcesses<R> {
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    pub(crate) fn row(&self, day: Day, process: &Arc<Process>) -> Option<R> {
        self.rows.get(&(day, Arc::as_ptr(process).addr())).map(|(_, row)| *row)
    }

    pub(crate) fn remember(&mut self, day: Day, process: &Arc<Process>, row: R) {
        if self.rows.len() >= REMEMBERED {
            self.rows.retain(|_, (process, _)| process.strong_count() > 0);
            if self.rows.len() >= REMEMBERED / 2 {
                self.rows.clear();
            }
        }
        let address = Arc::as_ptr(process).addr();
        self.rows.insert((day, address), (Arc::downgrade(process), row));
    }
}

/// The command line as it can be shown and searched; cut where it is longer than a column should be.
pub(crate) fn command_line(process: &Process) -> Cow<'_, str> {
    let whole = process.arguments.value.command_line();
    String::from_utf8_lossy(&whole[..whole.len().min(COMMAND_LINE_BYTES)])
}

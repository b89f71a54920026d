//! Programs whose detections raise no alert.

use std::collections::HashSet;
use std::sync::Arc;

use lavender_core::event::Event;
use lavender_core::{ByteString, Detection, Detector, Stateful, Timestamp};

use crate::config::ProgramPath;

/// A detector whose detections count only when the process is none of the excepted programs.
///
/// A program is known by its whole path, as the kernel resolved it. One that was deleted or lies in memory
/// only is never excepted: its path says nothing about it.
#[derive(Debug)]
pub struct WithExceptions<D> {
    detector: D,
    executables: HashSet<ByteString>,
}

impl<D: Detector> WithExceptions<D> {
    /// Leaves out what `detector` finds about these programs.
    pub fn new(detector: D, executables: &[ProgramPath]) -> Self {
        let executables = executables.iter().map(|path| ByteString::from(path.as_ref())).collect();
        Self { detector, executables }
    }

    fn is_excepted(&self, event: &Event) -> bool {
        event.process.as_ref().is_some_and(|process| {
            let executable = &process.executable;
            executable.path.is_whole()
                && !executable.deleted
                && !executable.memory_backed
                && self.executables.contains(&executable.path.value)
        })
    }
}

impl<D: Detector> Detector for WithExceptions<D> {
    fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        if self.executables.is_empty() || !self.is_excepted(event) {
            self.detector.detect(event, out);
        }
    }

    fn idle(&mut self, now: Timestamp, out: &mut Vec<Detection>) {
        self.detector.idle(now, out);
    }

    fn state(&mut self) -> Option<&mut dyn Stateful> {
        self.detector.state()
    }
}

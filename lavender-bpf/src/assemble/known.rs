//! What is known between two batches, for captures that begin there.

use std::sync::Arc;

#[cfg(all(feature = "load", target_os = "linux"))]
use lavender_core::BootTime;
use lavender_core::event::Process;
#[cfg(all(feature = "load", target_os = "linux"))]
use lavender_core::event::{Event, EventData, ProcessTarget};

use super::Assembler;
#[cfg(all(feature = "load", target_os = "linux"))]
use crate::evidence::{Met, Mets};
use crate::host::Host;

impl<H: Host> Assembler<H> {
    /// Takes processes that are known already.
    pub(crate) fn know(&mut self, processes: impl IntoIterator<Item = Arc<Process>>) {
        for process in processes {
            self.keep(&process);
        }
    }
}

#[cfg(all(feature = "load", target_os = "linux"))]
impl<H: Host> Assembler<H> {
    /// Whether the next batch's events rest on records of earlier ones: on what waits.
    pub(crate) fn carries(&self) -> bool {
        self.is_waiting() || !self.questions.is_empty() || self.awaits_hashes()
    }

    /// Notes the processes that these events have met, as they were before, and those of execs that wait. To be called
    /// with the events of the last batch, which was read at this time. Costs a look-up for each run of events of one program.
    pub(crate) fn note_processes(&self, (events, at): (&[Arc<Event>], BootTime), mets: &mut Mets) {
        let mut held = self.held_since(at).into_iter().peekable();
        for event in events {
            while let Some((_, process)) = held.next_if(|(time, _)| *time <= event.boot_time) {
                self.note_exec(process, mets);
            }
            let Some(process) = &event.process else { continue };
            match &event.data {
                EventData::Exec(_) => self.note_exec(process, mets),
                EventData::Fork(_) => mets.note(Met::Made(Arc::clone(process))),
                EventData::CredChange(change) => match change.before {
                    Some(credentials) if !mets.has(process.exec_id) => {
                        let before = Process { credentials, ..(**process).clone() };
                        mets.note(Met::Seen(Arc::new(before)));
                    }
                    _ => mets.note(Met::Seen(Arc::clone(process))),
                },
                data => {
                    mets.note(Met::Seen(Arc::clone(process)));
                    let target = target(data).map(|target| target.exec_id);
                    if let Some(target) = target.and_then(|id| self.processes.with_program(id)) {
                        mets.note(Met::Seen(Arc::clone(target)));
                    }
                }
            }
        }
        held.for_each(|(_, process)| self.note_exec(process, mets));
    }

    fn note_exec(&self, process: &Arc<Process>, mets: &mut Mets) {
        if let Some(before) = self.processes.with_program_before(process.exec_id) {
            mets.note(Met::Seen(Arc::clone(before)));
        }
        mets.note(Met::Made(Arc::clone(process)));
    }
}

/// The process that was acted on.
#[cfg(all(feature = "load", target_os = "linux"))]
const fn target(data: &EventData) -> Option<&ProcessTarget> {
    match data {
        EventData::Signal(signal) => Some(&signal.target),
        EventData::Ptrace(ptrace) => ptrace.target.as_ref(),
        EventData::ProcessVmWrite(write) => write.target.as_ref(),
        _ => None,
    }
}

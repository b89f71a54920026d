//! The processes that ran already, from the snapshot.

use std::collections::HashSet;
use std::sync::Arc;

use lavender_core::event::{Arguments, Executable, Process};
use lavender_core::{BootTime, Captured, Provenance};

use super::describe::{executable, walk_path};
use super::{Assembler, Batch};
use crate::decode::{Program, Record, Records};
use crate::host::{HashCause, Host};
use crate::record::flag;

impl<H: Host> Assembler<H> {
    /// Takes the processes of a snapshot that was begun `at`. Returns how many of its records were damaged.
    pub(super) fn take_snapshot(&mut self, at: BootTime, records: &[u8], batch: &Batch) -> u64 {
        let mut damaged = 0;
        let mut tasks = Vec::new();
        for record in Records::new(records) {
            match record {
                Ok((_, Record::Task(task))) => tasks.push(task),
                _ => damaged += 1,
            }
        }
        // Parents first: nobody starts before the parent.
        tasks
            .sort_by_key(|task| (task.record.header.start_ns.get(), task.record.header.tgid.get()));
        let mut living = HashSet::with_capacity(tasks.len());
        for task in &tasks {
            let id = self.process_id(&task.record.header);
            self.task(batch, task);
            // Its end was told before there was a probe, or is being told.
            if task.has_ended() {
                self.processes.exit(id, at);
            } else {
                living.insert(id);
            }
        }
        if damaged == 0 && !tasks.is_empty() {
            self.processes.exit_others(at, |id| living.contains(&id));
        }
        damaged
    }

    fn task(&mut self, batch: &Batch, task: &Program<'_>) {
        let header = &task.record.header;
        let exec = self.exec_id(header);
        // What was seen as it happened says more than what is found later.
        if self.processes.with_program(exec).is_some_and(|known| known.cgroup_id != 0) {
            return;
        }
        let parent = self.parent_of(batch, &task.record.task);
        let outside = header.flags.get() & flag::TASK_OUTSIDE != 0;
        let of_kernel = header.flags.get() & flag::TASK_KERNEL_THREAD != 0;
        let working_directory = if outside || of_kernel {
            Captured::unreadable()
        } else {
            walk_path(task.directory, header, flag::DIRECTORY_CUT, flag::DIRECTORY_UNREADABLE)
        };
        let arguments = if of_kernel {
            Captured::complete(Arguments::default())
        } else if outside {
            // What the filters leave out is none of the agent's business; it is known as an ancestor only.
            Captured::unreadable()
        } else {
            self.host.arguments(exec.process).map_or_else(Captured::unreadable, |arguments| {
                Captured::new(Arguments::new(&arguments), Provenance::FromProc)
            })
        };
        let executable = if of_kernel { Executable::default() } else { executable(task) };
        let mut process = Process {
            executable,
            arguments,
            working_directory,
            ..self.bare(batch, header, &task.record.task, parent)
        };
        if !outside && !of_kernel {
            self.fill_hash(&mut process, HashCause::Found);
        }
        self.keep(&Arc::new(process));
    }
}

//! From records to processes, and the events of process life.

use std::sync::Arc;

use lavender_core::event::{
    Arguments, Credentials, EventData, Exec, Executable, Exit, ExitStatus, Fork, Namespaces,
    Process, Terminal,
};
use lavender_core::{BootTime, ByteString, Captured, ExecId, ProcessId, Provenance, Timestamp};

use super::{Assembler, Batch, Draft};
use crate::decode::Program;
use crate::host::{FoundProcess, HashCause, Host};
use crate::path;
use crate::record::{ExitRecord, ForkRecord, RecordHeader, TaskBody, flag};

/// Audit's value for "nobody logged in".
const UNSET: u32 = u32::MAX;

impl<H: Host> Assembler<H> {
    pub(super) fn exec(&mut self, batch: &mut Batch, record: &[u8], program: &Program<'_>) {
        let flags = program.record.header.flags.get();
        if is_outside(&program.record.header) {
            self.exec_outside(batch, program);
            return;
        }
        let total = program.record.arguments_total.get();
        let here = program.arguments.len() as u32;
        if here < total && flags & flag::ARGUMENTS_UNREADABLE == 0 {
            let exec = self.exec_id(&program.record.header);
            self.pending.begin(exec, batch.drained_at, record, program);
            return;
        }
        let provenance = if flags & flag::ARGUMENTS_UNREADABLE == 0 {
            Provenance::Complete
        } else {
            Provenance::Unreadable
        };
        let arguments = Captured::new(Arguments::new(program.arguments), provenance);
        self.exec_with(batch, program, arguments);
    }

    /// An exec that is no event: the process may be an ancestor, or come inside.
    fn exec_outside(&mut self, batch: &Batch, program: &Program<'_>) {
        let header = &program.record.header;
        let before = self.processes.latest(self.process_id(header));
        let parent = match before.and_then(|before| before.parent.clone()) {
            Some(parent) => Some(parent),
            None => self.parent_of(batch, &program.record.task),
        };
        let bare = self.bare(batch, header, &program.record.task, parent);
        self.keep(&Arc::new(Process { executable: executable(program), ..bare }));
    }

    /// An exec with all of its arguments that came.
    pub(super) fn exec_with(
        &mut self,
        batch: &mut Batch,
        program: &Program<'_>,
        arguments: Captured<Arguments>,
    ) {
        let header = &program.record.header;
        let id = self.process_id(header);
        let before = self.processes.latest(id).cloned();
        let parent = match &before {
            Some(before) if before.parent.is_some() => before.parent.clone(),
            _ => self.parent_of(batch, &program.record.task),
        };
        let mut process = Process {
            executable: executable(program),
            arguments,
            working_directory: walk_path(
                program.directory,
                header,
                flag::DIRECTORY_CUT,
                flag::DIRECTORY_UNREADABLE,
            ),
            ..self.bare(batch, header, &program.record.task, parent)
        };
        let wait_ms = self.fill_hash(&mut process, HashCause::Exec);
        let process = Arc::new(process);
        self.keep(&process);
        let flags = header.flags.get();
        let filename = if flags & flag::NAME_UNREADABLE != 0 {
            Captured::unreadable()
        } else {
            Captured::complete(program.name.into())
        };
        let previous_executable = before
            .filter(|before| before.exec_id != process.exec_id)
            .map(|before| before.executable.path.value.clone())
            .filter(|path| !path.is_empty());
        let draft = Draft {
            boot_time: BootTime::from_nanos(header.boot_ns.get()),
            tid: header.tid.get(),
            process,
            data: EventData::Exec(Exec { filename, previous_executable }),
        };
        match wait_ms {
            Some(wait_ms) => self.hold(batch, draft, wait_ms),
            None => batch.tell(draft),
        }
    }

    pub(super) fn fork(&mut self, batch: &mut Batch, fork: &ForkRecord) {
        let parent = self.parent_of(batch, &fork.task);
        let bare = self.bare(batch, &fork.header, &fork.task, parent.clone());
        // A child runs what its parent runs, until it execs.
        let mut process = match &parent {
            Some(parent) => Process {
                executable: parent.executable.clone(),
                arguments: parent.arguments.clone(),
                working_directory: parent.working_directory.clone(),
                ..bare
            },
            None => bare,
        };
        if process.executable.hash.is_none() && !is_outside(&fork.header) {
            self.fill_hash(&mut process, HashCause::Found);
        }
        let process = Arc::new(process);
        self.keep(&process);
        if !is_outside(&fork.header) {
            batch.push(&fork.header, process, EventData::Fork(Fork {}));
        }
    }

    pub(super) fn exit(&mut self, batch: &mut Batch, exit: &ExitRecord) {
        let header = &exit.header;
        if is_outside(header) {
            self.processes.exit(self.process_id(header), batch.drained_at);
            return;
        }
        let process = match self.processes.with_program(self.exec_id(header)) {
            Some(process) => Arc::clone(process),
            None => self.find(batch, header),
        };
        let process = self.with_credentials(batch, process, header);
        self.processes.exit(process.id(), batch.drained_at);
        let status = ExitStatus::from_kernel(exit.exit_code.get());
        batch.push(header, process, EventData::Exit(Exit { status }));
    }

    /// A process without its program: that is to be filled in.
    pub(super) fn bare(
        &mut self,
        batch: &Batch,
        header: &RecordHeader,
        task: &TaskBody,
        parent: Option<Arc<Process>>,
    ) -> Process {
        let exec_id = self.exec_id(header);
        let cgroup_id = task.cgroup_id.get();
        let container = self.containers.of(&mut self.host, cgroup_id, exec_id.process);
        let parent_id = parent.as_ref().map(|parent| parent.exec_id).or_else(|| {
            let id = self.parent_id(task)?;
            Some(ExecId { process: id, generation: task.parent_generation.get() })
        });
        let process = Process {
            exec_id,
            pid: header.tgid.get(),
            namespace_pid: task.namespace_tgid.get(),
            name: without_padding(&task.comm).into(),
            executable: Executable { path: Captured::unreadable(), ..Executable::default() },
            arguments: Captured::unreadable(),
            working_directory: Captured::unreadable(),
            credentials: Credentials {
                login_uid: set(task.login_uid.get()),
                session_id: set(task.session_id.get()),
                ..credentials(header)
            },
            user: self.names.user(&mut self.host, batch.drained_at, header.uid.get()),
            group: self.names.group(&mut self.host, batch.drained_at, header.gid.get()),
            terminal: terminal(task),
            cgroup_id,
            container,
            namespaces: namespaces(task),
            tree: None,
            parent_id,
            parent,
        };
        Process { tree: Some(self.tree_of(&process)), ..process }
    }

    /// The tree of a process: the one that it was in already, else its parent's, unless it has begun one.
    fn tree_of(&self, process: &Process) -> ProcessId {
        let before = self.processes.latest(process.id()).or(process.parent.as_ref());
        match before {
            Some(before) if !process.begins_tree_after(before) => before.tree_id(),
            _ => process.id(),
        }
    }

    fn parent_id(&self, task: &TaskBody) -> Option<ProcessId> {
        let tgid = task.parent_tgid.get();
        // Pid 0 is the idle task: the parent of the first process and of the kernel's threads.
        (tgid != 0)
            .then(|| ProcessId::with_boot_digest(self.boot, task.parent_start_ns.get(), tgid))
    }

    /// The parent that a record names, from the table, or else from the host.
    pub(super) fn parent_of(&mut self, batch: &Batch, task: &TaskBody) -> Option<Arc<Process>> {
        let process = self.parent_id(task)?;
        let exec = ExecId { process, generation: task.parent_generation.get() };
        let known = self.processes.with_program(exec).or_else(|| self.processes.latest(process));
        if let Some(known) = known {
            return Some(known.as_parent());
        }
        let found = self.host.process(process)?;
        let parent = self.describe_found(batch, exec, None, found);
        self.keep(&parent);
        Some(parent.as_parent())
    }

    /// A process that acts and of which there is no record: from the host, or with what the record says.
    pub(super) fn find(&mut self, batch: &Batch, header: &RecordHeader) -> Arc<Process> {
        let exec = self.exec_id(header);
        // Its record may be lost, and still the process be known from before its last exec.
        let found = self.host.process(exec.process).unwrap_or_default();
        let process = self.describe_found(batch, exec, Some(header), found);
        self.keep(&process);
        process
    }

    fn describe_found(
        &mut self,
        batch: &Batch,
        exec_id: ExecId,
        header: Option<&RecordHeader>,
        found: FoundProcess,
    ) -> Arc<Process> {
        let known = self.processes.latest(exec_id.process).cloned();
        let parent = match &known {
            Some(known) => known.parent.clone(),
            None => self.processes.living(found.parent_pid).map(Process::as_parent),
        };
        let credentials = header.map(credentials).unwrap_or_default();
        let from_proc = |value: Option<ByteString>| {
            value.map_or_else(Captured::unreadable, |value| {
                Captured::new(value, Provenance::FromProc)
            })
        };
        let (path, deleted) = executable_link(found.executable);
        let process = Process {
            exec_id,
            pid: exec_id.process.tgid(),
            namespace_pid: found.namespace_pid,
            name: found.name,
            executable: Executable { path: from_proc(path), deleted, ..Executable::default() },
            arguments: found.arguments.map_or_else(Captured::unreadable, |arguments| {
                Captured::new(Arguments::new(&arguments), Provenance::FromProc)
            }),
            working_directory: from_proc(found.working_directory),
            credentials,
            user: header.and_then(|header| {
                self.names.user(&mut self.host, batch.drained_at, header.uid.get())
            }),
            group: header.and_then(|header| {
                self.names.group(&mut self.host, batch.drained_at, header.gid.get())
            }),
            terminal: known.as_ref().and_then(|known| known.terminal),
            cgroup_id: known.as_ref().map_or(0, |known| known.cgroup_id),
            container: known.as_ref().and_then(|known| known.container.clone()),
            namespaces: known.as_ref().map(|known| known.namespaces).unwrap_or_default(),
            tree: None,
            parent_id: parent.as_ref().map(|parent| parent.exec_id),
            parent,
        };
        Arc::new(Process { tree: Some(self.tree_of(&process)), ..process })
    }

    /// The process with the ids of this record, which it may have changed since it started.
    pub(super) fn with_credentials(
        &mut self,
        batch: &Batch,
        process: Arc<Process>,
        header: &RecordHeader,
    ) -> Arc<Process> {
        let old = &process.credentials;
        let new = Credentials {
            login_uid: old.login_uid,
            session_id: old.session_id,
            ..credentials(header)
        };
        if *old == new {
            return process;
        }
        let changed = Arc::new(Process {
            credentials: new,
            user: self.names.user(&mut self.host, batch.drained_at, new.uid),
            group: self.names.group(&mut self.host, batch.drained_at, new.gid),
            ..(*process).clone()
        });
        self.keep(&changed);
        changed
    }
}

fn is_outside(header: &RecordHeader) -> bool {
    header.flags.get() & flag::TASK_OUTSIDE != 0
}

/// `/proc` marks the path of a file without a name.
fn executable_link(link: Option<ByteString>) -> (Option<ByteString>, bool) {
    match link {
        Some(link) => match link.strip_suffix(b" (deleted)") {
            Some(path) => (Some(path.into()), true),
            None => (Some(link), false),
        },
        None => (None, false),
    }
}

fn credentials(header: &RecordHeader) -> Credentials {
    Credentials {
        uid: header.uid.get(),
        euid: header.euid.get(),
        gid: header.gid.get(),
        egid: header.egid.get(),
        login_uid: None,
        session_id: None,
        capabilities_effective: header.capabilities.get(),
    }
}

const fn set(id: u32) -> Option<u32> {
    if id == UNSET { None } else { Some(id) }
}

/// A text of the kernel's in a field of fixed length.
pub(super) fn without_padding(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn terminal(task: &TaskBody) -> Option<Terminal> {
    let major = task.terminal_major.get();
    (major != 0).then(|| Terminal { major, minor: task.terminal_minor.get() })
}

pub(super) fn namespaces(task: &TaskBody) -> Namespaces {
    Namespaces {
        cgroup: task.ns_cgroup.get(),
        mnt: task.ns_mnt.get(),
        net: task.ns_net.get(),
        pid: task.ns_pid.get(),
        user: task.ns_user.get(),
        uts: task.ns_uts.get(),
    }
}

pub(super) fn executable(program: &Program<'_>) -> Executable {
    let header = &program.record.header;
    let flags = header.flags.get();
    Executable {
        path: walk_path(program.program, header, flag::PROGRAM_CUT, flag::PROGRAM_UNREADABLE),
        inode: program.record.task.inode.get(),
        device: program.record.task.device.get(),
        memory_backed: flags & flag::PROGRAM_IN_MEMORY != 0,
        deleted: flags & flag::PROGRAM_DELETED != 0,
        changed_at: program.changed_ns.map(Timestamp::from_nanos),
        hash: None,
    }
}

pub(super) fn walk_path(
    walk: &[u8],
    header: &RecordHeader,
    cut: u16,
    unreadable: u16,
) -> Captured<ByteString> {
    let flags = header.flags.get();
    if flags & unreadable != 0 {
        return Captured::unreadable();
    }
    let provenance = if flags & cut != 0 {
        Provenance::Truncated { true_length: 0 }
    } else {
        Provenance::Complete
    };
    Captured::new(path::from_walk(walk).into(), provenance)
}

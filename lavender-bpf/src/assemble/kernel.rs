//! What is done to the kernel and to what processes see of it: BPF, mounts, namespaces, executable memory.

use std::sync::Arc;

use lavender_core::event::{
    Bpf, BpfCommand, BpfMapType, BpfProgramType, EventData, MemoryCall, MemoryProtect,
    MemoryProtection, Mount, MountCall, NamespaceTypes, NsCall, NsChange, Process, SyscallResult,
};
use lavender_core::{ByteString, ExecId, ProcessId};

use super::describe::{namespaces, without_padding};
use super::observe::{path_of, text_of};
use super::{Assembler, Batch, Incoming};
use crate::decode;
use crate::host::Host;
use crate::record::{MemoryRecord, NamespaceRecord, flag, object};
use crate::texts::Texts;

/// `None` for the empty text, which is how a call leaves one out.
fn named(texts: &mut Texts, field: &[u8]) -> Option<ByteString> {
    Some(without_padding(field)).filter(|name| !name.is_empty()).map(|name| texts.copy(name))
}

pub(super) fn bpf(texts: &mut Texts, bpf: &decode::Bpf<'_>) -> EventData {
    let record = bpf.record;
    let command = BpfCommand(record.command.get());
    let (kind, number) = (record.object.get(), record.object_type.get());
    let has_path = matches!(command, BpfCommand::OBJ_PIN | BpfCommand::OBJ_GET);
    EventData::Bpf(Bpf {
        command,
        program_type: (kind == object::PROGRAM).then_some(BpfProgramType(number)),
        map_type: (kind == object::MAP).then_some(BpfMapType(number)),
        name: named(texts, &record.name),
        id: Some(record.id.get()).filter(|id| *id != 0),
        path: has_path.then(|| path_of(texts, record.header.flags.get(), bpf.walk, bpf.name)),
        result: SyscallResult(record.result.get()),
    })
}

pub(super) fn mounted(texts: &mut Texts, mount: &decode::Mount<'_>) -> EventData {
    let record = mount.record;
    let call = MountCall::from_record(record.call.get());
    let flags = record.flags.get();
    let [first, second] = &mount.names;
    // Of a mount that is neither bound nor moved, and of one by its descriptor, it is a word and no path.
    let is_word = match call {
        MountCall::Mount => flags & (Mount::BIND | Mount::MOVE) == 0,
        _ => first.walk.is_empty(),
    };
    let has = |place: u32| record.places_there.get() & place != 0;
    let path = |texts: &mut Texts, name: &decode::ChangeName<'_>| {
        path_of(texts, name.place.flags.get(), name.walk, name.name)
    };
    let source = |texts: &mut Texts| match is_word {
        true => text_of(texts, first.place.flags.get(), first.name),
        false => path(texts, first),
    };
    EventData::Mount(Mount {
        call,
        source: has(1).then(|| source(texts)),
        target: has(2).then(|| path(texts, second)),
        filesystem: named(texts, &record.filesystem),
        flags,
        result: SyscallResult(record.result.get()),
    })
}

pub(super) fn memory(texts: &mut Texts, record: &MemoryRecord, walk: &[u8]) -> EventData {
    let flags = record.header.flags.get() | flag::WALK_IS_FILE;
    EventData::MemoryProtect(MemoryProtect {
        call: MemoryCall::from_record(record.call.get()),
        address: record.address.get(),
        length: record.length.get(),
        protection: MemoryProtection(record.protection.get()),
        path: (record.anonymous.get() == 0).then(|| path_of(texts, flags, walk, &[])),
        result: SyscallResult(record.result.get()),
    })
}

impl<H: Host> Assembler<H> {
    pub(super) fn namespaces_changed(
        &mut self,
        batch: &mut Batch,
        incoming: &Incoming<'_>,
        record: &NamespaceRecord,
    ) {
        let header = &record.header;
        let exec = self.exec_id(header);
        let before = self.processes.with_program(exec).map(|process| process.namespaces);
        let child = self.cloned(record);
        let child_known = child.and_then(|child| self.processes.latest(child.process));
        // The fork of the new process may come with the next batch.
        if child.is_some() && child_known.is_none() && batch.may_wait(incoming.waits) {
            self.wait(incoming.waits, incoming.bytes);
            return;
        }
        let call = NsCall::from_record(record.call.get());
        let after = match call {
            NsCall::Clone => child_known.map(|child| child.namespaces),
            _ => Some(namespaces(&record.task)),
        };
        let Some(mut process) = self.actor(batch, header, incoming.waits) else {
            self.wait(incoming.waits, incoming.bytes);
            return;
        };
        // A thread may go by itself; the process is where its first thread is.
        let is_leader = header.tid == header.tgid;
        if let Some(after) = after.filter(|_| is_leader && call != NsCall::Clone)
            && process.namespaces != after
        {
            process = Arc::new(Process { namespaces: after, ..(*process).clone() });
            self.keep(&process);
        }
        let change = NsChange {
            call,
            types: NamespaceTypes(record.types.get()),
            before,
            after,
            children_pid: Some(record.pid_for_children.get()).filter(|id| *id != 0),
            target: child.map(|child| self.target(child)),
            result: SyscallResult(record.result.get()),
        };
        batch.push(header, process, EventData::NsChange(change));
    }

    /// The process that a clone made.
    fn cloned(&self, record: &NamespaceRecord) -> Option<ExecId> {
        let tgid = record.target_tgid.get();
        let process = ProcessId::with_boot_digest(self.boot, record.target_start_ns.get(), tgid);
        let generation = record.target_generation.get();
        (tgid != 0).then_some(ExecId { process, generation })
    }
}

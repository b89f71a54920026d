//! What samples have of BPF, mounts, namespaces and executable memory.

use crate::event::{
    Bpf, BpfCommand, BpfMapType, BpfProgramType, EventData, MemoryCall, MemoryProtect,
    MemoryProtection, Mount, MountCall, NamespaceTypes, Namespaces, NsCall, NsChange, Process,
    ProcessTarget, SyscallResult,
};
use crate::{ByteString, Captured, Provenance};

fn odd() -> Captured<ByteString> {
    let bytes = ByteString::from(vec![b'/', 0xff, b'"', b'\n']);
    Captured::new(bytes, Provenance::Truncated { true_length: 0 })
}

/// Of each kind one that says all that it can, and one that says the least.
pub(super) fn calls(process: &Process, child: ProcessTarget) -> [EventData; 8] {
    [
        EventData::Bpf(Bpf {
            command: BpfCommand::PROG_LOAD,
            program_type: Some(BpfProgramType::LSM),
            map_type: None,
            name: Some("hide".into()),
            id: Some(u32::MAX),
            path: None,
            result: SyscallResult(5),
        }),
        EventData::Bpf(Bpf {
            command: BpfCommand(u32::MAX),
            program_type: None,
            map_type: Some(BpfMapType(u32::MAX)),
            name: None,
            id: None,
            path: Some(odd()),
            result: SyscallResult(i64::MIN),
        }),
        EventData::Mount(Mount {
            call: MountCall::Mount,
            source: Some(Captured::complete("overlay".into())),
            target: Some(odd()),
            filesystem: Some("overlay".into()),
            flags: u64::MAX,
            result: SyscallResult(0),
        }),
        EventData::Mount(Mount {
            call: MountCall::Other,
            source: None,
            target: None,
            filesystem: None,
            flags: 0,
            result: SyscallResult(-1),
        }),
        EventData::NsChange(NsChange {
            call: NsCall::Clone,
            types: NamespaceTypes(u32::MAX),
            before: Some(process.namespaces),
            after: Some(Namespaces { user: u32::MAX, ..process.namespaces }),
            children_pid: Some(u32::MAX),
            target: Some(child),
            result: SyscallResult(i64::MAX),
        }),
        EventData::NsChange(NsChange {
            call: NsCall::Setns,
            types: NamespaceTypes(0),
            before: None,
            after: None,
            children_pid: None,
            target: None,
            result: SyscallResult(-22),
        }),
        EventData::MemoryProtect(MemoryProtect {
            call: MemoryCall::PkeyMprotect,
            address: u64::MAX,
            length: u64::MAX,
            protection: MemoryProtection(u32::MAX),
            path: Some(odd()),
            result: SyscallResult(0),
        }),
        EventData::MemoryProtect(MemoryProtect {
            call: MemoryCall::Mmap,
            address: 0,
            length: 0,
            protection: MemoryProtection(0),
            path: None,
            result: SyscallResult(-13),
        }),
    ]
}

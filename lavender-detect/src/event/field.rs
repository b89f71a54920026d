//! The fields that rules can ask of Lavender's events: one table.

use super::ValueKind;

macro_rules! fields {
    ($($variant:ident, $name:literal, $kind:ident, $doc:literal;)*) => {
        /// A field of Lavender's events, by the name that rules use.
        ///
        /// The names are Sysmon's, as Sigma's taxonomy has them; those that Sysmon has no name for are Lavender's
        /// own. A field that an event does not have is absent. Which events have which is told by
        /// [`Route::fields`](crate::Route::fields).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventField {
            $(#[doc = $doc] $variant,)*
        }

        impl EventField {
            /// Every field, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in rules.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it holds.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $doc,)*
                }
            }

            /// What kind of value it has.
            pub const fn value_kind(self) -> ValueKind {
                match self {
                    $(Self::$variant => ValueKind::$kind,)*
                }
            }
        }
    };
}

fields! {
    Image, "Image", Text, "The program's path, as the kernel resolved it; for a script, the interpreter's.";
    Hashes, "Hashes", Text, "The SHA-256 of the program's file, as Sysmon writes it: `SHA256=` and 64 digits. Undetermined where the file was not hashed; absent where the sensor does not hash.";
    Sha256, "sha256", Text, "The same without what stands in front of the digits.";
    CommandLine, "CommandLine", Text, "The arguments joined by spaces, the program's own name first.";
    CurrentDirectory, "CurrentDirectory", Text, "The working directory.";
    User, "User", Text, "The name of the real user id; its number where no name is known.";
    LogonId, "LogonId", Number, "The user who logged in (audit's loginuid), through whatever `su` came after.";
    TerminalSessionId, "TerminalSessionId", Number, "The login session (audit's sessionid).";
    ProcessId, "ProcessId", Number, "The process's number in the initial pid namespace.";
    ProcessGuid, "ProcessGuid", Text, "The process's id, which no other process ever has.";
    UtcTime, "UtcTime", Time, "When it happened: `2026-01-31 23:59:59.123`.";
    ParentImage, "ParentImage", Text, "The program of the process that made this one.";
    ParentCommandLine, "ParentCommandLine", Text, "The arguments of the process that made this one.";
    ParentProcessId, "ParentProcessId", Number, "The number of the process that made this one.";
    ParentProcessGuid, "ParentProcessGuid", Text, "The id of the process that made this one.";
    ParentUser, "ParentUser", Text, "The user of the process that made this one.";
    ProcessTreeGuid, "ProcessTreeGuid", Text, "The id of the process that its process tree begins with: the same for all of a login session, container or service.";
    LineageGuids, "LineageGuids", List, "The ids of the process and of all its ancestors, its own first. A list: any of them.";
    GrandparentImage, "GrandparentImage", Text, "The program of the parent's parent.";
    AncestorImages, "AncestorImages", List, "The programs of all ancestors, the parent's first. A list: any of them.";
    KnownAncestorImages, "KnownAncestorImages", List, "The same without those whose path was cut or could not be read: for exceptions, which those would leave open.";
    ProcessName, "ProcessName", Text, "The kernel's short name of the task (`comm`): up to 15 bytes.";
    ScriptPath, "ScriptPath", Text, "Of an exec, the path as given: for a script, the script.";
    PreviousImage, "PreviousImage", Text, "Of an exec, the program that the process ran before.";
    ImageDeleted, "ImageDeleted", Boolean, "Whether no name leads to the program's file any more: `true` or `false`.";
    ImageMemoryBacked, "ImageMemoryBacked", Boolean, "Whether the program's file lives in memory only (`memfd_create`).";
    UserId, "UserId", Number, "The real user id.";
    EffectiveUserId, "EffectiveUserId", Number, "The effective user id.";
    GroupId, "GroupId", Number, "The real group id.";
    Terminal, "Terminal", Text, "The controlling terminal: `pts/N`, `ttyN`, or major and minor number.";
    ContainerId, "ContainerId", Text, "The container's id, as its runtime names it.";
    ContainerRuntime, "ContainerRuntime", Text, "The container's runtime: `docker`, `containerd`, …";
    ContainerName, "ContainerName", Text, "The container's name in its pod, or else at its runtime. Undetermined where the runtime's files are not read yet, or could not be.";
    ContainerImage, "ContainerImage", Text, "The image that the container was made of, as its runtime names it: `nginx:1.27`, `registry.example/app@sha256:…`. Undetermined as `ContainerName` is.";
    PodUid, "PodUid", Text, "The uid of the Kubernetes pod that the container is in.";
    PodName, "PodName", Text, "The pod's name. Undetermined as `ContainerName` is.";
    PodNamespace, "PodNamespace", Text, "The namespace that the pod is in. Undetermined as `ContainerName` is.";
    PodQosClass, "PodQosClass", Text, "The pod's class: `guaranteed`, `burstable` or `best_effort`.";
    TargetFilename, "TargetFilename", Text, "Of a file event, the file's absolute path; of a renamed file, the new one; of an exec that failed, the program's.";
    Access, "Access", List, "Of a file event, what it was opened for: a list of `read`, `write`, `create`.";
    OpenFlags, "OpenFlags", Text, "Of a file event, the flags: `O_WRONLY|O_CREAT`.";
    Result, "Result", Text, "Whether it succeeded: `success`, or the error's name (`EACCES`) or number.";
    Protocol, "Protocol", Text, "Of a network event: `tcp`, `udp` or `other`.";
    Initiated, "Initiated", Boolean, "Of a network event, whether this host began it: `true` for a connect or a message, `false` for an accepted connection.";
    SourceIp, "SourceIp", Address, "Of a network event, the address of this side.";
    SourcePort, "SourcePort", Number, "Of a network event, the port of this side.";
    DestinationIp, "DestinationIp", Address, "Of a network event, the address of the other side; of a look-up in the DNS, the server's.";
    DestinationPort, "DestinationPort", Number, "Of a network event, the port of the other side; of a look-up in the DNS, the server's.";
    DestinationIsIpv6, "DestinationIsIpv6", Boolean, "Of a network event, whether the other side's address is IPv6.";
    DestinationHostname, "DestinationHostname", Text, "Of a network event, the name that was looked up for the address.";
    Backlog, "Backlog", Number, "Of a socket that listens, how many connections may wait to be accepted.";
    Operation, "Operation", Text, "Of a request of io_uring, what is to be done: `openat`, `openat2`, `unlinkat` or `connect`.";
    TargetCommandLine, "TargetCommandLine", Text, "Of an exec that failed, the arguments that the program would have had, joined by spaces.";
    QueryName, "QueryName", Text, "Of a look-up in the DNS, the name asked for.";
    QueryType, "QueryType", Text, "Of a look-up in the DNS, the type of record asked for: `A`, `TXT`, `TYPE65280`.";
    QueryStatus, "QueryStatus", Number, "Of a look-up in the DNS, the answer as Sysmon numbers it: 0 found, 9003 no such name (9000 and the response code).";
    QueryResults, "QueryResults", List, "Of a look-up in the DNS, what the answer's records say. A list: any of them.";
    SourceFilename, "SourceFilename", Text, "Of a renamed file, the path before; of a hard link, the path that the file has already; of a symbolic link, the text that it holds.";
    IsDirectory, "IsDirectory", Boolean, "Of a removed file, whether a directory was to be removed.";
    IsSymbolicLink, "IsSymbolicLink", Boolean, "Of a link, whether it is a symbolic one.";
    FileMode, "FileMode", Text, "Of a mode that is set, its four octal digits: `4755` with the set-user-id bit.";
    OwnerId, "OwnerId", Number, "Of an owner that is set, the user id.";
    OwnerGroupId, "OwnerGroupId", Number, "Of an owner that is set, the group id.";
    SignalNumber, "SignalNumber", Number, "Of a signal, its number.";
    SignalOutcome, "SignalOutcome", Text, "Of a signal, what became of it: `delivered`, `ignored`, `already_pending` or `lost`.";
    TargetImage, "TargetImage", Text, "Of an act on another process, that one's program.";
    TargetProcessId, "TargetProcessId", Number, "Of an act on another process, that one's number in the initial pid namespace.";
    TargetProcessGuid, "TargetProcessGuid", Text, "Of an act on another process, that one's id.";
    PtraceRequest, "PtraceRequest", Text, "Of a `ptrace`, what was asked for: `attach`, `seize`, `poke_text`, `poke_data`, `poke_user`, `set_registers` or `other`.";
    MemfdName, "MemfdName", Text, "Of a file in memory, the name that it was given; empty for `memfd_secret`.";
    MemfdSecret, "MemfdSecret", Boolean, "Of a file in memory, whether not even the kernel can read it (`memfd_secret`).";
    ModulePath, "ModulePath", Text, "Of a kernel module, the path of the file that it was loaded from; absent when it was loaded from memory.";
    CredCall, "CredCall", Text, "Of a change of ids or capabilities, the call: `setuid`, `setgid`, `setreuid`, `setregid`, `setresuid`, `setresgid`, `setfsuid`, `setfsgid`, `capset` or `other`.";
    RequestedRealId, "RequestedRealId", Number, "Of a change of ids, the real one that was asked for, of a user or a group by the call.";
    RequestedEffectiveId, "RequestedEffectiveId", Number, "Of a change of ids, the effective one that was asked for; all that `setuid` and `setgid` take.";
    RequestedSavedId, "RequestedSavedId", Number, "Of a change of ids, the saved one that was asked for.";
    RequestedFilesystemId, "RequestedFilesystemId", Number, "Of a change of ids, the one for access to files that was asked for.";
    PreviousUserId, "PreviousUserId", Number, "Of a change of ids or capabilities, the real user id when the process was last seen before.";
    PreviousEffectiveUserId, "PreviousEffectiveUserId", Number, "Of a change of ids or capabilities, the effective user id when the process was last seen before.";
    ModuleParameters, "ModuleParameters", Text, "Of a kernel module, its parameters as given.";
    BpfCommand, "BpfCommand", Text, "Of a call of `bpf`, the command: `prog_load`, `map_create`, `prog_attach`, `raw_tracepoint_open`, `link_create`, `obj_pin`, `obj_get`, … or its number.";
    BpfProgramType, "BpfProgramType", Text, "Of a call of `bpf`, the type of the program: `kprobe`, `tracing`, `lsm`, `xdp`, … or its number.";
    BpfMapType, "BpfMapType", Text, "Of a call of `bpf`, the type of the map: `array`, `ringbuf`, … or its number.";
    BpfName, "BpfName", Text, "Of a call of `bpf`, the name of the program or map.";
    BpfId, "BpfId", Number, "Of a call of `bpf`, the kernel's number of the program or map.";
    BpfPath, "BpfPath", Text, "Of a call of `bpf`, the path at which an object is pinned.";
    MountCall, "MountCall", Text, "Of a mount, the call: `mount`, `umount`, `move_mount`, `fsmount`, `open_tree`, `pivot_root`, `mount_setattr` or `other`.";
    MountSource, "MountSource", Text, "Of a mount, what is mounted: a path where it is bound or moved, otherwise the device or a word.";
    MountTarget, "MountTarget", Text, "Of a mount, where.";
    FilesystemType, "FilesystemType", Text, "Of a mount, the type of the file system: `tmpfs`, `overlay`, …";
    MountFlags, "MountFlags", List, "Of `mount`, the flags as mount(8) names them: a list of `ro`, `nosuid`, `nodev`, `noexec`, `remount`, `bind`, `move`, `rec`, `unbindable`, `private`, `slave`, `shared`; of `umount`, of `force`, `detach`, `expire`, `nofollow`.";
    NamespaceCall, "NamespaceCall", Text, "Of a change of namespaces, the call: `unshare`, `setns`, `clone` or `other`.";
    NamespaceTypes, "NamespaceTypes", List, "Of a change of namespaces, which: a list of `cgroup`, `ipc`, `mnt`, `net`, `pid`, `time`, `user`, `uts`.";
    MemoryCall, "MemoryCall", Text, "Of memory made executable, the call: `mmap`, `mprotect`, `pkey_mprotect`, `shmat` or `other`.";
    MemoryProtection, "MemoryProtection", List, "Of memory made executable, what it may be used for: a list of `read`, `write`, `execute`.";
    MemoryLength, "MemoryLength", Number, "Of memory made executable, how many bytes.";
    MemoryPath, "MemoryPath", Text, "Of memory made executable, the path of the file behind it; absent where there is none.";
    ExitCode, "ExitCode", Number, "Of an exit, the code; absent when a signal ended it.";
    ExitSignal, "ExitSignal", Number, "Of an exit, the number of the signal that ended it.";
}

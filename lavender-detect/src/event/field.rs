//! The fields that rules can ask of Lavender's events: one table.

macro_rules! fields {
    ($($variant:ident, $name:literal, $doc:literal;)*) => {
        /// A field of Lavender's events, by the name that rules use.
        ///
        /// The names are Sysmon's, as Sigma's taxonomy has them; those that Sysmon has no name for are Lavender's
        /// own. A field that an event does not have is absent.
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
        }
    };
}

fields! {
    Image, "Image", "The program's path, as the kernel resolved it; for a script, the interpreter's.";
    CommandLine, "CommandLine", "The arguments joined by spaces, the program's own name first.";
    CurrentDirectory, "CurrentDirectory", "The working directory.";
    User, "User", "The name of the real user id; its number where no name is known.";
    LogonId, "LogonId", "The user who logged in (audit's loginuid), through whatever `su` came after.";
    TerminalSessionId, "TerminalSessionId", "The login session (audit's sessionid).";
    ProcessId, "ProcessId", "The process's number in the initial pid namespace.";
    ProcessGuid, "ProcessGuid", "The process's id, which no other process ever has.";
    UtcTime, "UtcTime", "When it happened: `2026-01-31 23:59:59.123`.";
    ParentImage, "ParentImage", "The program of the process that made this one.";
    ParentCommandLine, "ParentCommandLine", "The arguments of the process that made this one.";
    ParentProcessId, "ParentProcessId", "The number of the process that made this one.";
    ParentProcessGuid, "ParentProcessGuid", "The id of the process that made this one.";
    ParentUser, "ParentUser", "The user of the process that made this one.";
    ProcessTreeGuid, "ProcessTreeGuid", "The id of the process that its process tree begins with: the same for all of a login session, container or service.";
    LineageGuids, "LineageGuids", "The ids of the process and of all its ancestors, its own first. A list: any of them.";
    GrandparentImage, "GrandparentImage", "The program of the parent's parent.";
    AncestorImages, "AncestorImages", "The programs of all ancestors, the parent's first. A list: any of them.";
    ProcessName, "ProcessName", "The kernel's short name of the task (`comm`): up to 15 bytes.";
    ScriptPath, "ScriptPath", "Of an exec, the path as given: for a script, the script.";
    PreviousImage, "PreviousImage", "Of an exec, the program that the process ran before.";
    ImageDeleted, "ImageDeleted", "Whether no name leads to the program's file any more: `true` or `false`.";
    ImageMemoryBacked, "ImageMemoryBacked", "Whether the program's file lives in memory only (`memfd_create`).";
    UserId, "UserId", "The real user id.";
    EffectiveUserId, "EffectiveUserId", "The effective user id.";
    GroupId, "GroupId", "The real group id.";
    Terminal, "Terminal", "The controlling terminal: `pts/N`, `ttyN`, or major and minor number.";
    ContainerId, "ContainerId", "The container's id, as its runtime names it.";
    ContainerRuntime, "ContainerRuntime", "The container's runtime: `docker`, `containerd`, …";
    TargetFilename, "TargetFilename", "Of a file event, the file's absolute path.";
    Access, "Access", "Of a file event, what it was opened for: a list of `read`, `write`, `create`.";
    OpenFlags, "OpenFlags", "Of a file event, the flags: `O_WRONLY|O_CREAT`.";
    Result, "Result", "Whether it succeeded: `success`, or the error's name (`EACCES`) or number.";
    Protocol, "Protocol", "Of a network event: `tcp`, `udp` or `other`.";
    Initiated, "Initiated", "Of a network event, whether this host began it: `true` for a connect.";
    SourceIp, "SourceIp", "Of a network event, the address of this side.";
    SourcePort, "SourcePort", "Of a network event, the port of this side.";
    DestinationIp, "DestinationIp", "Of a network event, the address of the other side.";
    DestinationPort, "DestinationPort", "Of a network event, the port of the other side.";
    DestinationIsIpv6, "DestinationIsIpv6", "Of a network event, whether the other side's address is IPv6.";
    DestinationHostname, "DestinationHostname", "Of a network event, the name that was looked up for the address.";
    ExitCode, "ExitCode", "Of an exit, the code; absent when a signal ended it.";
    ExitSignal, "ExitSignal", "Of an exit, the number of the signal that ended it.";
}

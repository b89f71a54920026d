//! Events as rules see them.

use std::ops::ControlFlow;
use std::sync::Arc;

use lavender_core::Captured;
use lavender_core::event::{
    Arguments, DnsAnswer, DnsData, DnsQuery, Event, EventData, ExecutableHash, ExitStatus,
    FileOpen, IoUring, OpenFlags, Pod, Process, ProcessTarget, Sha256Digest, Signal, SyscallResult,
};

use super::field::EventField;
use super::{change, credentials, kernel, network, tamper};
use crate::record::{FieldValue, Kept, Record, ShortText};
use crate::schema::FieldId;

/// An event as a [`Record`].
///
/// The numbers of [`EventField`] are the same in every rule set, so there is nothing to bind.
#[derive(Clone, Copy, Debug)]
pub struct EventRecord<'a> {
    event: &'a Event,
}

impl<'a> EventRecord<'a> {
    /// This event.
    pub const fn new(event: &'a Event) -> Self {
        Self { event }
    }

    /// The value of a field.
    pub fn field(&self, field: EventField) -> FieldValue<'a> {
        use EventField as F;
        match field {
            F::UtcTime => FieldValue::Time(self.event.observed_at),
            F::ScriptPath | F::PreviousImage | F::ExitCode | F::ExitSignal => self.life(field),
            F::TargetFilename | F::Access | F::OpenFlags => match &self.event.data {
                EventData::FileOpen(open) => file(open, field),
                EventData::IoUring(request) => requested(request, field),
                EventData::ExecFailed(failed) if field == F::TargetFilename => {
                    FieldValue::captured_path(&failed.path)
                }
                data => change::field(data, field),
            },
            F::Operation => match &self.event.data {
                EventData::IoUring(request) => FieldValue::Short(ShortText::new(request.operation)),
                _ => FieldValue::Absent,
            },
            F::TargetCommandLine => match &self.event.data {
                EventData::ExecFailed(failed) => joined(&failed.arguments),
                _ => FieldValue::Absent,
            },
            F::SignalNumber | F::SignalOutcome => match &self.event.data {
                EventData::Signal(signal) => signalled(signal, field),
                _ => FieldValue::Absent,
            },
            F::TargetImage | F::TargetProcessId | F::TargetProcessGuid => {
                match tamper::target_of(&self.event.data) {
                    Some(target) => targeted(target, field),
                    None => FieldValue::Absent,
                }
            }
            F::CredCall
            | F::RequestedRealId
            | F::RequestedEffectiveId
            | F::RequestedSavedId
            | F::RequestedFilesystemId
            | F::PreviousUserId
            | F::PreviousEffectiveUserId => credentials::field(&self.event.data, field),
            F::BpfCommand
            | F::BpfProgramType
            | F::BpfMapType
            | F::BpfName
            | F::BpfId
            | F::BpfPath
            | F::MountCall
            | F::MountSource
            | F::MountTarget
            | F::FilesystemType
            | F::MountFlags
            | F::NamespaceCall
            | F::NamespaceTypes
            | F::MemoryCall
            | F::MemoryProtection
            | F::MemoryLength
            | F::MemoryPath => kernel::field(&self.event.data, field),
            F::PtraceRequest
            | F::MemfdName
            | F::MemfdSecret
            | F::ModulePath
            | F::ModuleParameters => tamper::field(&self.event.data, field),
            F::SourceFilename
            | F::IsDirectory
            | F::IsSymbolicLink
            | F::FileMode
            | F::OwnerId
            | F::OwnerGroupId => change::field(&self.event.data, field),
            F::Result => match &self.event.data {
                EventData::FileOpen(open) => result(open.result),
                EventData::ExecFailed(failed) => result(failed.result),
                EventData::NetConnect(connect) if connect.is_under_way() => "success".into(),
                EventData::NetConnect(connect) => result(connect.result),
                data => change::result_of(data)
                    .or_else(|| network::result_of(data))
                    .or_else(|| credentials::result_of(data))
                    .or_else(|| kernel::result_of(data))
                    .or_else(|| tamper::result_of(data))
                    .map_or(FieldValue::Absent, result),
            },
            F::Protocol
            | F::Initiated
            | F::SourceIp
            | F::SourcePort
            | F::DestinationIp
            | F::DestinationPort
            | F::DestinationIsIpv6
            | F::Backlog => network::field(&self.event.data, field),
            F::QueryName | F::QueryType | F::QueryStatus | F::QueryResults => {
                match &self.event.data {
                    EventData::DnsQuery(query) => look_up(query, field),
                    _ => FieldValue::Absent,
                }
            }
            // What no event carries yet.
            F::DestinationHostname => FieldValue::Absent,
            _ => match &self.event.process {
                Some(process) => self.process(process, field),
                None => FieldValue::Absent,
            },
        }
    }

    fn life(&self, field: EventField) -> FieldValue<'a> {
        match (&self.event.data, field) {
            (EventData::Exec(exec), EventField::ScriptPath) => FieldValue::captured(&exec.filename),
            (EventData::Exec(exec), EventField::PreviousImage) => {
                exec.previous_executable.as_deref().into()
            }
            (EventData::Exit(exit), _) => match (exit.status, field) {
                (ExitStatus::Code(code), EventField::ExitCode) => u32::from(code).into(),
                (ExitStatus::Signal(signal), EventField::ExitSignal) => u32::from(signal).into(),
                _ => FieldValue::Absent,
            },
            _ => FieldValue::Absent,
        }
    }

    fn process(&self, process: &'a Process, field: EventField) -> FieldValue<'a> {
        use EventField as F;
        let parent = process.parent.as_deref();
        match field {
            F::Image => FieldValue::captured_path(&process.executable.path),
            F::Hashes => hash(process, Sha256Digest::as_hashes),
            F::Sha256 => hash(process, Sha256Digest::as_digits),
            F::CommandLine => command_line(process),
            F::CurrentDirectory => FieldValue::captured_path(&process.working_directory),
            F::User => user(process),
            F::LogonId => process.credentials.login_uid.into(),
            F::TerminalSessionId => process.credentials.session_id.into(),
            F::ProcessId => process.pid.into(),
            F::ProcessGuid => FieldValue::Short(ShortText::new(process.id())),
            F::ParentImage => {
                parent.map_or(FieldValue::Absent, |p| FieldValue::captured_path(&p.executable.path))
            }
            F::ParentCommandLine => parent.map_or(FieldValue::Absent, command_line),
            F::ParentProcessId => process.parent_id.map(|id| id.process.tgid()).into(),
            F::ParentProcessGuid => process
                .parent_id
                .map_or(FieldValue::Absent, |id| FieldValue::Short(ShortText::new(id.process))),
            F::ProcessTreeGuid => FieldValue::Short(ShortText::new(process.tree_id())),
            F::LineageGuids => FieldValue::List,
            F::ParentUser => parent.map_or(FieldValue::Absent, user),
            F::GrandparentImage => process
                .ancestors()
                .nth(1)
                .map_or(FieldValue::Absent, |p| FieldValue::captured_path(&p.executable.path)),
            F::AncestorImages | F::KnownAncestorImages if parent.is_some() => FieldValue::List,
            F::ProcessName => FieldValue::Text(&process.name),
            F::ImageDeleted => process.executable.deleted.into(),
            F::ImageMemoryBacked => process.executable.memory_backed.into(),
            F::UserId => process.credentials.uid.into(),
            F::EffectiveUserId => process.credentials.euid.into(),
            F::GroupId => process.credentials.gid.into(),
            F::Terminal => terminal(process),
            F::ContainerId => process.container.as_ref().map(|container| &*container.id).into(),
            F::ContainerRuntime => {
                process.container.as_ref().and_then(|container| container.runtime.as_deref()).into()
            }
            F::ContainerName => {
                described(process, process.container.as_ref().and_then(|c| c.name.as_deref()))
            }
            F::ContainerImage => {
                described(process, process.container.as_ref().and_then(|c| c.image.as_deref()))
            }
            F::PodName => of_pod(process, |pod| pod.name.as_deref()),
            F::PodNamespace => of_pod(process, |pod| pod.namespace.as_deref()),
            F::PodUid => pod(process).map(|pod| &*pod.uid).into(),
            F::PodQosClass => pod(process).map(|pod| pod.qos_class.as_str()).into(),
            _ => FieldValue::Absent,
        }
    }
}

fn hash<'a>(process: &'a Process, form: fn(&'a Sha256Digest) -> &'a str) -> FieldValue<'a> {
    match &process.executable.hash {
        Some(ExecutableHash::Sha256(digest)) => form(digest).into(),
        Some(ExecutableHash::Missing(_)) => FieldValue::Unreadable,
        None => FieldValue::Absent,
    }
}

/// What the container's runtime says of it, or that this is not known.
fn described<'a>(process: &Process, text: Option<&'a str>) -> FieldValue<'a> {
    let undescribed = process.container.as_ref().and_then(|container| container.undescribed);
    match (text, undescribed) {
        (None, Some(_)) => FieldValue::Unreadable,
        (text, _) => text.into(),
    }
}

fn of_pod(process: &Process, text: impl Fn(&Pod) -> Option<&str>) -> FieldValue<'_> {
    pod(process).map_or(FieldValue::Absent, |pod| described(process, text(pod)))
}

fn pod(process: &Process) -> Option<&Pod> {
    process.container.as_ref()?.pod.as_ref()
}

fn command_line(process: &Process) -> FieldValue<'_> {
    joined(&process.arguments)
}

fn joined(arguments: &Captured<Arguments>) -> FieldValue<'_> {
    FieldValue::with_provenance(arguments.value.command_line(), arguments.provenance, Kept::Start)
}

fn user(process: &Process) -> FieldValue<'_> {
    match &process.user {
        Some(name) => FieldValue::Text(name.as_bytes()),
        None => process.credentials.uid.into(),
    }
}

/// Names terminals as `ps` does. Major numbers from the kernel's `Documentation/admin-guide/devices.txt`: 4 is
/// `tty`, 136 to 143 are the slaves of pseudo-terminals.
fn terminal(process: &Process) -> FieldValue<'_> {
    let Some(terminal) = process.terminal else { return FieldValue::Absent };
    FieldValue::Short(match terminal.major {
        136..=143 => ShortText::new(format_args!("pts/{}", terminal.minor)),
        4 => ShortText::new(format_args!("tty{}", terminal.minor)),
        major => ShortText::new(format_args!("{major}:{}", terminal.minor)),
    })
}

fn file(open: &FileOpen, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::TargetFilename => FieldValue::captured_path(&open.path),
        EventField::Access => FieldValue::List,
        _ => FieldValue::Short(ShortText::new(open.flags)),
    }
}

fn requested(request: &IoUring, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::TargetFilename => {
            request.path.as_ref().map_or(FieldValue::Absent, FieldValue::captured_path)
        }
        EventField::Access if request.flags.is_some() => FieldValue::List,
        EventField::OpenFlags => request
            .flags
            .map_or(FieldValue::Absent, |flags| FieldValue::Short(ShortText::new(flags))),
        _ => FieldValue::Absent,
    }
}

/// What a file is opened for.
fn each_access(
    flags: OpenFlags,
    visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    [("read", flags.reads()), ("write", flags.writes()), ("create", flags.may_create())]
        .into_iter()
        .filter(|(_, is)| *is)
        .try_for_each(|(name, _)| visit(name.into()))
}

fn signalled(signal: &Signal, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::SignalNumber => signal.signal.into(),
        _ => signal.outcome.as_str().into(),
    }
}

fn targeted(target: &ProcessTarget, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::TargetImage => FieldValue::captured_path(&target.executable),
        EventField::TargetProcessId => target.exec_id.process.tgid().into(),
        _ => FieldValue::Short(ShortText::new(target.exec_id.process)),
    }
}

/// Sysmon reports a look-up by Windows's error numbers: `DNS_ERROR_RESPONSE_CODES_BASE` (9000 in `winerror.h`) and
/// the response code, or 0.
fn look_up(query: &DnsQuery, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::QueryName => FieldValue::captured(&query.name),
        EventField::QueryType => FieldValue::Short(ShortText::new(query.record_type)),
        EventField::QueryStatus => query
            .response_code
            .map(|code| if code.0 == 0 { 0 } else { 9_000 + u32::from(code.0) })
            .into(),
        _ if query.answers.value.is_empty() && query.answers.is_whole() => FieldValue::Absent,
        _ => FieldValue::List,
    }
}

fn answered(answer: &DnsAnswer) -> FieldValue<'_> {
    match &answer.data {
        DnsData::Address(address) => FieldValue::Ip(*address),
        DnsData::Name(text) | DnsData::Bytes(text) => FieldValue::Text(text),
        // A form of a later version.
        _ => FieldValue::Unreadable,
    }
}

/// Errors by name, numbered as in `include/uapi/asm-generic/errno-base.h` and `errno.h`.
pub(crate) fn result<'a>(result: SyscallResult) -> FieldValue<'a> {
    match result.errno() {
        None => "success".into(),
        Some(1) => "EPERM".into(),
        Some(2) => "ENOENT".into(),
        Some(7) => "E2BIG".into(),
        Some(8) => "ENOEXEC".into(),
        Some(13) => "EACCES".into(),
        Some(17) => "EEXIST".into(),
        Some(20) => "ENOTDIR".into(),
        Some(21) => "EISDIR".into(),
        Some(22) => "EINVAL".into(),
        Some(30) => "EROFS".into(),
        Some(40) => "ELOOP".into(),
        Some(98) => "EADDRINUSE".into(),
        Some(99) => "EADDRNOTAVAIL".into(),
        Some(101) => "ENETUNREACH".into(),
        Some(110) => "ETIMEDOUT".into(),
        Some(111) => "ECONNREFUSED".into(),
        Some(113) => "EHOSTUNREACH".into(),
        Some(other) => other.into(),
    }
}

impl Record for EventRecord<'_> {
    #[inline]
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        match EventField::ALL.get(field.index()) {
            Some(field) => self.field(*field),
            None => FieldValue::Absent,
        }
    }

    fn elements(
        &self,
        field: FieldId,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match (EventField::ALL.get(field.index()), &self.event.data, &self.event.process) {
            (Some(EventField::AncestorImages), _, Some(process)) => process
                .ancestors()
                .map(Arc::as_ref)
                .try_for_each(|p| visit(FieldValue::captured_path(&p.executable.path))),
            (Some(EventField::KnownAncestorImages), _, Some(process)) => process
                .ancestors()
                .map(|p| FieldValue::captured_path(&p.executable.path))
                .filter(|path| !path.is_incomplete())
                .try_for_each(visit),
            (Some(EventField::LineageGuids), _, Some(process)) => std::iter::once(process)
                .chain(process.ancestors())
                .try_for_each(|p| visit(FieldValue::Short(ShortText::new(p.id())))),
            (Some(EventField::Access), EventData::FileOpen(open), _) => {
                each_access(open.flags, visit)
            }
            (Some(EventField::Access), EventData::IoUring(request), _) => match request.flags {
                Some(flags) => each_access(flags, visit),
                None => ControlFlow::Continue(()),
            },
            (Some(EventField::QueryResults), EventData::DnsQuery(query), _) => {
                query.answers.value.iter().try_for_each(|answer| visit(answered(answer)))?;
                // What was not captured could say anything.
                if query.answers.is_whole() {
                    ControlFlow::Continue(())
                } else {
                    visit(FieldValue::Unreadable)
                }
            }
            (Some(field), data, _) => kernel::elements(data, *field, visit),
            _ => ControlFlow::Continue(()),
        }
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        EventField::ALL.iter().enumerate().try_for_each(|(number, field)| {
            match self.field(*field) {
                FieldValue::Absent => ControlFlow::Continue(()),
                FieldValue::List => self.elements(FieldId(number as u16), visit),
                value => visit(value),
            }
        })
    }
}

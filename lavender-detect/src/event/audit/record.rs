//! One record of audit's, made of an event.

use std::ops::ControlFlow;

use lavender_core::Provenance;
use lavender_core::event::{
    Event, EventData, Exec, FileOpen, NetConnect, Process, SyscallResult, Terminal,
};

use super::field::{AuditField, AuditFields};
use super::words::Words;
use super::{AuditView, Possible};
use crate::record::{FieldValue, Kept, Record, ShortText};
use crate::schema::FieldId;

/// An event as a record of audit's; [`RuleSet::audit_record`](crate::RuleSet::audit_record) makes it.
///
/// Values are in audit's interpreted form: names in place of numbers where rules write names, arguments and paths
/// as they are and not in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub struct AuditRecord<'a> {
    view: AuditView,
    event: &'a Event,
    fields: &'a AuditFields,
    words: Option<Words<'a>>,
}

impl<'a> AuditRecord<'a> {
    pub(crate) fn new(view: AuditView, event: &'a Event, fields: &'a AuditFields) -> Self {
        let words = match (&event.process, view) {
            (Some(process), AuditView::ExecArguments) => Some(Words::new(&process.arguments.value)),
            _ => None,
        };
        Self { view, event, fields, words }
    }

    /// Which record it is.
    pub const fn view(&self) -> AuditView {
        self.view
    }

    /// The value of a field.
    pub fn field(&self, field: AuditField) -> FieldValue<'a> {
        use AuditField as F;
        match self.view.possible(field) {
            Possible::Absent => return FieldValue::Absent,
            Possible::Is(text) => return text.into(),
            Possible::Anything | Possible::MayBe(_) | Possible::Failed => {}
        }
        let process = self.event.process.as_deref();
        match (field, &self.event.data) {
            (F::Success, EventData::FileOpen(FileOpen { result, .. }))
            | (F::Success, EventData::NetConnect(NetConnect { result, .. })) => success(*result),
            (F::Exit, EventData::Exec(_)) => FieldValue::Int(0),
            (F::Exit, EventData::FileOpen(FileOpen { result, .. }))
            | (F::Exit, EventData::NetConnect(NetConnect { result, .. })) => result.0.into(),
            (F::Name, EventData::Exec(exec)) => FieldValue::captured(&exec.filename),
            (F::Name, EventData::FileOpen(open)) => FieldValue::captured_path(&open.path),
            (F::Nametype, EventData::FileOpen(open)) => name_type(open),
            (F::Inode, EventData::Exec(exec)) => program_inode(exec, process),
            (F::Inode, EventData::FileOpen(open)) => (open.inode != 0).then_some(open.inode).into(),
            (F::SaddrFamily, EventData::NetConnect(connect)) => {
                if connect.destination.is_ipv6() { "inet6" } else { "inet" }.into()
            }
            (F::Laddr, EventData::NetConnect(connect)) => connect.destination.ip().into(),
            (F::Lport, EventData::NetConnect(connect)) => connect.destination.port().into(),
            (F::Argument(number), _) => self.argument(number),
            _ => process.map_or(FieldValue::Absent, |process| of_process(process, field)),
        }
    }

    /// An argument. Behind the end of what was captured it is unreadable and not absent.
    fn argument(&self, number: u32) -> FieldValue<'a> {
        let (Some(words), Some(process)) = (&self.words, &self.event.process) else {
            return FieldValue::Absent;
        };
        let arguments = &process.arguments;
        if arguments.provenance == Provenance::Unreadable {
            return FieldValue::Unreadable;
        }
        match words.get(number) {
            Some((text, true)) if !arguments.is_whole() => FieldValue::Truncated(text, Kept::Start),
            Some((text, _)) => FieldValue::Text(text),
            None if !arguments.is_whole() => FieldValue::Unreadable,
            None => FieldValue::Absent,
        }
    }

    fn each_argument(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(process) = &self.event.process else { return ControlFlow::Continue(()) };
        let arguments = &process.arguments;
        // The last of several that were cut is cut itself, and what follows it is unknown.
        let mut rest = arguments.value.iter().peekable();
        while let Some(text) = rest.next() {
            let cut = !arguments.is_whole() && rest.peek().is_none();
            visit(if cut {
                FieldValue::Truncated(text, Kept::Start)
            } else {
                FieldValue::Text(text)
            })?;
        }
        if arguments.is_whole() { ControlFlow::Continue(()) } else { visit(FieldValue::Unreadable) }
    }
}

fn success<'a>(result: SyscallResult) -> FieldValue<'a> {
    if result.is_ok() { "yes" } else { "no" }.into()
}

/// Whether the file was there before is known where the call makes none, and where it would have failed if it had
/// been there.
fn name_type<'a>(open: &FileOpen) -> FieldValue<'a> {
    if !open.result.is_ok() {
        FieldValue::Absent
    } else if !open.flags.may_create() {
        "NORMAL".into()
    } else if open.flags.must_create() {
        "CREATE".into()
    } else {
        FieldValue::Unreadable
    }
}

/// The inode of the program is that of the path as given where the two are the same; of a script or a link it is
/// another.
fn program_inode<'a>(exec: &Exec, process: Option<&Process>) -> FieldValue<'a> {
    let Some(process) = process else { return FieldValue::Absent };
    let program = &process.executable;
    let same = program.path.is_whole() && exec.filename == program.path && program.inode != 0;
    same.then_some(program.inode).into()
}

fn of_process(process: &Process, field: AuditField) -> FieldValue<'_> {
    use AuditField as F;
    let ids = &process.credentials;
    let user = |id: u32| if id == ids.uid { process.user.as_deref() } else { None };
    let group = |id: u32| if id == ids.gid { process.group.as_deref() } else { None };
    match field {
        F::Ppid => process.parent_id.map(|id| id.process.tgid()).into(),
        F::Pid => process.pid.into(),
        F::Auid => ids.login_uid.into(),
        F::Uid => ids.uid.into(),
        F::Gid => ids.gid.into(),
        F::Euid => ids.euid.into(),
        F::Egid => ids.egid.into(),
        F::AuidName => ids.login_uid.and_then(user).into(),
        F::UidName => user(ids.uid).into(),
        F::GidName => group(ids.gid).into(),
        F::EuidName => user(ids.euid).into(),
        F::EgidName => group(ids.egid).into(),
        F::Tty => process.terminal.map_or(FieldValue::Absent, terminal),
        F::Ses => ids.session_id.into(),
        F::Comm => FieldValue::Text(&process.name),
        F::Exe => FieldValue::captured_path(&process.executable.path),
        F::Cwd => FieldValue::captured_path(&process.working_directory),
        F::Argc if process.arguments.is_whole() => (process.arguments.value.len() as u64).into(),
        F::Argc => FieldValue::Unreadable,
        _ => FieldValue::Absent,
    }
}

/// Names terminals as audit does, which is the driver's name and the number. Major numbers from the kernel's
/// `Documentation/admin-guide/devices.txt`: 4 is `tty` up to minor 63 and `ttyS` from there on, 136 to 143 are the
/// slaves of pseudo-terminals. Those of other drivers have names that their numbers do not tell.
fn terminal<'a>(terminal: Terminal) -> FieldValue<'a> {
    let Terminal { major, minor } = terminal;
    FieldValue::Short(match (major, minor) {
        (136..=143, _) => ShortText::new(format_args!("pts{minor}")),
        (4, ..64) => ShortText::new(format_args!("tty{minor}")),
        (4, _) => ShortText::new(format_args!("ttyS{}", minor - 64)),
        _ => return FieldValue::Absent,
    })
}

impl Record for AuditRecord<'_> {
    #[inline]
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        self.fields.get(field).map_or(FieldValue::Absent, |field| self.field(field))
    }

    fn each_value(
        &self,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // Nearly all rules of keywords are on this record.
        if self.view == AuditView::ExecArguments {
            visit(self.field(AuditField::Type))?;
            visit(self.field(AuditField::Argc))?;
            return self.each_argument(visit);
        }
        AuditField::NAMED.iter().try_for_each(|field| match self.field(*field) {
            FieldValue::Absent => ControlFlow::Continue(()),
            value => visit(value),
        })
    }
}
